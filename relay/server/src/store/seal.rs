//! Sealing a payload at rest: AES-256-GCM in frames of 64 KiB, so that memory stays constant however large the blob is.
//!
//! Frame `n` of a blob is sealed under the blob's own random key with the nonce `0×3 ‖ n (u64, big-endian) ‖ last`, where
//! `last` is 1 for the final frame only: frames cannot be reordered, dropped or cut off unnoticed. The blob's id is the
//! associated data, so a file moved to another name does not open. A key seals one blob, once: nonces never repeat.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::BlobId;

/// Plaintext bytes in every frame but the last.
pub const FRAME: usize = 64 * 1024;
/// What each frame grows by.
pub const TAG: usize = 16;

/// The key of one blob. Never written anywhere but into its slot.
///
/// It stays where it was made, and is zeroed there when the last handle goes: an array that moves, into a future or through a
/// channel, leaves a copy behind at each place it was.
#[derive(Clone)]
pub struct PayloadKey(Arc<Zeroizing<[u8; 32]>>);

/// A frame did not open: the file, the key or the id is not the one it was sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored frame does not open: the file is damaged or its key slot was overwritten")]
pub struct Damaged;

impl PayloadKey {
    /// A fresh key from the system's generator.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut result = Ok(());
        let key = Self::made(|bytes| result = getrandom::fill(bytes));
        result.map(|()| key)
    }

    /// The key of one chunk's file, from the key of its upload. The file's name is random and of one write, so that no two writes
    /// share a key, and destroying the upload's key destroys all.
    #[must_use]
    pub fn for_chunk(&self, file: BlobId) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        let mut context = hmac::Context::with_key(&key);
        context.update(b"paramant chunk file\n");
        context.update(&file.0);
        Self::made(|derived| derived.copy_from_slice(context.sign().as_ref())) // total: HMAC-SHA256 gives 32 bytes
    }

    pub(super) fn copied(bytes: &[u8; 32]) -> Self {
        Self::made(|key| key.copy_from_slice(bytes))
    }

    fn made(fill: impl FnOnce(&mut [u8; 32])) -> Self {
        let mut key = Arc::new(Zeroizing::new([0; 32]));
        if let Some(bytes) = Arc::get_mut(&mut key) {
            fill(bytes);
        }
        Self(key)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for PayloadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PayloadKey(…)")
    }
}

/// How long the sealed form of `size` bytes is.
#[must_use]
pub fn sealed_len(size: u64) -> u64 {
    let frames = size.div_ceil(FRAME as u64).max(1);
    size + frames * TAG as u64
}

/// Seals the frames of one blob, in order.
pub struct Sealer(Frames);

/// Opens the frames of one blob, in order.
pub struct Opener(Frames);

struct Frames {
    key: LessSafeKey,
    id: BlobId,
    next: u64,
}

impl Frames {
    fn new(key: &PayloadKey, id: BlobId) -> Result<Self, Damaged> {
        let key = UnboundKey::new(&AES_256_GCM, key.bytes()).map_err(|_| Damaged)?;
        Ok(Self { key: LessSafeKey::new(key), id, next: 0 })
    }

