//! How often each caller may ask: one rate per API key, one per address.
//!
//! The rate is a setting that may change while the relay runs; a change starts all counts afresh. A minute's worth may come
//! at once, then one at a time as the minute refills.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::listener::client_address::block;

/// Who a rate is counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A key, by its `kid`.
    Key(String),
    /// An address, for what needs no key and for attempts that fail. Made by [`Caller::at`].
    Address(IpAddr),
}

impl Caller {
    /// Whoever asks from this address, and from its whole block of IPv6: a client usually owns that many.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self::Address(block(address))
    }
}

/// The rates in force.
#[derive(Debug)]
pub struct RateLimits {
    clock: DefaultClock,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    per_minute: u32,
    limiter: Arc<DefaultKeyedRateLimiter<Caller>>,
}

/// Callers remembered before those that have been quiet are forgotten.
const REMEMBERED: usize = 100_000;

impl Default for RateLimits {
    fn default() -> Self {
        Self { clock: DefaultClock::default(), current: RwLock::new(Current::new(1)) }
    }
}

impl Current {
    fn new(per_minute: u32) -> Self {
        let per_minute = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        Self {
            per_minute: per_minute.get(),
            limiter: Arc::new(RateLimiter::keyed(Quota::per_minute(per_minute))),
        }
    }
}

impl RateLimits {
    /// Counts one request of a caller that may send `per_minute`.
    ///
    /// # Errors
    /// When the caller has none left: how long until the next.
    pub fn admit(&self, caller: &Caller, per_minute: u32) -> Result<(), Duration> {
        let limiter = self.limiter(per_minute);
        if limiter.len() > REMEMBERED {
            limiter.retain_recent();
        }
        limiter.check_key(caller).map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// The limiter for this setting; a changed setting starts afresh.
    fn limiter(&self, per_minute: u32) -> Arc<DefaultKeyedRateLimiter<Caller>> {
        {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            if current.per_minute == per_minute {
                return Arc::clone(&current.limiter);
            }
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.per_minute != per_minute {
            *current = Current::new(per_minute);
        }
        Arc::clone(&current.limiter)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_caller_over_its_rate_leaves_the_others_theirs() {
        let rates = RateLimits::default();
        let (a, b) = (Caller::Key("a".into()), Caller::Key("b".into()));
        assert_eq!((0..10).filter(|_| rates.admit(&a, 5).is_ok()).count(), 5);
        assert!(rates.admit(&a, 5).is_err_and(|wait| wait > Duration::ZERO));
        assert!(rates.admit(&b, 5).is_ok());
    }

    #[test]
    fn neighbours_in_one_ipv6_block_share_a_rate() {
        let rates = RateLimits::default();
        let caller = |text: &str| Caller::at(text.parse().unwrap());
        let neighbours = (0..10).filter(|n| rates.admit(&caller(&format!("2001:db8::{n}")), 5).is_ok());
        assert_eq!(neighbours.count(), 5);
        assert!(rates.admit(&caller("2001:db8:0:1::1"), 5).is_ok());
        assert!(rates.admit(&caller("192.0.2.1"), 1).is_ok());
    }
}
