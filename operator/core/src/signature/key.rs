//! The public keys that count: SubjectPublicKeyInfo in PEM, as `cosign generate-key-pair` and `openssl pkey -pubout` write it.
//!
//! ECDSA on P-256 (cosign's own) and P-384. Not Ed25519: what cosign signs with it is Ed25519ph at times, which verifiers do
//! not tell from Ed25519 by the key. Parsed strictly: one section, no compressed points, nothing after the key, so that one
//! key has one form and cannot count twice.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ParsedPublicKey,
    VerificationAlgorithm,
};
use rustls_pki_types::pem::{self, SectionKind};
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::release::TrustedKey;

/// Why a text is no key that can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM, or not only one section.
    #[error("expected one section `-----BEGIN PUBLIC KEY-----` in PEM and nothing else")]
    NotOnePublicKey,
    /// Broken inside.
    #[error("the PEM section holds no SubjectPublicKeyInfo")]
    NotAKey,
    /// RSA, Ed25519, another curve, a compressed point.
    #[error("expected an ECDSA key on P-256 or P-384, its point uncompressed")]
    OtherAlgorithm,
}

/// A key, ready to verify with.
struct Key {
    name: String,
    /// The SubjectPublicKeyInfo.
    der: Vec<u8>,
    /// The key once for each way it may have signed.
    ways: Vec<ParsedPublicKey>,
}

/// The keys of a [`crate::release::Trust`] that can be used.
pub struct Keys(Vec<Key>);

impl Keys {
    /// Takes what can be used; the rest comes back by name. A key that is listed twice counts once, under its first name.
    pub fn parse(listed: &[TrustedKey]) -> (Self, Vec<(String, KeyError)>) {
        let (mut keys, mut unusable) = (Vec::<Key>::new(), Vec::new());
        for TrustedKey { name, pem } in listed {
            match parse(pem) {
                Ok((der, _)) if keys.iter().any(|key| key.der == der) => {}
                Ok((der, ways)) => keys.push(Key { name: name.clone(), der, ways }),
                Err(error) => unusable.push((name.clone(), error)),
            }
        }
        (Self(keys), unusable)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of a key by its index.
    pub fn name(&self, index: usize) -> &str {
        self.0.get(index).map_or("", |key| &key.name)
    }

    /// Whether this is the key at that index.
    pub(super) fn is(&self, index: usize, der: &[u8]) -> bool {
        self.0.get(index).is_some_and(|key| key.der == der)
    }

    /// Which key made the signature over the message.
    pub(super) fn signer(&self, message: &[u8], signature: &[u8]) -> Option<usize> {
        self.0.iter().position(|key| key.ways.iter().any(|way| way.verify_sig(message, signature).is_ok()))
    }
}

/// Whether a text is a key that can count.
pub fn check(pem: &str) -> Result<(), KeyError> {
    parse(pem).map(drop)
}

fn parse(text: &str) -> Result<(Vec<u8>, Vec<ParsedPublicKey>), KeyError> {
    let der = only_section(text).ok_or(KeyError::NotOnePublicKey)?;
    let (rest, key) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| KeyError::NotAKey)?;
    if !rest.is_empty() {
        return Err(KeyError::NotAKey);
    }
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let bits: &[u8] = &key.subject_public_key.data;
    let algorithm = &key.algorithm.algorithm;
    let ways: &[&'static dyn VerificationAlgorithm] = match (bits.len(), bits.first()) {
        (65, Some(4)) if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256) => {
            &[&ECDSA_P256_SHA256_ASN1]
        }
        // cosign hashes as the curve says when it signs, and with SHA-256 unless told otherwise when it verifies.
        (97, Some(4)) if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_NIST_EC_P384) => {
            &[&ECDSA_P384_SHA384_ASN1, &ECDSA_P384_SHA256_ASN1]
        }
        _ => return Err(KeyError::OtherAlgorithm),
    };
    let ways = ways.iter().map(|way| ParsedPublicKey::new(*way, bits)).collect::<Result<_, _>>();
    Ok((der.clone(), ways.map_err(|_| KeyError::NotAKey)?))
}

/// The content of the text's only section, if it is a public key.
fn only_section(text: &str) -> Option<Vec<u8>> {
    let trimmed = text.trim();
    if !(trimmed.starts_with("-----BEGIN PUBLIC KEY-----") && trimmed.ends_with("-----END PUBLIC KEY-----")) {
        return None;
    }
    let mut rest = trimmed.as_bytes();
    match pem::from_buf(&mut rest).ok()?? {
        (SectionKind::PublicKey, der) if rest.trim_ascii().is_empty() => Some(der),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const P256: &str = include_str!("../../tests/signatures/release.pub");
    const P384: &str = include_str!("../../tests/signatures/p384.pub");
    const ED25519: &str = include_str!("../../tests/signatures/ed25519.pub");
    const RSA: &str = include_str!("../../tests/signatures/rsa.pub");

    #[test]
    fn keys_of_cosign_and_openssl_are_read_and_other_kinds_are_not() {
        for pem in [P256, P384, &P256.replace('\n', "\r\n")] {
            assert_eq!(check(pem), Ok(()), "{pem}");
        }
        for pem in [RSA, ED25519] {
            assert_eq!(check(pem), Err(KeyError::OtherAlgorithm));
        }
    }

    #[test]
    fn anything_besides_one_public_key_is_refused() {
        let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let cut = P256.replace("-----END PUBLIC KEY-----", "");
        for text in ["", "no key", private, &cut, &format!("{P256}{P384}"), &format!("{private}{P256}")] {
            assert_eq!(check(text), Err(KeyError::NotOnePublicKey), "{text}");
        }
        let body = |body: &str| format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
        for text in [body("AAAA"), body("!!!!"), body("")] {
            assert!(check(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_key_under_two_names_counts_once_and_a_bad_one_is_named() {
        let key = |name: &str, pem: &str| TrustedKey { name: name.to_owned(), pem: pem.to_owned() };
        let (keys, unusable) = Keys::parse(&[key("a", P256), key("b", P256), key("c", RSA), key("d", P384)]);
        assert_eq!((keys.len(), keys.name(0), keys.name(1)), (2, "a", "d"));
        assert_eq!(unusable, [("c".to_owned(), KeyError::OtherAlgorithm)]);
    }
}
