//! The naive answer: walk minute by minute, ask the zone what the clocks show, and mark.
//!
//! Nothing is shared with the code under test but the zones: there civil times become instants, here instants become civil
//! times. Whole minutes only.

use std::collections::BTreeSet;

use jiff::civil::{DateTime, Time, Weekday};

use super::*;

pub(super) const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// A window in the words of the oracle.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) days: Vec<Weekday>,
    pub(super) start: Time,
    pub(super) minutes: usize,
    pub(super) zone: String,
}

impl Plan {
    pub(super) fn manifest(&self) -> Value {
        let days: Vec<&str> = self.days.iter().map(|day| short(*day)).collect();
        let start = self.start.strftime("%H:%M").to_string();
        json!({"days": days, "start": start, "duration": format!("{}m", self.minutes), "timeZone": self.zone})
    }
}

fn short(day: Weekday) -> &'static str {
    ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][usize::try_from(day.to_monday_zero_offset()).unwrap()]
}

/// What the clocks of a zone show, minute by minute.
pub(super) struct Walk {
    /// Each with the minute at which it is shown. One that is skipped has the minute at which a clock that nobody had changed
    /// would have shown it.
    shown: Vec<(usize, DateTime)>,
}

impl Walk {
    pub(super) fn new(zone: &TimeZone, from: Timestamp, minutes: usize) -> Self {
        let mut shown: Vec<(usize, DateTime)> = Vec::new();
        for minute in 0..minutes {
            let now = zone.to_datetime(instant(from, minute));
            assert_eq!(now.second(), 0, "an offset of broken minutes in {zone:?} at {now}");
            if let Some((_, before)) = shown.last().copied() {
                let unchanged =
                    (minute..).zip(iter::successors(Some(before + MINUTE), |it| Some(*it + MINUTE)));
                shown.extend(unchanged.take_while(|(_, skipped)| *skipped < now));
            }
            shown.push((minute, now));
        }
        Self { shown }
    }

    /// The minutes at which a start on one of the days comes for the first time.
    fn openings(&self, plan: &Plan) -> Vec<usize> {
        let mut seen = BTreeSet::new();
        let starts = self.shown.iter().filter(|(_, shown)| shown.time() == plan.start);
        let on_days =
            starts.filter(|(_, shown)| plan.days.is_empty() || plan.days.contains(&shown.weekday()));
        on_days.filter(|(_, shown)| seen.insert(shown.date())).map(|(minute, _)| *minute).collect()
    }

    /// For each minute, whether it is in a window of this plan.
    pub(super) fn mark(&self, plan: &Plan, open: &mut [bool]) {
        for opening in self.openings(plan) {
            open.iter_mut().skip(opening).take(plan.minutes).for_each(|minute| *minute = true);
        }
    }
}

pub(super) fn exclude(walk_from: Timestamp, from: Timestamp, to: Timestamp, open: &mut [bool]) {
    for (minute, open) in open.iter_mut().enumerate() {
        if (from..to).contains(&instant(walk_from, minute)) {
            *open = false;
        }
    }
}

pub(super) fn instant(from: Timestamp, minute: usize) -> Timestamp {
    from + SignedDuration::from_mins(i64::try_from(minute).unwrap())
}

/// The runs of marked minutes from one of them up to another.
pub(super) fn runs(open: &[bool], walk_from: Timestamp, from: usize, to: usize) -> Vec<Stretch> {
    let mut runs: Vec<Stretch> = Vec::new();
    for (minute, open) in open.iter().enumerate().take(to).skip(from) {
        let (start, end) = (instant(walk_from, minute), instant(walk_from, minute + 1));
        match runs.last_mut() {
            _ if !open => {}
            Some(last) if last.end == start => last.end = end,
            _ => runs.push(Stretch { start, end }),
        }
    }
    runs
}
