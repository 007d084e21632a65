//! What a relay is answered: a pure function of its licence and its question.
//!
//! [`Question`] has no field for telemetry, so no number a relay sends can change what it gets (trust page L8).

use jiff::{SignedDuration, Timestamp};
use paramant_licensing::online::capability::{Capabilities, Tier};
use paramant_licensing::online::reply::{CapabilitySet, Refusal, RefusalCause, Reply};
use paramant_licensing::online::request::{self, CheckIn};
use serde::{Deserialize, Serialize};

/// What the decision may look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    license_key: Key,
    relay_id: String,
    nonce: String,
    request_sha256: String,
}

/// Echoed, never printed.
#[derive(Clone, PartialEq, Eq)]
struct Key(String);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Question {
    /// Of a request, and the bytes it was read from.
    pub fn of(asked: &CheckIn, bytes: &[u8]) -> Self {
        Self {
            license_key: Key(asked.license_key.clone()),
            relay_id: asked.relay_id.clone(),
            nonce: asked.nonce.clone(),
            request_sha256: request::digest(bytes),
        }
    }

    /// As if another relay had asked: for a fault.
    pub(crate) fn of_relay(self, relay: &str) -> Self {
        Self { relay_id: relay.to_owned(), ..self }
    }
}

/// What was sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sold {
    /// The tier.
    pub tier: Tier,
    /// What it grants.
    pub capabilities: Capabilities,
    /// How long a set is valid, in seconds.
    pub valid_seconds: u64,
    /// When to ask again, in seconds.
    pub next_seconds: u64,
}

/// How a licence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Paid for.
    Active,
    /// A payment is missing.
    Unpaid,
    /// Revoked, for good.
    Revoked,
}

/// The reply to a question about a licence, or about a key that nobody sold.
pub fn decide(sold: Option<(&Sold, Standing)>, question: &Question, sequence: u64, now: Timestamp) -> Reply {
    let refuse = |error: RefusalCause| {
        Reply::Refusal(Refusal {
            status: error.status(),
            error,
            issued_at: now,
            license_key: question.license_key.0.clone(),
            relay_id: question.relay_id.clone(),
            nonce: question.nonce.clone(),
            request_sha256: question.request_sha256.clone(),
            sequence,
            actions: Vec::new(),
            silence: None,
        })
    };
    let sold = match sold {
        None => return refuse(RefusalCause::UnknownKey),
        Some((_, Standing::Unpaid)) => return refuse(RefusalCause::PaymentFailed),
        Some((_, Standing::Revoked)) => return refuse(RefusalCause::Revoked),
        Some((sold, Standing::Active)) => sold,
    };
    let valid = SignedDuration::from_secs(i64::try_from(sold.valid_seconds.max(1)).unwrap_or(i64::MAX));
    Reply::Set(CapabilitySet {
        issued_at: now,
        expires_at: now.checked_add(valid).unwrap_or(Timestamp::MAX),
        license_key: question.license_key.0.clone(),
        relay_id: question.relay_id.clone(),
        nonce: question.nonce.clone(),
        request_sha256: question.request_sha256.clone(),
        sequence,
        tier: sold.tier,
        capabilities: sold.capabilities.clone(),
        next_check_in_seconds: sold.next_seconds,
        next_pubkey_hash: None,
        actions: Vec::new(),
        silence: None,
    })
}

/// What each tier grants unless the seller says otherwise.
pub fn usual(tier: Tier) -> Sold {
    let (users, blob, days, support) = match tier {
        Tier::Community => (5, 5, 1, "none"),
        Tier::Pro => (50, 25, 7, "email"),
        Tier::Enterprise => (10_000, 1024, 30, "phone"),
    };
    let word = |text: &str| paramant_licensing::online::capability::Word::parse(text);
    Sold {
        tier,
        capabilities: Capabilities {
            max_users: users,
            max_blob_size_mb: blob,
            retention_max_seconds: days * 24 * 3600,
            addons_allowed: Default::default(),
            ml_dsa_required: false,
            support_level: word(support).unwrap_or_default(),
            custom_branding: tier == Tier::Enterprise,
        },
        // Twice the time to the next check-in: one that fails is made up for before the set is only a last word.
        valid_seconds: 12 * 3600,
        next_seconds: 6 * 3600,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use paramant_licensing::OnlineKey;
    use paramant_licensing::online::telemetry::{Measured, Telemetry};
    use proptest::prelude::*;

    use super::*;

    fn question(telemetry: Telemetry) -> Question {
        let key = OnlineKey::parse(&format!("plk_{}", "ab".repeat(32))).unwrap();
        let asked = CheckIn::new(&key, &"aa".repeat(32), "0.1.0", [1; 16], telemetry);
        Question::of(&asked, b"the same bytes")
    }

    #[test]
    fn a_licence_in_good_standing_grants_what_was_sold_and_no_other_does() {
        let (sold, now) = (usual(Tier::Pro), Timestamp::UNIX_EPOCH);
        let question = question(Telemetry::off());
        let answer = |sold| decide(sold, &question, 3, now);
        let set = answer(Some((&sold, Standing::Active)));
        assert_eq!(set.set().unwrap().capabilities, sold.capabilities);
        assert_eq!((set.sequence(), set.issued_at()), (3, now));
        for (sold, error) in [
            (None, RefusalCause::UnknownKey),
            (Some((&sold, Standing::Unpaid)), RefusalCause::PaymentFailed),
            (Some((&sold, Standing::Revoked)), RefusalCause::Revoked),
        ] {
            let Reply::Refusal(refusal) = answer(sold) else { panic!("a set for {error:?}") };
            assert_eq!((refusal.error, refusal.status), (error, error.status()));
        }
        assert!(!format!("{question:?}").contains("abab"));
    }

    proptest! {
        #[test]
        fn telemetry_changes_no_answer(users in any::<u64>(), transfers in any::<u64>(), uptime_seconds in any::<u64>()) {
            let measured = Measured { users, transfers, uptime_seconds, ..Measured::default() };
            let (sold, now) = (usual(Tier::Pro), Timestamp::UNIX_EPOCH);
            let of = |telemetry| decide(Some((&sold, Standing::Active)), &question(telemetry), 1, now);
            prop_assert_eq!(of(Telemetry::off()), of(Telemetry::on(&measured)));
        }
    }
}
