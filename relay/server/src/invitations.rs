//! Keys left under an invitation's id (protocol §4.4): `inv_` and 32 letters or digits, made up by a web page, known to whoever it
//! invites.
//!
//! No account, no log entry, no promise: for an hour anybody who knows the id may read the keys or put others there, so both
//! sides compare fingerprints over another way. In memory alone, and bounded.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use paramant_protocol::named_keys::NamedKeys;

/// How long keys stay, in milliseconds.
const TTL_MS: i64 = 3_600_000;
/// Invitations at a time, 14 kB each at the very most.
const INVITATIONS: usize = 1_000;

/// The invitations of one relay.
#[derive(Debug, Default)]
pub struct Invitations(Mutex<HashMap<String, Invitation>>);

/// Keys under an id.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// The keys.
    pub keys: NamedKeys,
    /// When they were left.
    pub left_ms: i64,
}

/// No room for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this relay has no room for another invitation now")]
pub struct Full;

/// Whether a device id is that of an invitation: `^inv_[a-zA-Z0-9]{32}(_ready)?$`.
#[must_use]
pub fn is_invitation(device: &str) -> bool {
    device
        .strip_prefix("inv_")
        .map(|rest| rest.strip_suffix("_ready").unwrap_or(rest))
        .is_some_and(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_alphanumeric()))
}

impl Invitations {
    /// Leaves keys under an id, in place of those there.
    ///
    /// # Errors
    /// [`Full`].
    pub fn leave(&self, id: String, keys: NamedKeys, now_ms: i64) -> Result<(), Full> {
        let mut invitations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if invitations.len() >= INVITATIONS && !invitations.contains_key(&id) {
            invitations.retain(|_, invitation| now_ms < invitation.left_ms + TTL_MS);
            if invitations.len() >= INVITATIONS {
                return Err(Full);
            }
        }
        invitations.insert(id, Invitation { keys, left_ms: now_ms });
        Ok(())
    }

    /// The keys under an id.
    #[must_use]
    pub fn find(&self, id: &str, now_ms: i64) -> Option<Invitation> {
        let invitations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        invitations.get(id).filter(|invitation| now_ms < invitation.left_ms + TTL_MS).cloned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_invitation_has_one_form() {
        let id = format!("inv_{}", "aZ09".repeat(8));
        assert!(is_invitation(&id) && is_invitation(&format!("{id}_ready")));
        for other in [
            "inv_",
            "phone",
            &id[1..],
            &id[..35],
            &format!("{id}x"),
            &format!("{id}_ready_ready"),
            &format!("inv_{}", "a-".repeat(16)),
        ] {
            assert!(!is_invitation(other), "{other}");
        }
    }

    #[test]
    fn keys_may_be_replaced_and_go_after_an_hour() {
        let (invitations, id) = (Invitations::default(), format!("inv_{}", "a".repeat(32)));
        for key in ["aa", "bb"] {
            let keys = NamedKeys { ecdh_pub: Some(key.into()), ..NamedKeys::default() };
            invitations.leave(id.clone(), keys, 0).unwrap();
            assert_eq!(invitations.find(&id, TTL_MS - 1).unwrap().keys.ecdh_pub.as_deref(), Some(key));
        }
        assert!(invitations.find(&id, TTL_MS).is_none());
    }

    #[test]
    fn there_is_room_for_so_many_and_what_ended_makes_room() {
        let invitations = Invitations::default();
        let leave = |n: usize, now| invitations.leave(n.to_string(), NamedKeys::default(), now);
        for n in 0..INVITATIONS {
            leave(n, 0).unwrap();
        }
        assert_eq!(leave(INVITATIONS, TTL_MS - 1), Err(Full));
        leave(0, TTL_MS - 1).unwrap();
        leave(INVITATIONS, TTL_MS).unwrap();
    }
}
