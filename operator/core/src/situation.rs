//! Where a relay stands, in the words a person reads: phase, one sentence, and the conditions kstatus looks at.
//!
//! One function of what was seen and decided; the first line that fits wins, so the worst news comes first. `Ready` says
//! what the pod says, except where only a person can help or a person paused it. Pure; called by [`crate::status`].

mod update;

use jiff::Timestamp;
use paramant_crds::relay::{Phase, Step};
use paramant_protocol::control::{DrainState, FenceState, RelayState};

use self::update::{rolling, update_blocked};
use crate::conditions::Truth;
use crate::durable::Durable;
use crate::gate::Gate;
use crate::kept::Kept;
use crate::log_check::Continuity;
use crate::machine::{Facts, Roll};
use crate::observation::{Refused, Report};
use crate::offer::Offer;
use crate::pod::{PodView, Trouble};
use crate::target::{Desired, Unresolved};

/// Why nothing but reporting is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// `paramant.app/paused: "true"`.
    Paused,
    /// The spec breaks a rule.
    Invalid(String),
    /// Another relay has the same identity or log, and is older.
    Rival(String),
}

/// What a situation is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Why nothing but reporting is done, if so.
    pub hold: Option<&'a Hold>,
    /// The name of the volume's claim.
    pub claim: &'a str,
    /// The pod.
    pub pod: &'a PodView<'a>,
    /// What the relay's task knows.
    pub report: &'a Report,
    /// What was said before, while the relay has not been asked.
    pub kept: Option<Kept<'a>>,
    /// What the relay said, if it is this pod that said it and it may be believed.
    pub believed: Option<&'a RelayState>,
    /// Whether the log continues.
    pub continuity: &'a Continuity,
    /// The durable copy as it will be.
    pub durable: &'a Durable,
    /// The machine as it will be.
    pub roll: &'a Roll,
    /// What the machine saw.
    pub facts: &'a Facts,
    /// What the spec wants.
    pub desired: &'a Desired,
    /// The vendor's offer that stands, if the relay was heard.
    pub standing: Option<&'a Offer>,
    /// The policy leaves offers to people.
    pub by_hand: bool,
    /// When the next window opens, if the policy has any.
    pub next_window: Option<Timestamp>,
    /// Files live in the pod's memory.
    pub in_memory: bool,
    /// A child the API server refuses.
    pub refused: Option<&'a Refused>,
    /// The admin Secret that the spec names and the relay does not find.
    pub admin_missing: Option<&'a str>,
    /// The relay shall be reached in a way this cluster does not have.
    pub unexposable: Option<&'a str>,
}

impl Evidence<'_> {
    /// Why the relay refuses to sign its log, in its own words. While it only waits for an answer this is no news.
    pub fn fenced(&self) -> Option<String> {
        let fence = &self.believed?.log.fence;
        let why = fence.reason.as_deref().unwrap_or("the relay does not say why");
        (fence.state == FenceState::Refused).then(|| why.chars().take(600).collect())
    }
}

