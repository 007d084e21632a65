//! Signing keys of a log, each made from a 32-byte seed that the caller stores.
//!
//! A key knows its name (the log's origin, for a log's own keys) and its [`VerifierKey`]. The seed is wiped from memory
//! when the key is dropped. What each type signs is told in [`crate::vkey`].

use crate::checkpoint::Checkpoint;
use crate::cosignature;
use crate::vkey::{Algorithm, KeyError, VerifierKey, cosigned_message, prefixed_message};
use aws_lc_rs::signature::{KeyPair as _, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, PqdsaKeyPair};
use ed25519_dalek::Signer as _;
use zeroize::Zeroizing;

/// What any signing key is made from, and the form in which it is stored.
pub type Seed = Zeroizing<[u8; 32]>;

/// A key that can add its line to a note.
pub trait Signer: Send + Sync {
    /// The public side: name, key id, algorithm.
    fn verifier(&self) -> &VerifierKey;

    /// What follows the key id in the signature line. `at` is in seconds since 1970; types without a time ignore it.
    ///
    /// # Errors
    /// When the text is not one this type can sign, or the library fails.
    fn sign(&self, text: &str, at: u64) -> Result<Vec<u8>, SignFailed>;
}

/// Why a key did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignFailed {
    /// Lines with a time sign checkpoints only.
    #[error("a line of this type signs checkpoints only: {0}")]
    NotACheckpoint(String),
    /// The cryptographic library refused.
    #[error("the {0} library failed to sign")]
    Library(Algorithm),
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The name cannot stand in a signature line.
    #[error(transparent)]
    Name(#[from] KeyError),
    /// The cryptographic library refused the seed, or gave no randomness.
    #[error("the cryptographic library failed to make a key")]
    Library,
}

/// A fresh seed from the system's randomness.
///
/// # Errors
/// When the system gives none.
pub fn generate_seed() -> Result<Seed, NoKey> {
    let mut seed = Seed::new([0; 32]);
    aws_lc_rs::rand::fill(seed.as_mut_slice()).map_err(|_| NoKey::Library)?;
    Ok(seed)
}

/// Type `01`: the line every tool reads.
pub struct Ed25519Key {
    verifier: VerifierKey,
    key: ed25519_dalek::SigningKey,
}

impl Ed25519Key {
    /// The key of this name and seed.
    ///
    /// # Errors
    /// When the name cannot stand in a signature line.
    pub fn from_seed(name: &str, seed: &Seed) -> Result<Self, NoKey> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, Algorithm::Ed25519, key.verifying_key().as_bytes())?;
        Ok(Self { verifier, key })
    }
}

impl Signer for Ed25519Key {
    fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    fn sign(&self, text: &str, _at: u64) -> Result<Vec<u8>, SignFailed> {
        Ok(self.key.sign(text.as_bytes()).to_bytes().to_vec())
    }
}

/// Type `04`: what an Ed25519 witness adds to the checkpoint of a log. No log signs its own checkpoints with it.
pub struct CosignatureKey {
    verifier: VerifierKey,
    key: ed25519_dalek::SigningKey,
}

impl CosignatureKey {
    /// The witness key of this name and seed.
    ///
    /// # Errors
    /// When the name cannot stand in a signature line.
    pub fn from_seed(name: &str, seed: &Seed) -> Result<Self, NoKey> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = key.verifying_key();
        let verifier = VerifierKey::new(name, Algorithm::Ed25519Cosignature, public.as_bytes())?;
        Ok(Self { verifier, key })
    }
}

impl Signer for CosignatureKey {
    fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    fn sign(&self, text: &str, at: u64) -> Result<Vec<u8>, SignFailed> {
        Checkpoint::parse(text).map_err(|e| SignFailed::NotACheckpoint(e.to_string()))?;
        let message = cosignature::message(at, text)
            .ok_or_else(|| SignFailed::NotACheckpoint("the time is above 2^63 - 1".to_owned()))?;
        Ok([at.to_be_bytes().as_slice(), &self.key.sign(message.as_bytes()).to_bytes()].concat())
    }
}

/// Type `06`: the timestamped post-quantum line under the log's own name.
pub struct MlDsa44Key {
    verifier: VerifierKey,
    key: PqdsaKeyPair,
}

impl MlDsa44Key {
    /// The key of this name and seed.
    ///
    /// # Errors
    /// When the name cannot stand in a signature line, or the library refuses.
    pub fn from_seed(name: &str, seed: &Seed) -> Result<Self, NoKey> {
        let key = PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, seed.as_slice()).map_err(|_| NoKey::Library)?;
        let verifier = VerifierKey::new(name, Algorithm::MlDsa44, key.public_key().as_ref())?;
        Ok(Self { verifier, key })
    }
}

impl Signer for MlDsa44Key {
    fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    fn sign(&self, text: &str, at: u64) -> Result<Vec<u8>, SignFailed> {
        let checkpoint = Checkpoint::parse(text).map_err(|e| SignFailed::NotACheckpoint(e.to_string()))?;
        let message = cosigned_message(self.verifier.name(), at, &checkpoint)
            .ok_or_else(|| SignFailed::NotACheckpoint("a name is longer than 255 bytes".to_owned()))?;
        let mut line = at.to_be_bytes().to_vec();
        line.extend(ml_dsa(&self.key, &message, Algorithm::MlDsa44)?);
        Ok(line)
    }
}

/// Type `ff`: the relay's identity says that this is its log.
pub struct MlDsa65Key {
    verifier: VerifierKey,
    key: PqdsaKeyPair,
}

impl MlDsa65Key {
    /// The key of this name and seed.
    ///
    /// # Errors
    /// When the name cannot stand in a signature line, or the library refuses.
    pub fn from_seed(name: &str, seed: &Seed) -> Result<Self, NoKey> {
        let key = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, seed.as_slice()).map_err(|_| NoKey::Library)?;
        let verifier = VerifierKey::new(name, Algorithm::MlDsa65, key.public_key().as_ref())?;
        Ok(Self { verifier, key })
    }

    /// Signs bytes as they are, for the JSON documents of the published protocol (FIPS 204 pure, empty context).
    ///
    /// # Errors
    /// When the library fails.
    pub fn sign_document(&self, document: &[u8]) -> Result<Vec<u8>, SignFailed> {
        ml_dsa(&self.key, document, Algorithm::MlDsa65)
    }
}

impl Signer for MlDsa65Key {
    fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    fn sign(&self, text: &str, _at: u64) -> Result<Vec<u8>, SignFailed> {
        ml_dsa(&self.key, &prefixed_message(self.verifier.name(), text), Algorithm::MlDsa65)
    }
}

fn ml_dsa(key: &PqdsaKeyPair, message: &[u8], algorithm: Algorithm) -> Result<Vec<u8>, SignFailed> {
    let mut signature = vec![0; key.algorithm().signature_len()];
    let length = key.sign(message, &mut signature).map_err(|_| SignFailed::Library(algorithm))?;
    signature.truncate(length);
    Ok(signature)
}
