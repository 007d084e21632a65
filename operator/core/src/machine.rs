//! The one machine for every template change: image, pod settings and Secret references alike.
//!
//! `Idle → Verifying → WaitingForApproval → WaitingForWindow → Draining → Replacing → Probing → Settling → Idle`, and
//! `→ RollingBack → Idle` from the last three. [`next`] is a total function of what status stores and what is seen; waiting
//! steps whose gate is open are skipped. [`act`] says what a *stored* step allows, so nothing disruptive happens before
//! it was written down: the caller acts only when `next` returned exactly what was stored.
//!
//! Invariants: a template is written only in Replacing or RollingBack; a pod is deleted only there, only when the template
//! is in place, and only the recorded victim; Idle, the waiting steps and Draining never touch pod or template.

mod facts;

use std::time::Duration;

use jiff::Timestamp;
pub use paramant_crds::relay::Step;

pub use self::facts::{DrainProgress, Facts, PodFact, Probe, Timing};
use crate::digest::Digest;

/// All steps, in order.
pub const STEPS: [Step; 9] = [
    Step::Idle,
    Step::Verifying,
    Step::WaitingForApproval,
    Step::WaitingForWindow,
    Step::Draining,
    Step::Replacing,
    Step::Probing,
    Step::Settling,
    Step::RollingBack,
];

/// What one roll leads to: a whole template, and the image in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The digest of the template.
    pub template: Digest,
    /// The digest of the image, for people and policies.
    pub image: Digest,
}

/// The machine's memory, kept in status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roll {
    /// The step.
    pub step: Step,
    /// Where it leads; `None` only in Idle.
    pub target: Option<Target>,
    /// The UID of the one pod that Replacing or RollingBack may delete.
    pub victim: Option<String>,
    /// When this step began.
    pub since: Timestamp,
    /// Why it rolls back, in one sentence.
    pub failure: Option<String>,
}

impl Roll {
    /// At rest.
    pub fn idle(since: Timestamp) -> Self {
        Self { step: Step::Idle, target: None, victim: None, since, failure: None }
    }
}

/// What a stored step allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Nothing beyond re-sending what is rolled.
    Hold,
    /// Make the desired template the rolled one.
    WriteTarget,
    /// Make the last good template the rolled one.
    WriteLastGood,
    /// Delete the pod with this UID.
    Delete {
        /// The victim of the stored step.
        uid: String,
    },
    /// Remember the rolled template as the last good one.
    Confirm,
}

/// The next step. Total: any memory with any facts has one answer.
pub fn next(roll: &Roll, facts: &Facts, now: Timestamp) -> Roll {
    let stay = || roll.clone();
    let enter = |step, target: Option<Target>| Roll { step, target, victim: None, since: now, failure: None };
    match roll.step {
        Step::Idle => match &facts.desired {
            Some(desired) if wants_roll(facts, desired) => enter(Step::Verifying, Some(desired.clone())),
            Some(desired) if unconfirmed(facts, desired) => enter(Step::Probing, Some(desired.clone())),
            _ => stay(),
        },
        Step::Verifying | Step::WaitingForApproval | Step::WaitingForWindow | Step::Draining => {
            let Some(desired) = facts.desired.as_ref().filter(|desired| wants_roll(facts, desired)) else {
                return enter(Step::Idle, None);
            };
            if roll.target.as_ref() != Some(desired) {
                return enter(Step::Verifying, Some(desired.clone()));
            }
            let step = gated(roll.step, facts);
            if step == roll.step {
                return stay();
            }
            let victim = if step == Step::Replacing { facts.pod.uid().map(str::to_owned) } else { None };
            Roll { victim, ..enter(step, roll.target.clone()) }
        }
        Step::Replacing => replacing(roll, facts, now),
        Step::Probing | Step::Settling => {
            if let PodFact::Old { uid, .. } = &facts.pod {
                return Roll { victim: Some(uid.clone()), ..enter(Step::Replacing, roll.target.clone()) };
            }
            match verdict(roll, facts, now) {
                Verdict::Wait => stay(),
                Verdict::Pass if roll.step == Step::Probing => enter(Step::Settling, roll.target.clone()),
                Verdict::Pass => enter(Step::Idle, None),
                Verdict::Fail(why) => fail(roll, facts, now, why),
            }
        }
        Step::RollingBack => rolling_back(roll, facts, now),
    }
}

