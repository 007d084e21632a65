//! Length and CRC-32 of files that never change again, remembered beside the log so that each is read once for that.
//!
//! A file of records of twelve bytes: length u32, CRC-32 u32, and CRC-32C over both and the record's number; big-endian. What
//! does not fit is cut off and computed anew: nothing here is the truth, so nothing is synced.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Records written at a time: enough that a slow pass is not lost when it is broken off.
const BATCH: usize = 256;
const RECORD: usize = 12;

/// What a zip must know of a file before it can be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) length: u32,
    pub(super) crc: u32,
}

impl Sum {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { length: u32::try_from(bytes.len()).unwrap_or(u32::MAX), crc: crc32fast::hash(bytes) }
    }

    fn to_record(self, number: usize) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        let (content, check) = record.split_at_mut(8);
        let (length, crc) = content.split_at_mut(4);
        length.copy_from_slice(&self.length.to_be_bytes());
        crc.copy_from_slice(&self.crc.to_be_bytes());
        check.copy_from_slice(&checksum(content, number).to_be_bytes());
        record
    }

    fn from_record(record: &[u8; RECORD], number: usize) -> Option<Self> {
        let (content, check) = record.split_last_chunk::<4>()?;
        let (length, crc) = content.split_first_chunk::<4>()?;
        let crc = crc.first_chunk::<4>()?;
        (u32::from_be_bytes(*check) == checksum(content, number))
            .then(|| Self { length: u32::from_be_bytes(*length), crc: u32::from_be_bytes(*crc) })
    }
}

fn checksum(content: &[u8], number: usize) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&(number as u64).to_be_bytes()), content)
}

/// The sum of files laid end to end.
pub(super) fn joined(sums: &[Sum]) -> (u64, u32) {
    let mut length = 0;
    let mut whole = crc32fast::Hasher::new();
    for sum in sums {
        length += u64::from(sum.length);
        whole.combine(&crc32fast::Hasher::new_with_initial_len(sum.crc, u64::from(sum.length)));
    }
    (length, whole.finalize())
}

/// The sums of a run of files.
#[derive(Debug)]
pub(super) struct SumsFile {
    path: PathBuf,
    sums: Vec<Sum>,
}

impl SumsFile {
    /// Reads what is remembered.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (records, _) = bytes.as_chunks::<RECORD>();
        let sums = records.iter().enumerate().map_while(|(number, record)| Sum::from_record(record, number));
        Ok(Self { path: path.to_owned(), sums: sums.collect() })
    }

    /// Goes on until there are `count`, or the time is over. The first `count`, if there are as many.
    pub(super) fn complete<E>(
        mut self,
        count: usize,
        until: Instant,
        read: impl Fn(u64) -> Result<Vec<u8>, E>,
    ) -> Result<Option<Vec<Sum>>, E> {
        while self.sums.len() < count {
            if Instant::now() >= until {
                return Ok(None);
            }
            let known = self.sums.len();
            for number in known..count.min(known + BATCH) {
                self.sums.push(Sum::of(&read(number as u64)?));
            }
            if let Err(error) = self.save_from(known) {
                tracing::warn!(%error, "what an archive needs to know was not kept; it is computed anew after a restart");
            }
        }
        self.sums.truncate(count);
        Ok(Some(self.sums))
    }

    fn save_from(&self, known: usize) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.set_len((known * RECORD) as u64)?;
        let new = self.sums.iter().enumerate().skip(known);
        let bytes: Vec<u8> = new.flat_map(|(number, sum)| sum.to_record(number)).collect();
        file.write_all(&bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    fn content(number: u64) -> Vec<u8> {
        vec![number as u8; number as usize % 50]
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn each_file_is_read_once_unless_what_is_remembered_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sums");
        let reads = Cell::new(0);
        let complete = |count| {
            reads.set(0);
            let read = |number| {
                reads.set(reads.get() + 1);
                Ok::<_, io::Error>(content(number))
            };
            SumsFile::open(&path).unwrap().complete(count, soon(), read).unwrap().unwrap()
        };
        let expected: Vec<_> = (0..700).map(|number| Sum::of(&content(number))).collect();
        assert_eq!((complete(300), reads.get()), (expected[..300].to_vec(), 300));
        assert_eq!((complete(700), reads.get()), (expected.clone(), 400));
        assert_eq!((complete(5), reads.get()), (expected[..5].to_vec(), 0));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[650 * RECORD] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!((complete(700), reads.get()), (expected.clone(), 50));
        assert_eq!((complete(700), reads.get()), (expected, 0));
    }

    #[test]
    fn a_pass_whose_time_is_over_answers_nothing_and_keeps_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sums");
        let over = Instant::now();
        let read = |number| Ok::<_, io::Error>(content(number));
        assert!(SumsFile::open(&path).unwrap().complete(3, over, read).unwrap().is_none());
    }

    #[test]
    fn sums_of_parts_make_the_sum_of_the_whole() {
        let parts = [&b"one"[..], b"", b"three and more"];
        let sums: Vec<_> = parts.iter().map(|part| Sum::of(part)).collect();
        assert_eq!(joined(&sums), (17, crc32fast::hash(b"onethree and more")));
        assert_eq!(joined(&[]), (0, crc32fast::hash(b"")));
    }
}
