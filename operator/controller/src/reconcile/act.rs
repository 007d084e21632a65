//! Does what a decision says, after its status is stored: durable copy, directives, children, deletions, in that order.
//!
//! One child that cannot be applied holds back neither the others nor the relay's directives, and only those deletions that
//! need it; the pass then ends as failed. Deletions come last.

use std::collections::BTreeSet;

use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy,
};
use paramant_operator_core::{Decision, DeletedKind, Deletion, Observation};
use serde_json::Value;
use tracing::Instrument as _;

use super::expect::{held, version};
use super::{Inner, Stopped, write_span};
use crate::FIELD_MANAGER;
use crate::key::RelayKey;
use crate::queue::Wake;

impl Inner {
    pub(super) async fn act(
        &self,
        key: &RelayKey,
        seen: &Observation,
        decision: &Decision,
    ) -> Result<(), Stopped> {
        match &decision.state {
            Some(state) => {
                let applied = self.apply(key, seen, state).await;
                self.refusals.note(key, state, applied.as_ref().copied());
                applied?;
            }
            // What was refused is not wanted any more; the status of this very pass still speaks of it.
            None if self.refusals.settle(key, "ConfigMap", &format!("{}-state", key.name)) => {
                self.queue.wake(key.clone(), Wake::Now);
            }
            None => {}
        }
        if let Some(directives) = &decision.directives {
            self.control.direct(key, directives.clone());
        }
        let (mut failed, mut outcome) = (BTreeSet::new(), Ok(()));
        for intent in &decision.apply {
            let applied = self.apply(key, seen, intent).await;
            self.refusals.note(key, intent, applied.as_ref().copied());
            if let Err(stopped) = applied {
                tracing::debug!(relay = %key, %stopped, "a child was not applied");
                failed.extend(intent.get("kind").and_then(Value::as_str));
                outcome = Err(stopped);
            }
        }
        for deletion in &decision.delete {
            if failed.contains(deletion.kind.waits_for()) {
                continue;
            }
            if let Err(stopped) = self.delete(key, seen, deletion).await {
                outcome = Err(stopped);
            }
        }
        outcome
    }

    async fn apply(&self, key: &RelayKey, seen: &Observation, intent: &Value) -> Result<(), Stopped> {
        self.may_write()?;
        let text = |pointer: &str| intent.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, name) = (text("/kind"), text("/metadata/name"));
        let api = self.dynamic(key, &resource(text("/apiVersion"), kind));
        let mut wanted = intent.clone();
        let before = match held(seen, kind, name) {
            // The garbage collector may have taken it meanwhile: under its uid an object is changed, but never made again.
            Some(held) => {
                if let (Some(uid), Some(metadata)) =
                    (held.uid, wanted.get_mut("metadata").and_then(Value::as_object_mut))
                {
                    metadata.insert("uid".to_owned(), uid.into());
                }
                held.version
            }
            None if self.going.is_going(&key.namespace) => return Err(Stopped::NamespaceGoing),
            None => {
                self.still_stands(key, seen).await?;
                self.is_free(key, seen, &api, kind, name).await?;
                None
            }
        };
        // Forced: the fields in an intent are ours, whoever set them last.
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.count(kind, "apply");
        let written = api
            .patch(name, &params, &Patch::Apply(&wanted))
            .instrument(write_span("apply", kind, name))
            .await;
        let written = written.map_err(|error| self.stopped(key, "apply", kind, error))?;
        self.expectations.expect(key, kind, name, before, written.metadata.resource_version);
        Ok(())
    }

    async fn delete(&self, key: &RelayKey, seen: &Observation, deletion: &Deletion) -> Result<(), Stopped> {
        self.may_write()?;
        let (api_version, kind, propagation) = match deletion.kind {
            DeletedKind::Pod => ("v1", "Pod", PropagationPolicy::Background),
            DeletedKind::StatefulSetOrphan => ("apps/v1", "StatefulSet", PropagationPolicy::Orphan),
            DeletedKind::Courier => ("apps/v1", "Deployment", PropagationPolicy::Background),
            DeletedKind::Ingress => ("networking.k8s.io/v1", "Ingress", PropagationPolicy::Background),
            DeletedKind::HttpRoute => {
                ("gateway.networking.k8s.io/v1", "HTTPRoute", PropagationPolicy::Background)
            }
        };
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(deletion.uid.clone()), resource_version: None }),
            propagation_policy: Some(propagation),
            ..DeleteParams::default()
        };
        self.count(kind, "delete");
        tracing::info!(relay = %key, kind, name = %deletion.name, uid = %deletion.uid, "deleting");
        let api = self.dynamic(key, &resource(api_version, kind));
        let write = write_span("delete", kind, &deletion.name);
        match api.delete(&deletion.name, &params).instrument(write).await {
            Ok(_) => {
                // Whatever comes of it, the object will look different: marked for deletion, or gone.
                let before = version(seen, kind, &deletion.name);
                if before.is_some() {
                    self.expectations.expect(key, kind, &deletion.name, before, None);
                }
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(self.stopped(key, "delete", kind, error)),
        }
    }

    fn dynamic(&self, key: &RelayKey, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &key.namespace, resource)
    }
}

/// The type of a child. Plurals are regular but for two kinds.
fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let singular = kind.to_lowercase();
    let plural = match singular.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if singular.ends_with('s') => format!("{singular}es"),
        None => format!("{singular}s"),
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn every_child_has_its_plural() {
        let rows = [
            ("v1", "ConfigMap", "configmaps"),
            ("v1", "Service", "services"),
            ("v1", "ServiceAccount", "serviceaccounts"),
            ("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
            ("v1", "Pod", "pods"),
            ("apps/v1", "StatefulSet", "statefulsets"),
            ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
            ("networking.k8s.io/v1", "Ingress", "ingresses"),
            ("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes"),
        ];
        for (api_version, kind, plural) in rows {
            assert_eq!(resource(api_version, kind).plural, plural);
        }
    }
}
