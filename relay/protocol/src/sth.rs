//! Signed tree heads of the SHA3-256 tree, as published clients read them (protocol §6.4).
//!
//! Exactly six keys: published verifiers sign over "all but signature", so any further key would break them. A relay signs
//! only heads that are durable, and never a smaller size after a larger one; that is the signer's duty, not this module's.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError};
use crate::leaf::{Hash, sha256};
use crate::path::parse_hash;

/// A tree head, unsigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sth {
    /// `https://<host>` of the relay when it is exposed, else the log's origin.
    pub relay_id: String,
    /// The root, lower-case hex.
    pub sha3_root: String,
    /// Unix milliseconds.
    pub timestamp: i64,
    /// Entries.
    pub tree_size: u64,
    /// Always 1.
    pub version: u32,
}

/// A tree head with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedSth {
    /// As [`Sth::relay_id`].
    pub relay_id: String,
    /// As [`Sth::sha3_root`].
    pub sha3_root: String,
    /// As [`Sth::timestamp`].
    pub timestamp: i64,
    /// As [`Sth::tree_size`].
    pub tree_size: u64,
    /// As [`Sth::version`].
    pub version: u32,
    /// Base64 ML-DSA-65 by the relay identity over [`Sth::sign_bytes`].
    pub signature: String,
}

/// The version this module writes and accepts.
pub const STH_VERSION: u32 = 1;

/// Why a tree head does not count.
#[derive(Debug, thiserror::Error)]
pub enum SthError {
    /// Another version than 1.
    #[error("tree head version {0}, expected 1")]
    Version(u32),
    /// The root is not 64 lower-case hex digits.
    #[error("the tree head's root is not 64 lower-case hex digits")]
    Root,
    /// The signature is not base64, or does not verify.
    #[error("the signature of the tree head at size {0} does not verify under the relay identity")]
    Signature(u64),
    /// It has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

/// What the chain over all tree heads begins with.
pub const CHAIN_START: Hash = [0; 32];

/// The chain over all tree heads, one further: `SHA-256(previous ‖ canonical JSON of the signed head, all six keys)`. It
/// begins with [`CHAIN_START`]; an `sth_anchor` entry holds its value over the first `count` heads.
///
/// # Errors
/// When the head has no canonical form, which no head that a relay signed lacks.
pub fn chain(previous: Hash, head: &SignedSth) -> Result<Hash, CanonicalError> {
    Ok(sha256(&[previous.as_slice(), &canonical::to_vec(head)?].concat()))
}

impl Sth {
    /// The head of a tree.
    pub fn new(relay_id: impl Into<String>, root: &Hash, tree_size: u64, timestamp: i64) -> Self {
        Self {
            relay_id: relay_id.into(),
            sha3_root: hex::encode(root),
            timestamp,
            tree_size,
            version: STH_VERSION,
        }
    }

    /// What the relay identity signs.
    pub fn sign_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_vec(self)
    }

    /// The root's bytes.
    pub fn root(&self) -> Result<Hash, SthError> {
        parse_hash(&self.sha3_root).ok_or(SthError::Root)
    }

    /// Puts a signature to it.
    pub fn signed(self, signature: &[u8]) -> SignedSth {
        let Self { relay_id, sha3_root, timestamp, tree_size, version } = self;
        SignedSth {
            relay_id,
            sha3_root,
            timestamp,
            tree_size,
            version,
            signature: BASE64_STANDARD.encode(signature),
        }
    }
}

impl SignedSth {
    /// The head without its signature.
    pub fn head(&self) -> Sth {
        Sth {
            relay_id: self.relay_id.clone(),
            sha3_root: self.sha3_root.clone(),
            timestamp: self.timestamp,
            tree_size: self.tree_size,
            version: self.version,
        }
    }

    /// Checks form and signature. `verify(message, signature)` answers for the relay identity.
    pub fn verify(&self, verify: &dyn Fn(&[u8], &[u8]) -> bool) -> Result<Sth, SthError> {
        let head = self.head();
        if head.version != STH_VERSION {
            return Err(SthError::Version(head.version));
        }
        head.root()?;
        let signature =
            BASE64_STANDARD.decode(&self.signature).map_err(|_| SthError::Signature(self.tree_size))?;
        if verify(&head.sign_bytes()?, &signature) {
            Ok(head)
        } else {
            Err(SthError::Signature(self.tree_size))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn example() -> Sth {
        let root = parse_hash("74fcbd55a09e7ee84754a8710e01b6205149eea83aa157b7a816291b7671ae5b").unwrap();
        Sth::new("https://relay.example.org", &root, 3, 1_767_323_045_678)
    }

    #[test]
    fn the_signed_bytes_are_the_published_ones() {
        let bytes = example().sign_bytes().unwrap();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            r#"{"relay_id":"https://relay.example.org","sha3_root":"74fcbd55a09e7ee84754a8710e01b6205149eea83aa157b7a816291b7671ae5b","timestamp":1767323045678,"tree_size":3,"version":1}"#
        );
        assert_eq!(
            hex::encode(sha256(&bytes)),
            "3b8b092a7e32ad527099409c6d0a6423645fddb9bde3b3ee8730fc1c416a73fb"
        );
    }

    #[test]
    fn a_signed_head_has_exactly_six_keys() {
        let value = serde_json::to_value(example().signed(b"s")).unwrap();
        let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["relay_id", "sha3_root", "signature", "timestamp", "tree_size", "version"]);
        let mut more = value;
        more["pk_hash"] = "00".into();
        assert!(serde_json::from_value::<SignedSth>(more).is_err());
    }

    /// The value is that of a Python one-liner over `json.dumps(…, sort_keys=True, separators=(",", ":"))`.
    #[test]
    fn the_chain_runs_over_all_six_keys_in_order() {
        let (one, two) = (example().signed(b"one"), Sth { tree_size: 4, ..example() }.signed(b"two"));
        let over = |heads: &[&SignedSth]| {
            heads.iter().try_fold(CHAIN_START, |previous, head| chain(previous, head)).unwrap()
        };
        assert_eq!(
            hex::encode(over(&[&one, &two])),
            "ca6845e8fe3031e4c00c4e8eedc41172a50947ca86e29d3de971106fbe1826f4"
        );
        assert_ne!(over(&[&two, &one]), over(&[&one, &two]));
        assert_ne!(over(&[&example().signed(b"another")]), over(&[&one]));
    }

    #[test]
    fn only_the_signed_bytes_and_the_given_signature_are_shown_to_the_verifier() {
        let signed = example().signed(b"right");
        let expected = example().sign_bytes().unwrap();
        let verify = |message: &[u8], signature: &[u8]| message == expected && signature == b"right";
        assert_eq!(signed.verify(&verify).unwrap(), example());
        for flip in [
            SignedSth { tree_size: 4, ..signed.clone() },
            SignedSth { timestamp: 1, ..signed.clone() },
            SignedSth { relay_id: "x".into(), ..signed.clone() },
            SignedSth { sha3_root: "00".repeat(32), ..signed.clone() },
            SignedSth { signature: "!".into(), ..signed.clone() },
        ] {
            assert!(matches!(flip.verify(&verify), Err(SthError::Signature(_))));
        }
        assert!(matches!(
            SignedSth { version: 2, ..signed.clone() }.verify(&|_, _| true),
            Err(SthError::Version(2))
        ));
        assert!(matches!(
            SignedSth { sha3_root: "zz".into(), ..signed }.verify(&|_, _| true),
            Err(SthError::Root)
        ));
    }
}
