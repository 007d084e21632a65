//! What a relay says about itself: capabilities, health, identity (protocol §4.7, §4.4).

use serde::{Deserialize, Serialize};

use crate::pqhb;

/// The answer to `GET /v2/capabilities`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The PQHB version.
    pub wire_version: u32,
    /// Key encapsulations.
    pub kem: Vec<Algorithm>,
    /// Signatures.
    pub sig: Vec<Algorithm>,
}

/// An algorithm a relay accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Algorithm {
    /// Its id in PQHB.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// Whether it is accepted; the Python client takes a missing field as yes.
    #[serde(default = "yes")]
    pub loaded: bool,
}

fn yes() -> bool {
    true
}

impl Capabilities {
    /// Ours.
    pub fn ours() -> Self {
        let algorithm = |id, name: &str| Algorithm { id, name: name.into(), loaded: true };
        Self {
            wire_version: u32::from(pqhb::VERSION),
            kem: vec![algorithm(pqhb::KEM_ML_KEM_768, "ML-KEM-768")],
            sig: vec![algorithm(pqhb::SIG_NONE, "none"), algorithm(pqhb::SIG_ML_DSA_65, "ML-DSA-65")],
        }
    }

    /// Whether a blob with these ids is accepted.
    pub fn accept(&self, kem_id: u16, sig_id: u16) -> bool {
        let loaded = |list: &[Algorithm], id| list.iter().any(|entry| entry.loaded && entry.id == id);
        self.wire_version == u32::from(pqhb::VERSION)
            && loaded(&self.kem, kem_id)
            && loaded(&self.sig, sig_id)
    }
}

/// The answer to `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether it serves.
    pub ok: bool,
    /// The release.
    pub version: String,
    /// The sector.
    pub sector: String,
    /// `community` or `licensed`.
    pub edition: String,
    /// The cap on active keys; null means none.
    pub max_keys: Option<u64>,
    /// `expires_at` of the licence, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_expires: Option<String>,
    /// Who it was issued to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_issued_to: Option<String>,
    /// Whether new uploads are refused (our addition).
    #[serde(default)]
    pub draining: bool,
}

/// The answer to `GET /v2/pubkey`: the relay's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Always true.
    pub ok: bool,
    /// `ML-DSA-65`
    pub alg: String,
    /// Base64.
    pub public_key: String,
    /// SHA3-256 of the key, hex.
    pub pk_hash: String,
    /// The key in hex, as SDK settings expect it (our addition).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key_hex: Option<String>,
}

/// The one identity algorithm.
pub const IDENTITY_ALG: &str = "ML-DSA-65";

impl Identity {
    /// The answer for a public key.
    pub fn of(public_key: &[u8]) -> Self {
        use base64::Engine as _;
        Self {
            ok: true,
            alg: IDENTITY_ALG.into(),
            public_key: base64::prelude::BASE64_STANDARD.encode(public_key),
            pk_hash: hex::encode(crate::leaf::sha3(public_key)),
            public_key_hex: Some(hex::encode(public_key)),
        }
    }

    /// The key, if the answer is consistent with itself.
    pub fn key(&self) -> Option<Vec<u8>> {
        use base64::Engine as _;
        let key = base64::prelude::BASE64_STANDARD.decode(&self.public_key).ok()?;
        let consistent = self.alg == IDENTITY_ALG
            && hex::encode(crate::leaf::sha3(&key)) == self.pk_hash
            && self.public_key_hex.as_ref().is_none_or(|text| *text == hex::encode(&key));
        consistent.then_some(key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn capabilities_are_as_published() {
        assert_eq!(
            serde_json::to_string(&Capabilities::ours()).unwrap(),
            r#"{"wire_version":1,"kem":[{"id":2,"name":"ML-KEM-768","loaded":true}],"sig":[{"id":0,"name":"none","loaded":true},{"id":2,"name":"ML-DSA-65","loaded":true}]}"#
        );
        assert!(Capabilities::ours().accept(2, 0));
        assert!(!Capabilities::ours().accept(2, 1));
    }

    #[test]
    fn an_identity_that_contradicts_itself_is_refused() {
        let identity = Identity::of(&[7; 1952]);
        assert_eq!(identity.key().unwrap(), [7; 1952]);
        assert_eq!(Identity { pk_hash: "00".repeat(32), ..identity.clone() }.key(), None);
        assert_eq!(Identity { public_key_hex: Some("00".into()), ..identity.clone() }.key(), None);
        assert_eq!(Identity { alg: "RSA".into(), ..identity }.key(), None);
    }
}
