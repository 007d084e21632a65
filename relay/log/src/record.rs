//! The records of the write-ahead log, byte for byte.
//!
//! ```text
//! record   kind u32 ‖ length u32 ‖ epoch u64 ‖ index u64 ‖ crc32c u32 ‖ payload (length bytes)      all big-endian
//! ENTRY    index: of the entry                payload: legacy leaf (32) ‖ entry bytes
//! TRAILER  index: tree size after the batch   payload: a state (below); ends a batch
//! SEGMENT  index: tree size before the first  payload: origin u8 (0 rotation, 1 start) ‖ a state; first in each file
//! state    size u64 ‖ previous (32) ‖ SHA-256 root ‖ SHA3 root ‖ SHA-256 compact range ‖ SHA3 compact range
//! ```
//! The CRC covers all fields before it and the payload. `epoch` is the segment's number, so no record is taken for one
//! of another segment. `previous` is the SHA-256 of the payload of the trailer before: the trailers form a chain.

use crate::Entry;
use paramant_tlog::hash::sha256;
use paramant_tlog::{CompactRange, Hash, Tree};

/// Bytes before the payload.
pub(crate) const HEADER: usize = 28;
/// The longest entry (16 KiB): room for the largest kind, whose ML-DSA-65 signature alone takes 4.4 kB.
pub const MAX_ENTRY: usize = 16 * 1024;
/// The longest payload of any kind: an entry with its legacy leaf.
const MAX_PAYLOAD: usize = MAX_ENTRY + 32;
/// The longest record.
pub(crate) const MAX_RECORD: usize = HEADER + MAX_PAYLOAD;
/// The longest trailer: both compact ranges of a tree with 64 set bits in its size.
pub(crate) const MAX_TRAILER: usize = HEADER + 1 + 8 + 3 * 32 + 2 * 64 * 32;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// First in a file.
    Segment,
    /// One entry.
    Entry,
    /// End of a batch.
    Trailer,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Segment, Kind::Entry, Kind::Trailer];

    /// Four bytes that are unlikely in other places, so that a search for stray records is quick.
    pub(crate) fn mark(self) -> [u8; 4] {
        match self {
            Kind::Segment => *b"\xf5SEG",
            Kind::Entry => *b"\xf5ENT",
            Kind::Trailer => *b"\xf5TRL",
        }
    }
}

/// A record whose CRC, epoch and length are right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) index: u64,
    pub(crate) payload: &'a [u8],
}

impl Record<'_> {
    /// Bytes the record takes.
    pub(crate) fn length(&self) -> usize {
        HEADER + self.payload.len()
    }
}

/// The whole length that the record at the start of `header` claims, if that is possible at all.
pub(crate) fn claimed_length(header: &[u8]) -> Option<usize> {
    let (mark, rest) = header.split_first_chunk::<4>()?;
    Kind::ALL.iter().find(|kind| kind.mark() == *mark)?;
    let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
    (length <= MAX_PAYLOAD).then_some(HEADER + length)
}

/// Reads the record at the start of `bytes`, or nothing when there is none of this epoch.
pub(crate) fn parse(bytes: &[u8], epoch: u64) -> Option<Record<'_>> {
    let whole = bytes.get(..claimed_length(bytes)?)?;
    let (header, payload) = whole.split_at_checked(HEADER)?;
    let (fields, crc) = header.split_last_chunk::<4>()?;
    let (mark, rest) = fields.split_first_chunk::<4>()?;
    let (_length, rest) = rest.split_first_chunk::<4>()?;
    let (found_epoch, rest) = rest.split_first_chunk::<8>()?;
    let index = u64::from_be_bytes(*rest.first_chunk()?);
    let kind = *Kind::ALL.iter().find(|kind| kind.mark() == *mark)?;
    let right =
        u64::from_be_bytes(*found_epoch) == epoch && u32::from_be_bytes(*crc) == checksum(fields, payload);
    right.then_some(Record { kind, index, payload })
}

fn checksum(fields: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(fields), payload)
}

