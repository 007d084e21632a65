//! Leaves and nodes of the SHA3-256 tree as published (protocol §6.1, §6.2), and the salted commitments of entry bodies.
//!
//! A transfer's leaf hides its preimage (blob hash, sector, exact time); every other kind's leaf is recomputable from the
//! public entry. Labels of commitments end in a zero byte, so that no label is the beginning of another.

use paramant_tlog::Tree;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sha3::Sha3_256;

use crate::canonical::{self, CanonicalError};

pub use paramant_tlog::Hash;

/// The root of the empty SHA3-256 tree.
pub const EMPTY_ROOT: Hash = [0; 32];

const IDENTITY: u8 = 0x00;
const TRANSFER: u8 = 0x02;
const BODY: u8 = 0x03;

/// SHA3-256 of some bytes.
pub fn sha3(bytes: &[u8]) -> Hash {
    Sha3_256::digest(bytes).into()
}

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// An inner node: SHA3-256(01 ‖ left ‖ right).
pub fn node(left: &Hash, right: &Hash) -> Hash {
    Tree::Sha3.node(left, right)
}

/// A transfer's leaf: SHA3-256(02 ‖ blob hash ‖ SHA3-256(sector) ‖ ts), with `ts` exactly as the receipt shows it.
pub fn transfer_leaf(blob_hash: &Hash, sector: &str, ts: &str) -> Hash {
    sha3_of(&[&[TRANSFER], blob_hash, &sha3(sector.as_bytes()), ts.as_bytes()])
}

/// The leaf of the kinds published before bodies existed: SHA3-256(00 ‖ identity ‖ value ‖ ts). We write none; an
/// auditor of an older relay reads them.
pub fn identity_leaf(identity: &Hash, value: &Hash, ts: &str) -> Hash {
    sha3_of(&[&[IDENTITY], identity, value, ts.as_bytes()])
}

/// The leaf of an entry with a body: SHA3-256(03 ‖ SHA3-256(kind) ‖ SHA3-256(canonical body) ‖ t), `t` as in the entry.
pub fn body_leaf(kind: &str, body: &Value, t: &str) -> Result<Hash, CanonicalError> {
    let body = canonical::value_to_vec(body)?;
    Ok(sha3_of(&[&[BODY], &sha3(kind.as_bytes()), &sha3(&body), t.as_bytes()]))
}

/// The identity of a device key in the published identity leaf: SHA3-256(device id ‖ first 8 characters of the API key).
pub fn device_identity(device_id: &str, api_key_prefix: &str) -> Hash {
    sha3_of(&[device_id.as_bytes(), api_key_prefix.as_bytes()])
}

/// The identity of a registered relay in the published identity leaf: SHA3-256(url | sector).
pub fn relay_identity(url: &str, sector: &str) -> Hash {
    sha3_of(&[url.as_bytes(), b"|", sector.as_bytes()])
}

/// What a commitment is about. Each purpose has its own label, so one can never be opened as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The transfer that a `transfer_claimed` entry is about; the value is the transfer's leaf.
    Claimed,
    /// The transfer that a `transfer_burned` entry is about; the value is the transfer's leaf.
    Burned,
    /// A registered device key; the value is SHA3-256(KEM key ‖ signing key).
    DeviceKey,
    /// The bytes of a licence request.
    LicenseRequest,
    /// The bytes of a licence reply.
    LicenseReply,
    /// A licence document in force.
    License,
    /// The telemetry preview a consent was given to.
    TelemetryPreview,
    /// The destination of outbound calls.
    Destination,
    /// A support key.
    SupportKey,
    /// A vendor's request, verbatim.
    RemoteAction,
    /// What an update entry names: the image reference.
    Image,
    /// A registered DID; the value is [`crate::did::digest`].
    Did,
}

