//! Encrypting into and out of PQHB v1 (protocol §5.2): ML-KEM-768, HKDF-SHA256, AES-256-GCM, ML-DSA-65.
//!
//! We sign what clients from 3.1 on sign. `paramant-sdk` 3.0.0 signs a hash over the same parts in another order; both are
//! accepted when opening, and the caller learns which. A signature that is neither is an error, never a warning. A
//! signature shows that the holder of the key *in the blob* made it: comparing that key with the expected sender's is the
//! caller's part.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::kem::{Ciphertext, EncapsulationKey, ML_KEM_768};
use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};
use paramant_protocol::leaf;
use paramant_protocol::pqhb::{
    self, Blob, DoesNotFit, KEM_ML_KEM_768, PadBlock, ParseError, SIG_ML_DSA_65, SIG_NONE,
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::device::Device;

/// Bytes of an ML-KEM-768 ciphertext.
pub(crate) const CT_KEM: usize = 1088;
/// Bytes of an ML-DSA-65 signature.
const SIGNATURE: usize = 3309;
/// Bytes of the AES-GCM tag.
pub(crate) const TAG: usize = 16;

const INFO: &[u8] = b"paramant-v1-aes-key";
const INFO_PRE_SHARED: &[u8] = b"paramant-v1-aes-key-pss";

/// A secret both sides agreed on beforehand, mixed into the key as the Python client does it.
#[derive(Clone)]
pub struct PreShared(Zeroizing<String>);

impl PreShared {
    /// From its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Tells one secret from another, to whoever knows them.
    pub(crate) fn digest(&self) -> String {
        hex::encode(leaf::sha256(self.0.as_bytes()))
    }
}

/// Which message a blob's signature is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureForm {
    /// CT_KEM ‖ SENDER_PUB ‖ NONCE ‖ CIPHERTEXT ‖ AAD, from client version 3.1 on.
    Direct,
    /// SHA-256(AAD ‖ CT_KEM ‖ SENDER_PUB ‖ NONCE ‖ CIPHERTEXT), from `paramant-sdk` 3.0.0.
    Hashed,
}

impl SignatureForm {
    /// As shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct (3.1 and later)",
            Self::Hashed => "hashed (3.0.0)",
        }
    }
}

/// Who made a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// Anybody who knew the recipient's public key.
    Unsigned,
    /// The holder of this ML-DSA-65 key.
    Signed {
        /// The key in the blob.
        key: Vec<u8>,
        /// Over which message.
        form: SignatureForm,
    },
}

/// An opened blob.
#[derive(Debug)]
pub struct Opened {
    /// The content.
    pub plaintext: Vec<u8>,
    /// Who made it.
    pub sender: Sender,
}

/// Why nothing was encrypted.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It does not fit the pad block.
    #[error("the file is too large: {0}")]
    TooLarge(#[from] DoesNotFit),
    /// The recipient's key is no ML-KEM-768 key.
    #[error("the recipient's key is not an ML-KEM-768 key")]
    RecipientKey,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed to {0}")]
    Crypto(&'static str),
}

/// Why nothing was decrypted.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not a PQHB v1 blob.
    #[error("this is not a blob this client can open: {0}")]
    Form(#[from] ParseError),
    /// Another algorithm.
    #[error("the blob uses {kind} {id:#06x}; this client opens ML-KEM-768 with ML-DSA-65 or no signature")]
    Algorithm {
        /// KEM or signature.
        kind: &'static str,
        /// Its id.
        id: u16,
    },
    /// The signature is not by the key in the blob.
    #[error(
        "the sender's signature does not verify: the blob was altered, or made by somebody else than it says"
    )]
    Signature,
    /// The chunks of a large file are not those its sender signed.
    #[error(
        "the file's manifest is not that of the chunks that came: the file was cut, put together from others, or altered"
    )]
    Manifest,
    /// Not for this device, another pre-shared secret, or altered.
    #[error(
        "the blob cannot be decrypted with this device's key: it is for another device, needs another pre-shared secret, or was altered"
    )]
    Decrypt,
}

/// The most bytes that fit a block.
pub fn capacity(pad: PadBlock, signed: bool) -> usize {
    pad.bytes().saturating_sub(needed(0, signed))
}

fn needed(plaintext: usize, signed: bool) -> usize {
    let (sender_pub, signature) =
        if signed { (paramant_protocol::device::SIG_PUB, Some(SIGNATURE)) } else { (0, None) };
    pqhb::unpadded(CT_KEM, sender_pub, signature, plaintext + TAG)
}

