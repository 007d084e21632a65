//! One pass over one relay: observe, decide, act.
//!
//! The order is the safety: the next status is written first, on the resourceVersion that was observed, and a conflict ends
//! the pass; then the durable copy, then the relay is told, then children are applied, then at most one object is deleted. A
//! disruptive step is therefore on record before it is taken. Reads come from the local stores, and a pass waits until those
//! show its own earlier writes. No relay and no registry is spoken to here.

use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use paramant_crds::ParamantRelay;
use paramant_operator_core::{Context, Decision, decide};

use self::expect::Expectations;
use crate::FIELD_MANAGER;
use crate::backoff::jittered;
use crate::control::ControlPlane;
use crate::key::RelayKey;
use crate::leader::election::Leadership;
use crate::metrics::Metrics;
use crate::queue::Outcome;
use crate::registry::Resolver;
use crate::stores::World;

mod act;
mod expect;
mod news;
mod observe;
mod status;

/// Everything a pass needs; cheap to clone.
#[derive(Clone)]
pub struct Reconciler {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    world: World,
    control: ControlPlane,
    resolver: Resolver,
    leadership: Leadership,
    metrics: Metrics,
    context: Context,
    instance: String,
    expectations: Expectations,
}

/// The parts a [`Reconciler`] is made of.
pub struct Parts {
    /// The cluster.
    pub client: Client,
    /// The local stores.
    pub world: World,
    /// The relays' tasks.
    pub control: ControlPlane,
    /// The registries' tasks.
    pub resolver: Resolver,
    /// Whether we may write.
    pub leadership: Leadership,
    /// Where passes are counted.
    pub metrics: Metrics,
    /// What stays the same from pass to pass.
    pub context: Context,
    /// Who reports Events: this pod.
    pub instance: String,
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    /// Someone else wrote in between; look again.
    #[error("the {0} had changed")]
    Raced(String),
    /// We do not lead any more, or not for long enough to finish a write.
    #[error("not leading")]
    NotLeading,
    /// Nothing can be made in a namespace that is going away.
    #[error("the namespace is being deleted")]
    NamespaceGoing,
    /// The API server refused or did not answer.
    #[error("cannot {verb} {kind}: {source}")]
    Api {
        verb: &'static str,
        kind: String,
        #[source]
        source: Box<kube::Error>,
    },
}

impl Reconciler {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { client, world, control, resolver, leadership, metrics, context, instance } = parts;
        let expectations = Expectations::default();
        let inner =
            Inner { client, world, control, resolver, leadership, metrics, context, instance, expectations };
        Self { inner: Arc::new(inner) }
    }

    /// One pass.
    pub async fn run(self, key: RelayKey) -> Outcome {
        let timer = self.inner.metrics.reconcile_seconds.start_timer();
        let (outcome, label) = match self.inner.pass(&key).await {
            Ok(outcome) => (outcome, "ok"),
            Err(Stopped::Raced(what)) => {
                tracing::debug!(relay = %key, what, "raced");
                (Outcome::Raced, "raced")
            }
            Err(Stopped::NotLeading) => (Outcome::Failed, "not-leading"),
            Err(Stopped::NamespaceGoing) => (Outcome::Failed, "namespace-going"),
            Err(error @ Stopped::Api { .. }) => {
                tracing::warn!(relay = %key, %error, "a pass failed and is tried again");
                (Outcome::Failed, "failed")
            }
        };
        timer.observe_duration();
        self.inner.metrics.reconciles.with_label_values(&[label]).inc();
        outcome
    }
}

impl Inner {
    async fn pass(&self, key: &RelayKey) -> Result<Outcome, Stopped> {
        // Not watched, or not filled yet: filling wakes every relay.
        let Some(stores) = self.world.of(&key.namespace) else { return Ok(Outcome::Gone) };
        let Some(relay) = stores.relay(key) else {
            self.control.forget(key);
            self.resolver.forget(key);
            self.expectations.forget(key);
            return Ok(Outcome::Gone);
        };
        let observation = self.observe(key, &stores, relay);
        if let Some(what) = self.expectations.unmet(key, &observation) {
            return Err(Stopped::Raced(what));
        }
        self.control.aim(key, observe::target(&observation));
        let decision = decide(&observation, &self.context, Timestamp::now());
        if let Some(image) = &decision.resolve {
            self.resolver.want(key, image);
        }
        let transition = self.write_status(key, &observation.relay, &decision).await?;
        self.act(key, &observation, &decision).await?;
        if transition {
            self.announce(key, &observation.relay, &decision.events).await;
        }
        Ok(Outcome::Requeue(jittered(decision.requeue)))
    }

    /// Writes the next status if it differs. Says whether it did.
    async fn write_status(
        &self,
        key: &RelayKey,
        relay: &ParamantRelay,
        decision: &Decision,
    ) -> Result<bool, Stopped> {
        let Some(patch) = status::patch(relay, &decision.status) else { return Ok(false) };
        self.may_write()?;
        let api: Api<ParamantRelay> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.count("ParamantRelay", "patch-status");
        let written = api.patch_status(&key.name, &params, &Patch::Merge(patch)).await;
        let written = written.map_err(|error| self.stopped("patch the status of", "ParamantRelay", error))?;
        let (before, after) = (relay.metadata.resource_version.clone(), written.metadata.resource_version);
        self.expectations.expect(key, "ParamantRelay", &key.name, before, after);
        Ok(true)
    }

    fn may_write(&self) -> Result<(), Stopped> {
        self.leadership.may_write().map(|_| ()).ok_or(Stopped::NotLeading)
    }

    fn count(&self, kind: &str, verb: &str) {
        self.metrics.writes.with_label_values(&[kind, verb]).inc();
    }

    fn stopped(&self, verb: &'static str, kind: &str, error: kube::Error) -> Stopped {
        match &error {
            kube::Error::Api(status) if status.code == 409 => {
                self.metrics.conflicts.with_label_values(&[kind]).inc();
                Stopped::Raced(kind.to_owned())
            }
            // The relay went away while this pass ran; its watch event is on the way.
            kube::Error::Api(status) if status.code == 404 && kind == "ParamantRelay" => {
                Stopped::Raced(kind.to_owned())
            }
            kube::Error::Api(status) if status.code == 403 && names_terminating_namespace(status) => {
                Stopped::NamespaceGoing
            }
            _ => Stopped::Api { verb, kind: kind.to_owned(), source: Box::new(error) },
        }
    }
}

/// A refusal to create in a namespace that is going away carries this cause.
fn names_terminating_namespace(status: &kube::core::Status) -> bool {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
        || status.message.contains("because it is being terminated")
}
