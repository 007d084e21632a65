//! Tickets: what a browser, which cannot set a header on a WebSocket, shows instead of its key. Single use, in memory only.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use paramant_protocol::leaf::sha256;

use crate::accounts::Principal;
use crate::store::AccountId;

/// How long a ticket may be used, as published.
pub const LIFE: Duration = Duration::from_secs(30);
/// Tickets altogether that nobody used yet.
const MOST: usize = 4096;
/// Tickets of one account: a page that opens all its streams at once needs as many as it has.
const MOST_PER_ACCOUNT: usize = super::MOST_PER_ACCOUNT;

/// Too many tickets that nobody used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTicket {
    /// It passes within [`LIFE`].
    #[error("too many tickets are open; use one, or wait half a minute")]
    TooMany,
    /// The system has no randomness to give.
    #[error("the system gives no random bytes")]
    Random,
}

#[derive(Debug, Default)]
pub(super) struct Tickets(HashMap<[u8; 32], Ticket>);

#[derive(Debug)]
struct Ticket {
    who: Arc<Principal>,
    until: Instant,
}

impl Tickets {
    pub(super) fn issue(&mut self, who: &Arc<Principal>, now: Instant) -> Result<String, NoTicket> {
        self.0.retain(|_, ticket| ticket.until > now);
        if self.0.len() >= MOST || self.of(who.account) >= MOST_PER_ACCOUNT {
            return Err(NoTicket::TooMany);
        }
        let mut random = [0; 24];
        getrandom::fill(&mut random).map_err(|_| NoTicket::Random)?;
        let text = format!("wst_{}", hex::encode(random));
        // By its digest, so that how long a question takes tells nothing about a ticket.
        self.0.insert(sha256(text.as_bytes()), Ticket { who: who.clone(), until: now + LIFE });
        Ok(text)
    }

    pub(super) fn redeem(&mut self, text: &str, now: Instant) -> Option<Arc<Principal>> {
        let ticket = self.0.remove(&sha256(text.as_bytes()))?;
        (ticket.until > now).then_some(ticket.who)
    }

    pub(super) fn keep_only(&mut self, active: &HashSet<String>) {
        self.0.retain(|_, ticket| active.contains(&ticket.who.kid));
    }

    fn of(&self, account: AccountId) -> usize {
        self.0.values().filter(|ticket| ticket.who.account == account).count()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn who(account: u8) -> Arc<Principal> {
        let kid = format!("k_{account}");
        Arc::new(Principal {
            account: AccountId([account; 16]),
            kid,
            plan: "pro".to_owned(),
            is_primary: true,
        })
    }

    #[test]
    fn a_ticket_opens_one_stream_within_half_a_minute() {
        let (mut tickets, now) = (Tickets::default(), Instant::now());
        let ticket = tickets.issue(&who(1), now).unwrap();
        assert!(ticket.starts_with("wst_") && ticket.len() == 52, "{ticket}");
        assert_eq!(tickets.redeem(&ticket[..51], now), None);
        assert_eq!(tickets.redeem(&ticket, now + LIFE - Duration::from_millis(1)), Some(who(1)));
        assert_eq!(tickets.redeem(&ticket, now), None, "used");
        let late = tickets.issue(&who(1), now).unwrap();
        assert_eq!(tickets.redeem(&late, now + LIFE), None);
    }

    #[test]
    fn one_account_cannot_take_the_tickets_of_another_and_old_ones_make_room() {
        let (mut tickets, now) = (Tickets::default(), Instant::now());
        for _ in 0..MOST_PER_ACCOUNT {
            tickets.issue(&who(1), now).unwrap();
        }
        assert_eq!(tickets.issue(&who(1), now), Err(NoTicket::TooMany));
        let other = tickets.issue(&who(2), now).unwrap();
        assert!(tickets.issue(&who(1), now + LIFE).is_ok());
        assert!(tickets.0.len() <= 2, "the old ones are forgotten");
        let revoked = tickets.issue(&who(2), now + LIFE).unwrap();
        tickets.keep_only(&HashSet::from(["k_1".to_owned()]));
        assert_eq!((tickets.redeem(&other, now), tickets.redeem(&revoked, now)), (None, None));
    }
}
