//! A [`Claim`] as a Lease object, and back.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ObjectMeta;

use super::{Claim, LEASE_DURATION};

/// Reads a Lease. A Lease without a duration is taken to use ours.
pub(super) fn claim_of(lease: &Lease) -> Claim {
    let spec = lease.spec.clone().unwrap_or_default();
    Claim {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        transitions: spec.lease_transitions.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        duration: spec
            .lease_duration_seconds
            .and_then(|n| u64::try_from(n).ok())
            .map_or(LEASE_DURATION, Duration::from_secs),
        resource_version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}

/// The Lease to write on top of `before`. `holder` is `None` for a release.
pub(super) fn lease(
    name: &str,
    before: Option<&Lease>,
    holder: Option<String>,
    now: Timestamp,
) -> (Lease, u64) {
    let old = before.map(claim_of);
    let held_before = old.as_ref().is_some_and(|claim| claim.holder == holder);
    let transitions = match &old {
        None => 1,
        Some(claim) if held_before || holder.is_none() => claim.transitions,
        Some(claim) => claim.transitions + 1,
    };
    let acquired = before.and_then(|lease| lease.spec.as_ref()).and_then(|spec| spec.acquire_time.clone());
    let spec = LeaseSpec {
        acquire_time: if held_before { acquired } else { holder.as_ref().map(|_| MicroTime(now)) },
        lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
        lease_transitions: i32::try_from(transitions).ok(),
        renew_time: Some(MicroTime(now)),
        holder_identity: holder,
        ..LeaseSpec::default()
    };
    let metadata = match before {
        Some(lease) => lease.metadata.clone(),
        None => ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
    };
    (Lease { metadata, spec: Some(spec) }, transitions)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn every_new_holder_counts_and_a_renewal_or_a_release_does_not() {
        let now = Timestamp::UNIX_EPOCH;
        let (first, one) = lease("l", None, Some("a_1".to_owned()), now);
        let (renewed, still_one) = lease("l", Some(&first), Some("a_1".to_owned()), now);
        let (released, also_one) = lease("l", Some(&renewed), None, now);
        let (again, two) = lease("l", Some(&released), Some("a_1".to_owned()), now);
        let (_, three) = lease("l", Some(&again), Some("a_2".to_owned()), now);
        assert_eq!((one, still_one, also_one, two, three), (1, 1, 1, 2, 3));
    }
}
