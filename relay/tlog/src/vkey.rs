//! Verifier keys: `name+keyid+base64(type ‖ public key)`, and what each signature type signs.
//!
//! | type | algorithm | public key after the type byte | signature bytes | signed message |
//! |---|---|---|---|---|
//! | `01` | Ed25519 (C2SP signed-note) | 32 bytes | 64 | the note's text |
//! | `04` | Ed25519 (C2SP tlog-cosignature) | 32 bytes | time u64 ‖ 64 | [`crate::cosignature::message`] |
//! | `06` | ML-DSA-44 (C2SP tlog-cosignature) | 1312 bytes | time u64 ‖ 2420 | [`cosigned_message`] |
//! | `ff` | ML-DSA-65, ours | [`ML_DSA_65_IDENTIFIER`] ‖ 1952 bytes | 3309 | identifier ‖ `\n` ‖ key name ‖ `\n` ‖ the note's text |
//!
//! All four: key id = first four bytes of `SHA-256(name ‖ "\n" ‖ type ‖ what follows it in the table)`, big-endian.
//! ML-DSA is FIPS 204 pure signing with an empty context. The prefix of the `ff` message keeps it apart from the JSON
//! documents (signed tree heads, receipts) that the same identity key signs: those begin with `{`.

use crate::checkpoint::Checkpoint;
use crate::cosignature;
use crate::hash::sha256;
use crate::note::is_key_name;
use aws_lc_rs::signature::{ML_DSA_44, ML_DSA_65, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Follows the type byte `ff` in keys of the ML-DSA-65 line, and begins what they sign.
pub const ML_DSA_65_IDENTIFIER: &[u8] = b"paramant.app/note/ml-dsa-65/v1";

/// Length of an ML-DSA-44 public key.
pub const ML_DSA_44_PUBLIC_KEY: usize = 1312;
/// Length of an ML-DSA-65 public key.
pub const ML_DSA_65_PUBLIC_KEY: usize = 1952;

/// The signature types this crate verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Type `01`.
    Ed25519,
    /// Type `04`, a witness's, with a time.
    Ed25519Cosignature,
    /// Type `06`, with a time.
    MlDsa44,
    /// Type `ff` with our identifier.
    MlDsa65,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 4] =
        [Algorithm::Ed25519, Algorithm::Ed25519Cosignature, Algorithm::MlDsa44, Algorithm::MlDsa65];

    /// Whether a log may sign its own checkpoints with it: all but `04`, which says what a witness saw.
    #[must_use]
    pub fn signs_logs(self) -> bool {
        self != Algorithm::Ed25519Cosignature
    }

    /// Whether a witness may cosign with it: the two types of C2SP tlog-cosignature, which carry a time.
    #[must_use]
    pub fn cosigns(self) -> bool {
        matches!(self, Algorithm::Ed25519Cosignature | Algorithm::MlDsa44)
    }

    /// Whether it holds against quantum computers.
    #[must_use]
    pub fn is_post_quantum(self) -> bool {
        matches!(self, Algorithm::MlDsa44 | Algorithm::MlDsa65)
    }

    /// What stands before the public key in the key id and in a verifier key.
    #[must_use]
    pub fn prefix(self) -> Vec<u8> {
        match self {
            Algorithm::Ed25519 => vec![0x01],
            Algorithm::Ed25519Cosignature => vec![0x04],
            Algorithm::MlDsa44 => vec![0x06],
            Algorithm::MlDsa65 => [&[0xff], ML_DSA_65_IDENTIFIER].concat(),
        }
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Algorithm::Ed25519 => "Ed25519",
            Algorithm::Ed25519Cosignature => "Ed25519 cosignature",
            Algorithm::MlDsa44 => "ML-DSA-44",
            Algorithm::MlDsa65 => "ML-DSA-65",
        })
    }
}

/// A named public key that can check signature lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key_id: u32,
    algorithm: Algorithm,
    public: Vec<u8>,
}

/// Why a text is not a verifier key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not `name+keyid+base64`.
    #[error("a verifier key is name+keyid+base64, the key id in eight hex digits")]
    Form,
    /// The name is empty or holds white space or a plus.
    #[error("the key name is empty or holds white space or a plus")]
    Name,
    /// A type byte (or identifier after `ff`) that is not in the table.
    #[error("the signature type is not supported")]
    Algorithm,
    /// The public key has the wrong length or is no point.
    #[error("the public key is malformed")]
    PublicKey,
    /// The key id is not that of name and key.
    #[error("the key id does not belong to the key")]
    KeyId,
}

/// A signature line of a known key that is not that key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

