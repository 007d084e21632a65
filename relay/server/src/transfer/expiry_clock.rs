//! What time it is for burning what has expired.
//!
//! Lifetimes end by the machine's clock, which rows need to outlive a restart, and which somebody may set wrong. Whether a payload may be
//! read is asked of that clock each time, and is put right with it. A burn is not: so a clock that leaps ahead is not followed at
//! once. What has expired only by the leap stays, unreadable, until the clock has kept to it for [`HOLD`]. A clock that is set back is
//! followed at once: it makes nothing expire. Pure: the caller passes both clocks.

use std::time::Duration;

/// Further ahead than a clock gets that is merely kept in step, from one look to the next.
const LEAP_MS: i64 = 60_000;
/// Time for whoever watches a machine to see that its clock is wrong. A relay that starts follows the clock it finds.
const HOLD: Duration = Duration::from_secs(3600);

/// The time that burns go by.
#[derive(Debug, Default)]
pub(super) struct ExpiryClock {
    seen: Option<Seen>,
    leapt: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    wall_ms: i64,
    since_boot: Duration,
}

/// What a look at the clocks gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// Unix milliseconds.
    pub(super) ms: i64,
    /// The clock has just leapt so far ahead, and is not followed yet.
    pub(super) leapt_ms: Option<i64>,
}

impl ExpiryClock {
    /// The machine's clock, and one that nobody sets and that goes on while the machine sleeps.
    pub(super) fn look(&mut self, wall_ms: i64, since_boot: Duration) -> Now {
        let ahead = self.seen.map_or(0, |seen| wall_ms.saturating_sub(seen.now(since_boot)));
        if ahead <= LEAP_MS || self.leapt.is_some_and(|at| since_boot.saturating_sub(at) >= HOLD) {
            self.seen = Some(Seen { wall_ms, since_boot });
            self.leapt = None;
            return Now { ms: wall_ms, leapt_ms: None };
        }
        let first = self.leapt.is_none();
        self.leapt.get_or_insert(since_boot);
        Now { ms: wall_ms.saturating_sub(ahead), leapt_ms: first.then_some(ahead) }
    }
}

impl Seen {
    /// What the machine's clock would show had nobody set it.
    fn now(self, since_boot: Duration) -> i64 {
        let passed = since_boot.saturating_sub(self.since_boot).as_millis();
        self.wall_ms.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn looked(clock: &mut ExpiryClock, wall_ms: i64, seconds: u64) -> i64 {
        clock.look(wall_ms, at(seconds)).ms
    }

    #[test]
    fn a_clock_in_step_is_followed() {
        let mut clock = ExpiryClock::default();
        assert_eq!(looked(&mut clock, 5_000, 100), 5_000);
        assert_eq!(looked(&mut clock, 7_100, 102), 7_100);
        // However long nobody looked: the machine may have slept.
        assert_eq!(looked(&mut clock, 7_100 + DAY_MS, 102 + 86_400), 7_100 + DAY_MS);
    }

    #[test]
    fn a_leap_ahead_is_told_once_and_followed_when_it_has_lasted() {
        let mut clock = ExpiryClock::default();
        looked(&mut clock, 0, 100);
        assert_eq!(clock.look(DAY_MS + 2_000, at(102)), Now { ms: 2_000, leapt_ms: Some(DAY_MS) });
        assert_eq!(clock.look(DAY_MS + 4_000, at(104)), Now { ms: 4_000, leapt_ms: None });
        let lasted = 102 + HOLD.as_secs();
        let wall = |seconds: u64| DAY_MS + i64::try_from((seconds - 100) * 1000).unwrap_or_default();
        assert_eq!(looked(&mut clock, wall(lasted - 1), lasted - 1), wall(lasted - 1) - DAY_MS);
        assert_eq!(looked(&mut clock, wall(lasted), lasted), wall(lasted));
        assert_eq!(looked(&mut clock, wall(lasted + 2), lasted + 2), wall(lasted + 2));
    }

    #[test]
    fn a_leap_that_is_taken_back_leaves_nothing() {
        let mut clock = ExpiryClock::default();
        looked(&mut clock, 0, 100);
        looked(&mut clock, DAY_MS, 102);
        assert_eq!(looked(&mut clock, 4_000, 104), 4_000);
        assert_eq!(clock.look(DAY_MS, at(106)).leapt_ms.map(|ms| ms / 1000), Some(86_394), "a new one");
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed_at_once() {
        let mut clock = ExpiryClock::default();
        looked(&mut clock, DAY_MS, 100);
        assert_eq!(looked(&mut clock, 2_000, 102), 2_000);
        assert_eq!(looked(&mut clock, 4_000, 104), 4_000);
    }
}
