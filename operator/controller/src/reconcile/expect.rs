//! Has the watch shown our own last writes yet?
//!
//! A pass reads local stores, which trail the API server by some milliseconds. Deciding on a copy from before our own write
//! could number two different directives alike, or apply the same object twice. So each write notes the version it
//! replaced, and passes wait until the store shows another one. A note that is not met soon is dropped: the watch itself
//! may be broken, and conflicts still protect every write that matters.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Resource;
use paramant_operator_core::Observation;
use tokio::time::Instant;

use crate::key::RelayKey;

/// A watch that needs longer than this to show a write is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Expected {
    kind: String,
    name: String,
    /// The version our write replaced; `None` when it made the object.
    before: Option<String>,
    since: Instant,
}

/// The notes of all relays.
#[derive(Debug, Default)]
pub(super) struct Expectations(Mutex<BTreeMap<RelayKey, Vec<Expected>>>);

impl Expectations {
    /// Notes a write that turned version `before` into `after`; a write that changed nothing is none.
    pub(super) fn expect(
        &self,
        key: &RelayKey,
        kind: &str,
        name: &str,
        before: Option<String>,
        after: Option<String>,
    ) {
        // Nothing is decided on the copies of policies and licences themselves that a conflict would not catch.
        if before == after || matches!(kind, "ParamantPolicy" | "ParamantLicense") {
            return;
        }
        let expected =
            Expected { kind: kind.to_owned(), name: name.to_owned(), before, since: Instant::now() };
        let mut notes = self.lock();
        let notes = notes.entry(key.clone()).or_default();
        notes.retain(|note| note.kind != kind || note.name != name);
        notes.push(expected);
    }

    /// Something that was written but is not shown yet.
    pub(super) fn unmet(&self, key: &RelayKey, observation: &Observation) -> Option<String> {
        let mut all = self.lock();
        let notes = all.get_mut(key)?;
        notes.retain(|note| {
            note.since.elapsed() < PATIENCE && version(observation, &note.kind, &note.name) == note.before
        });
        let unmet = notes.first().map(|note| format!("{} {}", note.kind, note.name));
        if notes.is_empty() {
            all.remove(key);
        }
        unmet
    }

    /// What was written and may not be shown yet.
    pub(super) fn of(&self, key: &RelayKey) -> Vec<String> {
        let all = self.lock();
        let notes = all.get(key).into_iter().flatten().filter(|note| note.since.elapsed() < PATIENCE);
        notes.map(|note| format!("{} {}", note.kind, note.name)).collect()
    }

    pub(super) fn forget(&self, key: &RelayKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RelayKey, Vec<Expected>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The resourceVersion an observation shows for one object.
pub(super) fn version(observation: &Observation, kind: &str, name: &str) -> Option<String> {
    held(observation, kind, name)?.version
}

/// One object as an observation holds it.
pub(super) struct Held {
    pub(super) uid: Option<String>,
    pub(super) version: Option<String>,
}

/// One object of an observation, if it holds it.
pub(super) fn held(observation: &Observation, kind: &str, name: &str) -> Option<Held> {
    fn of<K: Resource>(object: Option<&std::sync::Arc<K>>, name: &str) -> Option<Held> {
        let meta = object?.meta();
        (meta.name.as_deref() == Some(name))
            .then(|| Held { uid: meta.uid.clone(), version: meta.resource_version.clone() })
    }
    let children = &observation.children;
    let couriers = children.couriers();
    match kind {
        "ParamantRelay" => of(Some(&observation.relay), name),
        "StatefulSet" => of(children.stateful_set.as_ref(), name),
        "Deployment" => couriers.iter().find_map(|it| of(it.deployment.as_ref(), name)),
        "Service" => of(children.service.as_ref(), name)
            .or_else(|| of(children.headless.as_ref(), name))
            .or_else(|| couriers.iter().find_map(|it| of(it.control.as_ref(), name))),
        "ServiceAccount" => of(children.service_account.as_ref(), name)
            .or_else(|| couriers.iter().find_map(|it| of(it.service_account.as_ref(), name))),
        "ConfigMap" => of(children.config.as_ref(), name).or_else(|| of(children.state.as_ref(), name)),
        "NetworkPolicy" => of(children.network_policy.as_ref(), name)
            .or_else(|| couriers.iter().find_map(|it| of(it.network_policy.as_ref(), name))),
        "Ingress" => of(children.ingress.as_ref(), name),
        "PersistentVolumeClaim" => of(children.claim.as_ref(), name),
        "Pod" => children.pods.iter().find_map(|pod| of(Some(pod), name)),
        "HTTPRoute" => {
            let metadata = children.http_route.as_ref()?.get("metadata")?;
            let text = |field: &str| metadata.get(field)?.as_str().map(str::to_owned);
            Some(Held { uid: text("uid"), version: text("resourceVersion") })
        }
        _ => None,
    }
}
