//! Least privilege, from the API server's own audit log.

use std::{collections::BTreeSet, sync::OnceLock};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::fixture::Fixture;
use crate::{audit_log, bed::Bed, process::wait_for, steps::Seen, steps::seen};

/// The operator as the API server names it.
pub(crate) const OPERATOR: &str = "system:serviceaccount:paramant-system:paramant-operator";

/// Rights that a short run does not use, each with its reason.
const UNUSED: &[(&str, &str)] = &[
    (
        "update paramantrelays/finalizers.paramant.app",
        "asked for by the admission of owner references, never a request",
    ),
    ("list httproutes.gateway.networking.k8s.io", "the test bed has no Gateway API"),
    ("watch httproutes.gateway.networking.k8s.io", "the test bed has no Gateway API"),
    ("create httproutes.gateway.networking.k8s.io", "the test bed has no Gateway API"),
    ("patch httproutes.gateway.networking.k8s.io", "the test bed has no Gateway API"),
    ("delete httproutes.gateway.networking.k8s.io", "the test bed has no Gateway API"),
];

static START: OnceLock<u64> = OnceLock::new();

/// Where the audit log stood when the run began.
pub(crate) fn remember_start(mark: Option<u64>) {
    if let Some(mark) = mark {
        START.set(mark).ok();
    }
}

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let log = bed.audit_log.clone().context("this scenario reads the test bed's audit log")?;
    let start = START.get().copied().unwrap_or_default();
    let fixture = Fixture::new(bed, "rights")?;

    for verb in ["get", "list", "watch", "patch", "create", "update", "delete"] {
        let answer = bed.kubectl_raw(
            &["auth", "can-i", verb, "secrets", "-n", &fixture.namespace, "--as", OPERATOR],
            None,
        )?;
        if answer.stdout.trim() != "no" {
            bail!("kubectl auth can-i {verb} secrets says “{}”", answer.stdout.trim());
        }
    }
    let allowed = bed
        .kubectl_raw(&["auth", "can-i", "list", "pods", "-n", &fixture.namespace, "--as", OPERATOR], None)?;
    if allowed.stdout.trim() != "yes" {
        bail!("kubectl auth can-i is no judge here: it denies even listing pods");
    }

    // The log shows a refusal when there is one.
    bed.kubectl_raw(&["-n", &fixture.namespace, "get", "secrets", "--as", OPERATOR], None)?;
    wait_for("the planted refusal", std::time::Duration::from_secs(10), || {
        let refused = audit_log::since(&log, start)?
            .into_iter()
            .any(|request| request.code == 403 && request.resource == "secrets");
        Ok(if refused { Ok(()) } else { Err("no 403 in the audit log".into()) })
    })?;
    let refused: Vec<_> = audit_log::since(&log, start)?
        .into_iter()
        .filter(|request| request.user == OPERATOR && request.code == 403 && !request.namespace_is_going)
        .map(|request| format!("{} {} in “{}”", request.verb, request.resource, request.namespace))
        .collect();
    if !refused.is_empty() {
        bail!("the operator was refused: {refused:?}");
    }

    // Some rights are used once in a cluster's life (the first Lease, the authority's key), so the whole log counts here.
    let mut used: BTreeSet<(String, String, String)> = BTreeSet::new();
    for request in audit_log::since(&log, 0)?.into_iter().filter(|one| one.user == OPERATOR && one.code < 400)
    {
        if request.verb == "patch" && request.code == 201 {
            // A server-side apply that makes an object is authorised as a creation too.
            used.insert((request.group.clone(), request.resource.clone(), "create".to_owned()));
        }
        used.insert((request.group, request.resource, request.verb));
    }
    let mut unused = Vec::new();
    let mut granted = 0;
    for (group, resource, verb) in rules(bed)? {
        granted += 1;
        let right = format!("{verb} {resource}.{group}");
        if !used.contains(&(group, resource, verb)) && !UNUSED.iter().any(|(listed, _)| *listed == right) {
            unused.push(right);
        }
    }
    if !unused.is_empty() {
        bail!("granted and never used: {unused:?}");
    }
    seen((), format!("{granted} rights granted, all used or explained; no 403; no right on Secrets"))
}

/// Every (group, resource, verb) that the chart grants.
fn rules(bed: &Bed) -> Result<BTreeSet<(String, String, String)>> {
    let text = bed.kubectl(&[
        "get",
        "clusterroles,roles",
        "-A",
        "-l",
        "app.kubernetes.io/name=paramant-operator,rbac.paramant.app/bound=true",
        "-o",
        "json",
    ])?;
    let list: Value = serde_json::from_str(&text)?;
    let mut rights = BTreeSet::new();
    for rule in list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|role| role["rules"].as_array().into_iter().flatten())
    {
        let words = |key: &str| -> Vec<String> {
            rule[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        for group in words("apiGroups") {
            for resource in words("resources") {
                for verb in words("verbs") {
                    rights.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    if rights.is_empty() {
        bail!("found no role of the operator to check");
    }
    Ok(rights)
}
