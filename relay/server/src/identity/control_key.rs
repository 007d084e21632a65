//! The key of the control listener: P-256, because the operator pins the key itself and not a chain.
//!
//! The certificate is signed anew at each start with the same key; only its SubjectPublicKeyInfo means anything.

use std::io;

use paramant_protocol::control::CONTROL_SERVER_NAME;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::KeyError;
use crate::data_dir::{DataDir, durable};

/// The control listener's key pair and certificate.
pub struct ControlKey {
    certificate: CertificateDer<'static>,
    pair: KeyPair,
    spki_sha256: String,
}

impl ControlKey {
    /// Loads the key, or makes one. A lost control key is no danger: the operator asks a person before it trusts a new one.
    ///
    /// # Errors
    /// [`KeyError`] when the file cannot be read or written, or is damaged.
    pub fn open(data: &DataDir) -> Result<Self, KeyError> {
        let path = data.control_key();
        let malformed = || KeyError::Malformed { path: path.clone() };
        let io = |source| KeyError::Io { path: path.clone(), source };
        let pair = match std::fs::read_to_string(&path) {
            Ok(pem) => {
                let pem = Zeroizing::new(pem);
                KeyPair::from_pem(&pem).map_err(|_| malformed())?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
                    .map_err(|error| KeyError::NoRandomness(error.to_string()))?;
                durable::write(&path, Zeroizing::new(pair.serialize_pem()).as_bytes()).map_err(io)?;
                pair
            }
            Err(source) => return Err(io(source)),
        };
        let certificate = self_signed(&pair).map_err(|_| malformed())?;
        let spki_sha256 = hex::encode(Sha256::digest(pair.subject_public_key_info()));
        Ok(Self { certificate, pair, spki_sha256 })
    }

    /// The self-signed certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// The private key, for rustls.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pair.serialize_der()))
    }

    /// What the operator pins: lower-case hex SHA-256 of the SubjectPublicKeyInfo.
    pub fn spki_sha256(&self) -> &str {
        &self.spki_sha256
    }
}

fn self_signed(pair: &KeyPair) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut params = CertificateParams::new(vec![CONTROL_SERVER_NAME.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "paramant-relay control");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params.self_signed(pair)?.der().clone())
}

impl std::fmt::Debug for ControlKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ControlKey({})", self.spki_sha256)
    }
}
