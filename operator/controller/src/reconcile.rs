//! One pass over one relay: observe, decide, act.
//!
//! The order is the safety: the next status is written first, on the resourceVersion that was observed, and a conflict ends
//! the pass; then the durable copy, then the relay is told, then children are applied, then at most one object is deleted. A
//! disruptive step is therefore on record before it is taken. Reads come from the local stores, and a pass waits until those
//! show its own earlier writes. No relay and no registry is spoken to here.

use std::fmt::Debug;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource};
use paramant_operator_core::{Context, decide};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument as _;

use self::expect::Expectations;
use self::going::Going;
use self::refusals::Refusals;
use self::rivalry::Rivalries;
use self::told::Told;
use crate::backoff::jittered;
use crate::control::ControlPlane;
use crate::control::keys::TokenKeys;
use crate::key::{RelayKey, Subject};
use crate::leader::election::Leadership;
use crate::metrics::Metrics;
use crate::queue::worker::Queue;
use crate::queue::{Outcome, Wake};
use crate::registry::inspector::Inspector;
use crate::registry::resolver::Resolver;
use crate::stores::World;
use crate::{FIELD_MANAGER, sentence};

mod act;
pub mod belief;
mod expect;
mod foreign;
mod going;
mod news;
mod observe;
mod refusals;
mod rivalry;
mod standing;
mod status;
mod told;

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
    inspector: Inspector,
    queue: Queue,
    leadership: Leadership,
    metrics: Metrics,
    context: Context,
    token_keys: TokenKeys,
    instance: String,
    expectations: Expectations,
    going: Going,
    rivalries: Rivalries,
    refusals: Refusals,
    told: Told,
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
    /// Who looks at signatures.
    pub inspector: Inspector,
    /// Whom to wake.
    pub queue: Queue,
    /// Whether we may write.
    pub leadership: Leadership,
    /// Where passes are counted.
    pub metrics: Metrics,
    /// What stays the same from pass to pass.
    pub context: Context,
    /// The keys by which relays know their couriers.
    pub token_keys: TokenKeys,
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
    /// An object of somebody else stands where a child shall be.
    #[error("{kind} {name} exists and is not ours; rename the relay, or delete that object")]
    Foreign { kind: String, name: String },
    /// The API server refused or did not answer.
    #[error("cannot {verb} {kind}: {}", sentence::of_kube(source))]
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
        let Parts {
            client,
            world,
            control,
            resolver,
            inspector,
            queue,
            leadership,
            metrics,
            context,
            token_keys,
            instance,
        } = parts;
        let (expectations, going, rivalries) =
            (Expectations::default(), Going::default(), Rivalries::default());
        let inner = Inner {
            client,
            world,
            control,
            resolver,
            inspector,
            queue,
            leadership,
            metrics,
            context,
            token_keys,
            instance,
            expectations,
            going,
            rivalries,
            refusals: Refusals::default(),
            told: Told::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// One pass.
    pub async fn run(self, subject: Subject) -> Outcome {
        let span = tracing::info_span!("reconcile", %subject, outcome = tracing::field::Empty);
        self.pass(subject).instrument(span).await
    }

    async fn pass(self, subject: Subject) -> Outcome {
        let timer = self.inner.metrics.reconcile_seconds.start_timer();
        let ended = match &subject {
            Subject::Relay(key) => self.inner.relay(key).await,
            Subject::Policy(key) => self.inner.policy(key).await,
            Subject::License(key) => self.inner.license(key).await,
        };
        let (outcome, label) = match ended {
            Ok(outcome) => (outcome, "ok"),
            Err(Stopped::Raced(what)) => {
                tracing::debug!(%subject, what, "raced");
                (Outcome::Raced, "raced")
            }
            Err(Stopped::NotLeading) => (Outcome::Failed, "not-leading"),
            Err(Stopped::NamespaceGoing) => (Outcome::Failed, "namespace-going"),
            Err(error @ (Stopped::Api { .. } | Stopped::Foreign { .. })) => {
                tracing::warn!(%subject, %error, "a pass failed and is tried again");
                (Outcome::Failed, "failed")
            }
        };
        timer.observe_duration();
        tracing::Span::current().record("outcome", label);
        self.inner.metrics.reconciles.with_label_values(&[label]).inc();
        outcome
    }
}

