//! What the rules in force say about time: the window gate, and the sentences in which it is told.
//!
//! A change that applies at once waits for no window; an exclusion holds it back all the same, for a freeze with holes is
//! none. A sentence names instants and lengths only, never what is left, so that it stays the same while it is true.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use paramant_crds::policy::{Applies, Gate as When, OnDeadline, Updates};

use super::Rules;
use crate::change::Change;
use crate::gate::Gate;
use crate::window::{Admission, Closed, Schedule, Unreachable, Unreadable};

/// When changes may be rolled, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Windows {
    /// For changes that wait for a window. A policy that cannot be read is not accepted, so an error here is one that
    /// another release of the operator could read.
    scheduled: Result<Schedule, Unreadable>,
    applies: Applies,
}

impl Windows {
    pub(super) fn of(updates: &Updates) -> Self {
        Self { scheduled: Schedule::of(updates), applies: updates.applies.clone().unwrap_or_default() }
    }

    fn for_change(&self, change: Change) -> Result<Schedule, &Unreadable> {
        let (said, default) = match change {
            Change::Image => (self.applies.image, When::Window),
            Change::Pod => (self.applies.pod, When::Window),
            Change::Licence => (self.applies.licence, When::Now),
        };
        let schedule = self.scheduled.as_ref()?;
        Ok(match said.unwrap_or(default) {
            When::Window => schedule.clone(),
            When::Now => schedule.without_windows(),
        })
    }
}

impl Rules {
    /// How long a step takes at most, as far as it can be foreseen: a drain up to its deadline, then a new pod up to its
    /// health timeout. So much room a window must still have.
    pub fn step(&self) -> Duration {
        self.deadline.saturating_add(self.health)
    }

    /// The same where files in the pod's memory wait for their receivers, each for `longest` at most.
    pub fn step_in_memory(&self, longest: Duration) -> Duration {
        if self.accept_loss && self.on_deadline == OnDeadline::Proceed {
            return self.step();
        }
        self.deadline.max(longest).saturating_add(self.health)
    }

    /// Whether a step of this kind and length may start now, by windows and exclusions alone.
    pub fn window_gate(&self, change: Change, now: Timestamp, step: Duration) -> Gate {
        let schedule = match self.windows.for_change(change) {
            Ok(schedule) => schedule,
            Err(unreadable) => {
                return Gate::Never { reason: unreadable.reason(), message: unreadable.to_string() };
            }
        };
        match schedule.gate(now, step) {
            Admission::Open { .. } => Gate::Open,
            Admission::Closed { until, because } => {
                let (reason, why) = closed(&because, step);
                let message = format!("{why}; the next start is possible at {}", said(until, &schedule));
                Gate::Closed { reason, message, until: Some(until) }
            }
            Admission::Never { because } => {
                Gate::Never { reason: "NoReachableWindow", message: never(&because, step) }
            }
        }
    }

    /// The windows and exclusions, for changes that wait for a window.
    pub fn schedule(&self) -> Result<&Schedule, &Unreadable> {
        self.windows.scheduled.as_ref()
    }

    /// What to edit, if some kind of change could never start again.
    pub(crate) fn never_opens(&self, now: Timestamp) -> Option<String> {
        [Change::Image, Change::Pod, Change::Licence].into_iter().find_map(|change| {
            match self.windows.for_change(change).ok()?.gate(now, self.step()) {
                Admission::Never { because } => Some(never(&because, self.step())),
                Admission::Open { .. } | Admission::Closed { .. } => None,
            }
        })
    }

    /// When the next window opens that has room for a step.
    pub fn next_window(&self, now: Timestamp) -> Option<Timestamp> {
        self.windows.scheduled.as_ref().ok()?.next_opening(now, self.step())
    }

    /// When the window closes that was open for this kind of change at this instant, for `overrun`; `None` when none was, or
    /// when no end is in sight.
    pub fn window_closes(&self, change: Change, at: Timestamp) -> Option<Timestamp> {
        self.windows.for_change(change).ok()?.closes(at)
    }
}

fn closed(because: &Closed, step: Duration) -> (&'static str, String) {
    match because {
        Closed::OutsideWindow => ("OutsideWindow", "waiting for a window of the policy".into()),
        Closed::Excluded(None) => ("Excluded", "an exclusion of the policy covers this time".into()),
        Closed::Excluded(Some(reason)) => {
            ("Excluded", format!("an exclusion of the policy covers this time ({reason})"))
        }
        Closed::TooLittleTimeLeft { closes } => (
            "TooLittleTimeLeft",
            format!("the open window closes at {closes}, too soon for a step of {}", length(step)),
        ),
    }
}

/// What to edit when no window will ever do.
fn never(because: &Unreachable, step: Duration) -> String {
    match because {
        Unreachable::TooShort { longest } => format!(
            "a step takes up to {} (drain deadline and health timeout), and the longest window is {}: lengthen a duration in spec.updates.windows, or shorten spec.drain.deadline or spec.updates.healthTimeout",
            length(step),
            length(*longest)
        ),
        Unreachable::Excluded => format!(
            "the exclusions leave no time from now on in which a step of up to {} could start: end or remove one of spec.updates.exclusions",
            length(step)
        ),
    }
}

fn length(length: Duration) -> String {
    SignedDuration::try_from(length).map_or_else(|_| "any length".to_owned(), |length| format!("{length:#}"))
}

/// An instant in UTC, and as the clocks show it where the window was written for.
fn said(at: Timestamp, schedule: &Schedule) -> String {
    let zone = schedule.zone_at(at).and_then(|zone| Some((zone, zone.iana_name()?)));
    match zone {
        Some((zone, name)) => {
            format!("{at} ({} in {name})", at.to_zoned(zone.clone()).strftime("%a %-d %b %H:%M"))
        }
        None => at.to_string(),
    }
}

#[cfg(test)]
mod tests;
