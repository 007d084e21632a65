//! What does a change of a watched object concern?
//!
//! A child names its relay in a label; a policy or a licence concerns itself and the relays that refer to it; a relay concerns
//! the policies and licences around it, which say how many relays they have and what those report. Pure functions of an
//! object and of the others known so far.

use std::sync::Arc;

use kube::Resource;
use paramant_crds::{ParamantLicense, ParamantPolicy, ParamantRelay};
use paramant_operator_core::children::RELAY_LABEL;

use crate::key::{RelayKey, Subject};

/// The relay itself, and every policy and licence of its namespace: the one it named before this change is concerned too.
pub fn relay(
    changed: &ParamantRelay,
    policies: &[Arc<ParamantPolicy>],
    licenses: &[Arc<ParamantLicense>],
) -> Vec<Subject> {
    let Some(own) = key(changed) else { return Vec::new() };
    let policies = policies.iter().filter_map(|it| key(&**it)).filter(|it| it.namespace == own.namespace);
    let licenses = licenses.iter().filter_map(|it| key(&**it)).filter(|it| it.namespace == own.namespace);
    let around: Vec<_> = policies.map(Subject::Policy).chain(licenses.map(Subject::License)).collect();
    std::iter::once(Subject::Relay(own)).chain(around).collect()
}

/// The policy itself, and the relays that refer to it.
pub fn policy(changed: &ParamantPolicy, relays: &[Arc<ParamantRelay>]) -> Vec<Subject> {
    let referring = referring(changed, relays, policy_of);
    key(changed).map(Subject::Policy).into_iter().chain(referring).collect()
}

/// The licence itself, and the relays that refer to it.
pub fn license(changed: &ParamantLicense, relays: &[Arc<ParamantRelay>]) -> Vec<Subject> {
    let referring = referring(changed, relays, license_of);
    key(changed).map(Subject::License).into_iter().chain(referring).collect()
}

/// The relay a child was made for.
pub fn child<K: Resource>(child: &K) -> Vec<Subject> {
    let meta = child.meta();
    let name = meta.labels.as_ref().and_then(|labels| labels.get(RELAY_LABEL));
    let relay =
        meta.namespace.clone().zip(name.cloned()).map(|(namespace, name)| RelayKey::new(namespace, name));
    relay.map(Subject::Relay).into_iter().collect()
}

/// Where an object is.
pub fn key<K: Resource>(object: &K) -> Option<RelayKey> {
    Some(RelayKey::new(object.meta().namespace.clone()?, object.meta().name.clone()?))
}

/// The policy a relay names.
pub fn policy_of(relay: &ParamantRelay) -> Option<&str> {
    relay.spec.policy_ref.as_ref().map(|reference| reference.name.as_str())
}

/// The licence a relay names.
pub fn license_of(relay: &ParamantRelay) -> Option<&str> {
    relay.spec.license_ref.as_ref().map(|reference| reference.name.as_str())
}

fn referring<K: Resource>(
    named: &K,
    relays: &[Arc<ParamantRelay>],
    reference: impl Fn(&ParamantRelay) -> Option<&str>,
) -> Vec<Subject> {
    let (namespace, name) = (named.meta().namespace.as_deref(), named.meta().name.as_deref());
    let refers = |candidate: &&Arc<ParamantRelay>| {
        candidate.metadata.namespace.as_deref() == namespace && name.is_some() && reference(candidate) == name
    };
    relays.iter().filter(refers).filter_map(|relay| key(&**relay)).map(Subject::Relay).collect()
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
        assert_eq!(child(&pod(json!({ RELAY_LABEL: "x" }))), [Subject::Relay(RelayKey::new("a", "x"))]);
        assert_eq!(child(&pod(json!({}))), []);
    }

    #[test]
    fn a_policy_concerns_itself_and_the_relays_of_its_namespace_that_name_it() {
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
        assert_eq!(
            policy(&changed, &relays),
            [Subject::Policy(RelayKey::new("a", "p")), Subject::Relay(RelayKey::new("a", "one"))]
        );
    }

    #[test]
    fn a_relay_concerns_itself_and_the_policies_of_its_namespace() {
        let policy = |namespace: &str| {
            let policy = json!({
                "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantPolicy",
                "metadata": { "namespace": namespace, "name": "p" }, "spec": {},
            });
            Arc::new(serde_json::from_value::<ParamantPolicy>(policy).unwrap())
        };
        let own = RelayKey::new("a", "one");
        let expected = [Subject::Relay(own), Subject::Policy(RelayKey::new("a", "p"))];
        assert_eq!(relay(&a_relay("a", "one", None), &[policy("a"), policy("b")], &[]), expected);
    }
}
