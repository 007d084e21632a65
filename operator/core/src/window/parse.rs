//! From a policy's text to a schedule, or to a sentence that says what to write instead.
//!
//! Zones are those that are compiled in, never those of the machine: the image is empty, and two replicas must agree.

use jiff::civil::{Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use paramant_crds::policy::{Day, Moment, TimeZoneName, Updates};

use super::opening::Window;
use super::piece::{Stretch, complement};
use super::{Exclusion, Schedule};

/// What of windows or exclusions cannot be read. The message begins with where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No such zone.
    #[error(
        "{at}: the IANA database has no time zone {name}: write one such as Europe/Amsterdam, or leave it out for UTC"
    )]
    UnknownTimeZone {
        /// Where.
        at: String,
        /// As written.
        name: String,
    },
    /// No such instant.
    #[error(
        "{at}: the calendar has no {text}: write an instant in UTC up to 9999-12-30, such as 2026-12-20T00:00:00Z"
    )]
    NoSuchMoment {
        /// Where.
        at: String,
        /// As written.
        text: String,
    },
    /// No such time of day.
    #[error("{at}: {text} is no time of day: write one from 00:00 to 23:59")]
    NoSuchTime {
        /// Where.
        at: String,
        /// As written.
        text: String,
    },
    /// No length of time.
    #[error("{at}: {text} is no length of time: write one such as 4h or 1h30m")]
    NoSuchLength {
        /// Where.
        at: String,
        /// As written.
        text: String,
    },
}

impl Unreadable {
    /// For the condition `Accepted`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownTimeZone { .. } => "UnknownTimeZone",
            Self::NoSuchMoment { .. } => "NoSuchMoment",
            Self::NoSuchTime { .. } | Self::NoSuchLength { .. } => "UnreadableWindow",
        }
    }
}

/// The zone of this name. `Etc/Unknown` is none: it only says that nobody knows.
pub fn zone(name: &TimeZoneName) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name.as_str()).ok().filter(|zone| !zone.is_unknown())
}

impl Schedule {
    /// Reads the windows and exclusions of a policy.
    pub fn of(updates: &Updates) -> Result<Self, Unreadable> {
        let windows = updates.windows.iter().enumerate().map(|(index, window)| {
            let at = |field: &str| format!("spec.updates.windows[{index}].{field}");
            let zone = match &window.time_zone {
                None => TimeZone::UTC,
                Some(name) => zone(name).ok_or_else(|| Unreadable::UnknownTimeZone {
                    at: at("timeZone"),
                    name: name.to_string(),
                })?,
            };
            let start = Time::strptime("%H:%M", window.start.as_str())
                .map_err(|_| Unreadable::NoSuchTime { at: at("start"), text: window.start.to_string() })?;
            let length = window.duration.duration().and_then(|it| SignedDuration::try_from(it).ok());
            let length = length.ok_or_else(|| Unreadable::NoSuchLength {
                at: at("duration"),
                text: window.duration.to_string(),
            })?;
            Ok(Window::new(window.days.iter().copied().map(weekday).collect(), start, length, zone))
        });
        let exclusions = updates.exclusions.iter().enumerate().map(|(index, exclusion)| {
            let at = |field: &str| format!("spec.updates.exclusions[{index}].{field}");
            let (start, end) = (moment(&exclusion.from, &at("from"))?, moment(&exclusion.to, &at("to"))?);
            Ok(Exclusion { denied: Stretch { start, end }, reason: exclusion.reason.clone() })
        });
        let windows = windows.collect::<Result<Vec<_>, Unreadable>>()?;
        let exclusions = exclusions.collect::<Result<Vec<_>, Unreadable>>()?;
        let denied = exclusions.iter().map(|it| it.denied).filter(|it| it.start < it.end).collect();
        Ok(Self { windows, exclusions, allowed: complement(denied) })
    }
}

fn moment(moment: &Moment, at: &str) -> Result<Timestamp, Unreadable> {
    moment.instant().ok_or_else(|| Unreadable::NoSuchMoment { at: at.to_owned(), text: moment.to_string() })
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    }
}
