//! Tree heads on disk: records of one length, so that the n-th is found without an index, whatever their number.
//!
//! Record: size u64, time i64, root 32, signature 3309, length of relay_id u8, relay_id padded to 255, CRC32C of all before;
//! integers big-endian. Appended and synced before a head is shown. A torn last record was never shown and is cut at start.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use paramant_protocol::sth::{SignedSth, Sth};

use crate::data_dir::durable;
use crate::failed_sync;

const SIGNATURE: usize = 3309;
const RELAY_ID: usize = 255;
const CONTENT: usize = 8 + 8 + 32 + SIGNATURE + 1 + RELAY_ID;
pub(super) const RECORD: u64 = CONTENT as u64 + 4;

/// The file of all tree heads.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    file: File,
    records: AtomicU64,
}

/// Why a tree head cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The disk.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file.
    #[error("{} is damaged at record {number}; restore the data directory from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 0.
        number: u64,
    },
    /// A tree head that does not fit a record.
    #[error(
        "a tree head does not fit its record: the relay id is longer than {RELAY_ID} bytes, or the signature has another length"
    )]
    Shape,
}

impl RecordFile {
    pub(super) fn open(path: &Path) -> Result<Self, RecordError> {
        let io = |source| RecordError::Io { path: path.to_owned(), source };
        let file =
            OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path).map_err(io)?;
        if let Some(parent) = path.parent() {
            durable::sync_directory(parent).map_err(io)?;
        }
        let length = file.metadata().map_err(io)?.len();
        let this = Self { path: path.to_owned(), file, records: AtomicU64::new(length / RECORD) };
        let mut whole = length / RECORD;
        // Only the last record can be torn: each one before it was synced before the next was written.
        if whole > 0 && matches!(this.read(whole - 1), Err(RecordError::Damaged { .. })) {
            whole -= 1;
        }
        if whole * RECORD != length {
            tracing::warn!("a tree head that was never shown was cut from the end of its file");
            this.file.set_len(whole * RECORD).and_then(|()| this.file.sync_all()).map_err(io)?;
        }
        this.records.store(whole, Ordering::Release);
        Ok(this)
    }

    pub(super) fn len(&self) -> u64 {
        self.records.load(Ordering::Acquire)
    }

    pub(super) fn last(&self) -> Result<Option<SignedSth>, RecordError> {
        self.len().checked_sub(1).map(|number| self.read(number)).transpose()
    }

    /// Only the signing thread calls this. After a failed write the file is cut back, so that records stay
    /// aligned; a failed sync ends the process.
    pub(super) fn append(&self, head: &SignedSth) -> Result<(), RecordError> {
        let record = encode(head).ok_or(RecordError::Shape)?;
        if let Err(source) = (&self.file).write_all(&record) {
            // If this fails too, the next start cuts the tail.
            let _ = self.file.set_len(self.len() * RECORD);
            return Err(RecordError::Io { path: self.path.clone(), source });
        }
        if let Err(error) = self.file.sync_data() {
            failed_sync::end("tree heads", &error);
        }
        self.records.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    pub(super) fn read(&self, number: u64) -> Result<SignedSth, RecordError> {
        let mut record = vec![0; CONTENT + 4];
        self.file
            .read_exact_at(&mut record, number * RECORD)
            .map_err(|source| RecordError::Io { path: self.path.clone(), source })?;
        decode(&record).ok_or_else(|| RecordError::Damaged { path: self.path.clone(), number })
    }
}

fn encode(head: &SignedSth) -> Option<Vec<u8>> {
    let signature = BASE64_STANDARD.decode(&head.signature).ok().filter(|bytes| bytes.len() == SIGNATURE)?;
    let root = head.head().root().ok()?;
    let mut record = Vec::with_capacity(CONTENT + 4);
    record.extend(head.tree_size.to_be_bytes());
    record.extend(head.timestamp.to_be_bytes());
    record.extend(root);
    record.extend(signature);
    record.push(u8::try_from(head.relay_id.len()).ok()?);
    record.extend(head.relay_id.as_bytes());
    record.resize(CONTENT, 0);
    record.extend(crc32c::crc32c(&record).to_be_bytes());
    Some(record)
}

fn decode(record: &[u8]) -> Option<SignedSth> {
    let (content, checksum) = record.split_last_chunk::<4>()?;
    if crc32c::crc32c(content) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let (size, rest) = content.split_first_chunk::<8>()?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (root, rest) = rest.split_first_chunk::<32>()?;
    let (signature, rest) = rest.split_first_chunk::<SIGNATURE>()?;
    let (length, name) = rest.split_first()?;
    let relay_id = std::str::from_utf8(name.get(..usize::from(*length))?).ok()?;
    Some(Sth::new(relay_id, root, u64::from_be_bytes(*size), i64::from_be_bytes(*time)).signed(signature))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::test_relay::exit_code_of;

    fn head(size: u64) -> SignedSth {
        Sth::new("relay.example/log", &[7; 32], size, 1000 + i64::try_from(size).unwrap())
            .signed(&[9; SIGNATURE])
    }

    #[test]
    fn what_is_appended_is_read_back_after_a_restart() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("tree-heads");
        {
            let file = RecordFile::open(&path).unwrap();
            assert_eq!(file.last().unwrap(), None);
            file.append(&head(1)).unwrap();
            file.append(&head(5)).unwrap();
        }
        let file = RecordFile::open(&path).unwrap();
        assert_eq!((file.len(), file.read(0).unwrap(), file.last().unwrap()), (2, head(1), Some(head(5))));
    }

    #[test]
    fn a_torn_tail_is_cut_and_a_damaged_middle_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("tree-heads");
        {
            let file = RecordFile::open(&path).unwrap();
            (1..=3).for_each(|size| file.append(&head(size)).unwrap());
        }
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 10);
        std::fs::write(&path, &bytes).unwrap();
        let file = RecordFile::open(&path).unwrap();
        assert_eq!(file.last().unwrap(), Some(head(2)));
        file.append(&head(4)).unwrap();
        assert_eq!(file.last().unwrap(), Some(head(4)));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(file.read(0), Err(RecordError::Damaged { number: 0, .. })));
        file.read(1).unwrap();
    }

    /// `/dev/null` takes every write and refuses every sync.
    #[test]
    fn a_tree_head_that_cannot_be_synced_ends_the_process() {
        let test =
            "log_service::tree_heads::record::tests::a_tree_head_that_cannot_be_synced_ends_the_process";
        let code = exit_code_of(test, || {
            drop(RecordFile::open(Path::new("/dev/null")).unwrap().append(&head(1)));
        });
        assert_eq!(code, Some(failed_sync::EXIT_CODE));
    }
}
