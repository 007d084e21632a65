//! Every right this operator uses, and whether it has it.
//!
//! [`IN_SCOPE`] and [`AT_HOME`] are the whole list: the chart grants exactly these, and nothing in this crate makes a call
//! that is not covered by one of them. They are asked for one by one before the first watch, so that a missing right is a
//! sentence in `/readyz` and never a stream of refusals.

use std::fmt;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::time::timeout;

use crate::sentence;
use crate::stores::Scope;

/// One review is answered from memory.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);
/// Reviews at once, so that a start costs the API server little.
const REVIEWS_AT_ONCE: usize = 8;

/// One line of a Role: verbs on a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The resource, with its subresource after a slash.
    pub resource: &'static str,
    /// The one object the grant is limited to, if it is.
    pub name: Option<&'static str>,
    /// The verbs.
    pub verbs: &'static [&'static str],
}

impl Grant {
    /// The resource and its subresource.
    fn parts(&self) -> (&'static str, Option<&'static str>) {
        match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource)),
            None => (self.resource, None),
        }
    }
}

const fn grant(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Grant {
    Grant { group, resource, name: None, verbs }
}

const READ: &[&str] = &["list", "watch"];
const READ_AND_APPLY: &[&str] = &["list", "watch", "create", "patch"];
const READ_APPLY_AND_DELETE: &[&str] = &["list", "watch", "create", "patch", "delete"];

/// Wherever relays are watched. Applying needs `patch`, and `create` for the first time.
pub const IN_SCOPE: &[Grant] = &[
    grant("paramant.app", "paramantrelays", READ),
    grant("paramant.app", "paramantpolicies", READ),
    grant("paramant.app", "paramantlicenses", READ),
    grant("paramant.app", "paramantrelays/status", &["patch"]),
    grant("paramant.app", "paramantpolicies/status", &["patch"]),
    grant("paramant.app", "paramantlicenses/status", &["patch"]),
    // For `blockOwnerDeletion` in owner references, where that is enforced.
    grant("paramant.app", "paramantrelays/finalizers", &["update"]),
    grant("apps", "statefulsets", READ_APPLY_AND_DELETE),
    // Couriers. What belongs to one goes with it, so its other kinds need no `delete`.
    grant("apps", "deployments", READ_APPLY_AND_DELETE),
    grant("", "services", READ_AND_APPLY),
    grant("", "serviceaccounts", READ_AND_APPLY),
    grant("", "configmaps", READ_AND_APPLY),
    grant("networking.k8s.io", "networkpolicies", READ_AND_APPLY),
    grant("networking.k8s.io", "ingresses", READ_APPLY_AND_DELETE),
    grant("", "persistentvolumeclaims", &["list", "watch", "patch"]),
    grant("", "pods", &["list", "watch", "delete"]),
    grant("events.k8s.io", "events", &["create"]),
];

/// Asked for only where the cluster serves the kind; without it, `spec.expose.gateway` waits and says so.
pub const GATEWAY: Grant = grant("gateway.networking.k8s.io", "httproutes", READ_APPLY_AND_DELETE);

/// In the operator's own namespace. A `create` cannot be limited to a name.
pub const AT_HOME: &[Grant] = &[
    Grant { name: Some(crate::LEASE), ..grant("coordination.k8s.io", "leases", &["get", "update"]) },
    grant("coordination.k8s.io", "leases", &["create"]),
    Grant { name: Some(crate::authority::SECRET), ..grant("", "secrets", &["get", "patch"]) },
];

/// The reviews could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot ask the API server which rights this operator has: {0}")]
pub struct CannotAsk(String);

/// One right that is not there; shown as `verb resource.group/subresource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The line of the Role it belongs to.
    pub grant: Grant,
    verb: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (resource, part) = self.grant.parts();
        write!(f, "{} {resource}", self.verb)?;
        if !self.grant.group.is_empty() {
            write!(f, ".{}", self.grant.group)?;
        }
        part.map_or(Ok(()), |part| write!(f, "/{part}"))
    }
}

