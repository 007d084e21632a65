//! Large files: a row of PQHB chunks and a signed manifest, so that any size is sealed and opened in constant memory.
//!
//! One key encapsulation covers a file; each chunk has a key of its own, derived from it and the chunk's number. The manifest comes
//! last, is an ordinary (signed) PQHB blob, and names size, number of chunks and the hash of their list: a file that was cut,
//! reordered, mixed with another or given another's manifest does not open. `docs/spec/transfer.md` specifies it. This file is pure;
//! [`send`] and [`receive`] move files.

pub mod open;
pub mod receive;
pub mod resume;
pub mod send;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{self, HKDF_SHA256, Prk};
use aws_lc_rs::hmac;
use aws_lc_rs::kem::{Ciphertext, EncapsulationKey, ML_KEM_768};
use paramant_protocol::canonical;
use paramant_protocol::leaf::{self, Hash};
use paramant_protocol::pqhb::{self, Blob, KEM_ML_KEM_768, PadBlock, SIG_NONE};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::device::Device;
use crate::envelope::{self, CT_KEM, OpenError, PreShared, SealError, Sender, TAG};

/// Bytes of a chunk as it travels.
pub const CHUNK: usize = 4 << 20;
/// Bytes of a chunk besides its content: header, encapsulated key, nonce, lengths, tag.
pub const OVERHEAD: usize = pqhb::unpadded(CT_KEM, 0, None, TAG);
/// Bytes of content in a chunk.
pub const CONTENT: usize = CHUNK - OVERHEAD;
/// Bytes of the manifest's blob.
pub const MANIFEST: usize = PadBlock::K64.bytes();

const INFO: &[u8] = b"paramant-large-v1";
const INFO_PRE_SHARED: &[u8] = b"paramant-large-v1-pss";
const INFO_CHUNK: &[u8] = b"paramant-large-v1-chunk";
const INFO_NONCE: &[u8] = b"paramant-large-v1-nonce";
/// What the list of chunks in a manifest begins with.
const LIST: &[u8] = b"paramant large file v1\n";
const KIND: &str = "paramant-large-file";

/// What the chunks of one file are sealed with.
#[derive(Clone)]
pub struct FileKey {
    ct_kem: Vec<u8>,
    secret: Zeroizing<[u8; 32]>,
}

/// How many chunks a file of this size has; at least one.
pub fn chunks(size: u64) -> u64 {
    size.div_ceil(CONTENT as u64).max(1)
}

/// Bytes of the whole as it travels.
pub fn wire_size(size: u64) -> u64 {
    chunks(size) * CHUNK as u64 + MANIFEST as u64
}

/// How many chunks there are in a blob of this size, if it can be a large file.
pub fn chunks_of_wire(wire: u64) -> Option<u64> {
    let chunks = wire.checked_sub(MANIFEST as u64)?;
    (chunks > 0 && chunks.is_multiple_of(CHUNK as u64)).then_some(chunks / CHUNK as u64)
}

impl FileKey {
    /// A new key for a recipient.
    pub fn encapsulate(recipient_kem_pub: &[u8], pre_shared: Option<&PreShared>) -> Result<Self, SealError> {
        let recipient =
            EncapsulationKey::new(&ML_KEM_768, recipient_kem_pub).map_err(|_| SealError::RecipientKey)?;
        let (ct_kem, shared) = recipient.encapsulate().map_err(|_| SealError::RecipientKey)?;
        Self::derive(ct_kem.as_ref(), shared.as_ref(), pre_shared).ok_or(SealError::Crypto("derive a key"))
    }

    /// The key that a sender encapsulated for this device.
    pub fn decapsulate(
        ct_kem: &[u8],
        device: &Device,
        pre_shared: Option<&PreShared>,
    ) -> Result<Self, OpenError> {
        let shared = device.kem().decapsulate(Ciphertext::from(ct_kem)).map_err(|_| OpenError::Decrypt)?;
        Self::derive(ct_kem, shared.as_ref(), pre_shared).ok_or(OpenError::Decrypt)
    }

