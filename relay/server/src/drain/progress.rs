//! How far a drain has come. Pure: the caller passes `now`.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use paramant_protocol::control::{DrainReport, DrainState};

use super::Requests;

/// Requests, counts, and the two instants that the state depends on.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) requests: Requests,
    /// When the vendor's drain has run for as long as it may.
    pub(super) vendor_ends: Option<Instant>,
    pub(super) uploads: u64,
    pub(super) claims: u64,
    pub(super) unclaimed: u64,
    counts_unclaimed: bool,
    since: Option<Timestamp>,
    idle_since: Option<Timestamp>,
}

impl Progress {
    pub(super) fn new(counts_unclaimed: bool) -> Self {
        Self {
            requests: Requests::default(),
            vendor_ends: None,
            uploads: 0,
            claims: 0,
            unclaimed: 0,
            counts_unclaimed,
            since: None,
            idle_since: None,
        }
    }

    /// Notes since when uploads are refused and nothing is in flight. Called after each change, and when time has passed.
    pub(super) fn advance(&mut self, now: Timestamp) {
        if !self.requests.draining(now) {
            (self.since, self.idle_since) = (None, None);
            return;
        }
        self.since.get_or_insert(now);
        if self.in_flight() > 0 {
            self.idle_since = None;
        } else {
            self.idle_since.get_or_insert(now);
        }
    }

    /// Whether a blob nobody has read yet is work in flight.
    pub(super) fn counts_unclaimed(&self) -> bool {
        self.counts_unclaimed
    }

    /// As of the last [`Progress::advance`].
    pub(super) fn is_draining(&self) -> bool {
        self.since.is_some()
    }

    pub(super) fn report(&self, now: Timestamp) -> DrainReport {
        let requested_by = self.requests.sources(now);
        let state = if requested_by.is_empty() {
            DrainState::Serving
        } else if self.settled_at().is_some_and(|at| at <= now) {
            DrainState::Drained
        } else {
            DrainState::Draining
        };
        let since = self.since.filter(|_| state != DrainState::Serving);
        let deadline = since.map(|since| later(since, self.requests.operator.deadline_seconds));
        DrainReport {
            state,
            requested_by,
            since,
            deadline: deadline.filter(|_| self.requests.operator.deadline_seconds > 0),
            uploads: self.uploads,
            claims: self.claims,
            unclaimed: self.unclaimed,
        }
    }

    /// The next instant after `now` at which the report changes though nothing happens.
    pub(super) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        [self.requests.next_expiry(now), self.settled_at().filter(|at| *at > now)].into_iter().flatten().min()
    }

    fn settled_at(&self) -> Option<Timestamp> {
        self.idle_since.map(|since| later(since, self.requests.operator.settle_seconds))
    }

    fn in_flight(&self) -> u64 {
        let unclaimed = if self.counts_unclaimed { self.unclaimed } else { 0 };
        self.uploads + self.claims + unclaimed
    }
}

/// Saturating: a deadline beyond the calendar is as good as none.
fn later(at: Timestamp, seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    at.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}
