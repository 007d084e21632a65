//! Is the new pod what it should be? Probing asks until it is, Settling whether it stays so.

use jiff::Timestamp;

use super::{Facts, PodFact, Probe, Roll, Step, later};

/// What the new pod's health means for the roll.
pub(super) enum Verdict {
    Pass,
    Wait,
    Fail(String),
}

pub(super) fn verdict(roll: &Roll, facts: &Facts, now: Timestamp) -> Verdict {
    if let Probe::Fail(why) = &facts.probe {
        return Verdict::Fail(why.clone());
    }
    let health = facts.timing.health;
    if let PodFact::New { restarted: true, .. } = facts.pod {
        return Verdict::Fail("the relay's process ended in the new pod and had to be started again".into());
    }
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

/// The new pod has stayed healthy for as long as it must.
pub(super) fn settled(roll: &Roll, facts: &Facts, now: Timestamp) -> bool {
    matches!(facts.pod, PodFact::New { unready_since: None, restarted: false, .. })
        && now >= later(roll.since, facts.timing.settle)
}