fn push(buffer: &mut Vec<u8>, kind: Kind, epoch: u64, index: u64, payload: [&[u8]; 2]) {
    let start = buffer.len();
    let length: usize = payload.iter().map(|part| part.len()).sum();
    buffer.extend_from_slice(&kind.mark());
    buffer.extend_from_slice(&(length as u32).to_be_bytes());
    buffer.extend_from_slice(&epoch.to_be_bytes());
    buffer.extend_from_slice(&index.to_be_bytes());
    let mut crc = crc32c::crc32c(buffer.get(start..).unwrap_or_default());
    for part in payload {
        crc = crc32c::crc32c_append(crc, part);
    }
    buffer.extend_from_slice(&crc.to_be_bytes());
    for part in payload {
        buffer.extend_from_slice(part);
    }
}

/// Appends the record of an entry.
pub(crate) fn push_entry(buffer: &mut Vec<u8>, epoch: u64, index: u64, legacy_leaf: &Hash, bytes: &[u8]) {
    push(buffer, Kind::Entry, epoch, index, [legacy_leaf, bytes]);
}

/// Bytes that the record of an entry takes.
pub(crate) fn entry_length(entry: &Entry) -> usize {
    HEADER + entry.legacy_leaf.len() + entry.bytes.len()
}

/// Reads the payload of an entry record: the legacy leaf and the entry's bytes.
pub(crate) fn entry(payload: &[u8]) -> Option<(Hash, &[u8])> {
    payload.split_first_chunk::<32>().map(|(leaf, bytes)| (*leaf, bytes))
}

/// The state of both trees at one size, with the link to the trailer before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) ranges: [CompactRange; 2],
    pub(crate) previous: Hash,
}

/// Where a segment comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Follows a full segment; its first trailer names the last one of that segment.
    Rotation,
    /// Written at start from what was read back.
    Start,
}

impl State {
    /// The state of an empty log.
    pub(crate) fn empty() -> Self {
        Self { ranges: Tree::BOTH.map(CompactRange::new), previous: [0; 32] }
    }

    /// Tree size.
    pub(crate) fn size(&self) -> u64 {
        let [sha256, _] = &self.ranges;
        sha256.size()
    }

    /// The head of this state.
    pub(crate) fn head(&self) -> crate::Head {
        let [sha256, sha3] = &self.ranges;
        crate::Head { size: sha256.size(), sha256_root: sha256.root(), sha3_root: sha3.root() }
    }

    fn payload(&self, head: &crate::Head) -> Vec<u8> {
        let [sha256, sha3] = &self.ranges;
        let mut payload = self.size().to_be_bytes().to_vec();
        payload.extend_from_slice(&self.previous);
        payload.extend_from_slice(&head.sha256_root);
        payload.extend_from_slice(&head.sha3_root);
        for range in [sha256, sha3] {
            payload.extend_from_slice(&range.hashes().concat());
        }
        payload
    }

    /// Appends this state as the trailer of a batch, which the next trailer will name; returns the head it states.
    pub(crate) fn push_trailer(&mut self, buffer: &mut Vec<u8>, epoch: u64) -> crate::Head {
        let head = self.head();
        let payload = self.payload(&head);
        push(buffer, Kind::Trailer, epoch, self.size(), [&payload, &[]]);
        self.previous = sha256(&payload);
        head
    }

    /// Appends this state as the first record of a segment.
    pub(crate) fn push_segment(&self, buffer: &mut Vec<u8>, epoch: u64, origin: Origin) {
        push(buffer, Kind::Segment, epoch, self.size(), [&[origin as u8], &self.payload(&self.head())]);
    }

    /// Reads the payload of a trailer; nothing when it contradicts itself.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let (size, rest) = payload.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*size);
        let (hashes, odd) = rest.as_chunks::<32>();
        let width = size.count_ones() as usize;
        let [previous, sha256_root, sha3_root, ranges @ ..] = hashes else { return None };
        if !odd.is_empty() || ranges.len() != 2 * width {
            return None;
        }
        let (first, second) = ranges.split_at(width);
        let sha256 = CompactRange::resume(Tree::Sha256, size, first.to_vec()).ok()?;
        let sha3 = CompactRange::resume(Tree::Sha3, size, second.to_vec()).ok()?;
        let right = sha256.root() == *sha256_root && sha3.root() == *sha3_root;
        right.then_some(Self { ranges: [sha256, sha3], previous: *previous })
    }

    /// Reads the payload of a segment's first record.
    pub(crate) fn parse_segment(payload: &[u8]) -> Option<(Origin, Self)> {
        let (origin, state) = payload.split_first()?;
        let origin = match origin {
            0 => Origin::Rotation,
            1 => Origin::Start,
            _ => return None,
        };
        Some((origin, Self::parse(state)?))
    }
}
