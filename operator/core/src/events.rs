//! Events: one for each transition a person would want in `kubectl describe`, none while nothing changes.
//!
//! They follow from two statuses, the stored one and the next, so a restarted operator repeats none. Pure.

use paramant_crds::ParamantRelayStatus;
use paramant_crds::condition::{
    ACCEPTED, Condition, DEGRADED, DRAINED, EXPIRING_SOON, LICENSE_VALID, LOG_CONSISTENT, LOG_WITNESSED,
    REACHABLE, READY, RECONCILING, STALLED, TELEMETRY_CONSENTED, UPDATE_AVAILABLE, UPDATE_BLOCKED, VALID,
};
use paramant_crds::relay::Phase;

use crate::conditions::find;
use crate::decision::{Event, EventType};
use crate::remote::news;
use crate::status::{RECALLED, is_true};
use crate::witnessing::NO_WITNESSES;

/// What holds an update back as it was meant to.
const WAITS: [&str; 8] = [
    "AwaitingApproval",
    "Excluded",
    "FilesInMemory",
    "OutsideWindow",
    "RegistryUnavailable",
    "ResolvingImage",
    "TierUnknown",
    "TooLittleTimeLeft",
];

/// What happened between two statuses.
pub fn events(before: &ParamantRelayStatus, next: &ParamantRelayStatus) -> Vec<Event> {
    let mut events = Vec::new();
    let leads = (next.phase, lead(next));
    if (before.phase, lead(before)) != leads {
        let type_ = match next.phase {
            Some(Phase::Blocked | Phase::Degraded | Phase::RollingBack) => EventType::Warning,
            _ => EventType::Normal,
        };
        let reason = leads.1.unwrap_or("Changed").to_owned();
        events.push(Event { type_, reason, message: next.message.clone().unwrap_or_default() });
    }
    let (was, is) = (&before.conditions, &next.conditions);
    turned(&mut events, was, is, DRAINED, true, EventType::Normal);
    turned(&mut events, was, is, LICENSE_VALID, false, EventType::Warning);
    turned(&mut events, was, is, LOG_CONSISTENT, false, EventType::Warning);
    let recalled = find(is, UPDATE_AVAILABLE).is_some_and(|it| it.reason == RECALLED);
    let kind = if recalled { EventType::Warning } else { EventType::Normal };
    turned(&mut events, was, is, UPDATE_AVAILABLE, true, kind);
    if recalled {
        turned(&mut events, was, is, UPDATE_AVAILABLE, false, kind);
    }
    let waits = find(is, UPDATE_BLOCKED).is_some_and(|it| WAITS.contains(&it.reason.as_str()));
    let kind = if waits { EventType::Normal } else { EventType::Warning };
    turned(&mut events, was, is, UPDATE_BLOCKED, true, kind);
    turned(&mut events, was, is, LOG_WITNESSED, false, EventType::Warning);
    // A choice, and a change on its way, are no news.
    events.retain(|event| event.reason != NO_WITNESSES && event.reason != "Configuring");
    // The transition itself may already have said the same.
    events.dedup_by(|later, earlier| later.reason == earlier.reason);
    events.extend(news::events(before, next));
    events
}

/// What happened to a policy.
pub fn policy_events(before: &[Condition], next: &[Condition]) -> Vec<Event> {
    let mut events = Vec::new();
    turned(&mut events, before, next, ACCEPTED, true, EventType::Normal);
    turned(&mut events, before, next, ACCEPTED, false, EventType::Warning);
    turned(&mut events, before, next, REACHABLE, false, EventType::Warning);
    events
}

/// What happened to a licence.
pub fn license_events(before: &[Condition], next: &[Condition]) -> Vec<Event> {
    let mut events = Vec::new();
    turned(&mut events, before, next, VALID, true, EventType::Normal);
    turned(&mut events, before, next, VALID, false, EventType::Warning);
    turned(&mut events, before, next, REACHABLE, false, EventType::Warning);
    let refused = find(next, REACHABLE).is_some_and(|it| it.reason == "Refused");
    let kind = if refused { EventType::Warning } else { EventType::Normal };
    turned(&mut events, before, next, REACHABLE, true, kind);
    turned(&mut events, before, next, EXPIRING_SOON, true, EventType::Warning);
    turned(&mut events, before, next, TELEMETRY_CONSENTED, true, EventType::Normal);
    turned(&mut events, before, next, STALLED, true, EventType::Warning);
    // Nobody is asked: that is how a licence begins, and no news.
    events.retain(|event| event.reason != "Offline");
    events
}

/// The reason that matters most.
fn lead(status: &ParamantRelayStatus) -> Option<&str> {
    let abnormal = [STALLED, RECONCILING, DEGRADED].into_iter().find(|type_| is_true(status, type_));
    match (abnormal, status.phase) {
        (None, Some(Phase::Draining)) => Some("Draining"),
        (None, Some(Phase::Drained)) => Some("Drained"),
        _ => find(&status.conditions, abnormal.unwrap_or(READY)).map(|condition| condition.reason.as_str()),
    }
}

/// One condition that turned, or that changed its reason while turned.
fn turned(
    events: &mut Vec<Event>,
    before: &[Condition],
    next: &[Condition],
    type_: &str,
    to: bool,
    kind: EventType,
) {
    let wanted = if to { "True" } else { "False" };
    let said = |conditions| find(conditions, type_).filter(|it| it.status == wanted);
    let Some(now) = said(next) else { return };
    if said(before).is_none_or(|then| then.reason != now.reason) {
        // `Drained: False` for a relay that never was drained is no news.
        events.push(Event { type_: kind, reason: now.reason.clone(), message: now.message.clone() });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn condition(type_: &str, status: &str, reason: &str) -> Condition {
        serde_json::from_value(json!({
            "type": type_, "status": status, "reason": reason, "message": format!("because of {reason}"),
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    #[test]
    fn a_policy_tells_when_it_is_accepted_and_when_it_is_not_and_nothing_while_nothing_changes() {
        let (good, bad) =
            ([condition(ACCEPTED, "True", "Accepted")], [condition(ACCEPTED, "False", "Contradiction")]);
        let told = |before: &[Condition], next: &[Condition]| {
            policy_events(before, next).into_iter().map(|it| (it.type_, it.reason)).collect::<Vec<_>>()
        };
        assert_eq!(told(&[], &good), [(EventType::Normal, "Accepted".to_owned())]);
        assert_eq!(told(&good, &bad), [(EventType::Warning, "Contradiction".to_owned())]);
        assert_eq!(told(&bad, &good), [(EventType::Normal, "Accepted".to_owned())]);
        assert_eq!(told(&good, &good), []);
        let unreachable =
            [condition(ACCEPTED, "True", "Accepted"), condition(REACHABLE, "False", "NoWindow")];
        assert_eq!(told(&good, &unreachable), [(EventType::Warning, "NoWindow".to_owned())]);
    }

    #[test]
    fn a_licence_tells_when_it_stops_counting_and_when_it_ends_soon() {
        let (valid, none) =
            ([condition(VALID, "True", "Valid")], [condition(VALID, "False", "NoValidLicense")]);
        assert_eq!(license_events(&valid, &none)[0].reason, "NoValidLicense");
        assert_eq!(license_events(&none, &valid)[0].type_, EventType::Normal);
        assert_eq!(license_events(&[], &[condition(VALID, "Unknown", "NotReported")]), []);
        let soon = [condition(VALID, "True", "Valid"), condition(EXPIRING_SOON, "True", "EndsSoon")];
        assert_eq!(license_events(&valid, &soon)[0].message, "because of EndsSoon");
    }
}
