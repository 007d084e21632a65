//! Keeps one relay's event stream open and turns it into reports.
//!
//! A broken stream is dialled again at once (200 ms); the relay counts as unreachable only when a second attempt in a row failed, so a
//! relay that merely starts, or a connection that is merely cut, changes no condition. What changes every second under
//! traffic (log size, counters) is kept but wakes nobody.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use paramant_operator_core::observation::Report;
use paramant_protocol::control::{DrainState, OPERATOR_AUDIENCE, RelayState};
use tokio::sync::watch;
use tokio::time::Instant;

use super::exchange::{self, Channel};
use super::stream::Events;
use super::token::Expected;
use super::{Relay, Target, Trusted, Wanted, keys, tls};
use crate::authority;
use crate::backoff::Backoff;
use crate::queue::Wake;

/// The first wait after a failed attempt: a relay starts in a fraction of a second.
const RETRY_MIN: Duration = Duration::from_millis(200);
/// The longest. A node that comes back is noticed within it.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// A stream on which not even a comment came for so long is opened anew; relays send one every 10 s.
const PATIENCE: Duration = Duration::from_secs(60);
/// A stream that lasted so long ended for a reason of its own: the next attempt starts with the shortest wait again.
const STEADY: Duration = Duration::from_secs(10);
/// Failed attempts in a row before the relay counts as unreachable.
const UNREACHABLE_AFTER: u32 = 2;