    /// A key that was kept for an upload to be gone on with.
    pub fn kept(ct_kem: Vec<u8>, secret: Zeroizing<[u8; 32]>) -> Option<Self> {
        (ct_kem.len() == CT_KEM).then_some(Self { ct_kem, secret })
    }

    /// The encapsulated key and the secret, to be kept.
    pub fn to_keep(&self) -> (&[u8], &Zeroizing<[u8; 32]>) {
        (&self.ct_kem, &self.secret)
    }

    fn derive(ct_kem: &[u8], shared: &[u8], pre_shared: Option<&PreShared>) -> Option<Self> {
        let prk = envelope::extract(shared, ct_kem, pre_shared)?;
        let info = if pre_shared.is_some() { INFO_PRE_SHARED } else { INFO };
        Some(Self { ct_kem: ct_kem.to_vec(), secret: expand(&prk, &[info])? })
    }

    /// Seals a chunk's content, which is filled up with zeros. The same content at the same place gives the same bytes: an upload that
    /// is gone on with sends nothing under a nonce that other content had.
    pub fn seal_chunk(&self, number: u32, content: &[u8]) -> Result<Vec<u8>, SealError> {
        let failed = || SealError::Crypto("encrypt a chunk");
        let header = pqhb::header(KEM_ML_KEM_768, SIG_NONE);
        let mut chunk = Vec::with_capacity(CHUNK);
        let empty = Blob {
            kem_id: KEM_ML_KEM_768,
            sig_id: SIG_NONE,
            ct_kem: &self.ct_kem,
            sender_pub: &[],
            signature: None,
            nonce: [0; pqhb::NONCE],
            ciphertext: &[],
        };
        empty.write(&mut chunk);
        let start = OVERHEAD - TAG;
        chunk.extend_from_slice(content);
        if content.len() > CONTENT {
            return Err(failed());
        }
        chunk.resize(CHUNK - TAG, 0);
        let (front, body) = chunk.split_at_mut_checked(start).ok_or_else(failed)?;
        let nonce = self.nonce(number, body).ok_or_else(failed)?;
        let length = u32::try_from(CONTENT + TAG).map_err(|_| failed())?;
        let (_, tail) = front.split_at_mut_checked(start - pqhb::NONCE - 4).ok_or_else(failed)?;
        tail.copy_from_slice(&[&nonce[..], &length.to_be_bytes()].concat());
        let key = self.chunk_key(number).ok_or_else(failed)?;
        let tag =
            key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad(&header, number), body);
        chunk.extend_from_slice(tag.map_err(|_| failed())?.as_ref());
        Ok(chunk)
    }

    /// Opens a chunk in place; answers where its content is. It must be this file's, and have this number.
    pub fn open_chunk<'c>(&self, number: u32, chunk: &'c mut [u8]) -> Result<&'c [u8], OpenError> {
        let parts = Blob::parse(chunk)?;
        if parts.ct_kem != self.ct_kem || chunk.len() != CHUNK || parts.ciphertext.len() != CONTENT + TAG {
            return Err(OpenError::Decrypt);
        }
        let (nonce, header) = (parts.nonce, pqhb::header(parts.kem_id, parts.sig_id));
        let key = self.chunk_key(number).ok_or(OpenError::Decrypt)?;
        let body = chunk.get_mut(OVERHEAD - TAG..).ok_or(OpenError::Decrypt)?;
        let opened = key.open_in_place(Nonce::assume_unique_for_key(nonce), aad(&header, number), body);
        Ok(opened.map_err(|_| OpenError::Decrypt)?)
    }

    fn chunk_key(&self, number: u32) -> Option<LessSafeKey> {
        let prk = Prk::new_less_safe(HKDF_SHA256, self.secret.as_slice());
        let key = expand(&prk, &[INFO_CHUNK, &number.to_be_bytes()])?;
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).ok()?))
    }

    fn nonce(&self, number: u32, content: &[u8]) -> Option<[u8; pqhb::NONCE]> {
        let prk = Prk::new_less_safe(HKDF_SHA256, self.secret.as_slice());
        let key = expand(&prk, &[INFO_NONCE])?;
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()));
        mac.update(&number.to_be_bytes());
        mac.update(content);
        mac.sign().as_ref().get(..pqhb::NONCE)?.try_into().ok()
    }
}

