//! The one way this process waits before trying again: doubling, capped, with jitter.
//!
//! Jitter keeps a thousand objects that failed together from coming back together. Pure but for the random draw.

use std::time::Duration;

/// Doubling delays between `min` and `max`.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// No failure yet.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// Counts a failure and says how long to wait now.
    pub fn next_delay(&mut self) -> Duration {
        let delay = Self::delay(self.min, self.max, self.failures);
        self.failures = self.failures.saturating_add(1);
        jittered(delay)
    }

    /// Forgets earlier failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The delay after so many failures, before jitter.
    pub fn delay(min: Duration, max: Duration, failures: u32) -> Duration {
        min.saturating_mul(2u32.saturating_pow(failures.min(20))).min(max)
    }
}

/// `delay`, lengthened or shortened by up to a tenth.
pub fn jittered(delay: Duration) -> Duration {
    let draw = getrandom::u32().map_or(0.5, |n| f64::from(n) / f64::from(u32::MAX));
    delay.mul_f64(0.9 + 0.2 * draw)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_start_over_after_a_success() {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(Backoff::delay(min, max, 0), min);
        assert_eq!(Backoff::delay(min, max, 3), Duration::from_secs(8));
        assert_eq!(Backoff::delay(min, max, 31), max);
        let mut backoff = Backoff::new(min, max);
        for _ in 0..40 {
            assert!(backoff.next_delay() <= max.mul_f64(1.1));
        }
        backoff.reset();
        assert!(backoff.next_delay() <= min.mul_f64(1.1));
    }
}