/// Which of these rights are missing.
pub async fn missing(client: &Client, scope: &Scope, grants: &[Grant]) -> Result<Vec<Missing>, CannotAsk> {
    let asked: Vec<_> = grants
        .iter()
        .flat_map(|grant| grant.verbs.iter().map(|verb| review(client, scope, *grant, verb)))
        .collect();
    let answers = stream::iter(asked).buffered(REVIEWS_AT_ONCE);
    let answers: Vec<Result<Option<Missing>, CannotAsk>> = answers.collect().await;
    answers.into_iter().filter_map(Result::transpose).collect()
}

async fn review(
    client: &Client,
    scope: &Scope,
    grant: Grant,
    verb: &'static str,
) -> Result<Option<Missing>, CannotAsk> {
    let (resource, subresource) = grant.parts();
    let attributes = ResourceAttributes {
        group: Some(grant.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(str::to_owned),
        name: grant.name.map(str::to_owned),
        namespace: scope.namespace().map(str::to_owned),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let params = PostParams::default();
    let answer = timeout(REVIEW_TIMEOUT, api.create(&params, &review)).await;
    let answer = answer.map_err(|_| CannotAsk("no answer in time".to_owned()))?;
    let allowed = answer
        .map_err(|error| CannotAsk(sentence::of_kube(&error)))?
        .status
        .is_some_and(|status| status.allowed);
    Ok((!allowed).then_some(Missing { grant, verb }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    type Right = (String, String, Option<String>, String);

    fn of_grants(grants: &[Grant]) -> BTreeSet<Right> {
        let rights = grants.iter().flat_map(|grant| {
            let name = grant.name.map(str::to_owned);
            grant.verbs.iter().map(move |verb| {
                (grant.group.to_owned(), grant.resource.to_owned(), name.clone(), (*verb).to_owned())
            })
        });
        rights.collect()
    }

    fn of_rules(yaml: &str) -> BTreeSet<Right> {
        let rules: Vec<Value> = serde_saphyr::from_str(yaml).expect("the chart's rules are YAML");
        let words = |rule: &Value, key: &str| -> Vec<String> {
            rule[key].as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
        };
        let mut rights = BTreeSet::new();
        for rule in &rules {
            let mut names: Vec<_> = words(rule, "resourceNames").into_iter().map(Some).collect();
            if names.is_empty() {
                names.push(None);
            }
            for group in words(rule, "apiGroups") {
                for resource in words(rule, "resources") {
                    for name in &names {
                        for verb in words(rule, "verbs") {
                            rights.insert((group.clone(), resource.clone(), name.clone(), verb));
                        }
                    }
                }
            }
        }
        rights
    }

    #[test]
    fn the_chart_grants_what_the_operator_uses_and_nothing_else() {
        let mut in_scope = IN_SCOPE.to_vec();
        in_scope.push(GATEWAY);
        let chart = include_str!("../../../charts/paramant-operator/files/rights-in-scope.yaml");
        assert_eq!(of_rules(chart), of_grants(&in_scope));
        let chart = include_str!("../../../charts/paramant-operator/files/rights-at-home.yaml");
        assert_eq!(of_rules(chart), of_grants(AT_HOME));
    }

    #[test]
    fn where_relays_live_nothing_is_granted_on_secrets() {
        assert!(
            AT_HOME.iter().any(|grant| grant.resource == "secrets"),
            "the search finds a right on Secrets"
        );
        assert!(IN_SCOPE.iter().all(|grant| !grant.resource.starts_with("secrets") && grant.resource != "*"));
    }

    #[test]
    fn a_missing_right_reads_as_kubectl_writes_resources() {
        let missing = |group, resource| {
            Missing { grant: grant(group, resource, &["patch"]), verb: "patch" }.to_string()
        };
        assert_eq!(missing("", "pods"), "patch pods");
        assert_eq!(
            missing("paramant.app", "paramantrelays/status"),
            "patch paramantrelays.paramant.app/status"
        );
    }
}
