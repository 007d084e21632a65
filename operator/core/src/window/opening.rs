//! One recurring window, and the instants at which it opens.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::later;
use super::piece::Stretch;

/// Opens on some days of the week at one time of day in one zone, for one length of real time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// Never empty.
    days: Vec<Weekday>,
    start: Time,
    length: SignedDuration,
    zone: TimeZone,
}

impl Window {
    /// On no day means on each.
    pub(super) fn new(days: Vec<Weekday>, start: Time, length: SignedDuration, zone: TimeZone) -> Self {
        let days = if days.is_empty() { Weekday::Monday.cycle_forward().take(7).collect() } else { days };
        Self { days, start, length, zone }
    }

    pub(super) fn length(&self) -> SignedDuration {
        self.length
    }

    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    pub(super) fn is_open(&self, at: Timestamp) -> bool {
        let from = at.checked_sub(self.length).unwrap_or(Timestamp::MIN);
        self.openings(from, later(at, SignedDuration::from_secs(1))).any(|open| open.contains(at))
    }

    /// Every time it opens from one instant up to another, each with its whole length.
    pub(super) fn openings(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Stretch> + '_ {
        // A start that does not exist may lie a whole day later than its date says (Pacific islands skipped one).
        let first = self.zone.to_datetime(from).date().saturating_sub(2.days());
        let last = self.zone.to_datetime(to).date();
        first
            .series(1.day())
            .take_while(move |date| *date <= last)
            .filter(|date| self.days.contains(&date.weekday()))
            .filter_map(|date| self.opens_on(date))
            .filter(move |start| (from..to).contains(start))
            .map(|start| Stretch { start, end: later(start, self.length) })
    }

    /// `None` only at the ends of the calendar.
    fn opens_on(&self, date: Date) -> Option<Timestamp> {
        self.zone.to_ambiguous_timestamp(date.to_datetime(self.start)).compatible().ok()
    }
}
