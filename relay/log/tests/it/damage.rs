//! Torn tails are cut, everything else is refused with file and offset.

use crate::support::{Keys, append, assert_holds, copy, last_segment, open, options};
use paramant_log::{Log, OpenError};
use std::path::PathBuf;

/// A log whose last two batches hold 3 and 4 entries behind `before` others; the bytes of the last segment, and where
/// its last two batches begin and end.
struct Prepared {
    dir: tempfile::TempDir,
    segment: PathBuf,
    bytes: Vec<u8>,
    begin: [usize; 2],
    end: usize,
    size: u64,
}

fn prepare(before: u64) -> Prepared {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..before);
    log.publish_now().unwrap();
    let segment = last_segment(dir.path());
    let used = || {
        let bytes = std::fs::read(&segment).unwrap();
        bytes.iter().rposition(|byte| *byte != 0).map_or(8192, |last| last + 1).max(8192)
    };
    let first = used();
    batch(&log, before..before + 3);
    let second = used();
    batch(&log, before + 3..before + 7);
    let end = used();
    drop(log);
    let bytes = std::fs::read(&segment).unwrap();
    Prepared { dir, segment, bytes, begin: [first, second], end, size: before + 7 }
}

/// Appends as one batch: the writer is kept busy with the callback of the entry before.
fn batch(log: &Log, numbers: std::ops::Range<u64>) {
    // With nobody else about, entries queued while the writer is in a callback become one batch.
    let before = log.counters().batches;
    append(log, numbers);
    assert!(log.counters().batches > before);
}

impl Prepared {
    /// Opens the log with other bytes in its last segment, and hands it to a look at it.
    fn open_with<T>(&self, bytes: &[u8], look: impl FnOnce(Result<Log, OpenError>) -> T) -> T {
        let copied = tempfile::tempdir().unwrap();
        copy(self.dir.path(), copied.path());
        let segment = copied.path().join("wal").join(self.segment.file_name().unwrap());
        std::fs::write(segment, bytes).unwrap();
        look(Log::open(options(copied.path()), Keys::new()))
    }
}

/// Where each record of a segment begins, and whether it ends a batch.
fn records(bytes: &[u8], from: usize, to: usize) -> Vec<(usize, bool)> {
    let mut found = Vec::new();
    let mut at = from;
    while at < to {
        let length = u32::from_be_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        found.push((at, &bytes[at..at + 4] == b"\xf5TRL"));
        at += 28 + length;
    }
    assert_eq!(at, to);
    found
}

/// Where the last batch of the segment begins, and the tree size before it.
fn last_batch(prepared: &Prepared) -> (usize, u64) {
    let records = records(&prepared.bytes, prepared.begin[0], prepared.end);
    let trailers: Vec<usize> = (0..records.len()).filter(|i| records[*i].1).collect();
    let start = if trailers.len() == 1 { 0 } else { trailers[trailers.len() - 2] + 1 };
    let entries = records[start..].iter().filter(|(_, trailer)| !trailer).count() as u64;
    (records[start].0, prepared.size - entries)
}

#[test]
fn a_last_batch_cut_short_at_any_byte_is_dropped_whole_and_nothing_else_is() {
    let prepared = prepare(5);
    let (begin, before) = last_batch(&prepared);
    // Once with the file ending there, once with the rest never written.
    for length in begin..prepared.end {
        let truncated = &prepared.bytes[..length];
        prepared.open_with(truncated, |log| {
            let log = log.unwrap_or_else(|e| panic!("truncated to {length}: {e}"));
            assert_eq!(log.head().size, before, "truncated to {length}");
        });
        if (length - begin) % 97 == 0 {
            let mut blanked = prepared.bytes.clone();
            blanked[length..].fill(0);
            prepared.open_with(&blanked, |log| {
                let log = log.unwrap_or_else(|e| panic!("blank from {length}: {e}"));
                assert_holds(&log, before);
                append(&log, before..before + 5);
                assert_holds(&log, before + 5);
            });
        }
    }
    prepared.open_with(&prepared.bytes, |log| assert_holds(&log.unwrap(), prepared.size));
}

/// A log of six entries, then a batch of one long entry; the last segment, and where that batch begins in it.
fn with_a_long_last_batch() -> (tempfile::TempDir, PathBuf, usize) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..5);
    log.publish_now().unwrap();
    append(&log, 5..6);
    let segment = last_segment(dir.path());
    let before = std::fs::read(&segment).unwrap();
    let begin = before.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(begin % 512 != 0, "the batch begins inside a sector");
    let big = paramant_log::Entry { bytes: vec![b'x'; 5000], legacy_leaf: [1; 32] };
    log.append_blocking(big).unwrap();
    drop(log);
    (dir, segment, begin)
}

