//! Device keys: registration, lookup and comparison (protocol §4.4).
//!
//! Clients of different age name the same keys differently; [`RegisterKeys::keys`] resolves the names once. A request that
//! names one key twice with different values is refused, or two clients would see two keys.

use serde::{Deserialize, Serialize};

use crate::fingerprint;
use crate::id::DeviceId;
use crate::named_keys::{NamedKeys, NamesDiffer};

/// Bytes of an ML-KEM-768 public key.
pub const KEM_PUB: usize = 1184;
/// Bytes of an ML-DSA-65 public key.
pub const SIG_PUB: usize = 1952;
/// The longest legacy `ecdh_pub`; published clients send 32 bytes, or a DER-encoded P-256 key.
pub const MAX_ECDH_PUB: usize = 256;

/// The body of `POST /v2/pubkey`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterKeys {
    /// The device.
    #[serde(default)]
    pub device_id: String,
    /// Its keys.
    #[serde(flatten)]
    pub keys: NamedKeys,
}

/// A device's keys, decoded and of the right size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceKeys {
    /// The device.
    pub device: DeviceId,
    /// ML-KEM-768, [`KEM_PUB`] bytes.
    pub kem_pub: Vec<u8>,
    /// ML-DSA-65, [`SIG_PUB`] bytes, or empty.
    pub sig_pub: Vec<u8>,
    /// As registered; may be empty.
    pub ecdh_pub: Vec<u8>,
}

/// Why a registration is refused (400).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The device id.
    #[error(transparent)]
    Device(#[from] crate::id::IdError),
    /// A key is missing.
    #[error("{0} is missing: send it as hex")]
    Missing(&'static str),
    /// A key is not hex, or of another size.
    #[error("{name} must be {expected} bytes as hex, found {found}")]
    Size {
        /// Which.
        name: &'static str,
        /// How long it should be.
        expected: usize,
        /// What was found.
        found: String,
    },
    /// Both names of one key, with different values.
    #[error(transparent)]
    Conflict(#[from] NamesDiffer),
}

impl RegisterKeys {
    /// A request that clients and relays of every published version understand.
    pub fn of(keys: &DeviceKeys) -> Self {
        let named = |key: &[u8]| Some(hex::encode(key));
        let (kem, sig, ecdh) = (named(&keys.kem_pub), named(&keys.sig_pub), named(&keys.ecdh_pub));
        Self { device_id: keys.device.to_string(), keys: NamedKeys::under_both(kem, sig, ecdh) }
    }

    /// Resolves the names and decodes the keys.
    pub fn keys(&self) -> Result<DeviceKeys, KeysError> {
        let device = self.device_id.parse()?;
        let kem = self.keys.kem()?.ok_or(KeysError::Missing("kem_pub"))?;
        let sig = self.keys.sig()?.unwrap_or_default();
        let kem_pub = decode(kem, "kem_pub", KEM_PUB)?;
        let sig_pub = if sig.is_empty() { Vec::new() } else { decode(sig, "sig_pub", SIG_PUB)? };
        let ecdh = self.keys.ecdh().unwrap_or_default();
        let ecdh_pub = hex::decode(ecdh).ok().filter(|key| key.len() <= MAX_ECDH_PUB).ok_or_else(|| {
            KeysError::Size {
                name: "ecdh_pub",
                expected: MAX_ECDH_PUB,
                found: format!("{} characters", ecdh.len()),
            }
        })?;
        Ok(DeviceKeys { device, kem_pub, sig_pub, ecdh_pub })
    }
}

impl DeviceKeys {
    /// The fingerprint a relay reports.
    pub fn fingerprint(&self) -> String {
        fingerprint::reported(&self.kem_pub, &self.sig_pub, &self.ecdh_pub)
    }

    /// Whether a text is either published form of the fingerprint.
    pub fn matches(&self, provided: &str) -> bool {
        fingerprint::matches(provided, &self.kem_pub, &self.sig_pub, &self.ecdh_pub)
    }

    /// Whether two registrations hold byte-identical keys (then a repeat is 200, else 409).
    pub fn same_keys(&self, other: &Self) -> bool {
        (&self.kem_pub, &self.sig_pub, &self.ecdh_pub) == (&other.kem_pub, &other.sig_pub, &other.ecdh_pub)
    }
}

fn decode(text: &str, name: &'static str, expected: usize) -> Result<Vec<u8>, KeysError> {
    let wrong = |found: String| KeysError::Size { name, expected, found };
    let key = hex::decode(text).map_err(|error| wrong(error.to_string()))?;
    if key.len() == expected { Ok(key) } else { Err(wrong(format!("{} bytes", key.len()))) }
}

/// The answer to a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterAnswer {
    /// Always true.
    pub ok: bool,
    /// As [`DeviceKeys::fingerprint`].
    pub fingerprint: String,
    /// Whether a signing key is registered.
    pub dsa_supported: bool,
    /// The `key_registered` entry.
    pub ct_index: Option<u64>,
    /// The SHA3-256 root right after it.
    pub ct_tree_hash: Option<String>,
    /// Never: no attestation is checked.
    pub attested: bool,
    /// Always null.
    pub attestation_method: Option<String>,
}

/// The answer to `GET /v2/pubkey/:device`: both pairs of names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysAnswer {
    /// Always true.
    pub ok: bool,
    /// The device; absent from older relays.
    #[serde(default)]
    pub device_id: Option<String>,
    /// The keys under both pairs of names.
    #[serde(flatten)]
    pub keys: NamedKeys,
    /// When they were registered: an ISO text.
    #[serde(default)]
    pub ts: Option<String>,
    /// As [`DeviceKeys::fingerprint`].
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// As `ts`.
    #[serde(default)]
    pub registered_at: Option<String>,
    /// The `key_registered` entry.
    #[serde(default)]
    pub ct_index: Option<u64>,
    /// Opens that entry's commitment: the salt, hex (our addition).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ct_salt: Option<String>,
}

