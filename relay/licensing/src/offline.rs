//! The offline licence (protocol §2): `plk_` + base64url(payload ‖ Ed25519 signature over the payload as it stands).
//!
//! The signature is checked strictly, over the raw bytes, before any of them is read as JSON. The text form is strict:
//! exactly one spelling of a licence is accepted (surrounding white space aside). No network call is ever made for it.

mod document;

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use jiff::Timestamp;

pub(crate) use document::utc;
pub use document::{Terms, UserCap};

/// The licence key that upstream publishes (raw 32 bytes).
pub const PUBLISHED_KEY: [u8; 32] = [
    0xed, 0x8a, 0x62, 0x01, 0xc8, 0x6f, 0x01, 0x3b, 0x16, 0x71, 0x8b, 0x3e, 0x6d, 0x9d, 0xed, 0x62, 0x36,
    0x2c, 0xa8, 0x2e, 0xf7, 0xae, 0x33, 0x43, 0x08, 0xc1, 0x2d, 0x71, 0xd1, 0x8a, 0xe4, 0xe6,
];

/// How every licence begins.
pub const PREFIX: &str = "plk_";
/// The longest licence that is read; real ones have about 300 characters.
pub const MAX_LICENSE: usize = 16 * 1024;

const SIGNATURE: usize = 64;

/// The keys that may sign licences. Pinned at build, or injected by tests; never learned from the network.
#[derive(Clone)]
pub struct AcceptedKeys(Vec<VerifyingKey>);

impl AcceptedKeys {
    /// The key published upstream.
    pub fn published() -> Self {
        Self::of([PUBLISHED_KEY])
    }

    /// These keys; bytes that are no Ed25519 point accept nothing and are left out.
    pub fn of(keys: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Self(keys.into_iter().filter_map(|key| VerifyingKey::from_bytes(&key).ok()).collect())
    }

    /// Each key in lower-case hex.
    pub fn to_hex(&self) -> Vec<String> {
        self.0.iter().map(|key| hex::encode(key.as_bytes())).collect()
    }

    fn signed(&self, message: &[u8], signature: &Signature) -> bool {
        self.0.iter().any(|key| key.verify_strict(message, signature).is_ok())
    }
}

impl fmt::Debug for AcceptedKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("AcceptedKeys").field(&self.to_hex()).finish()
    }
}

/// A licence whose signature and content were checked. It may have expired: [`OfflineLicense::valid_at`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineLicense {
    terms: Terms,
    until: Timestamp,
}

/// Why a text is not a licence. Each is shown to the admin, none stops the relay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfflineError {
    /// Nothing there.
    #[error("the licence is empty: put the plk_ text into the Secret or file")]
    Empty,
    /// It is a key for the online check.
    #[error(
        "this is a key for the online check, not an offline licence; the online check is not switched on"
    )]
    OnlineKey,
    /// No `plk_`.
    #[error("a licence starts with plk_")]
    Prefix,
    /// Longer than any licence.
    #[error("a licence has at most {MAX_LICENSE} characters")]
    TooLong,
    /// Not strict base64url.
    #[error("the licence is not base64url without padding: check that it was copied whole")]
    Encoding,
    /// Too few bytes to hold a signature and anything else.
    #[error("the licence is too short: check that it was copied whole")]
    TooShort,
    /// No accepted key signed it.
    #[error("the licence is not signed by an accepted key")]
    Signature,
    /// Signed, but not a licence.
    #[error("the licence is signed, but {0}")]
    Content(String),
}

impl OfflineLicense {
    /// Checks a licence against the accepted keys, in the order of protocol §2.2 but for expiry, which depends on the time
    /// of asking.
    pub fn verify(text: &str, keys: &AcceptedKeys) -> Result<Self, OfflineError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(OfflineError::Empty);
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(OfflineError::Prefix)?;
        if is_online_key(encoded) {
            return Err(OfflineError::OnlineKey);
        }
        if encoded.len() > MAX_LICENSE {
            return Err(OfflineError::TooLong);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| OfflineError::Encoding)?;
        let (payload, signature) = bytes
            .split_last_chunk::<SIGNATURE>()
            .filter(|(payload, _)| !payload.is_empty())
            .ok_or(OfflineError::TooShort)?;
        if !keys.signed(payload, &Signature::from_bytes(signature)) {
            return Err(OfflineError::Signature);
        }
        let terms = Terms::parse(payload).map_err(OfflineError::Content)?;
        let until = terms.expiry().map_err(OfflineError::Content)?;
        Ok(Self { terms, until })
    }

    /// What it says.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The cap on active accounts.
    pub fn cap(&self) -> UserCap {
        self.terms.max_keys
    }

    /// The instant it stops counting.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Whether it counts at an instant. At `until` itself it still does.
    pub fn valid_at(&self, now: Timestamp) -> bool {
        self.until >= now
    }
}

/// Signs terms as a licence. The only place that makes one: the authority and tests call it.
pub fn issue(terms: &Terms, key: &SigningKey) -> Result<String, OfflineError> {
    terms.expiry().map_err(OfflineError::Content)?;
    let mut bytes = terms.to_payload()?;
    let signature = key.sign(&bytes);
    bytes.extend_from_slice(&signature.to_bytes());
    Ok(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

/// `^plk_[0-9a-f]{64}$`: 48 bytes when decoded, so never an offline licence (protocol §3.1).
pub(crate) fn is_online_key(encoded: &str) -> bool {
    encoded.len() == 64 && encoded.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
