//! Uploads in chunks (`/v3/uploads`): what client and relay say to each other, and the hash that names such a blob.
//!
//! A blob that arrived in chunks is named by the SHA-256 of the list of its chunks' SHA-256s ([`ChunkList`]), so that chunks can
//! come in any order and at the same time, and nobody has to read the whole again to know its name. `docs/spec/transfer.md`.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::{BlobHash, DeviceId};
use crate::leaf::Hash;

/// Bytes of a chunk when the client names no size: few enough to send again after a cut, many enough to cost little.
pub const DEFAULT_CHUNK: u64 = 4 << 20;
/// The smallest chunk: one frame of a sealed payload.
pub const MIN_CHUNK: u64 = 64 << 10;
/// The largest chunk.
pub const MAX_CHUNK: u64 = 64 << 20;
/// Chunks of one upload at most: a row and a file each (390 GiB of the default size).
pub const MAX_CHUNKS: u64 = 100_000;

/// The SHA-256 of a chunk, lower-case hex: every `PUT` of a chunk carries it.
pub const CHUNK_HASH_HEADER: &str = "x-paramant-chunk-sha256";
/// On a download: the blob's hash is that of a list of chunks of this size.
pub const CHUNK_SIZE_HEADER: &str = "x-paramant-chunk-size";

/// What the list of chunks begins with, so that it is no other document of this protocol.
const DOMAIN: &[u8] = b"paramant chunk list v1\n";

/// Computes the name of a blob from its chunks' hashes, in their order.
///
/// SHA-256(`paramant chunk list v1\n` ‖ u64 size ‖ u64 chunk size ‖ hash of chunk 0 ‖ …), numbers big-endian.
#[derive(Debug, Clone)]
pub struct ChunkList(Sha256);

impl ChunkList {
    /// A list for a blob of this size in chunks of this size.
    pub fn new(size: u64, chunk_size: u64) -> Self {
        Self(
            Sha256::new()
                .chain_update(DOMAIN)
                .chain_update(size.to_be_bytes())
                .chain_update(chunk_size.to_be_bytes()),
        )
    }

    /// The next chunk's hash.
    pub fn push(&mut self, chunk: &Hash) {
        self.0.update(chunk);
    }

    /// The name.
    pub fn finish(self) -> BlobHash {
        BlobHash::from_bytes(self.0.finalize().into())
    }
}

/// How a blob divides into chunks: all of one size but the last, which holds what remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Division {
    size: u64,
    chunk_size: u64,
}

/// Why a blob cannot be sent in these chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDivisible {
    /// Nothing to send.
    #[error("size must be at least 1")]
    Empty,
    /// A chunk size out of bounds.
    #[error("chunk_size must be from {MIN_CHUNK} to {MAX_CHUNK} bytes")]
    ChunkSize,
    /// Too many chunks.
    #[error("an upload has at most {MAX_CHUNKS} chunks; choose a larger chunk_size")]
    TooMany,
}

impl Division {
    /// Checks both sizes.
    pub fn new(size: u64, chunk_size: u64) -> Result<Self, NotDivisible> {
        if size == 0 {
            return Err(NotDivisible::Empty);
        }
        if !(MIN_CHUNK..=MAX_CHUNK).contains(&chunk_size) {
            return Err(NotDivisible::ChunkSize);
        }
        if size.div_ceil(chunk_size) > MAX_CHUNKS {
            return Err(NotDivisible::TooMany);
        }
        Ok(Self { size, chunk_size })
    }

    /// Bytes of the whole.
    pub fn size(self) -> u64 {
        self.size
    }

    /// Bytes of every chunk but the last.
    pub fn chunk_size(self) -> u64 {
        self.chunk_size
    }

    /// How many chunks there are; at least one.
    pub fn count(self) -> u64 {
        self.size.div_ceil(self.chunk_size)
    }

    /// Bytes of a chunk; `None` beyond the last.
    pub fn length(self, number: u64) -> Option<u64> {
        let start = number.checked_mul(self.chunk_size).filter(|start| *start < self.size)?;
        Some((self.size - start).min(self.chunk_size))
    }
}

/// How often a view may be disclosed when its reader's line breaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Disclosure {
    /// A view whose read broke off can be read again, a few times: none is lost.
    #[default]
    Recoverable,
    /// At most once: a read that broke off after its first byte used the view.
    Strict,
}

