//! Who leads: a Lease, judged by a pure function and written by [`election`].
//!
//! Only the leader writes to the cluster or speaks to relays. Age is measured with this process's own monotonic clock since
//! the Lease was last *seen to change*, so clocks of different nodes never have to agree. Every write carries the
//! resourceVersion it was decided on; losing a race is a 409 and a fresh look, never two leaders. The epoch handed to relays
//! is `leaseTransitions`: it grows with every new holder, a restarted container included.

use std::time::Duration;

use tokio::time::Instant;

pub mod election;
mod record;

/// How long a holder that fell silent keeps the Lease.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How often the holder renews. Two renewals may fail before [`RENEW_DEADLINE`].
pub const RENEW_EVERY: Duration = Duration::from_secs(5);
/// A leader that could not renew for this long stops itself, well before anyone else may start.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often a follower looks. A clean release is therefore noticed within a second.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Name of one incarnation of one operator pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pod: String,
    incarnation: String,
}

impl Identity {
    /// A fresh incarnation of the pod called `pod`.
    pub fn new(pod: &str, incarnation: &str) -> Self {
        Self { pod: pod.to_owned(), incarnation: incarnation.to_owned() }
    }

    /// The text in `spec.holderIdentity`.
    pub fn holder(&self) -> String {
        format!("{}_{}", self.pod, self.incarnation)
    }

    /// Whether `holder` is an earlier container of this same pod. The kubelet runs one container of a pod at a time, so that
    /// process is gone and waiting for its Lease to run out would only cost time.
    fn succeeds(&self, holder: &str) -> bool {
        holder
            .rsplit_once('_')
            .is_some_and(|(pod, incarnation)| pod == self.pod && incarnation != self.incarnation)
    }
}

/// What a Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The holder, absent after a clean release.
    pub holder: Option<String>,
    /// How often the holder changed so far.
    pub transitions: u64,
    /// How long the holder may be silent, as it wrote itself.
    pub duration: Duration,
    /// The precondition of the next write.
    pub resource_version: String,
}

/// A Lease, and for how long it has looked the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Absent when there is no Lease yet.
    pub claim: Option<Claim>,
    /// When this claim was first seen, on the local monotonic clock.
    pub unchanged_since: Instant,
}

impl Observed {
    /// The first look.
    pub fn first(claim: Option<Claim>, now: Instant) -> Self {
        Self { claim, unchanged_since: now }
    }

    /// The next look: the clock restarts only when something changed.
    #[must_use]
    pub fn then(self, claim: Option<Claim>, now: Instant) -> Self {
        if claim == self.claim { self } else { Self::first(claim, now) }
    }
}

/// What to do about a Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Take it: it is free, or its holder fell silent, or its holder was this pod's previous container.
    Acquire,
    /// It is ours: renew it.
    Renew,
    /// Somebody else leads, at least for this long.
    Yield(Duration),
}

/// Judges a Lease at one instant.
pub fn evaluate(observed: &Observed, me: &Identity, now: Instant) -> Verdict {
    let Some(claim) = &observed.claim else { return Verdict::Acquire };
    let Some(holder) = claim.holder.as_deref().filter(|holder| !holder.is_empty()) else {
        return Verdict::Acquire;
    };
    if holder == me.holder() {
        return Verdict::Renew;
    }
    if me.succeeds(holder) {
        return Verdict::Acquire;
    }
    let silent_for = now.saturating_duration_since(observed.unchanged_since);
    match claim.duration.checked_sub(silent_for) {
        Some(left) if !left.is_zero() => Verdict::Yield(left),
        _ => Verdict::Acquire,
    }
}

#[cfg(test)]
mod tests;
