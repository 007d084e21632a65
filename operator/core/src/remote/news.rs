//! Events about a vendor's requests: one when a request begins to wait, one when it is settled, one for each turn of a support key.
//!
//! They follow from two statuses. Of a relay that is looked at for the first time only what waits and what is in force is told:
//! the rest is history. Pure; called by [`crate::events`].

use paramant_crds::ParamantRelayStatus;
use paramant_crds::relay::{
    AnsweredRequest, RemoteActionsStatus, RequestOutcome, SupportKeyState, SupportKeyStatus,
};

use super::{shown, waiting_reason};
use crate::decision::{Event, EventType};

/// What happened between two statuses.
pub(crate) fn events(before: &ParamantRelayStatus, next: &ParamantRelayStatus) -> Vec<Event> {
    let Some(is) = &next.remote_actions else { return Vec::new() };
    let first_look = before.remote_actions.is_none();
    let was = before.remote_actions.clone().unwrap_or_default();
    let mut events = Vec::new();
    let mut tell = |type_, reason: &str, message| {
        events.push(Event { type_, reason: reason.to_owned(), message });
    };
    for request in is.pending.iter().filter(|it| !was.pending.iter().any(|then| then.id == it.id)) {
        tell(EventType::Normal, waiting_reason(&request.kind), shown::asked(request, None));
    }
    // Listed with the newest at the front, told as they came.
    for request in is.recent.iter().rev().filter(|it| !first_look && is_news(it, &was)) {
        let AnsweredRequest { id, kind, role, reason, .. } = request;
        let (type_, word, what) = match request.outcome {
            RequestOutcome::Accepted => (EventType::Normal, "RemoteActionAccepted", "was accepted"),
            RequestOutcome::Denied => (EventType::Normal, "RemoteActionDenied", "was denied by an admin"),
            RequestOutcome::Lapsed => (EventType::Normal, "RemoteActionLapsed", "lapsed without an answer"),
            RequestOutcome::Refused => (EventType::Warning, "RemoteActionRefused", "was refused"),
        };
        tell(type_, word, format!("the vendor's {kind} request {id} ({role}, reason {reason}) {what}"));
    }
    for key in &next.support {
        let then = before.support.iter().find(|then| then.key_id == key.key_id).map(|then| then.state);
        let history = first_look && key.state != SupportKeyState::Active;
        if then != Some(key.state)
            && !history
            && let Some((reason, message)) = turn(key)
        {
            tell(EventType::Normal, reason, message);
        }
    }
    if let Some(problem) = is.problem.as_ref().filter(|_| is.problem != was.problem) {
        tell(EventType::Warning, "RemoteActionProblem", problem.clone());
    }
    events
}

/// Settled since. An old request may come back into a list that others have left, and is no news.
fn is_news(request: &AnsweredRequest, was: &RemoteActionsStatus) -> bool {
    let known = was.recent.iter().any(|then| then.id == request.id);
    let newest = was.recent.iter().map(|then| then.received_at.0).max();
    let waited = was.pending.iter().any(|then| then.id == request.id);
    !known && (waited || newest.is_none_or(|newest| request.received_at.0 >= newest))
}

/// What became of a support key.
fn turn(key: &SupportKeyStatus) -> Option<(&'static str, String)> {
    let SupportKeyStatus { key_id, role, expires_at, state } = key;
    Some(match state {
        // Told as the request that it is.
        SupportKeyState::Pending => return None,
        SupportKeyState::Active => (
            "SupportKeyActive",
            format!("the support key {key_id} ({role}) reads diagnostics until {}", expires_at.0),
        ),
        SupportKeyState::Revoked => {
            ("SupportKeyRevoked", format!("the support key {key_id} ({role}) was revoked"))
        }
        SupportKeyState::Expired => {
            ("SupportKeyExpired", format!("the support key {key_id} ({role}) has expired"))
        }
    })
}