/// A reason and a sentence.
pub type Said = (&'static str, String);

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation {
    /// One word for people.
    pub phase: Phase,
    /// One sentence for people.
    pub message: String,
    /// The condition Ready.
    pub ready: (Truth, &'static str, String),
    /// The condition Reconciling, if true.
    pub reconciling: Option<Said>,
    /// The condition Stalled, if true.
    pub stalled: Option<Said>,
    /// The condition Degraded, if true.
    pub degraded: Option<Said>,
    /// The condition UpdateBlocked, if true.
    pub blocked: Option<Said>,
}

impl Situation {
    /// Judges.
    pub fn of(it: &Evidence<'_>) -> Self {
        let blocked = update_blocked(it);
        let with = |situation: Self| Self { blocked: blocked.clone(), ..situation };
        if let Some(hold) = it.hold {
            return with(held(hold));
        }
        // Something is being done about it.
        if let Some(situation) = rolling(it).filter(|_| it.roll.step == Step::RollingBack) {
            return with(situation);
        }
        if let Report::KeyChanged { found, .. } = it.report {
            return with(stuck(
                "ControlKeyChanged",
                format!(
                    "the relay shows another control key than the pinned one, so nothing it says is believed; if that is right, annotate the relay with {}={found}; if not, bring back the volume of the claim {} as it was",
                    crate::ACCEPT_CONTROL_KEY,
                    it.claim
                ),
            ));
        }
        if let Continuity::Broken { found } = it.continuity {
            return with(stuck(
                "LogBroken",
                format!(
                    "{found}: the log was rolled back or replaced, and a person must find out why; bring back the volume with the earlier log; if that is lost, retire the log with 'paramant-relay log adopt', or delete the relay and its claim {} and create the relay again",
                    it.claim
                ),
            ));
        }
        if let Some(why) = it.fenced() {
            return with(stuck("LogFenced", format!("the relay does not sign its log: {why}")));
        }
        if let Some((reason, message)) = it.kept.and_then(Kept::stuck) {
            return with(stuck(reason, message));
        }
        if it.durable.template.is_none() {
            return with(uninstalled(it));
        }
        if let Some(situation) = rolling(it) {
            return with(situation);
        }
        if let Some(refused) = it.refused {
            return with(refuse(it, refused));
        }
        with(match &it.pod.trouble {
            Some(_) => troubled(it, blocked.as_ref()),
            None => serving(it, blocked.as_ref()),
        })
    }
}

fn held(hold: &Hold) -> Situation {
    match hold {
        Hold::Paused => {
            let message = "paused: nothing but drains being lifted and certificates reaches the relay until the annotation paramant.app/paused goes".to_owned();
            Situation {
                phase: Phase::Paused,
                ready: (Truth::Unknown, "Paused", message.clone()),
                message,
                reconciling: None,
                stalled: None,
                degraded: None,
                blocked: None,
            }
        }
        Hold::Invalid(problem) => stuck("InvalidSpec", format!("the spec breaks a rule: {problem}")),
        Hold::Rival(why) => stuck("IdentityConflict", why.clone()),
    }
}

/// Only a person can help.
fn stuck(reason: &'static str, message: String) -> Situation {
    Situation {
        phase: Phase::Blocked,
        ready: (Truth::False, reason, message.clone()),
        stalled: Some((reason, message.clone())),
        message,
        reconciling: None,
        degraded: None,
        blocked: None,
    }
}

/// A child that cannot be made or changed. What runs goes on; a person must change what was asked for, or what forbids it.
fn refuse(it: &Evidence<'_>, refused: &Refused) -> Situation {
    let message = refusal(refused);
    let situation = stuck("ChildRefused", message.clone());
    if it.durable.last_good.is_none() {
        return situation;
    }
    Situation {
        phase: Phase::Degraded,
        ready: ready_now(it),
        degraded: Some(("ChildRefused", message)),
        ..situation
    }
}

fn refusal(refused: &Refused) -> String {
    let answer: String = refused.message.chars().take(600).collect();
    format!("the {} {} is refused: {answer}", refused.kind, refused.name)
}

fn uninstalled(it: &Evidence<'_>) -> Situation {
    let (reason, message) = match it.desired {
        Desired::Unresolved(Unresolved::Refused(why)) => {
            return stuck("ImageNotFound", format!("spec.image names no image that can be had: {why}"));
        }
        Desired::Unresolved(Unresolved::Asked) => {
            ("ResolvingImage", "waiting for the registry to say which digest spec.image means".to_owned())
        }
        Desired::Unresolved(Unresolved::Unavailable(why)) => (
            "RegistryUnavailable",
            format!("waiting for the registry to say which digest spec.image means: {why}"),
        ),
        Desired::Known { .. } => match &it.facts.gates.verification {
            Gate::Open => ("Installing", "the relay is being installed".to_owned()),
            Gate::Closed { reason, message, .. } => (*reason, message.clone()),
            Gate::Never { reason, message } => return stuck(reason, message.clone()),
        },
    };
    progressing(Phase::Pending, (Truth::False, reason, message.clone()), (reason, message))
}

fn progressing(phase: Phase, ready: (Truth, &'static str, String), doing: Said) -> Situation {
    Situation {
        phase,
        message: doing.1.clone(),
        ready,
        reconciling: Some(doing),
        stalled: None,
        degraded: None,
        blocked: None,
    }
}

/// What the pod says.
fn ready_now(it: &Evidence<'_>) -> (Truth, &'static str, String) {
    if let Some(trouble) = &it.pod.trouble {
        return (Truth::False, trouble.reason, sentence(it, trouble));
    }
    if let (None, Some((reason, message))) = (&it.durable.control_key, it.kept.and_then(Kept::unready)) {
        return (Truth::False, reason, message);
    }
    match (&it.durable.control_key, it.report) {
        (None, Report::Unreachable { reason, .. }) => (
            Truth::False,
            "ControlUnreachable",
            format!("the pod is ready, but the relay has not answered on its control port yet: {reason}"),
        ),
        (None, _) => (
            Truth::False,
            "AwaitingControl",
            "the pod is ready; waiting for the relay's first answer on its control port".into(),
        ),
        (Some(_), _) => (Truth::True, "Serving", "the relay serves".into()),
    }
}

/// What holds the pod up, with the relay's own word on it if it gives one.
fn sentence(it: &Evidence<'_>, trouble: &Trouble) -> String {
    match it.believed.and_then(|state| state.not_ready.first()) {
        Some(why) if !trouble.wrong => {
            format!("{}: {}", trouble.message, why.chars().take(300).collect::<String>())
        }
        _ => trouble.message.clone(),
    }
}

fn troubled(it: &Evidence<'_>, blocked: Option<&Said>) -> Situation {
    let Some(trouble) = &it.pod.trouble else { return serving(it, None) };
    let never_good = it.durable.last_good.is_none();
    // A relay that ran well and crashes now may recover by itself: its disk, its node.
    if trouble.stuck && (never_good || trouble.reason != "CrashLoopBackOff") {
        return stuck(trouble.reason, trouble.message.clone());
    }
    let said = (trouble.reason, sentence(it, trouble));
    let phase = if never_good { Phase::Installing } else { Phase::Degraded };
    let degraded = (!never_good).then(|| said.clone());
    let mut situation = Situation { degraded, ..progressing(phase, ready_now(it), said) };
    if let Some((_, waits)) = blocked {
        // What was edited to mend it may be what waits.
        situation.message = format!("{}; what the spec wants instead: {waits}", situation.message);
    }
    situation
}

fn serving(it: &Evidence<'_>, blocked: Option<&Said>) -> Situation {
    let ready = ready_now(it);
    if ready.0 != Truth::True {
        let said = (ready.1, ready.2.clone());
        return progressing(Phase::Installing, ready, said);
    }
    let mut situation = Situation {
        phase: Phase::Ready,
        message: "the relay serves".into(),
        ready,
        reconciling: None,
        stalled: None,
        degraded: None,
        blocked: None,
    };
    match it.believed.map(|state| state.drain.state).or_else(|| it.kept?.drain()) {
        Some(DrainState::Draining) => {
            situation.phase = Phase::Draining;
            situation.message = "new uploads are refused; waiting for those in progress to end".into();
        }
        Some(DrainState::Drained) => {
            situation.phase = Phase::Drained;
            situation.message = "new uploads are refused and nothing is in flight; reads go on".into();
        }
        Some(DrainState::Serving) | None => {}
    }
    if let Some((reason, message)) = blocked {
        situation.message = message.clone();
        match it.desired {
            Desired::Unresolved(Unresolved::Refused(_)) => {
                situation.stalled = Some((reason, message.clone()))
            }
            Desired::Unresolved(_) => situation.reconciling = Some((reason, message.clone())),
            Desired::Known { .. } if it.facts.rejected => situation.stalled = Some((reason, message.clone())),
            Desired::Known { offer, .. } if it.roll.step == Step::Verifying => {
                match &it.facts.gates.verification {
                    Gate::Open => {}
                    // Nobody here asked for it, and what runs is what the spec allows.
                    Gate::Never { .. } if offer.is_some() => {}
                    Gate::Closed { .. } => situation.reconciling = Some((reason, message.clone())),
                    Gate::Never { .. } => situation.stalled = Some((reason, message.clone())),
                }
            }
            // A policy that is not there, or windows that no update fits into: no waiting helps.
            Desired::Known { .. } if matches!(*reason, "PolicyMissing" | "PolicyNotAccepted") => {
                situation.stalled = Some((reason, message.clone()))
            }
            Desired::Known { .. } if it.roll.step == Step::WaitingForWindow => {
                if let Gate::Never { .. } = it.facts.gates.window {
                    situation.stalled = Some((reason, message.clone()));
                }
            }
            Desired::Known { .. } => {}
        }
    }
    if let Some((reason, message)) = degraded(it) {
        situation.phase = Phase::Degraded;
        situation.message.clone_from(&message);
        situation.degraded = Some((reason, message));
    }
    situation
}

/// What is wrong with a relay that serves.
fn degraded(it: &Evidence<'_>) -> Option<Said> {
    if let Report::Unreachable { reason, .. } = it.report {
        let message = format!("the relay serves, but does not answer on its control port: {reason}");
        return Some(("ControlUnreachable", message));
    }
    let kept = it.kept.and_then(Kept::degraded);
    if let Some(("ControlUnreachable", _)) = kept {
        return kept;
    }
    let unexposed = it.unexposable.map(|why| ("NotExposed", why.to_owned()));
    unexposed.or(it.admin_missing.map(|why| ("AdminTokenMissing", why.to_owned()))).or(kept)
}
