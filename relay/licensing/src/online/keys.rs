//! The keys that may sign replies: ML-DSA-65, pinned at build, each with the last day it may sign.
//!
//! None is published yet, so the released list is empty and the online check is off. A key is never learned from the network;
//! `next_pubkey_hash` of a reply is only compared with this list (protocol §3.6).

use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};
use jiff::Timestamp;
use paramant_protocol::leaf::sha3;

/// Bytes of an ML-DSA-65 public key (FIPS 204).
pub const PUBLIC_KEY: usize = 1952;

/// One key.
#[derive(Clone, PartialEq, Eq)]
pub struct LicensingKey {
    /// Its raw bytes.
    pub public: Vec<u8>,
    /// What it signed later does not count.
    pub not_after: Timestamp,
}

impl LicensingKey {
    /// Lower-case hex SHA3-256 of the key, by which replies announce a next one.
    pub fn hash(&self) -> String {
        hex::encode(sha3(&self.public))
    }

    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.len() == PUBLIC_KEY
            && UnparsedPublicKey::new(&ML_DSA_65, &self.public).verify(message, signature).is_ok()
    }
}

impl std::fmt::Debug for LicensingKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "LicensingKey({} until {})", self.hash(), self.not_after)
    }
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LicensingKeys(Vec<LicensingKey>);

impl LicensingKeys {
    /// The released list: empty until the vendor publishes a key.
    pub fn published() -> Self {
        Self::default()
    }

    /// These keys: for tests, and for relays of organisations that run their own authority.
    pub fn of(keys: impl IntoIterator<Item = LicensingKey>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// Whether no reply can count.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that signed the message, if one of these did.
    pub fn signer(&self, message: &[u8], signature: &[u8]) -> Option<&LicensingKey> {
        self.0.iter().find(|key| key.signed(message, signature))
    }

    /// [`LicensingKey::hash`] of each.
    pub fn hashes(&self) -> Vec<String> {
        self.0.iter().map(LicensingKey::hash).collect()
    }

    /// Whether a key of this hash is pinned.
    pub fn knows(&self, hash: &str) -> bool {
        self.0.iter().any(|key| key.hash() == hash)
    }
}
