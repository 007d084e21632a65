//! The secret of a support key. The relay gets its hash, the vendor the secret, the book neither.

use paramant_protocol::leaf::{Hash, sha256};
use zeroize::Zeroizing;

/// Begins what is hashed.
const LABEL: &str = "paramant/support/v1";
/// Begins a secret.
const PREFIX: &str = "psk_";

/// `psk_` and 64 hex digits.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn new() -> anyhow::Result<Self> {
        let random = Zeroizing::new(super::random::<32>()?);
        let digits = Zeroizing::new(hex::encode(random.as_slice()));
        Ok(Self(Zeroizing::new(format!("{PREFIX}{}", *digits))))
    }

    /// The secret itself: for the one who was given it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// SHA-256(`paramant/support/v1` ‖ the relay's fingerprint as 64 hex digits ‖ the whole secret, `psk_` included).
    pub fn key_sha256(&self, relay_id: &str) -> Hash {
        let all = Zeroizing::new([LABEL.as_bytes(), relay_id.as_bytes(), self.0.as_bytes()].concat());
        sha256(&all)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
