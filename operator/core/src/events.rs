//! Events: one for each transition a person would want in `kubectl describe`, none while nothing changes.
//!
//! They follow from two statuses, the stored one and the next, so a restarted operator repeats none. Pure.

use paramant_crds::ParamantRelayStatus;
use paramant_crds::condition::{
    DEGRADED, DRAINED, LICENSE_VALID, LOG_CONSISTENT, LOG_WITNESSED, READY, RECONCILING, STALLED,
    UPDATE_AVAILABLE, UPDATE_BLOCKED,
};
use paramant_crds::relay::Phase;

use crate::conditions::find;
use crate::decision::{Event, EventType};
use crate::status::is_true;
use crate::witnessing::NO_WITNESSES;

/// What holds an update back as it was meant to.
const WAITS: [&str; 5] =
    ["AwaitingApproval", "Excluded", "OutsideWindow", "ResolvingImage", "TooLittleTimeLeft"];

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
    turned(&mut events, before, next, DRAINED, true, EventType::Normal);
    turned(&mut events, before, next, LICENSE_VALID, false, EventType::Warning);
    turned(&mut events, before, next, LOG_CONSISTENT, false, EventType::Warning);
    turned(&mut events, before, next, UPDATE_AVAILABLE, true, EventType::Normal);
    let waits = find(&next.conditions, UPDATE_BLOCKED).is_some_and(|it| WAITS.contains(&it.reason.as_str()));
    let kind = if waits { EventType::Normal } else { EventType::Warning };
    turned(&mut events, before, next, UPDATE_BLOCKED, true, kind);
    turned(&mut events, before, next, LOG_WITNESSED, false, EventType::Warning);
    // A choice, and a change on its way, are no news.
    events.retain(|event| event.reason != NO_WITNESSES && event.reason != "Configuring");
    // The transition itself may already have said the same.
    events.dedup_by(|later, earlier| later.reason == earlier.reason);
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
    before: &ParamantRelayStatus,
    next: &ParamantRelayStatus,
    type_: &str,
    to: bool,
    kind: EventType,
) {
    let wanted = if to { "True" } else { "False" };
    let said = |status| find(status, type_).filter(|it| it.status == wanted);
    let Some(now) = said(&next.conditions) else { return };
    if said(&before.conditions).is_none_or(|then| then.reason != now.reason) {
        // `Drained: False` for a relay that never was drained is no news.
        events.push(Event { type_: kind, reason: now.reason.clone(), message: now.message.clone() });
    }
}