impl Inner {
    async fn relay(&self, key: &RelayKey) -> Result<Outcome, Stopped> {
        // Not watched, or not filled yet: filling wakes every relay.
        let Some(stores) = self.world.of(&key.namespace) else { return Ok(Outcome::Gone) };
        let Some(relay) = stores.relay(key) else {
            self.forget(key);
            return Ok(Outcome::Gone);
        };
        let seen = self.observe(key, &stores, relay);
        if let Some(what) = self.expectations.unmet(key, &seen) {
            return Err(Stopped::Raced(what));
        }
        self.control.aim(key, observe::target(&seen));
        let context = Context {
            gateway_api: stores.http_routes.is_some(),
            token_keys: self.token_keys.current(),
            ca_bundle_pem: self.control.ca_bundle_pem(),
            ..self.context.clone()
        };
        let decision = decide(&seen, &context, Timestamp::now());
        match &decision.resolve {
            Some(image) => self.resolver.want(key, image),
            // A tag that is written again later is asked about again.
            None if seen.relay.spec.image.parts().is_some_and(|parts| parts.digest.is_some()) => {
                self.resolver.forget(key)
            }
            None => {}
        }
        if let Some(question) = &decision.inspect {
            self.inspector.want(key, question);
        }
        let transition =
            self.write_status(key, &*seen.relay, seen.relay.status.as_ref(), &decision.status).await?;
        let acted = self.act(key, &seen, &decision).await;
        // The status is stored, so this transition will not be seen again: it is told whatever became of the acts.
        if transition {
            self.announce(&key.clone().into(), &*seen.relay, &decision.events).await;
        }
        acted?;
        Ok(Outcome::Requeue(jittered(decision.requeue)))
    }

    fn forget(&self, key: &RelayKey) {
        self.control.forget(key);
        self.resolver.forget(key);
        self.inspector.forget(key);
        self.expectations.forget(key);
        self.refusals.forget(key);
        self.told.forget(&key.clone().into());
        for former in self.rivalries.end(key) {
            self.queue.wake(former, Wake::Now);
        }
    }

    /// Writes the next status if it differs. Says whether it did.
    async fn write_status<K, S>(
        &self,
        key: &RelayKey,
        object: &K,
        stored: Option<&S>,
        next: &S,
    ) -> Result<bool, Stopped>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        S: Serialize,
    {
        let Some(patch) = status::patch(object, stored, next) else { return Ok(false) };
        self.may_write()?;
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let kind = K::kind(&());
        self.count(&kind, "patch-status");
        let write = write_span("patch-status", &kind, &key.name);
        let written = api.patch_status(&key.name, &params, &Patch::Merge(patch)).instrument(write).await;
        let written = written.map_err(|error| self.stopped(key, "patch the status of", &kind, error))?;
        let (before, after) =
            (object.meta().resource_version.clone(), written.meta().resource_version.clone());
        self.expectations.expect(key, &kind, &key.name, before, after);
        Ok(true)
    }

    fn may_write(&self) -> Result<(), Stopped> {
        self.leadership.may_write().map(|_| ()).ok_or(Stopped::NotLeading)
    }

    fn count(&self, kind: &str, verb: &str) {
        self.metrics.writes.with_label_values(&[kind, verb]).inc();
    }

    fn stopped(&self, key: &RelayKey, verb: &'static str, kind: &str, error: kube::Error) -> Stopped {
        match &error {
            kube::Error::Api(status) if status.code == 409 => {
                self.metrics.conflicts.with_label_values(&[kind]).inc();
                Stopped::Raced(kind.to_owned())
            }
            // The object went away while this pass ran; its watch event is on the way.
            kube::Error::Api(status) if status.code == 404 && kind.starts_with("Paramant") => {
                Stopped::Raced(kind.to_owned())
            }
            _ if self.going.note(&key.namespace, &error) => Stopped::NamespaceGoing,
            kube::Error::Api(status) if status.code == 403 => {
                if let Some(stores) = self.world.of(&key.namespace) {
                    stores.forbidden.notify_one();
                }
                Stopped::Api { verb, kind: kind.to_owned(), source: Box::new(error) }
            }
            _ => Stopped::Api { verb, kind: kind.to_owned(), source: Box::new(error) },
        }
    }
}

/// One write in a trace.
fn write_span(verb: &str, kind: &str, name: &str) -> tracing::Span {
    tracing::info_span!("write", verb, kind, name)
}

#[cfg(test)]
pub(crate) use tests::{one_pass_that_is_refused, that_knows_one_relay};
#[cfg(test)]
mod tests;
