//! How many connections may be open, in total and per address.
//!
//! What counts as one address is [`block`]'s to say.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::client_address::block;
use super::{Altogether, PerAddress};

/// Hands out seats.
pub(crate) struct Caps {
    altogether: Altogether,
    per_address: PerAddress,
    taken: Arc<Mutex<Taken>>,
}

/// Seats that are taken.
#[derive(Debug, Default)]
struct Taken {
    altogether: usize,
    by_address: HashMap<IpAddr, u32>,
}

/// One open connection; dropping it frees the seat.
pub(crate) struct Seat {
    address: IpAddr,
    taken: Arc<Mutex<Taken>>,
}

impl Caps {
    pub(crate) fn new(altogether: Altogether, per_address: PerAddress) -> Self {
        Self { altogether, per_address, taken: Arc::default() }
    }

    /// A seat for one connection from `address`, if there is one.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Seat> {
        let most = (self.per_address)(address.to_canonical()).unwrap_or(u32::MAX);
        let altogether = (self.altogether)();
        let address = block(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.altogether >= altogether {
            return None;
        }
        let count = taken.by_address.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        taken.altogether += 1;
        Some(Seat { address, taken: self.taken.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.altogether = taken.altogether.saturating_sub(1);
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_seat_is_refused_at_the_cap_and_given_again_when_one_is_left() {
        let caps = Caps::new(Arc::new(|| 4), Arc::new(|_| Some(2)));
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let first = caps.take(one).unwrap();
        let second = caps.take(one).unwrap();
        assert!(caps.take(one).is_none());
        let other = caps.take("2001:db8::1".parse().unwrap()).unwrap();
        let neighbour = caps.take("2001:db8::2".parse().unwrap()).unwrap();
        assert!(caps.take("192.0.2.9".parse().unwrap()).is_none(), "the total holds too");
        drop((other, neighbour, first));
        drop(caps.take(one).unwrap());
        drop(second);
        let taken = caps.taken.lock().unwrap();
        assert!(
            taken.by_address.is_empty() && taken.altogether == 0,
            "nothing is remembered of those who left"
        );
    }

    #[test]
    fn neighbours_in_one_ipv6_block_share_a_cap() {
        let caps = Caps::new(Arc::new(|| 9), Arc::new(|_| Some(1)));
        let _held = caps.take("2001:db8::1".parse().unwrap()).unwrap();
        assert!(caps.take("2001:db8::2".parse().unwrap()).is_none());
        assert!(caps.take("2001:db8:0:1::2".parse().unwrap()).is_some());
    }
}