/// Why an attempt ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Exchange(#[from] exchange::Error),
    #[error(transparent)]
    Leaf(#[from] authority::Error),
    #[error(transparent)]
    Proof(#[from] keys::Error),
    #[error("the relay reports another control key than it shows")]
    Inconsistent,
    #[error("the relay showed another control key than the one it had just proved")]
    OtherKey,
    #[error("the relay's control key is not the pinned one")]
    KeyChanged(String),
}

impl From<tls::Error> for Ended {
    fn from(error: tls::Error) -> Self {
        Self::Exchange(error.into())
    }
}

/// Follows one relay until the task is aborted.
pub(super) async fn run(relay: Arc<Relay>) {
    let mut wanted = relay.wanted.subscribe();
    loop {
        let target = wanted.borrow_and_update().target.clone();
        match target {
            Some(target) => follow(&relay, &target, &mut wanted).await,
            None => {
                relay.report(Report::Unknown, None);
                if wanted.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Follows one target until another one is wanted.
async fn follow(relay: &Relay, target: &Target, wanted: &mut watch::Receiver<Wanted>) {
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    let mut failures = 0;
    let mut since = Timestamp::now();
    if !reachable_in(relay, &target.pod_uid) {
        relay.report(Report::Unknown, None);
    }
    loop {
        let (mut heard, began) = (false, Instant::now());
        let ended = tokio::select! {
            Err(ended) = session(relay, target, &mut heard) => ended,
            () = superseded(target, wanted) => return,
        };
        tracing::debug!(relay = %relay.key, pod = %target.pod_uid, reason = %ended, "the event stream ended");
        relay
            .shared
            .metrics
            .control_connects
            .with_label_values(&[if heard { "lost" } else { "failed" }])
            .inc();
        if heard {
            failures = 0;
            since = Timestamp::now();
            if began.elapsed() >= STEADY {
                backoff.reset();
            }
        } else {
            failures += 1;
        }
        match &ended {
            Ended::KeyChanged(found) => {
                let report = Report::KeyChanged { found: found.clone(), pod_uid: target.pod_uid.clone() };
                relay.report(report, Some(Wake::Now));
            }
            other if failures >= UNREACHABLE_AFTER => {
                let report = Report::Unreachable { since, reason: other.to_string() };
                let news = !matches!(&relay.known().report, Report::Unreachable { reason, .. } if *reason == other.to_string());
                if news {
                    relay.report(report, Some(Wake::Now));
                }
            }
            _ => {}
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_delay()) => {}
            () = nudged(target, wanted) => {
                if wanted.borrow().target.as_ref().is_none_or(|now| !now.continues(target)) {
                    return;
                }
                backoff.reset();
            }
        }
    }
}

fn reachable_in(relay: &Relay, pod: &str) -> bool {
    matches!(&relay.known().report, Report::Reachable { pod_uid, .. } if pod_uid == pod)
}

/// Returns when the connection made for `target` is not the wanted one any more.
async fn superseded(target: &Target, wanted: &mut watch::Receiver<Wanted>) {
    let moved = |wanted: &Wanted| wanted.target.as_ref().is_none_or(|now| !now.continues(target));
    if wanted.wait_for(moved).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns when anything about the target changed that makes another attempt worthwhile now.
async fn nudged(target: &Target, wanted: &mut watch::Receiver<Wanted>) {
    let ready = wanted.borrow().target.as_ref().is_some_and(|now| now.pod_ready) || target.pod_ready;
    let changed = |wanted: &Wanted| match &wanted.target {
        None => true,
        Some(now) => !now.continues(target) || (now.pod_ready && !ready),
    };
    if wanted.wait_for(changed).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// One connection, from dialling to its end. Only ever ends with a reason.
async fn session(
    relay: &Relay,
    target: &Target,
    heard: &mut bool,
) -> Result<std::convert::Infallible, Ended> {
    // In boxes of their own: what opens a connection is many times what keeps it open, and this task lives for months.
    let mut connection = Box::pin(open(relay, target)).await?;
    let spki_sha256 = connection.spki_sha256.clone();
    match relay.expected_key(target) {
        Some(expected) if expected == spki_sha256 => {}
        Some(_) if target.pinned.is_some() => return Err(Ended::KeyChanged(spki_sha256)),
        // A key that was only seen by this process and is not stored yet binds nobody: the relay proves the new one.
        Some(_) | None => {
            Box::pin(prove(relay, target, *connection)).await?;
            connection = Box::pin(open(relay, target)).await?;
            if connection.spki_sha256 != spki_sha256 {
                return Err(Ended::OtherKey);
            }
        }
    }
    let trusted = Trusted { pod_uid: target.pod_uid.clone(), spki_sha256: spki_sha256.clone() };
    relay.trusted.send_if_modified(|now| {
        let news = now.as_ref() != Some(&trusted);
        *now = Some(trusted.clone());
        news
    });
    let mut events = Box::pin(Events::open(*connection)).await?;
    relay.shared.metrics.control_connects.with_label_values(&["open"]).inc();
    let _open = Open::count(relay);
    loop {
        let event = events.next(PATIENCE).await?;
        if event.name != "state" {
            continue;
        }
        let state: RelayState = serde_json::from_str(&event.data).map_err(|error| {
            Ended::Exchange(exchange::Error::Body { what: "GET /control/v1/events", why: error.to_string() })
        })?;
        if state.identity.control_spki_sha256 != spki_sha256 {
            return Err(Ended::Inconsistent);
        }
        *heard = true;
        relay.compare_held(&target.pod_uid, &state);
        take_state(relay, target, without_note(state));
    }
}

async fn open(relay: &Relay, target: &Target) -> Result<Box<tls::Connection>, Ended> {
    let leaf = relay.shared.leaves.current()?;
    Ok(Box::new(tls::dial(target.address, &leaf).await?))
}

/// The key that this connection shows is the one of the pod that is meant.
async fn prove(relay: &Relay, target: &Target, connection: tls::Connection) -> Result<(), Ended> {
    let mut channel = Channel::open(connection).await?;
    let proof = channel.proof().await?;
    let expected = Expected {
        audience: OPERATOR_AUDIENCE,
        namespace: &relay.key.namespace,
        service_account: &relay.key.name,
        pod_uid: Some(&target.pod_uid),
    };
    relay.shared.keys.check(&proof.token, expected).await?;
    tracing::info!(relay = %relay.key, key = %channel.spki_sha256, "the relay proved its control key");
    Ok(())
}

/// Decisions ask whether there is a checkpoint; head and proof stand beside it. The note with its signatures is most of a report,
/// and a thousand reports are kept.
fn without_note(mut state: RelayState) -> RelayState {
    state.log.checkpoint = state.log.checkpoint.map(|_| String::new());
    state
}

fn take_state(relay: &Relay, target: &Target, state: RelayState) {
    let wake = match &relay.known().report {
        Report::Reachable { state: before, pod_uid, .. } if *pod_uid == target.pod_uid => {
            urgency(before, &state)
        }
        _ => Some(Wake::Now),
    };
    let wake = wake.map(|wake| relay.calmed(wake));
    let report =
        Report::Reachable { state: Arc::new(state), pod_uid: target.pod_uid.clone(), at: Timestamp::now() };
    relay.report(report, wake);
}

/// How soon a change of state matters. Sizes and counters alone do not, unless a drain is counting them down.
pub(super) fn urgency(before: &RelayState, after: &RelayState) -> Option<Wake> {
    if without_counters(before) != without_counters(after) || after.log.size < before.log.size {
        return Some(Wake::Now);
    }
    (before != after && after.drain.state == DrainState::Draining).then_some(Wake::Child)
}

fn without_counters(state: &RelayState) -> RelayState {
    let mut state = state.clone();
    state.log.size = 0;
    state.log.root.clear();
    state.log.checkpoint_at = None;
    state.log.checkpoint = None;
    if let Some(consistency) = &mut state.log.consistency {
        consistency.proof.clear();
    }
    if let Some(witnesses) = &mut state.log.witnesses {
        (witnesses.size, witnesses.at) = (None, None);
        for member in &mut witnesses.members {
            (member.size, member.at) = (0, None);
        }
    }
    if let Some(remote) = &mut state.remote {
        remote.unverifiable = 0;
        remote.support.iter_mut().for_each(|key| key.uses = 0);
    }
    state.drain.uploads = 0;
    state.drain.claims = 0;
    state.drain.unclaimed = 0;
    state.license.active_users = 0;
    state
}

/// Counts an open stream for as long as it lives.
struct Open(prometheus::IntGauge);

impl Open {
    fn count(relay: &Relay) -> Self {
        let gauge = relay.shared.metrics.control_connected.clone();
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