impl KeysAnswer {
    /// An answer for registered keys. `registered_at` is an ISO text with milliseconds.
    pub fn of(keys: &DeviceKeys, registered_at: String, ct_index: Option<u64>) -> Self {
        let request = RegisterKeys::of(keys);
        Self {
            ok: true,
            device_id: Some(request.device_id),
            keys: request.keys,
            ts: Some(registered_at.clone()),
            fingerprint: Some(keys.fingerprint()),
            registered_at: Some(registered_at),
            ct_index,
            ct_salt: None,
        }
    }

    /// The keys, checked as a registration is. `device` is the one that was asked for.
    pub fn device_keys(&self, device: &DeviceId) -> Result<DeviceKeys, KeysError> {
        RegisterKeys { device_id: device.to_string(), keys: self.keys.clone() }.keys()
    }
}

/// The answer to `GET /v2/fingerprint/:device`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FingerprintAnswer {
    /// Always true.
    pub ok: bool,
    /// The device.
    pub device_id: String,
    /// As [`DeviceKeys::fingerprint`].
    pub fingerprint: String,
    /// An ISO text.
    pub registered_at: String,
    /// The `key_registered` entry.
    pub ct_index: Option<u64>,
}

/// The body of `POST /v2/pubkey/verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyFingerprint {
    /// The device.
    pub device_id: String,
    /// Either form, with or without dashes.
    pub fingerprint: String,
}

/// The answer to it: 200 with `match` true, or 409 with both false.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyFingerprintAnswer {
    /// As `match`.
    pub ok: bool,
    /// Whether they are the same.
    pub r#match: bool,
    /// What the relay holds.
    pub stored: String,
    /// What was asked.
    pub provided: String,
    /// An ISO text.
    pub registered_at: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn keys() -> DeviceKeys {
        DeviceKeys {
            device: "phone".parse().unwrap(),
            kem_pub: vec![1; KEM_PUB],
            sig_pub: vec![2; SIG_PUB],
            ecdh_pub: vec![3; 32],
        }
    }

    #[test]
    fn every_published_client_s_names_are_read() {
        let all = RegisterKeys::of(&keys());
        assert_eq!(all.keys().unwrap(), keys());
        let named = |keys: NamedKeys| RegisterKeys { keys, ..all.clone() }.keys().unwrap();
        let both = all.keys.clone();
        assert_eq!(
            named(NamedKeys { kem_pub: None, sig_pub: None, ..both.clone() }),
            self::keys(),
            "sdk-py 3.0.0"
        );
        let javascript = NamedKeys { kyber_pub: None, dsa_pub: None, ecdh_pub: None, ..both.clone() };
        assert!(named(javascript).ecdh_pub.is_empty());
        let unsigned = NamedKeys { sig_pub: Some(String::new()), dsa_pub: None, ..both };
        assert!(named(unsigned).sig_pub.is_empty());
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        let all = RegisterKeys::of(&keys());
        assert!(RegisterKeys::default().keys().unwrap_err().to_string().contains("device id"));
        for (keys, expected) in [
            (NamedKeys { kem_pub: None, kyber_pub: None, ..all.keys.clone() }, "kem_pub is missing"),
            (NamedKeys { kem_pub: Some("aa".into()), kyber_pub: None, ..all.keys.clone() }, "1184 bytes"),
            (NamedKeys { sig_pub: Some("zz".into()), dsa_pub: None, ..all.keys.clone() }, "1952 bytes"),
            (NamedKeys { kem_pub: Some("aa".repeat(KEM_PUB)), ..all.keys.clone() }, "but differ"),
            (NamedKeys { ecdh_pub: Some("aa".repeat(300)), ..all.keys.clone() }, "ecdh_pub"),
        ] {
            let error = RegisterKeys { keys, ..all.clone() }.keys().unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} lacks {expected:?}");
        }
    }

    #[test]
    fn an_answer_carries_both_pairs_of_names_and_is_read_back() {
        let answer = KeysAnswer::of(&keys(), "2026-01-02T03:04:05.678Z".into(), Some(4));
        let json = serde_json::to_value(&answer).unwrap();
        for name in [
            "device_id",
            "kem_pub",
            "sig_pub",
            "kyber_pub",
            "dsa_pub",
            "ecdh_pub",
            "ts",
            "fingerprint",
            "registered_at",
            "ct_index",
        ] {
            assert!(!json[name].is_null(), "{name} is missing");
        }
        let read: KeysAnswer = serde_json::from_value(json).unwrap();
        assert_eq!(read.device_keys(&"phone".parse().unwrap()).unwrap(), keys());
    }
}