/// The encapsulated key in a chunk.
pub fn ct_kem(chunk: &[u8]) -> Result<Vec<u8>, OpenError> {
    let parts = Blob::parse(chunk)?;
    if parts.kem_id != KEM_ML_KEM_768 {
        return Err(OpenError::Algorithm { kind: "KEM", id: parts.kem_id });
    }
    if parts.sig_id != SIG_NONE || parts.ct_kem.len() != CT_KEM {
        return Err(OpenError::Form(pqhb::HeaderError::Malformed("it is no chunk of a large file").into()));
    }
    Ok(parts.ct_kem.to_vec())
}

fn aad(header: &[u8; pqhb::HEADER], number: u32) -> Aad<[u8; pqhb::AAD]> {
    let mut aad = [0; pqhb::AAD];
    let (front, index) = aad.split_at_mut(pqhb::HEADER);
    front.copy_from_slice(header);
    index.copy_from_slice(&number.to_be_bytes());
    Aad::from(aad)
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(prk: &Prk, info: &[&[u8]]) -> Option<Zeroizing<[u8; 32]>> {
    let mut out = Zeroizing::new([0; 32]);
    prk.expand(info, Length(32)).ok()?.fill(out.as_mut_slice()).ok()?;
    Some(out)
}

/// The hash of a file's chunks, as its manifest has it.
#[derive(Debug, Clone)]
pub struct List(Sha256, u64);

impl Default for List {
    fn default() -> Self {
        Self(Sha256::new().chain_update(LIST), 0)
    }
}

impl List {
    /// The next chunk's SHA-256.
    pub fn push(&mut self, chunk: &Hash) {
        self.0.update(chunk);
        self.1 += 1;
    }

    /// The manifest of a file of this size with these chunks.
    pub fn manifest(self, size: u64) -> Manifest {
        let (chunks, list) = (self.1, hex::encode(self.0.finalize()));
        Manifest {
            kind: KIND.into(),
            v: 1,
            size,
            chunk_size: CONTENT as u64,
            last: chunks.saturating_sub(1),
            list,
        }
    }
}

/// What a sender signs of a large file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    kind: String,
    v: u32,
    /// Bytes of the content.
    size: u64,
    /// Bytes of content in each chunk.
    chunk_size: u64,
    /// The number of the last chunk.
    last: u64,
    /// The hash of the chunks' list.
    list: String,
}

impl Manifest {
    /// Seals it for the recipient, signed when a sender is given.
    pub fn seal(
        &self,
        recipient_kem_pub: &[u8],
        sender: Option<&Device>,
        pre_shared: Option<&PreShared>,
    ) -> Result<Vec<u8>, SealError> {
        let text = canonical::to_vec(self).map_err(|_| SealError::Crypto("write the manifest"))?;
        envelope::seal(text, recipient_kem_pub, sender, pre_shared, PadBlock::K64)
    }

    /// Opens a manifest and compares it with the chunks that came. Answers the content's size and who signed.
    pub fn open(
        blob: &[u8],
        device: &Device,
        pre_shared: Option<&PreShared>,
        arrived: List,
    ) -> Result<(u64, Sender), OpenError> {
        let opened = envelope::open(blob, device, pre_shared)?;
        let manifest: Self = serde_json::from_slice(&opened.plaintext).map_err(|_| OpenError::Manifest)?;
        let expected = arrived.manifest(manifest.size);
        if manifest != expected || chunks(manifest.size) != manifest.last + 1 {
            return Err(OpenError::Manifest);
        }
        Ok((manifest.size, opened.sender))
    }
}

/// The SHA-256 of a chunk.
pub fn hash(chunk: &[u8]) -> Hash {
    leaf::sha256(chunk)
}

#[cfg(test)]
mod tests;
