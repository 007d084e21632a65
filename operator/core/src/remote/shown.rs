//! What a relay reports of a vendor's requests, as status and the condition `RemoteActionPending`.
//!
//! Counters (how often a key was used, how many documents could not be verified) are left out, for they would be writes without
//! news. A request whose id has no shape cannot be answered and is not shown; text is cut to what the schema takes and stays on
//! one line. A relay that knows no requests has neither status nor condition. Pure; called by [`crate::status`].

use std::collections::BTreeSet;

use paramant_crds::ParamantRelayStatus;
use paramant_crds::condition::REMOTE_ACTION_PENDING;
use paramant_crds::relay::{
    AnsweredRequest, PendingRequest, RemoteActionsStatus, RequestOutcome, SupportKeyState, SupportKeyStatus,
};
use paramant_crds::text::RequestId;
use paramant_protocol::control::{RelayState, RemoteReport, RemoteRequest, RemoteState, SupportState};

use super::{SUPPORT_KEY, waiting_reason};
use crate::conditions::{Conditions, find};
use crate::status::time;

/// As many requests of one sort as the schema takes.
const MOST: usize = 16;
/// As many support keys.
const MOST_KEYS: usize = 64;

/// `status.remoteActions`.
pub(crate) fn actions(
    before: &ParamantRelayStatus,
    believed: Option<&RelayState>,
) -> Option<RemoteActionsStatus> {
    let before = before.remote_actions.as_ref();
    let Some(state) = believed else { return before.cloned() };
    let report = state.remote.as_ref()?;
    let last = report.requests.iter().find(|it| it.sequence == Some(report.sequence));
    // The relay may have forgotten a request that status still shows.
    let kept = before.filter(|before| last.is_none() && before.last_sequence == Some(report.sequence));
    Some(RemoteActionsStatus {
        last_sequence: Some(report.sequence),
        last_action: last
            .map(|it| line(&it.kind, 128))
            .or_else(|| kept.and_then(|it| it.last_action.clone())),
        last_at: last.map(|it| time(it.received_at)).or_else(|| kept.and_then(|it| it.last_at.clone())),
        pending: pending(report),
        recent: recent(report),
        problem: (!report.problems.is_empty()).then(|| line(&report.problems.join("; "), 1024)),
    })
}

/// `status.support`.
pub(crate) fn support(before: &ParamantRelayStatus, believed: Option<&RelayState>) -> Vec<SupportKeyStatus> {
    let Some(state) = believed else { return before.support.clone() };
    let Some(report) = &state.remote else { return Vec::new() };
    let known: BTreeSet<&str> = report.support.iter().map(|key| key.id.as_str()).collect();
    let waiting = pending(report).into_iter().filter(|it| it.kind == SUPPORT_KEY);
    let waiting = waiting.filter(|it| !known.contains(it.id.as_str())).map(|it| SupportKeyStatus {
        key_id: it.id.0,
        role: it.role,
        expires_at: it.ends_at,
        state: SupportKeyState::Pending,
    });
    let mut seen = BTreeSet::new();
    let reported = report.support.iter().filter(|key| is_id(&key.id) && seen.insert(key.id.as_str()));
    let reported = reported.map(|key| SupportKeyStatus {
        key_id: key.id.clone(),
        role: role(&key.role),
        expires_at: time(key.until),
        state: match key.state {
            SupportState::Revoked => SupportKeyState::Revoked,
            SupportState::Expired => SupportKeyState::Expired,
            // What a newer relay calls otherwise may still be in force: better looked at once too often.
            SupportState::Active | SupportState::Unknown => SupportKeyState::Active,
        },
    });
    waiting.chain(reported).take(MOST_KEYS).collect()
}