/// What the stored step allows now. The caller must have checked that [`next`] returned the stored roll unchanged.
pub fn act(stored: &Roll, facts: &Facts, now: Timestamp) -> Act {
    let wanted = match stored.step {
        Step::Replacing => stored.target.as_ref().map(|target| &target.template),
        Step::RollingBack => facts.last_good.as_ref(),
        Step::Settling if settled(stored, facts, now) && facts.last_good != facts.rolled => {
            return Act::Confirm;
        }
        _ => return Act::Hold,
    };
    if stored.step == Step::Replacing && may_take_back(stored, facts) {
        return Act::WriteLastGood;
    }
    if wanted.is_none() || facts.rolled.as_ref() != wanted {
        return match (stored.step, wanted) {
            (_, None) => Act::Hold,
            (Step::Replacing, Some(_)) => Act::WriteTarget,
            (_, Some(_)) => Act::WriteLastGood,
        };
    }
    match (&facts.pod, &stored.victim) {
        (PodFact::Old { uid, terminating: false, .. }, Some(victim)) if uid == victim => {
            Act::Delete { uid: uid.clone() }
        }
        _ => Act::Hold,
    }
}

/// When to look again though nothing changes.
pub fn wake(roll: &Roll, facts: &Facts) -> Option<Timestamp> {
    let after = |wait: Duration| later(roll.since, wait);
    match roll.step {
        Step::Idle | Step::Draining => None,
        Step::Verifying => until(&facts.gates.verification),
        Step::WaitingForApproval => until(&facts.gates.approval),
        Step::WaitingForWindow => until(&facts.gates.window),
        Step::Probing | Step::RollingBack => Some(after(facts.timing.health)),
        Step::Replacing => Some(after(facts.timing.grace.saturating_add(facts.timing.health))),
        Step::Settling => match &facts.pod {
            PodFact::New { unready_since: Some(unready), .. } => Some(later(*unready, facts.timing.health)),
            _ => Some(after(facts.timing.settle)),
        },
    }
}

fn until(gate: &crate::gate::Gate) -> Option<Timestamp> {
    match gate {
        crate::gate::Gate::Closed { until, .. } => *until,
        _ => None,
    }
}

/// The desired template is not what runs, and it may be tried.
fn wants_roll(facts: &Facts, desired: &Target) -> bool {
    let differs = facts.rolled.as_ref() != Some(&desired.template);
    // Written but not rolled: status was lost between the two, or `kubectl rollout restart` spoke.
    let behind = matches!(facts.pod, PodFact::Old { .. }) && facts.refused.is_none();
    !facts.rejected && (differs || behind)
}

/// It runs, something else was good before, and nobody is watching it: status was lost while it settled.
fn unconfirmed(facts: &Facts, desired: &Target) -> bool {
    !facts.rejected
        && facts.rolled.as_ref() == Some(&desired.template)
        && facts.last_good.is_some()
        && facts.last_good != facts.rolled
        && matches!(facts.pod, PodFact::New { .. })
}

/// The first step, from this one on, whose gate does not let through.
fn gated(step: Step, facts: &Facts) -> Step {
    if !facts.gates.verification.is_open() {
        return Step::Verifying;
    }
    // What never was healthy serves nobody: neither a window nor a person protects anything, and there is nothing to drain.
    if facts.last_good.is_none() && !facts.pod.serves() {
        return Step::Replacing;
    }
    if !facts.gates.approval.is_open() {
        return Step::WaitingForApproval;
    }
    // A window gates the start of a step, never its end.
    if step != Step::Draining {
        return if facts.gates.window.is_open() { Step::Draining } else { Step::WaitingForWindow };
    }
    let drained = facts.drain != DrainProgress::Running;
    let ready_to_replace = match facts.pod {
        // While the StatefulSet's controller lags, it is not known whom a new template would hit. One that the API server
        // does not take back would never be known: only another template helps.
        PodFact::Unknown => drained && facts.refused.is_some(),
        _ => drained || !facts.pod.serves(),
    };
    if ready_to_replace { Step::Replacing } else { Step::Draining }
}

fn replacing(roll: &Roll, facts: &Facts, now: Timestamp) -> Roll {
    let Some(target) = &roll.target else { return Roll::idle(now) };
    if facts.rolled.as_ref() != Some(&target.template) {
        // Not written yet, so turning back costs nothing.
        return match &facts.desired {
            Some(desired) if desired == target && !facts.rejected => roll.clone(),
            Some(desired) if wants_roll(facts, desired) => {
                Roll { step: Step::Verifying, target: Some(desired.clone()), ..Roll::idle(now) }
            }
            _ => Roll::idle(now),
        };
    }
    if let Some(why) = &facts.refused {
        return fail(roll, facts, now, format!("the API server refuses the new StatefulSet: {why}"));
    }
    if let Some(desired) = superseding(roll, facts)
        && !may_take_back(roll, facts)
    {
        return Roll { step: Step::Verifying, target: Some(desired.clone()), ..Roll::idle(now) };
    }
    let overdue = now >= later(roll.since, facts.timing.grace.saturating_add(facts.timing.health));
    match &facts.pod {
        PodFact::New { .. } => Roll { step: Step::Probing, target: roll.target.clone(), ..Roll::idle(now) },
        PodFact::Old { uid, .. } if roll.victim.as_ref() != Some(uid) => {
            Roll { victim: Some(uid.clone()), ..roll.clone() }
        }
        PodFact::Absent if overdue => fail(roll, facts, now, "no new pod was created in time".into()),
        PodFact::Unknown if overdue => {
            fail(roll, facts, now, "the StatefulSet did not take the new template in time".into())
        }
        PodFact::Old { .. } | PodFact::Absent | PodFact::Unknown => roll.clone(),
    }
}