/// The body of `POST /v3/uploads`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenUpload {
    /// Bytes of the whole.
    pub size: u64,
    /// Bytes of every chunk but the last; absent: [`DEFAULT_CHUNK`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_size: Option<u64>,
    /// The blob's name ([`ChunkList`]), if it is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<BlobHash>,
    /// As for any upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// As for any upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_views: Option<u64>,
    /// The sender's device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// Absent: as the relay is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disclosure: Option<Disclosure>,
    /// A password for the download. Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// An encrypted file name ([`crate::upload::is_enc_meta`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enc_meta: Option<String>,
    /// The client's own id of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UploadState {
    /// It takes chunks.
    Open,
    /// Its chunks are all there and are being logged.
    Completing,
    /// It has become a blob.
    Done,
}

/// The answer to `POST /v3/uploads` and `GET /v3/uploads/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadProgress {
    /// Always true.
    pub ok: bool,
    /// The upload's id: 32 hex digits.
    pub upload: String,
    /// How far it is.
    pub state: UploadState,
    /// Bytes of the whole.
    pub size: u64,
    /// Bytes of every chunk but the last.
    pub chunk_size: u64,
    /// How many chunks there are to be.
    pub chunks: u64,
    /// The chunks that are kept: ranges of numbers, from 0, first and last included.
    pub present: Vec<[u64; 2]>,
    /// When it is given up unless another chunk comes, Unix milliseconds.
    pub expires_ms: i64,
}

impl UploadProgress {
    /// Whether a chunk is kept already.
    pub fn has(&self, number: u64) -> bool {
        self.present.iter().any(|[first, last]| (*first..=*last).contains(&number))
    }

    /// Joins ascending numbers to ranges.
    pub fn ranges(numbers: impl IntoIterator<Item = u64>) -> Vec<[u64; 2]> {
        let mut ranges: Vec<[u64; 2]> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some([_, last]) if *last + 1 == number => *last = number,
                _ => ranges.push([number, number]),
            }
        }
        ranges
    }
}

/// The answer to a chunk: it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkKept {
    /// Always true.
    pub ok: bool,
    /// Which.
    pub number: u64,
    /// Its hash.
    pub hash: BlobHash,
}

/// The body of `POST /v3/uploads/{id}/complete`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompleteUpload {
    /// The blob's name ([`ChunkList`]), compared with what the relay computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<BlobHash>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::leaf;

    #[test]
    fn a_list_is_the_hash_of_domain_sizes_and_hashes() {
        let mut list = ChunkList::new(70_000, 65_536);
        let mut text = DOMAIN.to_vec();
        text.extend(70_000u64.to_be_bytes());
        text.extend(65_536u64.to_be_bytes());
        for byte in [1, 2] {
            list.push(&[byte; 32]);
            text.extend([byte; 32]);
        }
        assert_eq!(list.finish().as_bytes(), &leaf::sha256(&text));
    }

    #[test]
    fn every_chunk_but_the_last_is_full() {
        let division = Division::new(MIN_CHUNK * 2 + 1, MIN_CHUNK).unwrap();
        let lengths: Vec<_> = (0..4).map(|number| division.length(number)).collect();
        assert_eq!(lengths, [Some(MIN_CHUNK), Some(MIN_CHUNK), Some(1), None]);
        assert_eq!(Division::new(MIN_CHUNK * 2, MIN_CHUNK).unwrap().count(), 2);
        assert_eq!(division.length(u64::MAX), None);
        for (size, chunk, fault) in [
            (0, MIN_CHUNK, NotDivisible::Empty),
            (1, MIN_CHUNK - 1, NotDivisible::ChunkSize),
            (1, MAX_CHUNK + 1, NotDivisible::ChunkSize),
            (MIN_CHUNK * MAX_CHUNKS + 1, MIN_CHUNK, NotDivisible::TooMany),
            (u64::MAX, MAX_CHUNK, NotDivisible::TooMany),
        ] {
            assert_eq!(Division::new(size, chunk).unwrap_err(), fault);
        }
    }

    #[test]
    fn numbers_become_ranges_and_are_found_in_them() {
        let present = UploadProgress::ranges([0, 1, 2, 5, 7, 8]);
        assert_eq!(present, [[0, 2], [5, 5], [7, 8]]);
        let (state, upload) = (UploadState::Open, String::new());
        let progress = UploadProgress {
            ok: true,
            upload,
            state,
            size: 0,
            chunk_size: 0,
            chunks: 9,
            present,
            expires_ms: 0,
        };
        let missing: Vec<_> = (0..9).filter(|number| !progress.has(*number)).collect();
        assert_eq!(missing, [3, 4, 6]);
    }
}
