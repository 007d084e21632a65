//! When may a disruptive step start?
//!
//! A window gates the *start* of a step, never its end: a step begins only if it can be expected to finish before the window
//! closes. Deny beats allow. All arithmetic is on instants, so a window keeps its real length across a change to or from
//! summer time; a start that does not exist that day moves forward by what the clocks skip, one that exists twice is taken
//! once, the first time. Windows that overlap or adjoin are one. Without windows any time will do outside the exclusions.
//! Pure: the caller passes `now` and learns when to ask again.

mod opening;
mod outlook;
mod parse;
mod piece;

use std::iter;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use self::opening::Window;
pub use self::outlook::Outlook;
pub use self::parse::{Unreadable, zone};
use self::piece::{Piece, Stretch, merged};

/// How far ahead windows are looked for between two exclusions. Windows recur weekly and clocks change yearly, so what is
/// not there within a year and some is never there.
const HORIZON: SignedDuration = SignedDuration::from_hours(400 * 24);
/// So much is computed at a time: mostly the next window is no farther than a week.
const BATCH: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The windows and exclusions of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    windows: Vec<Window>,
    exclusions: Vec<Exclusion>,
    /// What the exclusions leave, in order: never empty stretches, never two that adjoin.
    allowed: Vec<Stretch>,
}

/// From one instant up to another, nothing starts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exclusion {
    denied: Stretch,
    reason: Option<String>,
}

/// Whether a step of the given length may start, and when to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Start now.
    Open {
        /// When the window closes; `None` if no end is in sight.
        until: Option<Timestamp>,
    },
    /// Not now.
    Closed {
        /// The next instant at which such a step may start.
        until: Timestamp,
        /// Why not now.
        because: Closed,
    },
    /// No window of this policy can ever admit a step this long. Only an edit helps.
    Never {
        /// Why not.
        because: Unreachable,
    },
}

/// Why a step may not start now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// No window is open.
    OutsideWindow,
    /// An exclusion covers this instant, for the reason it gives.
    Excluded(Option<String>),
    /// A window is open, but closes too soon.
    TooLittleTimeLeft {
        /// When it closes.
        closes: Timestamp,
    },
}

/// Why a step may never start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreachable {
    /// No window is as long as the step.
    TooShort {
        /// How long the longest is.
        longest: Duration,
    },
    /// Some are, but the exclusions leave none of them.
    Excluded,
}

impl Schedule {
    /// Whether a step of this length may start now.
    pub fn gate(&self, now: Timestamp, step: Duration) -> Admission {
        let mut closing = None;
        for piece in self.pieces(now) {
            match (piece.start > now, piece.has_room(step)) {
                (false, true) => return Admission::Open { until: piece.end },
                (false, false) => closing = piece.end,
                (true, true) => {
                    return Admission::Closed { until: piece.start, because: self.closed(now, closing) };
                }
                (true, false) => {}
            }
        }
        Admission::Never { because: self.unreachable(now, step) }
    }

    /// When the next window opens that has room for a step of this length; the one that is open now does not count.
    pub fn next_opening(&self, now: Timestamp, step: Duration) -> Option<Timestamp> {
        self.pieces(now).find(|piece| piece.start > now && piece.has_room(step)).map(|piece| piece.start)
    }

    /// When the window that is open at this instant closes; `None` if none is open, or no end is in sight.
    pub fn closes(&self, at: Timestamp) -> Option<Timestamp> {
        self.pieces(at).next().filter(|piece| piece.start <= at)?.end
    }

    /// The same exclusions, and no other restriction.
    #[must_use]
    pub fn without_windows(&self) -> Self {
        Self { windows: Vec::new(), ..self.clone() }
    }

    /// The zone of a window that is open at this instant.
    pub fn zone_at(&self, at: Timestamp) -> Option<&TimeZone> {
        self.windows.iter().find(|window| window.is_open(at)).map(Window::zone)
    }

    fn closed(&self, now: Timestamp, closing: Option<Timestamp>) -> Closed {
        let covering = self.exclusions.iter().filter(|exclusion| exclusion.denied.contains(now));
        match (covering.max_by_key(|exclusion| exclusion.denied.end), closing) {
            (Some(exclusion), _) => Closed::Excluded(exclusion.reason.clone()),
            (None, Some(closes)) => Closed::TooLittleTimeLeft { closes },
            (None, None) => Closed::OutsideWindow,
        }
    }

    fn unreachable(&self, now: Timestamp, step: Duration) -> Unreachable {
        let longest = self.pieces_in(Stretch { start: now, end: Timestamp::MAX }).map(|piece| piece.length());
        match longest.max().unwrap_or_default() {
            longest if longest < step => Unreachable::TooShort { longest },
            _ => Unreachable::Excluded,
        }
    }

    /// What can be used from this instant on, in order and each as long as it lasts; one that is open is cut at `from`.
    fn pieces(&self, from: Timestamp) -> impl Iterator<Item = Piece> + '_ {
        let ahead = self.allowed.iter().filter(move |stretch| stretch.end > from);
        ahead.flat_map(move |stretch| {
            self.pieces_in(Stretch { start: stretch.start.max(from), end: stretch.end })
        })
    }

    /// The windows' share of a stretch without exclusions, as far as the horizon.
    fn pieces_in(&self, stretch: Stretch) -> impl Iterator<Item = Piece> + '_ {
        let unrestricted = self.windows.is_empty().then_some(stretch);
        let limit = later(stretch.start, HORIZON).min(stretch.end);
        // What opens before the horizon is followed until it closes, or for longer than any step takes.
        let seen = later(limit, BATCH).min(stretch.end);
        let longest = self.windows.iter().map(Window::length).max();
        let first = longest.and_then(|longest| stretch.start.checked_sub(longest).ok());
        let batches = iter::successors(first.or(longest.map(|_| stretch.start)), move |from| {
            Some(later(*from, BATCH)).filter(|next| *next < seen)
        });
        let openings = batches.flat_map(move |from| {
            let to = later(from, BATCH).min(seen);
            let mut openings: Vec<Stretch> =
                self.windows.iter().flat_map(|window| window.openings(from, to)).collect();
            openings.sort_unstable();
            openings
        });
        let ahead = merged(openings).take_while(move |open| open.start < limit);
        let used = ahead.filter_map(move |open| open.within(stretch)).map(move |open| {
            // Where the search ended for no other reason than its limit, no end is in sight.
            let cut = open.end >= seen && seen < stretch.end;
            Piece { start: open.start, end: (!cut).then_some(open.end) }
        });
        let always = unrestricted.map(|stretch| Piece {
            start: stretch.start,
            end: (stretch.end < Timestamp::MAX).then_some(stretch.end),
        });
        always.into_iter().chain(used)
    }
}

/// So much later; at the end of time if that is nearer.
fn later(from: Timestamp, by: SignedDuration) -> Timestamp {
    from.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