#[test]
fn a_sector_that_never_reached_the_disk_before_its_trailer_is_a_torn_batch() {
    let (dir, segment, begin) = with_a_long_last_batch();
    let mut torn = std::fs::read(&segment).unwrap();
    let sector = (begin + 1000).next_multiple_of(512);
    torn[sector..sector + 512].fill(0);
    std::fs::write(&segment, &torn).unwrap();
    assert_holds(&open(dir.path()), 6);
}

#[test]
fn a_batch_whose_first_sector_alone_did_not_reach_the_disk_is_torn() {
    let (dir, segment, begin) = with_a_long_last_batch();
    let mut torn = std::fs::read(&segment).unwrap();
    torn[begin..begin.next_multiple_of(512)].fill(0);
    std::fs::write(&segment, &torn).unwrap();
    assert_holds(&open(dir.path()), 6);
}

#[test]
fn a_first_sector_of_which_anything_is_there_is_damage() {
    let (dir, segment, begin) = with_a_long_last_batch();
    let whole = std::fs::read(&segment).unwrap();
    let end = begin.next_multiple_of(512);
    for range in [begin..end - 1, begin + 1..end] {
        let mut damaged = whole.clone();
        damaged[range.clone()].fill(0);
        std::fs::write(&segment, &damaged).unwrap();
        let refused = Log::open(options(dir.path()), Keys::new());
        assert!(matches!(refused, Err(OpenError::Corrupt(_))), "{range:?}: {refused:?}");
    }
}

#[test]
fn a_damaged_byte_in_a_complete_last_batch_is_refused_not_cut() {
    let prepared = prepare(5);
    let (begin, _) = last_batch(&prepared);
    let trailer = records(&prepared.bytes, begin, prepared.end).last().unwrap().0;
    for at in (begin..trailer).step_by(11) {
        let mut damaged = prepared.bytes.clone();
        damaged[at] ^= 0x20;
        prepared.open_with(&damaged, |log| match log {
            Err(OpenError::Corrupt(damage)) => {
                assert!(damage.file.ends_with(".wal"), "{damage}");
                assert!(
                    damage.offset as usize <= at && damage.offset as usize >= begin,
                    "{damage} for byte {at}"
                );
            }
            other => panic!("byte {at}: {other:?}"),
        });
    }
}

#[test]
fn a_damaged_byte_before_the_last_batch_is_refused() {
    let prepared = prepare(40);
    let (begin, _) = last_batch(&prepared);
    for at in (8192..begin).step_by(53) {
        let mut damaged = prepared.bytes.clone();
        damaged[at] ^= 1;
        prepared.open_with(&damaged, |log| assert!(matches!(log, Err(OpenError::Corrupt(_))), "byte {at}"));
    }
    for at in 0..133 {
        let mut damaged = prepared.bytes.clone();
        damaged[at] ^= 1;
        prepared.open_with(&damaged, |log| {
            assert!(matches!(log, Err(OpenError::Corrupt(_))), "byte {at} of the first record")
        });
    }
}

#[test]
fn a_log_shorter_than_its_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..5);
    drop(log);
    let older = tempfile::tempdir().unwrap();
    copy(dir.path(), older.path());
    let log = open(dir.path());
    append(&log, 5..9);
    log.close().unwrap();
    std::fs::copy(dir.path().join("checkpoint"), older.path().join("checkpoint")).unwrap();
    let refused = Log::open(options(older.path()), Keys::new());
    assert!(matches!(refused, Err(OpenError::Corrupt(_))), "{refused:?}");
}

#[test]
fn a_damaged_checkpoint_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..5);
    log.close().unwrap();
    let path = dir.path().join("checkpoint");
    let good = std::fs::read_to_string(&path).unwrap();
    for bad in [String::new(), good.replacen("\n5\n", "\n4\n", 1), good.replacen("\n5\n", "\n6\n", 1)] {
        std::fs::write(&path, bad).unwrap();
        let refused = Log::open(options(dir.path()), Keys::new());
        assert!(matches!(refused, Err(OpenError::Corrupt(_))), "{refused:?}");
    }
    std::fs::write(&path, good).unwrap();
    assert_holds(&open(dir.path()), 5);
}

#[test]
fn a_missing_segment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..5000);
    drop(log);
    let mut segments: Vec<PathBuf> =
        std::fs::read_dir(dir.path().join("wal")).unwrap().map(|item| item.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|e| e == "wal"));
    segments.sort();
    assert!(segments.len() >= 3, "{segments:?}");
    for missing in &segments {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        std::fs::remove_file(copied.path().join("wal").join(missing.file_name().unwrap())).unwrap();
        match Log::open(options(copied.path()), Keys::new()) {
            Err(OpenError::Corrupt(_)) => {}
            // Without a checkpoint nothing tells that the last segment was there.
            Ok(log) if Some(missing) == segments.last() => assert!(log.head().size < 5000),
            other => panic!("{}: {other:?}", missing.display()),
        }
    }
}
