//! Names of things, parsed once: blob hashes, device ids, API keys and the ids derived from them.
//!
//! A value of one of these types has been checked; code behind the edge never checks again. API keys are secrets: the type
//! that holds one shows its masked form only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::leaf::{self, Hash};
use crate::path::parse_hash;

/// The longest device id, in bytes.
pub const MAX_DEVICE_ID: usize = 256;

/// Why a text is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not `^[a-f0-9]{64}$`.
    #[error("a blob hash is 64 lower-case hex digits")]
    BlobHash,
    /// Not `^[a-f0-9]{64}$`.
    #[error("the id of a log receipt is 64 lower-case hex digits")]
    ReceiptId,
    /// Not `^[a-f0-9]{48}$`.
    #[error("a download token is 48 lower-case hex digits")]
    DownloadToken,
    /// Empty, too long, or with control characters.
    #[error("a device id has 1 to {MAX_DEVICE_ID} bytes and no control characters")]
    DeviceId,
    /// Not `pgp_` and something behind it.
    #[error("an API key starts with pgp_ and holds printable characters without spaces")]
    ApiKey,
}

/// The SHA-256 of an uploaded payload, or the lookup id of a drop: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHash([u8; 32]);

impl BlobHash {
    /// The hash of a payload.
    pub fn of(payload: &[u8]) -> Self {
        Self(leaf::sha256(payload))
    }

    /// A hash computed elsewhere.
    pub fn from_bytes(bytes: Hash) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &Hash {
        &self.0
    }
}

impl FromStr for BlobHash {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_hash(text).map(Self).ok_or(IdError::BlobHash)
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BlobHash({self})")
    }
}

impl Serialize for BlobHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What a receipt of the log (`/log/receipt/{id}`) is asked for by: 256 random bits, given to the uploader and to each claimant of
/// a transfer and to nobody else. Who knows one learns which public entry the transfer is; shown only by [`fmt::Display`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReceiptId([u8; 32]);

impl ReceiptId {
    /// An id from 32 random bytes.
    pub fn from_random(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// SHA-256 of the id, which is what a relay stores.
    pub fn digest(&self) -> Hash {
        leaf::sha256(&self.0)
    }
}

impl FromStr for ReceiptId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_hash(text).map(Self).ok_or(IdError::ReceiptId)
    }
}

impl fmt::Display for ReceiptId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ReceiptId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReceiptId(…)")
    }
}

impl Serialize for ReceiptId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ReceiptId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What a download link (`/v2/dl/{token}`) is made of: 192 random bits, shown to the uploader once. Who knows one may read the
/// blob without a key; shown only by [`fmt::Display`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DownloadToken([u8; 24]);

impl DownloadToken {
    /// A token from 24 random bytes.
    pub fn from_random(random: [u8; 24]) -> Self {
        Self(random)
    }

    /// SHA-256 of the token, which is what a relay stores.
    pub fn digest(&self) -> Hash {
        leaf::sha256(&self.0)
    }
}

impl FromStr for DownloadToken {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 24];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError::DownloadToken)?;
        // One text for one token, or a link could be written in many ways.
        if hex::encode(bytes) == text { Ok(Self(bytes)) } else { Err(IdError::DownloadToken) }
    }
}

impl fmt::Display for DownloadToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for DownloadToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DownloadToken(…)")
    }
}

/// The name a device registers its keys under, unique within an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct DeviceId(String);

impl DeviceId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() || text.len() > MAX_DEVICE_ID || text.chars().any(char::is_control) {
            return Err(IdError::DeviceId);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// An API key. Secret: it is shown masked, and only [`ApiKey::reveal`] gives it away.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key from 32 random bytes: `pgp_` and 64 hex digits.
    pub fn generate(random: [u8; 32]) -> Self {
        Self(format!("pgp_{}", hex::encode(random)))
    }

    /// The secret itself, for the one header it travels in.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The key's public id.
    pub fn kid(&self) -> String {
        kid(&self.0)
    }