/// What is wanted instead of a target that was written, but that no StatefulSet is seen to carry yet.
fn superseding<'f>(roll: &Roll, facts: &'f Facts) -> Option<&'f Target> {
    let written = roll.target.as_ref().is_some_and(|target| facts.rolled.as_ref() == Some(&target.template));
    let desired = facts.desired.as_ref().filter(|desired| wants_roll(facts, desired))?;
    (written && facts.pod == PodFact::Unknown && roll.target.as_ref() != Some(desired)).then_some(desired)
}

/// A target that is not wanted any more and has touched no pod is taken back as it was written, and has not failed.
fn may_take_back(roll: &Roll, facts: &Facts) -> bool {
    superseding(roll, facts).is_some() && facts.last_good.is_some() && facts.last_good != facts.rolled
}

fn rolling_back(roll: &Roll, facts: &Facts, now: Timestamp) -> Roll {
    if facts.last_good.is_none() {
        return Roll::idle(now);
    }
    if facts.rolled != facts.last_good {
        return roll.clone();
    }
    if facts.refused.is_some() {
        return Roll::idle(now);
    }
    let overdue = now >= later(roll.since, facts.timing.health);
    match &facts.pod {
        PodFact::New { unready_since: None, .. } => Roll::idle(now),
        // The last good template does not come up either: stop waiting, so that an edit can help.
        PodFact::New { .. } | PodFact::Absent if overdue => Roll::idle(now),
        // Nor is it taken. At rest nobody would see to the pod that failed, so only another wish ends this.
        PodFact::Unknown if overdue && facts.desired.as_ref().is_some_and(|it| wants_roll(facts, it)) => {
            Roll::idle(now)
        }
        PodFact::Old { uid, .. } if roll.victim.as_ref() != Some(uid) => {
            Roll { victim: Some(uid.clone()), ..roll.clone() }
        }
        _ => roll.clone(),
    }
}

enum Verdict {
    Pass,
    Wait,
    Fail(String),
}

fn verdict(roll: &Roll, facts: &Facts, now: Timestamp) -> Verdict {
    if let Probe::Fail(why) = &facts.probe {
        return Verdict::Fail(why.clone());
    }
    let health = facts.timing.health;
    match (roll.step, &facts.pod) {
        (Step::Probing, PodFact::New { unready_since: None, .. }) if facts.probe == Probe::Pass => {
            Verdict::Pass
        }
        (Step::Probing, PodFact::New { unready_since: None, .. }) if facts.probe == Probe::Unasked => {
            Verdict::Wait
        }
        (Step::Probing, PodFact::New { .. } | PodFact::Absent) if now >= later(roll.since, health) => {
            Verdict::Fail(format!("the new pod was not healthy within {} s", health.as_secs()))
        }
        (Step::Settling, PodFact::New { unready_since: Some(unready), .. })
            if now >= later(*unready, health) =>
        {
            Verdict::Fail(format!("the new pod was not ready for {} s while it settled", health.as_secs()))
        }
        (Step::Settling, _) if settled(roll, facts, now) && facts.last_good == facts.rolled => Verdict::Pass,
        _ => Verdict::Wait,
    }
}

fn settled(roll: &Roll, facts: &Facts, now: Timestamp) -> bool {
    matches!(facts.pod, PodFact::New { unready_since: None, .. })
        && now >= later(roll.since, facts.timing.settle)
}

/// Back to what was good; with nothing to go back to, to rest, and what the pod says is what status says.
fn fail(roll: &Roll, facts: &Facts, now: Timestamp, why: String) -> Roll {
    let way_back = facts.last_good.is_some() && facts.last_good != facts.rolled;
    Roll {
        step: if way_back { Step::RollingBack } else { Step::Idle },
        target: if way_back { roll.target.clone() } else { None },
        victim: if way_back { facts.pod.uid().map(str::to_owned) } else { None },
        since: now,
        failure: way_back.then_some(why),
    }
}

fn later(from: Timestamp, wait: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| from.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
