//! The cryptography of the functions that need keys, from the library's interface to bytes.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey,
};
use aws_lc_rs::signature::{ML_DSA_65, ML_DSA_65_SIGNING, PqdsaKeyPair};

use crate::functions::Keys;

/// A P-256 key pair made for one case.
#[derive(Debug)]
pub(crate) struct P256(EcdsaKeyPair);

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

/// HKDF-SHA256, 32 bytes.
pub(crate) fn hkdf(secret: &[u8], salt: &[u8], info: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = vec![0; 32];
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info], Bytes32)
        .and_then(|okm| okm.fill(&mut out))
        .map_err(|error| error.to_string())?;
    Ok(out)
}

/// RFC 6238 with HMAC-SHA-1, which every authenticator speaks: six digits for one step of 30 seconds.
pub(crate) fn totp(secret: &str, step: i64) -> Result<String, String> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &base32(secret)?);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes([tag[at] & 0x7f, tag[at + 1], tag[at + 2], tag[at + 3]]);
    Ok(format!("{:06}", number % 1_000_000))
}

fn base32(text: &str) -> Result<Vec<u8>, String> {
    let (mut bits, mut held, mut bytes) = (0u32, 0u32, Vec::new());
    for letter in text.trim_end_matches('=').bytes() {
        let five = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == letter);
        bits = bits << 5 | u32::try_from(five.ok_or("no base32")?).map_err(|error| error.to_string())?;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).map_err(|error| error.to_string())?);
        }
    }
    Ok(bytes)
}

/// The English BIP39 words of some entropy.
pub(crate) fn words(entropy: &[u8]) -> Result<String, String> {
    bip39::Mnemonic::from_entropy(entropy).map(|words| words.to_string()).map_err(|error| error.to_string())
}

fn ed25519(seed: &[u8]) -> Result<Ed25519KeyPair, String> {
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(|error| error.to_string())
}

pub(crate) fn ed25519_public(seed: &[u8]) -> Result<Vec<u8>, String> {
    Ok(ed25519(seed)?.public_key().as_ref().to_vec())
}

pub(crate) fn ed25519_sign(seed: &[u8], message: &[u8]) -> Result<Vec<u8>, String> {
    Ok(ed25519(seed)?.sign(message).as_ref().to_vec())
}

fn ml_dsa_65(seed: &[u8]) -> Result<PqdsaKeyPair, String> {
    PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, seed).map_err(|error| error.to_string())
}

pub(crate) fn ml_dsa_65_public(seed: &[u8]) -> Result<Vec<u8>, String> {
    Ok(ml_dsa_65(seed)?.public_key().as_ref().to_vec())
}

pub(crate) fn ml_dsa_65_sign(seed: &[u8], message: &[u8]) -> Result<Vec<u8>, String> {
    let mut signature = vec![0; ML_DSA_65_SIGNING.signature_len()];
    ml_dsa_65(seed)?.sign(message, &mut signature).map_err(|error| error.to_string())?;
    Ok(signature)
}

pub(crate) fn ml_dsa_65_verifies(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ML_DSA_65, key).verify(message, signature).is_ok()
}

/// The uncompressed point of the key of this name, made at first mention.
pub(crate) fn p256_public(keys: &Keys, name: &str) -> Result<Vec<u8>, String> {
    let mut keys = keys.lock().unwrap();
    if !keys.contains_key(name) {
        let made =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|error| error.to_string())?;
        keys.insert(name.to_owned(), P256(made));
    }
    Ok(keys[name].0.public_key().as_ref().to_vec())
}

/// A DER signature by the key of this name.
pub(crate) fn p256_sign(keys: &Keys, name: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let keys = keys.lock().unwrap();
    let key = keys.get(name).ok_or_else(|| format!("no key {name:?} was made with $p256_key"))?;
    let signature = key.0.sign(&SystemRandom::new(), message).map_err(|error| error.to_string())?;
    Ok(signature.as_ref().to_vec())
}
