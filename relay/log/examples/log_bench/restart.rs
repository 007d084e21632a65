//! `log-restart`: how long a log takes to open with 10^6 entries (`--entries`) above its last snapshot.
//!
//! The signer refuses, as it does until the fence has answered, so nothing is published and nothing derived: every entry
//! is replayed, and copied as well, since none is under a checkpoint. That is the most a restart can have to do.

use crate::Arguments;
use crate::figure::{median, print, print_at_most};
use crate::load::{Load, entry};
use paramant_log::{CheckpointSigner, Head, Log, Options, SignError};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const ENTRIES: u64 = 1_000_000;
const ROUNDS: usize = 3;

/// Signs nothing.
struct Fence;

impl CheckpointSigner for Fence {
    fn sign(&self, _: &Head) -> Result<String, SignError> {
        Err(SignError("the fence has not answered".to_owned()))
    }
}

pub(crate) fn run(dir: &Path, arguments: &Arguments) {
    let entries = arguments.entries.unwrap_or(ENTRIES);
    let home = dir.join("log");
    let log = Log::open(Options::new(&home), Arc::new(Fence)).expect("open");
    let load = Load::begin(&log, arguments.waiters, arguments.bytes);
    while load.acknowledged() < entries {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let size = load.end();
    // The last callbacks may still hold it, so it is closed rather than dropped: that it cannot publish is meant.
    assert!(log.close().is_err(), "the fence has not answered");
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let log = Log::open(Options::new(&home), Arc::new(Fence)).expect("open");
        took.push(begun.elapsed().as_secs_f64());
        assert_eq!(log.head().size, size, "every acknowledged entry is there");
        let last = log.entry(size - 1).expect("read").expect("the last entry");
        assert_eq!(last.bytes.len(), entry(0, arguments.bytes).bytes.len());
    }
    let per_entry = entries as f64 / size as f64;
    print("log-restart-entries", size as f64, "entries above the snapshot, all copied");
    print_at_most(
        "log-restart",
        median(took) * per_entry,
        "s per 1,000,000 entries",
        2.0 * entries as f64 / 1e6,
    );
}
