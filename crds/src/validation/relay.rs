//! The rules of one ParamantRelay as it stands.

use super::{Findings, Violation, hours, minutes, seconds};
use crate::{
    clause,
    relay::{Limits, ParamantRelay, Pod},
    size::ByteSize,
};

/// The largest sealed file when the manifest names none (`5Mi`).
const DEFAULT_MAX_BLOB: ByteSize = ByteSize(5 << 20);
/// Labels by which the operator finds what it made.
const RESERVED_LABELS: [&str; 3] =
    ["app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by"];
/// The prefix of the operator's own labels and annotations.
const OWN_PREFIX: &str = "paramant.app/";

/// What must be written differently in a relay.
pub fn relay(relay: &ParamantRelay) -> Vec<Violation> {
    let mut findings = Findings::default();
    let spec = &relay.spec;
    findings.name(clause::RELAY_NAME, relay.metadata.name.as_ref(), 40);
    findings.require("spec.image", clause::IMAGE_IS_COMPLETE, spec.image.parts().is_some());
    if let Some(storage) = &spec.storage {
        findings.size("spec.storage.size", storage.size.as_ref());
    }
    if let Some(limits) = &spec.limits {
        check_limits(&mut findings, limits);
    }
    if let Some(witnesses) = spec.log.as_ref().and_then(|log| log.witnesses.as_ref()) {
        findings.require(
            "spec.log.witnesses",
            clause::QUORUM_REACHABLE,
            usize::try_from(witnesses.quorum).is_ok_and(|quorum| quorum <= witnesses.members.len()),
        );
        findings.ca_bundle("spec.log.witnesses.caBundle", witnesses.ca_bundle.as_ref());
        findings.egress("spec.log.witnesses.egress", &witnesses.egress);
    }
    if let Some(webhooks) = &spec.webhooks {
        findings.ca_bundle("spec.webhooks.caBundle", webhooks.ca_bundle.as_ref());
        findings.egress("spec.webhooks.egress", &webhooks.egress);
    }
    if let Some(expose) = &spec.expose {
        let one = expose.gateway.is_some() != expose.ingress_class_name.is_some();
        findings.require("spec.expose", clause::EXPOSE_ONE_WAY, one);
    }
    if let Some(pod) = &spec.pod {
        check_pod(&mut findings, pod);
    }
    findings.0
}

fn check_limits(findings: &mut Findings, limits: &Limits) {
    let max_blob = findings.size("spec.limits.maxBlob", limits.max_blob.as_ref());
    if let Some(bytes) = max_blob {
        let range = ByteSize(64 << 10)..=ByteSize(1 << 40);
        findings.require("spec.limits.maxBlob", clause::MAX_BLOB_RANGE, range.contains(&bytes));
    }
    let max_ttl = limits.max_ttl.as_ref();
    findings.span_in("spec.limits.maxTtl", clause::MAX_TTL_RANGE, max_ttl, minutes(1), hours(8_760));
    if let Some(in_flight) = findings.size("spec.limits.maxInFlight", limits.max_in_flight.as_ref()) {
        let fits = in_flight >= max_blob.unwrap_or(DEFAULT_MAX_BLOB);
        findings.require("spec.limits", clause::BLOB_FITS_IN_FLIGHT, fits);
    }
    if let Some(open) = findings.size("spec.limits.maxOpenPerAccount", limits.max_open_per_account.as_ref()) {
        let fits = open >= max_blob.unwrap_or(DEFAULT_MAX_BLOB);
        findings.require("spec.limits", clause::BLOB_FITS_OPEN, fits);
    }
    findings.size("spec.limits.minFreeDisk", limits.min_free_disk.as_ref());
    findings.cidrs("spec.limits.trustedProxies", &limits.trusted_proxies);
}

fn check_pod(findings: &mut Findings, pod: &Pod) {
    let labels_free =
        pod.labels.keys().all(|key| !key.starts_with(OWN_PREFIX) && !RESERVED_LABELS.contains(&key.as_str()));
    findings.require("spec.pod.labels", clause::POD_LABELS_ARE_FREE, labels_free);
    let annotations_free = pod.annotations.keys().all(|key| !key.starts_with(OWN_PREFIX));
    findings.require("spec.pod.annotations", clause::POD_ANNOTATIONS_ARE_FREE, annotations_free);
    findings.span_in(
        "spec.pod.terminationGracePeriod",
        clause::GRACE_RANGE,
        pod.termination_grace_period.as_ref(),
        seconds(30),
        hours(24),
    );
}