impl Purpose {
    /// The label: ASCII, ending in a zero byte.
    pub fn label(self) -> &'static [u8] {
        match self {
            Self::Claimed => b"paramant/transfer-claimed/v1\0",
            Self::Burned => b"paramant/transfer-burned/v1\0",
            Self::DeviceKey => b"paramant/device-key/v1\0",
            Self::LicenseRequest => b"paramant/license-request/v1\0",
            Self::LicenseReply => b"paramant/license-reply/v1\0",
            Self::License => b"paramant/license/v1\0",
            Self::TelemetryPreview => b"paramant/telemetry-preview/v1\0",
            Self::Destination => b"paramant/destination/v1\0",
            Self::SupportKey => b"paramant/support-key/v1\0",
            Self::RemoteAction => b"paramant/remote-action/v1\0",
            Self::Image => b"paramant/image/v1\0",
            Self::Did => b"paramant/did/v1\0",
        }
    }
}

/// A salted commitment: SHA-256(label ‖ salt ‖ value). For a transfer the value is its leaf, which makes this the blinded
/// id; the salt is fresh for each entry.
pub fn commit(purpose: Purpose, salt: &[u8; 32], value: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(purpose.label());
    hasher.update(salt);
    hasher.update(value);
    hasher.finalize().into()
}

/// What a `key_registered` commitment is about: SHA3-256(KEM key ‖ signing key).
pub fn device_key_digest(kem_pub: &[u8], sig_pub: &[u8]) -> Hash {
    sha3_of(&[kem_pub, sig_pub])
}

fn sha3_of(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha3_256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TS: &str = "2026-01-02T03:04:05.678Z";

    #[test]
    fn leaves_match_the_published_vectors() {
        assert_eq!(
            hex::encode(sha3(b"relay")),
            "82b67ee4aa9203ec253af89df5ef5c01666497e1df5a76baffa7061252d76642"
        );
        assert_eq!(
            hex::encode(transfer_leaf(&[0xaa; 32], "relay", TS)),
            "b28cd694f82b67808285d1d596b561816b7e2f5fe05e96ef6f6801fe50881eb7"
        );
        let identity = device_identity("phone-001", "pgp_0123");
        assert_eq!(hex::encode(identity), "4e798a16e329423cf9775957a34cef922e1bc4294e029223e9bc742b9ea32b9c");
        let mut ecdh = [0x22; 32];
        ecdh[0] = 0x04;
        assert_eq!(
            hex::encode(identity_leaf(&identity, &ecdh, TS)),
            "82774b99cb5202917d178f5f8f0680d88c448ae672491245933ccd00a03bfde7"
        );
        let identity = relay_identity("https://relay.example.org", "relay");
        assert_eq!(hex::encode(identity), "c9b5b99c365b991e43cadbdb11254bf90dad884949196ecf33bce322b43a3fa7");
        assert_eq!(
            hex::encode(identity_leaf(&identity, &[0xbb; 32], TS)),
            "54742de6f2b3f4f0123facae103307fae3bb7d34378a278f069ca55fbbb94f8b"
        );
    }

    #[test]
    fn no_label_is_the_beginning_of_another() {
        let all = [
            Purpose::Claimed,
            Purpose::Burned,
            Purpose::DeviceKey,
            Purpose::LicenseRequest,
            Purpose::LicenseReply,
            Purpose::License,
            Purpose::TelemetryPreview,
            Purpose::Destination,
            Purpose::SupportKey,
            Purpose::RemoteAction,
            Purpose::Image,
            Purpose::Did,
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert!(i == j || !a.label().starts_with(b.label()), "{b:?} begins {a:?}");
            }
        }
    }

    #[test]
    fn the_same_value_under_another_salt_or_purpose_is_another_commitment() {
        let commitment = commit(Purpose::Claimed, &[1; 32], &[7; 32]);
        assert_eq!(
            commitment,
            sha256(&[b"paramant/transfer-claimed/v1\0".as_slice(), &[1; 32], &[7; 32]].concat())
        );
        assert_ne!(commitment, commit(Purpose::Claimed, &[2; 32], &[7; 32]));
        assert_ne!(commitment, commit(Purpose::Burned, &[1; 32], &[7; 32]));
    }
}
