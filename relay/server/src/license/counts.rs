//! What is counted of the last 24 hours, in whole hours: what telemetry may say, whether or not it is switched on.
//!
//! Numbers in memory and nothing else; a restart begins anew. No caller, route or file is told apart.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use paramant_licensing::online::telemetry::Measured;

const HOURS: i64 = 24;

/// The counters.
#[derive(Debug, Default)]
pub struct Counts(Mutex<Vec<Hour>>);

#[derive(Debug, Clone, Copy, Default)]
struct Hour {
    hour: i64,
    uploads: u64,
    requests: u64,
    errors: u64,
    credentials: u64,
    refused: u64,
}

impl Counts {
    /// A request was answered; `credential`: it carried a key or a token.
    pub fn answered(&self, status: u16, credential: bool) {
        self.in_hour(now(), |hour| {
            hour.requests += 1;
            hour.errors += u64::from(status >= 500);
            hour.credentials += u64::from(credential);
            hour.refused += u64::from(credential && status == 401);
        });
    }

    /// An upload was acknowledged.
    pub fn uploaded(&self) {
        self.in_hour(now(), |hour| hour.uploads += 1);
    }

    /// The last 24 hours.
    #[must_use]
    pub fn measured(&self, users: u64, uptime_seconds: u64) -> Measured {
        self.measured_at(now(), users, uptime_seconds)
    }

    fn measured_at(&self, now: i64, users: u64, uptime_seconds: u64) -> Measured {
        let hours = self.hours();
        let sum = |of: fn(&Hour) -> u64| hours.iter().filter(|it| recent(it, now)).map(of).sum();
        Measured {
            users,
            transfers: sum(|hour| hour.uploads),
            requests: (sum(|hour| hour.requests), sum(|hour| hour.errors)),
            authentications: (sum(|hour| hour.credentials), sum(|hour| hour.refused)),
            uptime_seconds,
        }
    }

    fn in_hour(&self, now: i64, count: impl FnOnce(&mut Hour)) {
        let mut hours = self.hours();
        if hours.last().is_none_or(|last| last.hour != now) {
            hours.retain(|hour| recent(hour, now));
            hours.push(Hour { hour: now, ..Hour::default() });
        }
        if let Some(last) = hours.last_mut() {
            count(last);
        }
    }

    fn hours(&self) -> MutexGuard<'_, Vec<Hour>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hours since 1970.
fn now() -> i64 {
    Timestamp::now().as_second().div_euclid(3600)
}

/// Hours of a clock that was ahead are not of the last 24.
fn recent(hour: &Hour, now: i64) -> bool {
    (0..HOURS).contains(&(now - hour.hour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_counted_and_no_more() {
        let counts = Counts::default();
        for hour in 0..30 {
            counts.in_hour(hour, |it| it.uploads += 1);
        }
        assert_eq!(counts.measured_at(29, 3, 60).transfers, 24);
        assert_eq!(counts.measured_at(60, 3, 60).transfers, 0);
        assert!(counts.hours().len() <= 25, "what is over is forgotten");
        counts.answered(401, true);
        counts.answered(401, false);
        counts.answered(503, true);
        let measured = counts.measured(3, 60);
        assert_eq!((measured.requests, measured.authentications), ((3, 1), (2, 1)));
        assert_eq!((measured.users, measured.uptime_seconds), (3, 60));
    }
}
