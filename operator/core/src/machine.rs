//! The one machine for every template change: image, pod settings and Secret references alike.
//!
//! `Idle → Verifying → WaitingForApproval → WaitingForWindow → Draining → Replacing → Probing → Settling → Idle`, and
//! `→ RollingBack → Idle` from the last three. [`next`] is a total function of what status stores and what is seen; waiting
//! steps whose gate is open are skipped. [`act`] says what a *stored* step allows, so nothing disruptive happens before
//! it was written down: the caller acts only when `next` returned exactly what was stored.
//!
//! Invariants: a template is written only in Replacing or RollingBack; a pod is deleted only there, only when the template
//! is in place, and only the recorded victim; Idle, the waiting steps and Draining never touch pod or template.

mod back;
mod facts;
mod health;

use std::time::Duration;

use jiff::Timestamp;
pub use paramant_crds::relay::Step;

use self::back::{fail, give_up, rolling_back};
pub use self::facts::{DrainProgress, Facts, PodFact, Probe, Timing};
use self::health::{Verdict, settled, verdict};
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
            Some(desired) if stranded(facts) => {
                let good = facts.last_good.clone().map(|template| Target { template, ..desired.clone() });
                Roll { victim: facts.pod.uid().map(str::to_owned), ..enter(Step::RollingBack, good) }
            }
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
            let step = gated(roll.step, facts, now);
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
            // A person need not wait for the end of what they do not want any more.
            if facts.wants_back() {
                return give_up(roll, facts, now);
            }
            match verdict(roll, facts, now) {
                Verdict::Wait if roll.step == Step::Probing && facts.overran(now) => {
                    give_up(roll, facts, now)
                }
                Verdict::Wait => stay(),
                // With nothing to go back to, as after a first installation, there is nothing to watch it for.
                Verdict::Pass if roll.step == Step::Probing && facts.has_way_back() => {
                    enter(Step::Settling, roll.target.clone())
                }
                Verdict::Pass => enter(Step::Idle, None),
                Verdict::Fail(why) => fail(roll, facts, now, why),
            }
        }
        Step::RollingBack => rolling_back(roll, facts, now),
    }
}

/// The step while nothing may be done: a roll that has touched nothing yet asks for its window again, for its own may have
/// closed by the time the hold ends.
pub fn held(roll: &Roll, facts: &Facts, now: Timestamp) -> Roll {
    let written = facts.rolled.as_ref() == roll.target.as_ref().map(|target| &target.template);
    let waiting = || Roll { step: Step::WaitingForWindow, target: roll.target.clone(), ..Roll::idle(now) };
    match roll.step {
        Step::Draining => waiting(),
        Step::Replacing if !written => waiting(),
        _ => roll.clone(),
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

/// When to look again though nothing changes: the next instant, after `now`, at which time alone may change the answer.
pub fn wake(roll: &Roll, facts: &Facts, now: Timestamp) -> Option<Timestamp> {
    let after = |wait: Duration| Some(later(roll.since, wait));
    let (timing, closes) = (&facts.timing, facts.closes);
    let instants = match roll.step {
        Step::Idle => [None, None],
        Step::Verifying => [until(&facts.gates.verification), None],
        Step::WaitingForApproval => [until(&facts.gates.approval), None],
        Step::WaitingForWindow => [until(&facts.gates.window), None],
        Step::Draining => [after(timing.drain), closes],
        Step::Probing => [after(timing.health), closes],
        Step::RollingBack => [after(timing.health), None],
        Step::Replacing => [after(timing.grace.saturating_add(timing.health)), closes],
        Step::Settling => match &facts.pod {
            PodFact::New { unready_since: Some(unready), .. } => [Some(later(*unready, timing.health)), None],
            _ => [after(timing.settle), None],
        },
    };
    instants.into_iter().flatten().filter(|instant| *instant > now).min()
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

/// A pod of a failed release is left, serves nobody, and the last good template is in place for its successor: the way back was
/// interrupted before its end, by the loss of status or by an API server that refused the template for a while.
fn stranded(facts: &Facts) -> bool {
    facts.rolled.is_some()
        && facts.rolled == facts.last_good
        && facts.refused.is_none()
        && (facts.rejected || facts.pod_rejected)
        && matches!(facts.pod, PodFact::Old { serving: false, terminating: false, .. })
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
fn gated(step: Step, facts: &Facts, now: Timestamp) -> Step {
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
    if step == Step::Draining && facts.overran(now) {
        // But nothing was touched yet, and by the policy's word the roll had to be over by now.
        return Step::WaitingForWindow;
    }
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
            Some(desired) if desired == target && !facts.rejected && !facts.overran(now) => roll.clone(),
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
    if facts.overran(now) && facts.has_way_back() && !matches!(facts.pod, PodFact::New { .. }) {
        return give_up(roll, facts, now);
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
    superseding(roll, facts).is_some() && facts.has_way_back()
}

fn later(from: Timestamp, wait: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| from.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod product;
#[cfg(test)]
mod tests;