    /// SHA-256 of the key, which is what a relay stores.
    pub fn digest(&self) -> Hash {
        leaf::sha256(self.0.as_bytes())
    }

    /// First 8 characters, an ellipsis, last 4.
    pub fn masked(&self) -> String {
        let start: String = self.0.chars().take(8).collect();
        let end: Vec<char> = self.0.chars().rev().take(4).collect();
        format!("{start}…{}", end.iter().rev().collect::<String>())
    }
}

impl FromStr for ApiKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let rest = text.strip_prefix("pgp_").ok_or(IdError::ApiKey)?;
        // 512 is far above any published form and far below what a header may hold.
        if rest.is_empty() || text.len() > 512 || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(IdError::ApiKey);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ApiKey({})", self.kid())
    }
}

/// The public id of an API key: `k_` and the first 12 hex digits of its SHA-256 (protocol §1.2).
pub fn kid(key: &str) -> String {
    let digest = hex::encode(leaf::sha256(key.as_bytes()));
    format!("k_{}", &digest[..12]) // total: 64 ASCII digits
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_published_kid_comes_out() {
        let key: ApiKey = format!("pgp_{}", "0123456789abcdef".repeat(4)).parse().unwrap();
        assert_eq!(key.kid(), "k_c08008afc097");
        assert_eq!(key.masked(), "pgp_0123…cdef");
        assert!(!format!("{key:?}").contains("0123456789"), "debug output shows the secret");
    }

    #[test]
    fn a_blob_hash_is_64_lower_case_hex_digits() {
        let good = "ab".repeat(32);
        assert_eq!(good.parse::<BlobHash>().unwrap().to_string(), good);
        for bad in
            ["", "ab", &"AB".repeat(32), &"ag".repeat(32), &"ab".repeat(33), &format!("{} ", "ab".repeat(32))]
        {
            assert_eq!(bad.parse::<BlobHash>(), Err(IdError::BlobHash), "{bad:?}");
        }
    }

    #[test]
    fn the_id_of_a_receipt_is_read_and_written_but_not_shown_to_debuggers() {
        let text = "5e".repeat(32);
        let id: ReceiptId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id, ReceiptId::from_random([0x5e; 32]));
        assert!(!format!("{id:?}").contains("5e"), "debug output shows the id");
        assert_eq!("5E".repeat(32).parse::<ReceiptId>(), Err(IdError::ReceiptId));
    }

    #[test]
    fn a_download_token_has_one_text_and_is_not_shown_to_debuggers() {
        let text = "5e".repeat(24);
        let token: DownloadToken = text.parse().unwrap();
        assert_eq!(token.to_string(), text);
        assert!(!format!("{token:?}").contains("5e"), "debug output shows the token");
        for bad in ["", "5e", &"5E".repeat(24), &"5e".repeat(25), &"zz".repeat(24)] {
            assert_eq!(bad.parse::<DownloadToken>(), Err(IdError::DownloadToken), "{bad:?}");
        }
    }

    #[test]
    fn a_device_id_has_a_length_and_no_control_characters() {
        for good in ["phone-001", "a/b c", &"é".repeat(128)] {
            assert_eq!(good.parse::<DeviceId>().unwrap().as_str(), good);
        }
        for bad in ["", "a\nb", "\0", &"x".repeat(257), &"é".repeat(129)] {
            assert_eq!(bad.parse::<DeviceId>(), Err(IdError::DeviceId), "{bad:?}");
        }
    }

    #[test]
    fn an_api_key_has_its_prefix() {
        for bad in ["", "pgp_", "plk_abc", "pgp_a b", "pgp_é", &format!("pgp_{}", "a".repeat(600))] {
            assert_eq!(bad.parse::<ApiKey>(), Err(IdError::ApiKey), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in any::<String>()) {
            let _ = (text.parse::<BlobHash>(), text.parse::<DeviceId>(), text.parse::<ApiKey>());
        }
    }
}
