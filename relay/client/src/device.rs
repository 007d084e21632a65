//! A device's keys: ML-KEM-768 to receive, ML-DSA-65 to sign. Secret; debug output shows names and public parts only.

use std::fmt;

use aws_lc_rs::kem::{DecapsulationKey, ML_KEM_768};
use aws_lc_rs::signature::{KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};
use paramant_protocol::device::DeviceKeys;
use paramant_protocol::id::DeviceId;
use paramant_protocol::leaf;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::error::ClientError;

/// The version of the stored form.
const STORED_VERSION: u32 = 1;

/// A device that can receive and sign.
pub struct Device {
    name: DeviceId,
    kem: DecapsulationKey,
    kem_secret: Zeroizing<Vec<u8>>,
    kem_pub: Vec<u8>,
    signer: PqdsaKeyPair,
    seed: Zeroizing<[u8; 32]>,
}

/// The file's form. All hex.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    device: DeviceId,
    kem_secret: String,
    kem_public: String,
    signing_seed: String,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.kem_secret.zeroize();
        self.signing_seed.zeroize();
    }
}

impl Device {
    /// New keys.
    pub fn generate(name: DeviceId) -> Result<Self, ClientError> {
        let failed = |_| ClientError::Crypto("make keys");
        let kem = DecapsulationKey::generate(&ML_KEM_768).map_err(failed)?;
        let public =
            kem.encapsulation_key().and_then(|key| key.key_bytes().map(|bytes| bytes.as_ref().to_vec()));
        let secret = kem.key_bytes().map(|bytes| Zeroizing::new(bytes.as_ref().to_vec()));
        let mut seed = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(seed.as_mut_slice()).map_err(failed)?;
        Self::assemble(name, secret.map_err(failed)?, public.map_err(failed)?, seed)
            .ok_or(ClientError::Crypto("make keys"))
    }

    fn assemble(
        name: DeviceId,
        kem_secret: Zeroizing<Vec<u8>>,
        kem_pub: Vec<u8>,
        seed: Zeroizing<[u8; 32]>,
    ) -> Option<Self> {
        let kem = DecapsulationKey::new(&ML_KEM_768, &kem_secret).ok()?;
        let signer = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, seed.as_slice()).ok()?;
        Some(Self { name, kem, kem_secret, kem_pub, signer, seed })
    }

    /// The stored form. Secret.
    pub fn to_stored(&self) -> Zeroizing<Vec<u8>> {
        let stored = Stored {
            version: STORED_VERSION,
            device: self.name.clone(),
            kem_secret: hex::encode(self.kem_secret.as_slice()),
            kem_public: hex::encode(&self.kem_pub),
            signing_seed: hex::encode(self.seed.as_slice()),
        };
        Zeroizing::new(serde_json::to_vec(&stored).unwrap_or_default()) // total: strings and one integer
    }

    /// Reads the stored form. The error never repeats any of it.
    pub fn from_stored(bytes: &[u8]) -> Result<Self, &'static str> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|_| "it is not a device key file")?;
        if stored.version != STORED_VERSION {
            return Err("it was written by another version");
        }
        let secret =
            hex::decode(&stored.kem_secret).map(Zeroizing::new).map_err(|_| "the KEM key is not hex")?;
        let public = hex::decode(&stored.kem_public).map_err(|_| "the public key is not hex")?;
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(&stored.signing_seed, seed.as_mut_slice())
            .map_err(|_| "the signing seed is not hex")?;
        Self::assemble(stored.device.clone(), secret, public, seed).ok_or("its keys are damaged")
    }

    /// The device's name.
    pub fn name(&self) -> &DeviceId {
        &self.name
    }

    /// The public keys, as they are registered. `ecdh_pub` is what `paramant-sdk` 3.0.0 registers: SHA-256 of the KEM key,
    /// so that its fingerprint of this device is stable.
    pub fn public(&self) -> DeviceKeys {
        DeviceKeys {
            device: self.name.clone(),
            kem_pub: self.kem_pub.clone(),
            sig_pub: self.signing_key().to_vec(),
            ecdh_pub: leaf::sha256(&self.kem_pub).to_vec(),
        }
    }

    /// The public signing key.
    pub fn signing_key(&self) -> &[u8] {
        self.signer.public_key().as_ref()
    }

    pub(crate) fn kem(&self) -> &DecapsulationKey {
        &self.kem
    }

    /// Signs a message: FIPS 204 pure, empty context.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ClientError> {
        let mut signature = vec![0; ML_DSA_65_SIGNING.signature_len()];
        let length = self.signer.sign(message, &mut signature).map_err(|_| ClientError::Crypto("sign"))?;
        signature.truncate(length);
        Ok(signature)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Device({}, {})", self.name, self.public().fingerprint())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_device_is_stored_and_read_back() {
        let device = Device::generate("phone".parse().unwrap()).unwrap();
        let stored = device.to_stored();
        let again = Device::from_stored(&stored).unwrap();
        assert_eq!(again.public(), device.public());
        assert_eq!(device.public().kem_pub.len(), paramant_protocol::device::KEM_PUB);
        assert_eq!(device.public().sig_pub.len(), paramant_protocol::device::SIG_PUB);
        for damaged in [&stored[..stored.len() - 2], b"{}", b"", b"[1]"] {
            assert!(Device::from_stored(damaged).is_err());
        }
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let device = Device::generate("phone".parse().unwrap()).unwrap();
        let shown = format!("{device:?}");
        assert!(!shown.contains(&hex::encode(&device.seed[..4])));
        assert!(shown.len() < 60, "{shown}");
    }
}