/// Encrypts to a recipient's KEM key and pads with random bytes. Signed when a sender is given.
pub fn seal(
    plaintext: Vec<u8>,
    recipient_kem_pub: &[u8],
    sender: Option<&Device>,
    pre_shared: Option<&PreShared>,
    pad: PadBlock,
) -> Result<Vec<u8>, SealError> {
    let needed = needed(plaintext.len(), sender.is_some());
    if needed > pad.bytes() {
        return Err(DoesNotFit { needed, block: pad.bytes() }.into());
    }
    let recipient =
        EncapsulationKey::new(&ML_KEM_768, recipient_kem_pub).map_err(|_| SealError::RecipientKey)?;
    let (ct_kem, shared) = recipient.encapsulate().map_err(|_| SealError::RecipientKey)?;
    let sig_id = if sender.is_some() { SIG_ML_DSA_65 } else { SIG_NONE };
    let aad = pqhb::aad(KEM_ML_KEM_768, sig_id);
    let mut nonce = [0; pqhb::NONCE];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| SealError::Crypto("give random bytes"))?;

    let key =
        payload_key(shared.as_ref(), ct_kem.as_ref(), pre_shared).ok_or(SealError::Crypto("derive a key"))?;
    let mut ciphertext = plaintext;
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut ciphertext)
        .map_err(|_| SealError::Crypto("encrypt"))?;

    let mut parts = Blob {
        kem_id: KEM_ML_KEM_768,
        sig_id,
        ct_kem: ct_kem.as_ref(),
        sender_pub: sender.map(Device::signing_key).unwrap_or_default(),
        signature: None,
        nonce,
        ciphertext: &ciphertext,
    };
    let signature = sender
        .map(|sender| sender.sign(&direct_message(&parts)))
        .transpose()
        .map_err(|_| SealError::Crypto("sign"))?;
    parts.signature = signature.as_deref();

    let mut blob = Vec::with_capacity(pad.bytes());
    parts.write(&mut blob);
    let end = blob.len();
    blob.resize(pad.bytes(), 0);
    if let Some(padding) = blob.get_mut(end..) {
        aws_lc_rs::rand::fill(padding).map_err(|_| SealError::Crypto("give random bytes"))?;
    }
    Ok(blob)
}

/// Checks the signature, if there is one, and decrypts.
pub fn open(blob: &[u8], device: &Device, pre_shared: Option<&PreShared>) -> Result<Opened, OpenError> {
    let parts = Blob::parse(blob)?;
    if parts.kem_id != KEM_ML_KEM_768 {
        return Err(OpenError::Algorithm { kind: "KEM", id: parts.kem_id });
    }
    let sender = match (parts.sig_id, parts.signature) {
        (SIG_NONE, _) => Sender::Unsigned,
        (SIG_ML_DSA_65, Some(signature)) => {
            let form = signature_form(&parts, signature).ok_or(OpenError::Signature)?;
            Sender::Signed { key: parts.sender_pub.to_vec(), form }
        }
        (id, _) => return Err(OpenError::Algorithm { kind: "signature", id }),
    };
    let shared = device.kem().decapsulate(Ciphertext::from(parts.ct_kem)).map_err(|_| OpenError::Decrypt)?;
    let key = payload_key(shared.as_ref(), parts.ct_kem, pre_shared).ok_or(OpenError::Decrypt)?;
    let mut plaintext = parts.ciphertext.to_vec();
    let aad = pqhb::aad(parts.kem_id, parts.sig_id);
    let length = key
        .open_in_place(Nonce::assume_unique_for_key(parts.nonce), Aad::from(aad), &mut plaintext)
        .map_err(|_| OpenError::Decrypt)?
        .len();
    plaintext.truncate(length);
    Ok(Opened { plaintext, sender })
}

fn payload_key(shared: &[u8], ct_kem: &[u8], pre_shared: Option<&PreShared>) -> Option<LessSafeKey> {
    let prk = extract(shared, ct_kem, pre_shared)?;
    let info = [if pre_shared.is_some() { INFO_PRE_SHARED } else { INFO }];
    let okm = prk.expand(&info, &AES_256_GCM).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(okm)))
}

/// What the keys of a blob, or of a large file, are derived from.
pub(crate) fn extract(shared: &[u8], ct_kem: &[u8], pre_shared: Option<&PreShared>) -> Option<Prk> {
    let salt = Salt::new(HKDF_SHA256, ct_kem.get(..32)?);
    Some(match pre_shared {
        None => salt.extract(shared),
        Some(secret) => {
            let digest = Zeroizing::new(leaf::sha3(secret.0.as_bytes()));
            salt.extract(&Zeroizing::new([shared, digest.as_slice()].concat()))
        }
    })
}

fn signature_form(parts: &Blob<'_>, signature: &[u8]) -> Option<SignatureForm> {
    let key = UnparsedPublicKey::new(&ML_DSA_65, parts.sender_pub);
    if key.verify(&direct_message(parts), signature).is_ok() {
        return Some(SignatureForm::Direct);
    }
    key.verify(&hashed_message(parts), signature).is_ok().then_some(SignatureForm::Hashed)
}

fn direct_message(parts: &Blob<'_>) -> Vec<u8> {
    let aad = pqhb::aad(parts.kem_id, parts.sig_id);
    [parts.ct_kem, parts.sender_pub, &parts.nonce, parts.ciphertext, &aad].concat()
}

fn hashed_message(parts: &Blob<'_>) -> [u8; 32] {
    Sha256::new()
        .chain_update(pqhb::aad(parts.kem_id, parts.sig_id))
        .chain_update(parts.ct_kem)
        .chain_update(parts.sender_pub)
        .chain_update(parts.nonce)
        .chain_update(parts.ciphertext)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests;