/// Says `RemoteActionPending` of what `status.remoteActions` will be. `relay` is its namespace and name.
pub(crate) fn say(
    conditions: &mut Conditions<'_>,
    relay: (&str, &str),
    before: &ParamantRelayStatus,
    believed: Option<&RelayState>,
    actions: Option<&RemoteActionsStatus>,
) {
    if believed.is_none() {
        if find(&before.conditions, REMOTE_ACTION_PENDING).is_some() {
            conditions.keep(REMOTE_ACTION_PENDING, "NotReported", "the relay has not reported yet");
        }
        return;
    }
    let Some(actions) = actions else { return };
    let problem = actions.problem.as_ref().map(|problem| format!("; {problem}")).unwrap_or_default();
    let Some(first) = actions.pending.first() else {
        let message = format!("no request of the vendor waits for an answer{problem}");
        return conditions.say(REMOTE_ACTION_PENDING, false, "NothingPending", message);
    };
    let more = match actions.pending.len() {
        1 => String::new(),
        count => format!("; {} more wait: `kubectl paramant requests {} -n {}`", count - 1, relay.1, relay.0),
    };
    let message = format!("{}{more}{problem}", asked(first, Some(relay)));
    conditions.say(REMOTE_ACTION_PENDING, true, waiting_reason(&first.kind), message);
}

/// A request that waits, in one sentence; with how to answer it where the relay is named.
pub(crate) fn asked(request: &PendingRequest, relay: Option<(&str, &str)>) -> String {
    let PendingRequest { id, kind, role, reason, asks, ends_at } = request;
    let how = match relay {
        Some((namespace, name)) => format!(
            ": answer with `kubectl paramant allow {name} {id} -n {namespace}` (or deny), or on the relay's page /admin/actions"
        ),
        None => String::new(),
    };
    format!(
        "the vendor ({role}) asks by {kind} request {id}: {asks} (reason {reason}); it waits until {}{how}",
        ends_at.0
    )
}

/// Those that wait. The one that ends first comes first: it is the one to answer.
fn pending(report: &RemoteReport) -> Vec<PendingRequest> {
    let mut pending: Vec<PendingRequest> = shaped(report, |state| state == RemoteState::Waiting)
        .map(|it| PendingRequest {
            id: RequestId::from(it.id.as_str()),
            kind: line(&it.kind, 64),
            role: role(&it.role),
            reason: line(&it.reason, 128),
            asks: line(&it.asks, 512),
            ends_at: time(it.ends_at),
        })
        .collect();
    pending.sort_by(|a, b| (a.ends_at.0, &a.id).cmp(&(b.ends_at.0, &b.id)));
    pending.truncate(MOST);
    pending
}

fn recent(report: &RemoteReport) -> Vec<AnsweredRequest> {
    let answered = shaped(report, |state| state != RemoteState::Waiting).filter_map(|it| {
        let outcome = match it.state {
            RemoteState::Accepted => RequestOutcome::Accepted,
            RemoteState::Denied => RequestOutcome::Denied,
            RemoteState::Lapsed => RequestOutcome::Lapsed,
            RemoteState::Refused => RequestOutcome::Refused,
            RemoteState::Waiting | RemoteState::Unknown => return None,
        };
        Some(AnsweredRequest {
            id: RequestId::from(it.id.as_str()),
            kind: line(&it.kind, 64),
            role: role(&it.role),
            reason: line(&it.reason, 128),
            received_at: time(it.received_at),
            outcome,
            log_index: it.log_index,
        })
    });
    answered.take(MOST).collect()
}

/// Requests in one sort of state, each id once, in the order of the report.
fn shaped(
    report: &RemoteReport,
    wanted: impl Fn(RemoteState) -> bool,
) -> impl Iterator<Item = &RemoteRequest> {
    let mut seen = BTreeSet::new();
    report.requests.iter().filter(move |it| wanted(it.state) && is_id(&it.id) && seen.insert(it.id.as_str()))
}

fn is_id(text: &str) -> bool {
    RequestId::from(text).is_valid()
}

/// As status spells it.
fn role(word: &str) -> String {
    match word {
        "owner" => "Owner".to_owned(),
        "support" => "Support".to_owned(),
        other => line(other, 63),
    }
}

fn line(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
