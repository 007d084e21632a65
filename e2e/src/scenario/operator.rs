//! The operator as a scenario meets it: its pods, which of them leads, and what its pages say.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{bed::Bed, demo::SYSTEM, process::wait_for};

const DEPLOYMENT: &str = "deployment/paramant-operator";
const LEASE: &str = "lease/paramant-operator";

/// Pods of the operator that are not on their way out.
pub(crate) fn pods(bed: &Bed) -> Result<Vec<Value>> {
    let selector = "app.kubernetes.io/name=paramant-operator";
    let text = bed.kubectl(&["-n", SYSTEM, "get", "pods", "-l", selector, "-o", "json"])?;
    let list: Value = serde_json::from_str(&text)?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(items.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect())
}

/// The name of the pod that holds the Lease, and the Lease's transitions.
pub(super) fn leader(bed: &Bed) -> Result<(String, u64)> {
    let lease = bed.get(SYSTEM, LEASE)?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    let pod = holder.rsplit_once('_').map(|(pod, _)| pod.to_owned());
    let pod = pod.with_context(|| format!("nobody leads: the Lease's holder is “{holder}”"))?;
    Ok((pod, lease["spec"]["leaseTransitions"].as_u64().unwrap_or_default()))
}

/// A page of one pod: status and text.
pub(super) fn page(pod: &Value, path: &str) -> Result<(u16, String)> {
    let address = pod["status"]["podIP"].as_str().context("the operator's pod has no address yet")?;
    let answer = crate::relay::client()?.get(format!("http://{address}:8080{path}")).send()?;
    let status = answer.status().as_u16();
    Ok((status, answer.text()?))
}

/// A page of the pod that leads.
pub(super) fn leaders_page(bed: &Bed, path: &str) -> Result<(u16, String)> {
    let (leader, _) = leader(bed)?;
    page(&bed.get(SYSTEM, &format!("pod/{leader}"))?, path)
}

/// One sample of the leader's metrics; a series that is not there yet is 0.
pub(super) fn metric(bed: &Bed, series: &str) -> Result<f64> {
    let (_, text) = leaders_page(bed, "/metrics")?;
    let sample = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
    if !text.contains("paramant_operator_build_info") {
        bail!("the operator's metrics are no metrics: {text}");
    }
    Ok(sample.unwrap_or_default())
}

/// Runs so many replicas and waits until they do.
pub(crate) fn scale(bed: &Bed, replicas: usize) -> Result<()> {
    bed.kubectl(&["-n", SYSTEM, "scale", DEPLOYMENT, &format!("--replicas={replicas}")])?;
    rolled_out(bed)
}

/// Replaces the operator's pods, as an upgrade does.
pub(super) fn restart(bed: &Bed) -> Result<()> {
    bed.kubectl(&["-n", SYSTEM, "rollout", "restart", DEPLOYMENT])?;
    rolled_out(bed)
}

fn rolled_out(bed: &Bed) -> Result<()> {
    bed.kubectl(&["-n", SYSTEM, "rollout", "status", DEPLOYMENT, "--timeout=120s"])?;
    wait_for("former pods of the operator to be gone", Duration::from_secs(60), || {
        let wanted = bed.get(SYSTEM, DEPLOYMENT)?["spec"]["replicas"].as_u64().unwrap_or_default();
        let selector = "app.kubernetes.io/name=paramant-operator";
        let found = bed.kubectl(&["-n", SYSTEM, "get", "pods", "-l", selector, "-o", "name"])?;
        let there = found.lines().count();
        Ok(if u64::try_from(there).is_ok_and(|there| there == wanted) { Ok(()) } else { Err(found) })
    })
}
