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
        None => first_epoch(now),
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

/// Where a new Lease begins to count: the minute it was made. Relays refuse a lower epoch than they hold, so a Lease that
/// somebody deleted must not begin at one again; it outranks the old one unless leaders changed more than once a minute.
fn first_epoch(now: Timestamp) -> u64 {
    u64::try_from(now.as_second() / 60).unwrap_or(0).max(1)
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

    #[test]
    fn a_lease_made_again_outranks_the_one_that_was_deleted() {
        let then: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let (mut old, mut epoch) = lease("l", None, Some("a_0".to_owned()), then);
        for round in 1..30 {
            (old, epoch) = lease("l", Some(&old), Some(format!("a_{round}")), then);
        }
        let (_, again) = lease("l", None, Some("a_31".to_owned()), later);
        assert!(again > epoch, "{again} after {epoch}");
        assert!(i32::try_from(again).is_ok());
    }
}
