//! Calls, summed per destination and hour: what one `outbound_call` entry covers. Pure.
//!
//! Whoever calls counts it, durably, before it is made, and makes an entry of an hour that is over. An entry that was written and not yet
//! crossed off when the process died is written once more: the log may claim a call twice, it never hides one.

use paramant_protocol::entry::body::{Digest, OutboundCall, OutboundPurpose, SupportKeyUsed};
use paramant_protocol::leaf::{self, Hash, Purpose, sha256};
use serde::{Deserialize, Serialize};

/// Seconds in an hour.
const HOUR: i64 = 3600;

/// The calls to one destination in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Calls {
    /// `host:port`.
    pub(crate) destination: String,
    /// Hours since 1970.
    pub(crate) hour: i64,
    /// How many.
    pub(crate) count: u64,
    /// SHA-256(chain so far ‖ SHA-256(request)), from 32 zero bytes on: lower-case hex.
    chain: String,
    /// Opens the destination's commitment: lower-case hex, kept in the relay's own log file.
    salt: String,
}

/// Counts one request. `salt` is used if it is the first of its hour.
pub(crate) fn count(calls: &mut Vec<Calls>, destination: &str, request: &[u8], now: i64, salt: Hash) {
    let hour = hour_of(now);
    let this = |calls: &&mut Calls| calls.hour == hour && calls.destination == destination;
    let found = match calls.iter_mut().find(this) {
        Some(found) => found,
        None => {
            calls.push(Calls {
                destination: destination.to_owned(),
                hour,
                count: 0,
                chain: hex::encode([0; 32]),
                salt: hex::encode(salt),
            });
            let Some(last) = calls.last_mut() else { return };
            last
        }
    };
    found.count += 1;
    found.chain = hex::encode(sha256(&[hash(&found.chain), sha256(request)].concat()));
}

/// The hour of an instant in Unix seconds, as [`Calls::hour`] has it.
pub(crate) fn hour_of(now: i64) -> i64 {
    now.div_euclid(HOUR)
}

/// The hours that are over.
pub(crate) fn over(calls: &[Calls], now: i64) -> Vec<Calls> {
    let hour = hour_of(now);
    calls.iter().filter(|calls| calls.hour != hour).cloned().collect()
}

impl Calls {
    /// The body of the entry.
    pub(crate) fn body(&self, purpose: OutboundPurpose) -> OutboundCall {
        let destination =
            leaf::commit(Purpose::Destination, &hash(&self.salt), &sha256(self.destination.as_bytes()));
        OutboundCall {
            purpose,
            destination: Digest(destination),
            count: self.count,
            chain: Digest(hash(&self.chain)),
        }
    }

    /// The body of the entry about a support key, whose uses are counted in the same way: its id in place of a destination.
    pub(crate) fn uses(&self) -> SupportKeyUsed {
        let key = leaf::commit(Purpose::SupportKey, &hash(&self.salt), self.destination.as_bytes());
        SupportKeyUsed { key: Digest(key), count: self.count, chain: Digest(hash(&self.chain)) }
    }

    /// What opens the entry, for the relay's own log file.
    pub(crate) fn opening(&self) -> (&str, &str) {
        (&self.destination, &self.salt)
    }
}

/// Only this module writes the fields; one that was damaged on disk counts as zero.
fn hash(hex: &str) -> Hash {
    paramant_protocol::path::parse_hash(hex).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn calls_are_summed_per_destination_and_hour() {
        let mut calls = Vec::new();
        for (destination, at) in [("a:443", 0), ("a:443", 3599), ("b:443", 10), ("a:443", 3600)] {
            count(&mut calls, destination, b"request", at, [u8::try_from(at % 200).unwrap(); 32]);
        }
        let counted: Vec<_> = calls.iter().map(|it| (it.destination.as_str(), it.hour, it.count)).collect();
        assert_eq!(counted, [("a:443", 0, 2), ("b:443", 0, 1), ("a:443", 1, 1)]);
        assert!(over(&calls, 3000).iter().all(|calls| calls.hour == 1), "an hour that runs is not over");
        assert_eq!(over(&calls, 7199).len(), 2);
        assert_eq!(over(&calls, 7200).len(), 3);
    }

    #[test]
    fn the_chain_covers_every_request_in_its_order_and_the_salt_opens_the_destination() {
        let (mut calls, mut other) = (Vec::new(), Vec::new());
        for request in [b"one", b"two"] {
            count(&mut calls, "a:443", request, 0, [7; 32]);
        }
        for request in [b"two", b"one"] {
            count(&mut other, "a:443", request, 0, [7; 32]);
        }
        let first = sha256(&[[0; 32], sha256(b"one")].concat());
        let body = calls[0].body(OutboundPurpose::Webhook);
        assert_eq!(body.chain, Digest(sha256(&[first, sha256(b"two")].concat())));
        assert_ne!(body.chain, other[0].body(OutboundPurpose::Webhook).chain);
        let opened = leaf::commit(Purpose::Destination, &[7; 32], &sha256(b"a:443"));
        assert_eq!((body.destination, body.count), (Digest(opened), 2));
    }
}
