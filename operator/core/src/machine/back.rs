//! The way back: when a roll turns round, and when it is back.

use jiff::Timestamp;

use super::{Facts, PodFact, Roll, Step, Target, later, wants_roll};

/// Back to what was good; with nothing to go back to, to rest, and what the pod says is what status says.
pub(super) fn fail(roll: &Roll, facts: &Facts, now: Timestamp, why: String) -> Roll {
    if !facts.has_way_back() {
        return Roll::idle(now);
    }
    Roll {
        step: Step::RollingBack,
        target: roll.target.clone(),
        victim: facts.pod.uid().map(str::to_owned),
        since: now,
        failure: Some(why),
    }
}

/// Back to what was good though nothing speaks against the new template: the target is then the good one, and nothing is
/// rejected.
pub(super) fn give_up(roll: &Roll, facts: &Facts, now: Timestamp) -> Roll {
    let back = fail(roll, facts, now, String::new());
    let good = facts.last_good.clone().zip(back.target.clone());
    let target = good.map(|(template, given_up)| match &facts.desired {
        Some(desired) if desired.template == template => desired.clone(),
        _ => Target { template, ..given_up },
    });
    Roll { target, failure: None, ..back }
}

pub(super) fn rolling_back(roll: &Roll, facts: &Facts, now: Timestamp) -> Roll {
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
