//! The condition LogWitnessed: do as many witnesses as the spec asks for follow the log?
//!
//! Sizes change by the second and are left out; a relay without witnesses is told plainly what that means. Pure; called by
//! [`crate::status`].

use paramant_crds::condition::LOG_WITNESSED;
use paramant_protocol::control::{RelayState, WitnessState, WitnessesReport};

use crate::conditions::{Conditions, Truth};

/// Reason of a relay for which nobody is asked. No event is worth it.
pub const NO_WITNESSES: &str = "NoWitnesses";
/// A message holds no more than this of what one witness said.
const LONGEST: usize = 200;

/// Says it, from the spec and what the relay reports.
pub(crate) fn say(conditions: &mut Conditions<'_>, wanted: bool, believed: Option<&RelayState>) {
    let report = believed.and_then(|state| state.log.witnesses.as_ref());
    match (wanted, believed, report) {
        (false, _, None) => conditions.say(
            LOG_WITNESSED,
            false,
            NO_WITNESSES,
            "no witness is configured: whoever holds the log's keys could show two readers two different logs",
        ),
        (true, _, Some(report)) => {
            let (holds, reason, message) = judged(report);
            conditions.say(LOG_WITNESSED, holds, reason, message);
        }
        (true, Some(_), None) | (false, _, Some(_)) => conditions.say(
            LOG_WITNESSED,
            false,
            "Configuring",
            "waiting for the relay to take up the change of witnesses",
        ),
        (true, None, None) => conditions.keep(LOG_WITNESSED, "NotReported", "the relay has not reported yet"),
    }
}

fn judged(report: &WitnessesReport) -> (Truth, &'static str, String) {
    let evidence = |state| matches!(state, WitnessState::Ahead | WitnessState::Inconsistent);
    let wrong = |state| !matches!(state, WitnessState::Cosigning | WitnessState::Waiting);
    let named = |which: &dyn Fn(WitnessState) -> bool| -> String {
        let told = report.members.iter().filter(|member| which(member.state)).map(|member| {
            let why: String =
                member.message.as_deref().unwrap_or("no reason given").chars().take(LONGEST).collect();
            format!("{}: {why}", member.name)
        });
        told.collect::<Vec<_>>().join("; ")
    };
    if report.members.iter().any(|member| evidence(member.state)) {
        return (
            Truth::False,
            "AnotherHistory",
            format!("a witness has seen another history of this log: {}", named(&evidence)),
        );
    }
    let (quorum, count) = (report.quorum, report.members.len());
    let missing = named(&wrong);
    let wanted = format!("{quorum} of {count} witnesses must follow the log");
    match (report.reached, missing.is_empty()) {
        (true, true) => (Truth::True, "Quorum", format!("{wanted}, and do")),
        (true, false) => (Truth::True, "Quorum", format!("{wanted}, and do; {missing}")),
        // Nothing is wrong; they have only just been asked.
        (false, true) => (Truth::Unknown, "Waiting", format!("{wanted}; they have not all answered yet")),
        (false, false) => (Truth::False, "QuorumMissing", format!("{wanted}; {missing}")),
    }
}

#[cfg(test)]
mod tests {
    use paramant_protocol::control::WitnessReport;

    use super::*;

    fn report(reached: bool, states: &[WitnessState]) -> WitnessesReport {
        let member = |(number, state): (usize, &WitnessState)| WitnessReport {
            name: format!("w{number}"),
            size: 7,
            at: None,
            state: *state,
            message: Some("why".into()),
        };
        WitnessesReport {
            quorum: 1,
            size: Some(7),
            at: None,
            reached,
            members: states.iter().enumerate().map(member).collect(),
        }
    }

    #[test]
    fn the_reason_follows_from_the_quorum_and_evidence_comes_first() {
        use WitnessState::{Ahead, Busy, Cosigning, Inconsistent, Unreachable, Waiting};
        for (reached, states, holds, reason, names) in [
            (true, vec![Cosigning, Cosigning], Truth::True, "Quorum", ""),
            (true, vec![Cosigning, Unreachable], Truth::True, "Quorum", "w1: why"),
            (false, vec![Waiting], Truth::Unknown, "Waiting", "yet"),
            (false, vec![Unreachable, Busy], Truth::False, "QuorumMissing", "w0: why; w1: why"),
            (true, vec![Cosigning, Ahead], Truth::False, "AnotherHistory", "w1: why"),
            (true, vec![Inconsistent, Cosigning], Truth::False, "AnotherHistory", "w0: why"),
        ] {
            let (found, said, message) = judged(&report(reached, &states));
            assert_eq!((found, said), (holds, reason), "{states:?}");
            assert!(message.contains(names), "{message}");
        }
    }

    #[test]
    fn growth_alone_changes_no_word() {
        let (mut later, before) =
            (report(true, &[WitnessState::Cosigning]), report(true, &[WitnessState::Cosigning]));
        later.size = Some(99);
        later.members.iter_mut().for_each(|member| member.size = 99);
        assert_eq!(judged(&before), judged(&later));
    }
}
