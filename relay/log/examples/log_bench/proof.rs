//! `log-proof`: how long an inclusion proof takes in a log of 10^8 entries (`--entries`), and the memory it takes.
//!
//! The fixture holds the hash tiles of both trees, 6.5 GB at 10^8 entries and some minutes to write. Every proof is
//! verified. Warm: each index is proven once before it is timed.

use crate::figure::{median, milliseconds, per_mille, print, print_at_most};
use crate::load::Keys;
use crate::process::memory;
use crate::{Arguments, fixture};
use paramant_log::{Log, Options};
use paramant_tlog::{Tree, verify};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const ENTRIES: u64 = 100_000_000;
const PROOFS: u64 = 20_000;

pub(crate) fn run(dir: &Path, arguments: &Arguments) {
    let entries = arguments.entries.unwrap_or(ENTRIES).next_multiple_of(256);
    let room = rustix::fs::statvfs(dir).expect("statvfs");
    let needed = entries * 68;
    let free = room.f_bavail * room.f_frsize;
    assert!(free > 2 * needed, "the fixture takes {needed} bytes, {free} are free: choose fewer --entries");
    let program = std::env::current_exe().expect("this program");
    let begun = Instant::now();
    let written = Command::new(program)
        .args([fixture::NAME, "--entries", &entries.to_string(), "--dir"])
        .arg(dir)
        .status()
        .expect("start the fixture's process");
    assert!(written.success(), "the fixture was not written");
    print("log-proof-fixture", begun.elapsed().as_secs_f64(), "s");

    let begun = Instant::now();
    let log = Log::open(Options::new(dir), Keys::new()).expect("open");
    print("log-proof-open", milliseconds(begun.elapsed()), "ms");
    print("log-proof-entries", log.head().size as f64, "entries");
    for (tree, most) in [(Tree::Sha256, 0.15), (Tree::Sha3, 0.6)] {
        let mut took = proofs(&log, tree, entries);
        let name = if tree == Tree::Sha256 { "log-proof-sha256" } else { "log-proof-sha3" };
        let all = took.iter().copied().map(milliseconds).collect();
        print_at_most(name, median(all), "ms", most);
        print(&format!("{name}-p99"), milliseconds(per_mille(&mut took, 990)), "ms");
    }
    let (most, anonymous) = memory();
    print_at_most("log-proof-memory", most, "MiB resident at most", 128.0);
    print("log-proof-memory-anonymous", anonymous, "MiB");
    log.close().expect("close");
}

/// Times of single proofs of indices that lie all over the log.
fn proofs(log: &Log, tree: Tree, entries: u64) -> Vec<Duration> {
    let root = log.root(tree, entries).expect("root");
    let mut took = Vec::new();
    for number in 0..PROOFS {
        let index = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % entries;
        let warm = log.inclusion(tree, index, entries).expect("proof");
        verify::inclusion(tree, &fixture::leaf(tree, index), index, entries, &warm, &root).expect("verifies");
        let begun = Instant::now();
        let proof = log.inclusion(tree, index, entries).expect("proof");
        took.push(begun.elapsed());
        assert_eq!(proof, warm);
    }
    took
}
