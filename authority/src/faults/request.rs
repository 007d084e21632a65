//! Requests that no relay may act upon: what a thief of the key, or an authority that keeps two books, could send along.

use jiff::{SignedDuration, Timestamp};
use paramant_licensing::actions::{Ask, Request, Role, Why};
use paramant_protocol::leaf::{Hash, sha256};
use paramant_protocol::path::parse_hash;
use serde_json::Value;

use super::Fault;
use crate::keys::SigningKey;
use crate::requests::{Carried, signed};

/// The request that a fault adds to the relay's own, if it is one that does. `None`, too, for a fork of a chain that is empty: there
/// is no number that was used.
pub(crate) fn wrong(
    fault: Fault,
    relay: &str,
    carried: &Carried,
    signer: &SigningKey,
    stranger: impl FnOnce() -> anyhow::Result<SigningKey>,
    now: Timestamp,
) -> anyhow::Result<Option<Vec<u8>>> {
    let (seq, head) = carried.head();
    let next = Request {
        relay_id: relay.to_owned(),
        seq: seq + 1,
        prev: head,
        id: hex::encode(sha256(format!("{fault} {}", hex::encode(head)).as_bytes()))
            .chars()
            .take(32)
            .collect(),
        role: Role::Owner,
        why: Why::Maintenance,
        issued_at: now,
        expires_at: now.checked_add(SignedDuration::from_hours(24))?,
        actor_commitment: [0; 32],
        ask: Ask::Drain { enabled: true, deadline_seconds: None },
    };
    let request = match fault {
        Fault::ForkedRequest => {
            let Some(last) = carried.last() else { return Ok(None) };
            let fields: Value = serde_json::from_slice(&last.signed)?;
            let prev = fields.get("prev").and_then(Value::as_str).and_then(parse_hash).unwrap_or_default();
            Request { seq, prev, ..next }
        }
        Fault::GapRequest => Request { seq: seq + 2, prev: sha256(&head), ..next },
        Fault::ExpiredRequest => Request {
            issued_at: now.checked_sub(SignedDuration::from_hours(48))?,
            expires_at: now.checked_sub(SignedDuration::from_hours(24))?,
            ..next
        },
        Fault::WrongRelayRequest => {
            Request { relay_id: "0".repeat(64), seq: 1, prev: Hash::default(), ..next }
        }
        Fault::UnsignedRequest => return signed(&next, &stranger()?).map(Some),
        _ => return Ok(None),
    };
    signed(&request, signer).map(Some)
}