impl VerifierKey {
    /// A key from its parts.
    ///
    /// # Errors
    /// When the name or the public key is malformed.
    pub fn new(name: &str, algorithm: Algorithm, public: &[u8]) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name);
        }
        let well_formed = match algorithm {
            Algorithm::Ed25519 | Algorithm::Ed25519Cosignature => ed25519(public).is_some(),
            Algorithm::MlDsa44 => public.len() == ML_DSA_44_PUBLIC_KEY,
            Algorithm::MlDsa65 => public.len() == ML_DSA_65_PUBLIC_KEY,
        };
        if !well_formed {
            return Err(KeyError::PublicKey);
        }
        let key_id = key_id(name, algorithm, public);
        Ok(Self { name: name.to_owned(), key_id, algorithm, public: public.to_vec() })
    }

    /// Reads `name+keyid+base64`.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::Form);
        };
        if id.len() != 8 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(KeyError::Form);
        }
        let id = u32::from_str_radix(id, 16).map_err(|_| KeyError::Form)?;
        let material = STANDARD.decode(encoded).map_err(|_| KeyError::Form)?;
        let (algorithm, public) = Algorithm::ALL
            .into_iter()
            .find_map(|algorithm| Some((algorithm, material.strip_prefix(algorithm.prefix().as_slice())?)))
            .ok_or(KeyError::Algorithm)?;
        let key = Self::new(name, algorithm, public)?;
        if key.key_id == id { Ok(key) } else { Err(KeyError::KeyId) }
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id, as it stands in signature lines.
    #[must_use]
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The signature type.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw public key, without type byte or identifier.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// Checks what follows the key id in a signature line, and returns the time it carries.
    ///
    /// # Errors
    /// When it is not this key's signature over this text.
    pub fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, BadSignature> {
        match self.algorithm {
            Algorithm::Ed25519 => {
                self.verify_ed25519(text.as_bytes(), signature)?;
                Ok(None)
            }
            Algorithm::Ed25519Cosignature => {
                let (time, signature) = signature.split_first_chunk::<8>().ok_or(BadSignature)?;
                let time = u64::from_be_bytes(*time);
                Checkpoint::parse(text).map_err(|_| BadSignature)?;
                let message = cosignature::message(time, text).ok_or(BadSignature)?;
                self.verify_ed25519(message.as_bytes(), signature)?;
                Ok(Some(time))
            }
            Algorithm::MlDsa44 => {
                let (time, signature) = signature.split_first_chunk::<8>().ok_or(BadSignature)?;
                let time = u64::from_be_bytes(*time);
                let checkpoint = Checkpoint::parse(text).map_err(|_| BadSignature)?;
                let message = cosigned_message(&self.name, time, &checkpoint).ok_or(BadSignature)?;
                let key = UnparsedPublicKey::new(&ML_DSA_44, &self.public);
                key.verify(&message, signature).map_err(|_| BadSignature)?;
                Ok(Some(time))
            }
            Algorithm::MlDsa65 => {
                let key = UnparsedPublicKey::new(&ML_DSA_65, &self.public);
                key.verify(&prefixed_message(&self.name, text), signature).map_err(|_| BadSignature)?;
                Ok(None)
            }
        }
    }

    fn verify_ed25519(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| BadSignature)?;
        let key = ed25519(&self.public).ok_or(BadSignature)?;
        key.verify_strict(message, &signature).map_err(|_| BadSignature)
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let material = [self.algorithm.prefix().as_slice(), &self.public].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.key_id, STANDARD.encode(material))
    }
}

impl std::str::FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(vkey: &str) -> Result<Self, KeyError> {
        Self::parse(vkey)
    }
}

/// The key id of C2SP signed-note: `SHA-256(name ‖ "\n" ‖ type ‖ public key)[:4]`.
#[must_use]
pub fn key_id(name: &str, algorithm: Algorithm, public: &[u8]) -> u32 {
    let material = [name.as_bytes(), b"\n", &algorithm.prefix(), public].concat();
    let [a, b, c, d, ..] = sha256(&material);
    u32::from_be_bytes([a, b, c, d])
}

/// The message of an ML-DSA-44 line: `cosigned_message` of C2SP tlog-cosignature, for a whole tree (start 0).
///
/// `"subtree/v1\n\0" ‖ len ‖ name ‖ time u64 ‖ len ‖ origin ‖ 0 u64 ‖ size u64 ‖ root`, all big-endian. Extension
/// lines of the checkpoint are not signed by this type. None when a name does not fit its length byte, or for a time
/// above 2^63 − 1.
#[must_use]
pub fn cosigned_message(cosigner: &str, time: u64, checkpoint: &Checkpoint) -> Option<Vec<u8>> {
    let length = |name: &str| u8::try_from(name.len()).ok().filter(|length| *length > 0);
    i64::try_from(time).ok()?;
    let mut message = b"subtree/v1\n\0".to_vec();
    message.push(length(cosigner)?);
    message.extend_from_slice(cosigner.as_bytes());
    message.extend_from_slice(&time.to_be_bytes());
    message.push(length(&checkpoint.origin)?);
    message.extend_from_slice(checkpoint.origin.as_bytes());
    message.extend_from_slice(&0u64.to_be_bytes());
    message.extend_from_slice(&checkpoint.size.to_be_bytes());
    message.extend_from_slice(&checkpoint.root);
    Some(message)
}

/// The message of an ML-DSA-65 line: identifier, newline, key name, newline, the note's text.
#[must_use]
pub fn prefixed_message(name: &str, text: &str) -> Vec<u8> {
    [ML_DSA_65_IDENTIFIER, b"\n", name.as_bytes(), b"\n", text.as_bytes()].concat()
}

fn ed25519(public: &[u8]) -> Option<ed25519_dalek::VerifyingKey> {
    ed25519_dalek::VerifyingKey::from_bytes(public.try_into().ok()?).ok()
}
