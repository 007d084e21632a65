//! `did:paramant:…`: ids of devices that sign their requests instead of carrying an API key (protocol §1.7, §8).
//!
//! A DID is made of the device's name and its public key *as text*, so it can be computed by anybody who has both. Only an ECDSA
//! P-256 key can sign requests; the DID of another key resolves and no more.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};
use sha3::{Digest as _, Sha3_256};

use crate::leaf::Hash;

/// What every DID begins with.
const PREFIX: &str = "did:paramant:";
/// How far a signed request's time may lie from the relay's clock, either way, in milliseconds.
pub const CLOCK_SKEW_MS: i64 = 300_000;
/// Characters of a nonce: fewest and most, all hex digits.
pub const NONCE: (usize, usize) = (16, 128);
/// The longest public key, in hex digits: an ML-KEM-768 key, which one published client registers.
pub const MAX_PUBLIC_KEY: usize = 2 * crate::device::KEM_PUB;

/// The header that names the DID.
pub const DID_HEADER: &str = "x-did";
/// Hex of a DER-encoded ECDSA signature.
pub const SIGNATURE_HEADER: &str = "x-did-signature";
/// Unix milliseconds.
pub const TIME_HEADER: &str = "x-did-ts";
/// Hex, used once.
pub const NONCE_HEADER: &str = "x-did-nonce";

/// A DID of this method: `did:paramant:` and 32 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Did([u8; 16]);

/// Not a DID of this method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a DID is did:paramant: and 32 lower-case hex digits")]
pub struct NotADid;

impl Did {
    /// The DID of a device with this public key, exactly as the device writes it.
    pub fn of(device: &str, public_key: &str) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&digest(device, public_key)[..16]); // total: 32 bytes
        Self(id)
    }

    /// The document that it resolves to. A revoked DID's names no key that may do anything.
    pub fn document(
        &self,
        device: &str,
        public_key: &str,
        created: &str,
        endpoint: &str,
        revoked: Option<&str>,
    ) -> Value {
        let key = format!("{self}#keys-1");
        let may: &[&str] = if revoked.is_none() { &[&key] } else { &[] };
        let mut document = json!({
            "@context": ["https://www.w3.org/ns/did/v1"],
            "id": self.to_string(),
            "created": created,
            "assertionMethod": may,
            "capabilityInvocation": may,
            "verificationMethod": [{
                "id": key,
                "type": "JsonWebKey2020",
                "controller": self.to_string(),
                "publicKeyHex": public_key,
            }],
            "service": [{
                "id": format!("{self}#ghost-pipe"),
                "type": "GhostPipeRelay",
                "serviceEndpoint": endpoint,
                "device": device,
                "protocol": "ghost-pipe-v2",
                "encryption": "ML-KEM-768+AES-256-GCM",
            }],
        });
        if let (Some(revoked), Value::Object(document)) = (revoked, &mut document) {
            document.insert("deactivated".to_owned(), json!(true));
            document.insert("revoked".to_owned(), json!(revoked));
        }
        document
    }
}

/// SHA3-256 of name and key: the DID is its first half, and a log's commitment is to all of it.
pub fn digest(device: &str, public_key: &str) -> Hash {
    Sha3_256::new().chain_update(device).chain_update(public_key).finalize().into()
}

/// The bytes that a request's signature is over: method, target exactly as sent, time and nonce as in their headers.
pub fn signed_text(method: &str, target: &str, time: &str, nonce: &str) -> String {
    format!("{method}\n{target}\n{time}\n{nonce}")
}

/// A time header within the window around `now_ms`.
pub fn is_timely(time: &str, now_ms: i64) -> bool {
    let digits = !time.is_empty() && time.bytes().all(|b| b.is_ascii_digit());
    let time = time.parse::<i64>().ok().filter(|_| digits);
    time.is_some_and(|time| time.abs_diff(now_ms) <= CLOCK_SKEW_MS.unsigned_abs())
}

/// Whether a text can be a nonce.
pub fn is_nonce(text: &str) -> bool {
    (NONCE.0..=NONCE.1).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

impl FromStr for Did {
    type Err = NotADid;

    fn from_str(text: &str) -> Result<Self, NotADid> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotADid)?;
        let mut id = [0; 16];
        hex::decode_to_slice(digits, &mut id).map_err(|_| NotADid)?;
        if hex::encode(id) == digits { Ok(Self(id)) } else { Err(NotADid) }
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_published_did_comes_out_and_has_one_text() {
        let key = format!("04{}{}", "11".repeat(32), "22".repeat(32));
        let did = Did::of("plc-1", &key);
        assert_eq!(did.to_string(), "did:paramant:3d5e3458a74017c19a4993aa5f17a9c5");
        assert_eq!(did.to_string().parse(), Ok(did));
        for bad in [
            "",
            "did:paramant:",
            "did:web:3d5e3458a74017c19a4993aa5f17a9c5",
            "did:paramant:3D5E3458A74017C19A4993AA5F17A9C5",
        ] {
            assert_eq!(bad.parse::<Did>(), Err(NotADid), "{bad}");
        }
    }

    #[test]
    fn a_document_names_its_key_and_a_revoked_one_lets_it_do_nothing() {
        let did = Did::of("plc-1", "04aa");
        let document =
            did.document("plc-1", "04aa", "2026-01-02T03:04:05.678Z", "https://relay.example", None);
        let key = format!("{did}#keys-1");
        assert_eq!(document["verificationMethod"][0]["id"], key.as_str());
        assert_eq!(document["verificationMethod"][0]["publicKeyHex"], "04aa");
        assert_eq!(document["capabilityInvocation"][0], key.as_str());
        assert_eq!(document["service"][0]["device"], "plc-1");
        assert!(document.get("deactivated").is_none());
        let revoked = did.document("plc-1", "04aa", "", "", Some("2026-01-03T00:00:00.000Z"));
        assert_eq!(revoked["capabilityInvocation"], json!([]));
        assert_eq!(revoked["deactivated"], true);
    }

    #[test]
    fn times_and_nonces_have_their_bounds() {
        let now = 1_767_323_045_678;
        for (time, timely) in [
            ("1767323045678", true),
            ("1767322745678", true),
            ("1767323345678", true),
            ("1767322745677", false),
            ("1767323345679", false),
            ("+1767323045678", false),
            ("-1", false),
            ("", false),
            ("99999999999999999999", false),
        ] {
            assert_eq!(is_timely(time, now), timely, "{time}");
        }
        for (nonce, good) in [
            ("aB".repeat(8), true),
            ("a".repeat(15), false),
            ("a".repeat(128), true),
            ("a".repeat(129), false),
            ("g".repeat(16), false),
        ] {
            assert_eq!(is_nonce(&nonce), good, "{nonce}");
        }
        assert_eq!(signed_text("GET", "/v2/status/x?a=1", "1", "ff"), "GET\n/v2/status/x?a=1\n1\nff");
    }
}
