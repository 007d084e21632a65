//! A relay's identity key (ML-DSA-65): what its receipts and tree heads are checked with.

use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use paramant_protocol::device::SIG_PUB;
use paramant_protocol::discovery::Identity;
use paramant_protocol::leaf;

/// A public identity key of the right size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayIdentity(Vec<u8>);

impl RelayIdentity {
    /// From the key's bytes.
    pub fn from_key(key: Vec<u8>) -> Option<Self> {
        (key.len() == SIG_PUB).then_some(Self(key))
    }

    /// From the relay's answer, when that is consistent with itself.
    pub fn from_answer(answer: &Identity) -> Option<Self> {
        answer.key().and_then(Self::from_key)
    }

    /// From a file: the answer of `/v2/pubkey`, or the key in hex or base64.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.starts_with('{') {
            return Self::from_answer(&serde_json::from_str(text).ok()?);
        }
        let key = hex::decode(text).ok().or_else(|| BASE64_STANDARD.decode(text).ok())?;
        Self::from_key(key)
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.0
    }

    /// SHA3-256 of the key, hex: what people and status show.
    pub fn fingerprint(&self) -> String {
        hex::encode(leaf::sha3(&self.0))
    }

    /// Whether this identity signed a message.
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ML_DSA_65, &self.0).verify(message, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::device::Device;

    #[test]
    fn an_identity_is_read_in_every_form_and_checks_signatures() {
        let device = Device::generate("relay".parse().unwrap()).unwrap();
        let key = device.signing_key();
        let identity = RelayIdentity::from_key(key.to_vec()).unwrap();
        let answer = serde_json::to_string(&Identity::of(key)).unwrap();
        for text in [answer, hex::encode(key), BASE64_STANDARD.encode(key) + "\n"] {
            assert_eq!(RelayIdentity::parse(&text), Some(identity.clone()));
        }
        for text in ["", "{}", "00", "zz"] {
            assert_eq!(RelayIdentity::parse(text), None);
        }
        let signature = device.sign(b"m").unwrap();
        assert!(identity.signed(b"m", &signature));
        assert!(!identity.signed(b"n", &signature));
    }
}
