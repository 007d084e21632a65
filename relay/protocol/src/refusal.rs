//! Bodies of refusals. Clients read the status first; `error` is a machine code where the protocol fixes one, else a
//! sentence they only show.

use serde::{Deserialize, Serialize};

/// The body of an answer that is not 2xx.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A machine code (`hash_mismatch`, `malformed_wire_v1`, `draining` …) or a sentence.
    pub error: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// More about what was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The payload's SHA-256 is not the hash it was announced under (400).
pub const HASH_MISMATCH: &str = "hash_mismatch";
/// A PQHB header that cannot be read (400).
pub const MALFORMED_WIRE: &str = "malformed_wire_v1";
/// A PQHB version other than 1 (415).
pub const UNSUPPORTED_WIRE: &str = "unsupported_wire_version";
/// An algorithm id that is not loaded (415).
pub const UNSUPPORTED_ALGORITHM: &str = "unsupported_algorithm";
/// New uploads are refused (503 with `Retry-After`).
pub const DRAINING: &str = "draining";
/// The account cap (402).
pub const TIER_LIMIT_USERS: &str = "tier_limit_users";
/// 400: the licence asks for blobs that their senders signed.
pub const SIGNATURE_REQUIRED: &str = "signature_required";
/// A plan's upload quota (402).
pub const MONTHLY_QUOTA: &str = "monthly_transfer_quota_reached";
/// A feature of another plan (403).
pub const TIER_UPGRADE: &str = "tier_upgrade_required";

impl Refusal {
    /// A refusal with a code or a sentence.
    pub fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), ..Self::default() }
    }

    /// Says what to do.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Says more about what was wrong.
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }
}