    fn nonce(&mut self, last: bool) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.next.to_be_bytes());
        nonce[11] = u8::from(last);
        self.next += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Sealer {
    /// A sealer at frame 0.
    ///
    /// # Errors
    /// Never for a key of this module; the library's signature asks for it.
    pub fn new(key: &PayloadKey, id: BlobId) -> Result<Self, Damaged> {
        Frames::new(key, id).map(Self)
    }

    /// Appends the sealed form of `plain` to `out`. Every frame but the last holds exactly [`FRAME`] bytes.
    ///
    /// # Errors
    /// Never for a frame of at most [`FRAME`] bytes.
    pub fn seal(&mut self, plain: &[u8], last: bool, out: &mut Vec<u8>) -> Result<(), Damaged> {
        let start = out.len();
        out.extend_from_slice(plain);
        let nonce = self.0.nonce(last);
        let body = out.get_mut(start..).ok_or(Damaged)?;
        let tag = self
            .0
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(self.0.id.0), body)
            .map_err(|_| Damaged)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

impl Opener {
    /// An opener at frame 0.
    ///
    /// # Errors
    /// Never for a key of this module; the library's signature asks for it.
    pub fn new(key: &PayloadKey, id: BlobId) -> Result<Self, Damaged> {
        Self::at(key, id, 0)
    }

    /// An opener at a later frame.
    ///
    /// # Errors
    /// As [`Opener::new`].
    pub fn at(key: &PayloadKey, id: BlobId, frame: u64) -> Result<Self, Damaged> {
        Ok(Self(Frames { next: frame, ..Frames::new(key, id)? }))
    }

    /// Opens one frame in place and answers its plaintext.
    ///
    /// # Errors
    /// [`Damaged`] when the frame is not the next one of this blob.
    pub fn open<'f>(&mut self, frame: &'f mut [u8], last: bool) -> Result<&'f mut [u8], Damaged> {
        let nonce = self.0.nonce(last);
        self.0.key.open_in_place(nonce, Aad::from(self.0.id.0), frame).map_err(|_| Damaged)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("next", &self.0.next).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").field("next", &self.0.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(byte: u8) -> BlobId {
        BlobId([byte; 16])
    }

    fn seal(key: &PayloadKey, frames: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut sealer = Sealer::new(key, id(1)).unwrap();
        let count = frames.len();
        let mut sealed = Vec::new();
        for (n, plain) in frames.iter().enumerate() {
            let mut out = Vec::new();
            sealer.seal(plain, n + 1 == count, &mut out).unwrap();
            sealed.push(out);
        }
        sealed
    }

    #[test]
    fn frames_open_in_order_and_only_in_order() {
        let key = PayloadKey::random().unwrap();
        let sealed = seal(&key, &[b"one", b"two"]);
        let mut opener = Opener::new(&key, id(1)).unwrap();
        assert_eq!(opener.open(&mut sealed[0].clone(), false).unwrap(), b"one");
        assert_eq!(opener.open(&mut sealed[1].clone(), true).unwrap(), b"two");

        let mut swapped = Opener::new(&key, id(1)).unwrap();
        assert_eq!(swapped.open(&mut sealed[1].clone(), false), Err(Damaged));
    }

    #[test]
    fn a_cut_blob_does_not_pass_for_a_shorter_one() {
        let key = PayloadKey::random().unwrap();
        let sealed = seal(&key, &[b"one", b"two"]);
        let mut opener = Opener::new(&key, id(1)).unwrap();
        assert_eq!(opener.open(&mut sealed[0].clone(), true), Err(Damaged));
    }

    #[test]
    fn another_key_another_id_or_a_flipped_bit_does_not_open() {
        let key = PayloadKey::random().unwrap();
        let sealed = seal(&key, &[b"one"]);
        let other = PayloadKey::random().unwrap();
        assert_eq!(Opener::new(&other, id(1)).unwrap().open(&mut sealed[0].clone(), true), Err(Damaged));
        assert_eq!(Opener::new(&key, id(2)).unwrap().open(&mut sealed[0].clone(), true), Err(Damaged));
        let mut flipped = sealed[0].clone();
        flipped[0] ^= 1;
        assert_eq!(Opener::new(&key, id(1)).unwrap().open(&mut flipped, true), Err(Damaged));
    }

    #[test]
    fn every_chunk_file_has_a_key_of_its_own_and_opens_from_any_frame() {
        let upload = PayloadKey::random().unwrap();
        let (key, other) = (upload.for_chunk(id(1)), upload.for_chunk(id(2)));
        assert_eq!(key.bytes(), upload.for_chunk(id(1)).bytes());
        assert!(key.bytes() != other.bytes() && key.bytes() != upload.bytes());
        let sealed = seal(&key, &[b"one", b"two", b"three"]);
        let mut opener = Opener::at(&key, id(1), 1).unwrap();
        assert_eq!(opener.open(&mut sealed[1].clone(), false).unwrap(), b"two");
        assert_eq!(opener.open(&mut sealed[2].clone(), true).unwrap(), b"three");
        assert_eq!(Opener::at(&key, id(1), 2).unwrap().open(&mut sealed[1].clone(), false), Err(Damaged));
    }

    #[test]
    fn the_sealed_length_counts_one_tag_for_each_frame() {
        assert_eq!(sealed_len(0), 16);
        assert_eq!(sealed_len(1), 17);
        assert_eq!(sealed_len(FRAME as u64), FRAME as u64 + 16);
        assert_eq!(sealed_len(FRAME as u64 + 1), FRAME as u64 + 1 + 32);
    }
}
