//! What a policy's status says of the time ahead.
//!
//! Everything here stands still between two edges (a window opens or closes, an exclusion begins or ends) and two midnights
//! in UTC, so that a status does not change by the minute.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Schedule, later};

/// How far a policy's status looks ahead: a month, and a day more than the longest.
const AHEAD: SignedDuration = SignedDuration::from_hours(32 * 24);
const DAY: i64 = 24 * 60 * 60;

/// The time ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// When the next window opens that has room for a step, however far that is.
    pub next_window: Option<Timestamp>,
    /// Minutes inside a window and outside every exclusion in 32 days, counted from the last edge or the last midnight in UTC,
    /// whichever is later.
    pub reachable_minutes: u32,
    /// Whether a step may start in those 32 days.
    pub admits: bool,
    /// When something of this may change, midnights aside.
    pub edge: Option<Timestamp>,
}

impl Schedule {
    /// The time ahead, for steps of this length.
    pub fn outlook(&self, now: Timestamp, step: Duration) -> Outlook {
        let since = self.last_edge(now);
        let until = later(since, AHEAD);
        let ahead = || self.pieces(since).take_while(|piece| piece.start < until);
        let seconds: i64 = ahead()
            .map(|piece| piece.end.map_or(until, |end| end.min(until)).duration_since(piece.start).as_secs())
            .sum();
        let edges = self.pieces(now).take(2).flat_map(|piece| [Some(piece.start), piece.end]).flatten();
        Outlook {
            next_window: self.next_opening(now, step),
            reachable_minutes: u32::try_from(seconds / 60).unwrap_or(u32::MAX),
            admits: ahead().any(|piece| piece.has_room(step)),
            edge: edges.filter(|edge| *edge > now).min(),
        }
    }

    /// The last edge since midnight in UTC, or that midnight.
    fn last_edge(&self, now: Timestamp) -> Timestamp {
        let midnight = Timestamp::from_second(now.as_second().div_euclid(DAY) * DAY).unwrap_or(now);
        let pieces = self.pieces(midnight).take_while(|piece| piece.start <= now);
        let edges = pieces.flat_map(|piece| [Some(piece.start), piece.end]).flatten();
        edges.filter(|edge| *edge <= now).max().unwrap_or(midnight)
    }
}
