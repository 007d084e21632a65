//! The operator's side of the control channel: one pair of tasks per relay, so that no relay ever delays another or a
//! reconcile.
//!
//! Reconcile says where a relay is ([`ControlPlane::aim`]) and what it shall be told ([`ControlPlane::direct`]), and reads
//! what it last reported ([`ControlPlane::report`]); all three return at once. [`follow`] keeps the event stream open and
//! turns it into reports; [`push`] delivers directives until they are answered. Nothing is believed and nothing is told
//! before the relay's key is the pinned one, or the relay has proved by a bound token which pod it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paramant_operator_core::observation::Report;
pub use paramant_protocol::bound_token as token;
use paramant_protocol::control::{Directives, DirectivesMark, FenceState, RelayState};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::authority::leaf::Leaves;
use crate::key::RelayKey;
use crate::metrics::Metrics;
use crate::queue::Wake;
use crate::queue::worker::Queue;

pub mod belief;
pub mod events;
pub mod exchange;
mod farewell;
pub mod follow;
pub mod keys;
pub mod push;
pub mod stream;
pub mod tls;

/// The port of the control listener in every relay pod.
pub const CONTROL_PORT: u16 = 7443;

/// Two reports within this time are restless: a drain that is asked for and begins is one report.
const RESTLESS_WITHIN: Duration = Duration::from_millis(100);

/// Where a relay is, and by which key it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The pod's address and the control port.
    pub address: SocketAddr,
    /// The pod that is dialled; a proof must be bound to it.
    pub pod_uid: String,
    /// The pinned key, once there is one: lower-case hex SHA-256 of the SubjectPublicKeyInfo.
    pub pinned: Option<String>,
    /// Whether the kubelet calls the pod ready. A change only ends a wait early.
    pub pod_ready: bool,
}

impl Target {
    /// Whether a connection made for `other` may go on.
    fn continues(&self, other: &Self) -> bool {
        self.address == other.address
            && self.pod_uid == other.pod_uid
            && (other.pinned.is_none() || self.pinned == other.pinned)
    }
}

/// What reconcile wants of one relay's tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wanted {
    target: Option<Target>,
    directives: Option<Arc<Directives>>,
}

/// What all tasks share.
pub struct Shared {
    leaves: Leaves,
    keys: Arc<dyn TokenCheck>,
    queue: Queue,
    metrics: Metrics,
}

/// Checks a relay's proof. A trait, so that tests need no API server.
pub trait TokenCheck: Send + Sync + 'static {
    /// Whether `token` proves that its bearer runs in the expected pod.
    fn check<'a>(
        &'a self,
        token: &'a str,
        expected: token::Expected<'a>,
    ) -> futures::future::BoxFuture<'a, Result<(), keys::Error>>;
}

impl TokenCheck for keys::ClusterKeys {
    fn check<'a>(
        &'a self,
        token: &'a str,
        expected: token::Expected<'a>,
    ) -> futures::future::BoxFuture<'a, Result<(), keys::Error>> {
        Box::pin(async move { self.verify(token, &expected).await })
    }
}

/// What the two tasks of one relay and reconcile know together.
struct Relay {
    key: RelayKey,
    shared: Arc<Shared>,
    wanted: watch::Sender<Wanted>,
    known: Mutex<Known>,
    /// The key that may be spoken to; also stirred when [`push`] shall look again.
    trusted: watch::Sender<Option<Trusted>>,
    /// The relay took what [`push`] delivered.
    answered: Notify,
}

#[derive(Default)]
struct Known {
    report: Report,
    /// When a report last woke the relay.
    woken: Option<Instant>,
    /// What the relay took, and in which pod.
    acknowledged: Option<(String, Arc<Directives>)>,
    /// What the relay refused, until it takes something.
    refused: Option<DirectivesMark>,
}

/// A key that may be spoken to, and in which pod.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trusted {
    pod_uid: String,
    spki_sha256: String,
}

impl Relay {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a report and wakes the relay.
    fn report(&self, report: Report, wake: Option<Wake>) {
        self.known().report = report;
        if let Some(wake) = wake {
            self.shared.queue.wake(self.key.clone(), wake);
        }
    }

    /// A relay that changes its mind many times a second is looked at with the calm of a busy child, not each time at once.
    fn calmed(&self, wake: Wake) -> Wake {
        let mut known = self.known();
        let restless = known.woken.is_some_and(|at| at.elapsed() < RESTLESS_WITHIN);
        known.woken = Some(Instant::now());
        if restless { Wake::Child } else { wake }
    }

    /// The key a connection to `target` must show, if one is known.
    fn expected_key(&self, target: &Target) -> Option<String> {
        let trusted = self.trusted.borrow();
        target.pinned.clone().or_else(|| {
            trusted
                .as_ref()
                .filter(|trusted| trusted.pod_uid == target.pod_uid)
                .map(|t| t.spki_sha256.clone())
        })
    }

