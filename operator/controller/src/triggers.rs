//! Which relays does a change of a watched object concern?
//!
//! A child names its relay in a label; a policy or a licence concerns the relays that refer to it. Pure functions of an
//! object and, for the latter, of the relays known so far.

use std::sync::Arc;

use kube::{Resource, ResourceExt as _};
use paramant_crds::{ParamantLicense, ParamantPolicy, ParamantRelay};
use paramant_operator_core::children::RELAY_LABEL;

use crate::key::RelayKey;

/// The relay itself.
pub fn relay(relay: &ParamantRelay) -> Option<RelayKey> {
    Some(RelayKey::new(relay.namespace()?, relay.metadata.name.clone()?))
}

/// The relay a child was made for.
pub fn child<K: Resource>(child: &K) -> Option<RelayKey> {
    Some(RelayKey::new(
        child.meta().namespace.clone()?,
        child.meta().labels.as_ref()?.get(RELAY_LABEL)?.clone(),
    ))
}

/// The relays that refer to a policy.
pub fn policy(policy: &ParamantPolicy, relays: &[Arc<ParamantRelay>]) -> Vec<RelayKey> {
    referring(policy, relays, |relay| relay.spec.policy_ref.as_ref().map(|reference| reference.name.as_str()))
}

/// The relays that refer to a licence.
pub fn license(license: &ParamantLicense, relays: &[Arc<ParamantRelay>]) -> Vec<RelayKey> {
    referring(license, relays, |relay| {
        relay.spec.license_ref.as_ref().map(|reference| reference.name.as_str())
    })
}

fn referring<K: Resource>(
    named: &K,
    relays: &[Arc<ParamantRelay>],
    reference: impl Fn(&ParamantRelay) -> Option<&str>,
) -> Vec<RelayKey> {
    let (namespace, name) = (named.meta().namespace.as_deref(), named.meta().name.as_deref());
    let refers = |candidate: &&Arc<ParamantRelay>| {
        candidate.metadata.namespace.as_deref() == namespace && name.is_some() && reference(candidate) == name
    };
    relays.iter().filter(refers).filter_map(|referring| relay(referring)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    fn a_relay(namespace: &str, name: &str, policy: Option<&str>) -> Arc<ParamantRelay> {
        let mut relay = json!({
            "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay",
            "metadata": { "namespace": namespace, "name": name }, "spec": { "image": "r.example/relay:1" },
        });
        if let Some(policy) = policy {
            relay["spec"]["policyRef"] = json!({ "name": policy });
        }
        Arc::new(serde_json::from_value(relay).unwrap())
    }

    #[test]
    fn a_child_concerns_the_relay_on_its_label_and_a_stranger_concerns_none() {
        let pod = |labels| {
            serde_json::from_value::<Pod>(
                json!({ "metadata": { "namespace": "a", "name": "x-0", "labels": labels } }),
            )
            .unwrap()
        };
        assert_eq!(child(&pod(json!({ RELAY_LABEL: "x" }))), Some(RelayKey::new("a", "x")));
        assert_eq!(child(&pod(json!({}))), None);
    }

    #[test]
    fn a_policy_concerns_the_relays_of_its_namespace_that_name_it() {
        let relays = [
            a_relay("a", "one", Some("p")),
            a_relay("a", "two", Some("q")),
            a_relay("b", "three", Some("p")),
            a_relay("a", "four", None),
        ];
        let changed: ParamantPolicy = serde_json::from_value(json!({
            "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantPolicy", "metadata": { "namespace": "a", "name": "p" }, "spec": {},
        }))
        .unwrap();
        assert_eq!(policy(&changed, &relays), [RelayKey::new("a", "one")]);
    }
}
