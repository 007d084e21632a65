//! The relay's own keys: the ML-DSA-65 identity, the keys that sign checkpoints, the control key.
//!
//! Each is made on first boot, written once and synced before anything is signed with it. A relay that has a log but not the
//! keys it was signed with refuses to start: a silently made new identity would look like another relay to everybody.

mod control_key;
mod seed;

use std::path::Path;

use paramant_tlog::keys::{Ed25519Key, MlDsa44Key, MlDsa65Key, NoKey, Seed, Signer as _};
use sha3::{Digest as _, Sha3_256};

use crate::data_dir::DataDir;

pub use self::control_key::ControlKey;
pub use self::seed::KeyError;

/// The name under which the identity signs documents. Documents carry no key name, so it is never seen.
const DOCUMENTS: &str = "paramant-relay";

/// The relay's identity: an ML-DSA-65 key pair, made on first boot and never replaced.
pub struct Identity {
    seed: Seed,
    key: MlDsa65Key,
    fingerprint: String,
}

/// The keys that sign checkpoints. They are apart from the identity, so that they can be rotated.
pub struct LogKeys {
    ed25519: Seed,
    ml_dsa_44: Seed,
}

/// The library refused to sign.
#[derive(Debug, thiserror::Error)]
#[error("the identity key refused to sign")]
pub struct SignFailed;

impl Identity {
    /// Loads the identity, or makes it on first boot.
    ///
    /// # Errors
    /// [`KeyError`] when the file cannot be read or written, does not hold a key, or is missing although a log exists.
    pub fn open(data: &DataDir) -> Result<Self, KeyError> {
        let path = data.identity().join("ml-dsa-65.seed");
        let seed = seed::load_or_make(&path, data)?;
        let key = MlDsa65Key::from_seed(DOCUMENTS, &seed).map_err(|_| KeyError::Malformed { path })?;
        let fingerprint = hex::encode(Sha3_256::digest(key.verifier().public_key()));
        Ok(Self { seed, key, fingerprint })
    }

    /// A hedged ML-DSA-65 signature over a document (FIPS 204, empty context), 3309 bytes.
    ///
    /// # Errors
    /// When the library refuses, which it does not for a key it has loaded.
    pub fn sign(&self, document: &[u8]) -> Result<Vec<u8>, SignFailed> {
        self.key.sign_document(document).map_err(|_| SignFailed)
    }

    /// The raw public key, 1952 bytes.
    pub fn public_key(&self) -> &[u8] {
        self.key.verifier().public_key()
    }

    /// Lower-case hex SHA3-256 of the public key: `pk_hash`, and the relay's fingerprint.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The same key under a log's name, for the checkpoint line that ties a log to this identity.
    ///
    /// # Errors
    /// When `origin` cannot stand in a signature line.
    pub fn checkpoint_key(&self, origin: &str) -> Result<MlDsa65Key, NoKey> {
        MlDsa65Key::from_seed(origin, &self.seed)
    }
}

/// The files of a pair of log keys.
const LOG_KEY_FILES: [&str; 2] = ["ed25519.seed", "ml-dsa-44.seed"];

impl LogKeys {
    /// Loads the log's first keys, or makes them on first boot.
    ///
    /// # Errors
    /// As [`Identity::open`].
    pub fn open(data: &DataDir) -> Result<Self, KeyError> {
        let [ed25519, ml_dsa_44] = LOG_KEY_FILES.map(|file| data.log_keys().join(file));
        Ok(Self {
            ed25519: seed::load_or_make(&ed25519, data)?,
            ml_dsa_44: seed::load_or_make(&ml_dsa_44, data)?,
        })
    }

    /// Loads the keys in a directory.
    ///
    /// # Errors
    /// When one is missing or damaged.
    pub fn load(directory: &Path) -> Result<Self, KeyError> {
        let [ed25519, ml_dsa_44] = LOG_KEY_FILES.map(|file| directory.join(file));
        Ok(Self { ed25519: seed::load(&ed25519)?, ml_dsa_44: seed::load(&ml_dsa_44)? })
    }

    /// Makes new keys in an existing directory, in place of any that are there.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn make(directory: &Path) -> Result<Self, KeyError> {
        let [ed25519, ml_dsa_44] = LOG_KEY_FILES.map(|file| directory.join(file));
        Ok(Self { ed25519: seed::make(&ed25519)?, ml_dsa_44: seed::make(&ml_dsa_44)? })
    }

    /// Destroys the keys in a directory: what was signed with them stays valid, nothing new can be.
    ///
    /// # Errors
    /// When a file cannot be overwritten or removed.
    pub fn destroy(directory: &Path) -> Result<(), KeyError> {
        for path in LOG_KEY_FILES.map(|file| directory.join(file)) {
            seed::destroy(&path)?;
        }
        Ok(())
    }

    /// The line every tool reads, and the post-quantum line of C2SP tlog-cosignature, under the log's name.
    ///
    /// # Errors
    /// When `origin` cannot stand in a signature line.
    pub fn checkpoint_keys(&self, origin: &str) -> Result<(Ed25519Key, MlDsa44Key), NoKey> {
        Ok((Ed25519Key::from_seed(origin, &self.ed25519)?, MlDsa44Key::from_seed(origin, &self.ml_dsa_44)?))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.fingerprint)
    }
}

impl std::fmt::Debug for LogKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogKeys(…)")
    }
}

#[cfg(test)]
mod tests;
