//! When a relay checks in. Chance is passed in, so that a thousand relays can be simulated.
//!
//! A server's wish is clamped to the promised interval; each wait is cut by up to a fifth, so that relays which started together,
//! or waited for one outage to end, soon are anywhere in the interval.

use std::time::Duration;

/// The shortest interval.
pub const SHORTEST: Duration = Duration::from_secs(15 * 60);
/// The longest, and the one when nobody says otherwise: what trust page L4 promises.
pub const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// A start with a set that still serves waits up to so long, so that a cluster coming up is no storm.
const START: Duration = Duration::from_secs(60);
/// The first wait after a failure; each further one is twice as long, up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// From one accepted reply to the next request. `chance` is in 0..=1.
pub fn next(asked: u64, configured: Duration, chance: f64) -> Duration {
    let interval = Duration::from_secs(asked).min(configured).clamp(SHORTEST, LONGEST);
    interval.mul_f64(1.0 - 0.2 * chance.clamp(0.0, 1.0))
}

/// From a start to its request: at once when nothing is in force.
pub fn at_start(in_force: bool, chance: f64) -> Duration {
    if in_force { START.mul_f64(chance.clamp(0.0, 1.0)) } else { Duration::ZERO }
}

/// After so many failures in a row, from 1.
pub fn retry(failures: u32, configured: Duration, chance: f64) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(configured.clamp(SHORTEST, LONGEST)).mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A simple generator: what counts is that the relays draw different numbers.
    fn draw(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(*state >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// The most check-ins in any minute of the interval after `rounds`, of relays that all began at 0.
    fn busiest_minute(relays: u64, rounds: u32, jitter: bool) -> usize {
        let mut minutes = vec![0; 24 * 60 * 10];
        for relay in 0..relays {
            let (mut state, mut at) = (relay * 7919 + 1, Duration::ZERO);
            let mut chance = || if jitter { draw(&mut state) } else { 0.0 };
            for _ in 0..rounds {
                at += next(21_600, LONGEST, chance());
            }
            minutes[usize::try_from(at.as_secs() / 60).unwrap()] += 1;
        }
        minutes.into_iter().max().unwrap()
    }

    #[test]
    fn a_thousand_relays_that_start_together_do_not_stay_together() {
        assert_eq!(busiest_minute(1000, 1, false), 1000, "without jitter they would");
        assert!(busiest_minute(1000, 1, true) < 40, "{}", busiest_minute(1000, 1, true));
        // Spread over six hours evenly it would be three.
        assert!(busiest_minute(1000, 12, true) < 15, "{}", busiest_minute(1000, 12, true));
    }

    #[test]
    fn after_an_outage_they_do_not_all_come_back_at_once() {
        let mut starts = vec![0; 600];
        for relay in 0..1000_u64 {
            let mut state = relay * 7919 + 1;
            let second = retry(4, LONGEST, draw(&mut state)).as_secs();
            starts[usize::try_from(second).unwrap()] += 1;
        }
        assert!(starts.iter().max().unwrap() < &25, "{starts:?}");
    }

    #[test]
    fn a_server_cannot_stretch_the_interval_nor_hurry_a_relay() {
        assert_eq!(LONGEST, Duration::from_secs(6 * 3600));
        assert_eq!(next(u64::MAX, LONGEST, 0.0), LONGEST);
        assert_eq!(next(u64::MAX, LONGEST * 2, 0.0), LONGEST, "nor can a setting");
        assert_eq!(next(0, LONGEST, 0.0), SHORTEST);
        assert_eq!(next(21_600, Duration::from_secs(3600), 0.0), Duration::from_secs(3600));
        assert!(next(21_600, LONGEST, 1.0) >= LONGEST.mul_f64(0.8));
        assert_eq!(at_start(false, 1.0), Duration::ZERO);
        assert_eq!(retry(1, LONGEST, 1.0), Duration::from_secs(60));
        assert_eq!(retry(u32::MAX, LONGEST, 1.0), LONGEST);
    }
}