    /// Notes what the relay says it holds; when that is not what was acknowledged, the directives are sent again. Also when the
    /// relay waits to hear whether it may sign its log: it started anew, and what lies on its disk is no answer to that.
    fn compare_held(&self, pod_uid: &str, state: &RelayState) {
        let held = state.directives.as_ref();
        let waits = state.log.fence.state == FenceState::Waiting;
        let mut known = self.known();
        let matches =
            known.acknowledged.as_ref().is_none_or(|(pod, sent)| pod == pod_uid && held == Some(&mark(sent)));
        if !matches || waits {
            known.acknowledged = None;
            drop(known);
            self.trusted.send_modify(|_| {});
        }
    }
}

/// The place of directives in their order.
fn mark(directives: &Directives) -> DirectivesMark {
    DirectivesMark { relay_uid: directives.relay_uid.clone(), epoch: directives.epoch, seq: directives.seq }
}

struct Tasks {
    relay: Arc<Relay>,
    handles: [JoinHandle<()>; 2],
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.handles.iter().for_each(JoinHandle::abort);
    }
}

#[derive(Default)]
struct Relays {
    present: BTreeMap<RelayKey, Tasks>,
    /// Gone from the cluster; their last word is on its way ([`farewell`]).
    parting: BTreeMap<RelayKey, Tasks>,
}

/// The tasks of all relays.
#[derive(Clone)]
pub struct ControlPlane {
    shared: Arc<Shared>,
    relays: Arc<Mutex<Relays>>,
}

impl ControlPlane {
    /// No relay yet. Only the leader makes one.
    pub fn new(leaves: Leaves, keys: Arc<dyn TokenCheck>, queue: Queue, metrics: Metrics) -> Self {
        Self { shared: Arc::new(Shared { leaves, keys, queue, metrics }), relays: Arc::default() }
    }

    /// Says where a relay is now; `None` while it has no pod with an address.
    pub fn aim(&self, key: &RelayKey, target: Option<Target>) {
        let relay = self.relay(key);
        relay.wanted.send_if_modified(|wanted| {
            let changed = wanted.target != target;
            wanted.target = target;
            changed
        });
    }

    /// Says what a relay shall be told.
    pub fn direct(&self, key: &RelayKey, directives: Directives) {
        let relay = self.relay(key);
        relay.wanted.send_if_modified(|wanted| {
            let changed = wanted.directives.as_deref() != Some(&directives);
            if changed {
                wanted.directives = Some(Arc::new(directives));
            }
            changed
        });
    }

    /// What a relay last reported.
    pub fn report(&self, key: &RelayKey) -> Report {
        self.lock().present.get(key).map(|tasks| tasks.relay.known().report.clone()).unwrap_or_default()
    }

    /// The directives that a relay last refused, until it takes some.
    pub fn refused(&self, key: &RelayKey) -> Option<DirectivesMark> {
        self.lock().present.get(key).and_then(|tasks| tasks.relay.known().refused.clone())
    }

    /// The newest state of every relay that is reachable.
    pub fn states(&self) -> Vec<(RelayKey, Arc<RelayState>)> {
        let relays = self.lock();
        let state = |tasks: &Tasks| match &tasks.relay.known().report {
            Report::Reachable { state, .. } => Some(state.clone()),
            Report::Unknown | Report::Unreachable { .. } | Report::KeyChanged { .. } => None,
        };
        let present = relays.present.iter();
        present.filter_map(|(key, tasks)| Some((key.clone(), state(tasks)?))).collect()
    }

    /// The certificates relays shall accept operators by now, PEM.
    pub fn ca_bundle_pem(&self) -> String {
        self.shared.leaves.authority().bundle_pem().to_owned()
    }

    /// The relays that are gone from the cluster and have not taken their last word yet.
    pub fn parting(&self) -> Vec<RelayKey> {
        self.lock().parting.keys().cloned().collect()
    }

    fn relay(&self, key: &RelayKey) -> Arc<Relay> {
        let mut relays = self.lock();
        relays.parting.remove(key);
        let tasks = relays.present.entry(key.clone()).or_insert_with(|| {
            let relay = Arc::new(Relay {
                key: key.clone(),
                shared: self.shared.clone(),
                wanted: watch::Sender::default(),
                known: Mutex::default(),
                trusted: watch::Sender::default(),
                answered: Notify::new(),
            });
            let handles = [tokio::spawn(follow::run(relay.clone())), tokio::spawn(push::run(relay.clone()))];
            Tasks { relay, handles }
        });
        tasks.relay.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Relays> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
