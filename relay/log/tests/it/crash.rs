//! `kill -9` in the middle of appending: whatever was acknowledged is there after the restart.
//!
//! The test runs itself again as a child that appends and prints each acknowledged index; the parent kills it.

use crate::support::{Keys, entry, expected_head, options};
use paramant_log::Log;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const CHILD_DIR: &str = "PARAMANT_LOG_CRASH_CHILD_DIR";
const ROUNDS: u64 = 12;

fn crash_options(dir: &std::path::Path) -> paramant_log::Options {
    paramant_log::Options { checkpoint_every: Duration::from_millis(5), ..options(dir) }
}

#[test]
fn everything_acknowledged_survives_being_killed() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        return append_until_killed(std::path::Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let mut checkpoint = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::everything_acknowledged_survives_being_killed", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let counted = std::thread::spawn(move || {
            let mut highest = None;
            for line in lines.map_while(Result::ok) {
                // A line that the kill cut short has no full stop.
                let number = line.strip_prefix("ack ").and_then(|rest| rest.strip_suffix('.'));
                if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
                    highest = highest.max(Some(number));
                }
            }
            highest
        });
        std::thread::sleep(Duration::from_millis(150 + 41 * round % 230));
        child.kill().unwrap();
        child.wait().unwrap();
        let highest = counted.join().unwrap();
        acknowledged = acknowledged.max(highest.map_or(0, |index| index + 1));

        let log = Log::open(crash_options(dir.path()), Keys::new()).unwrap();
        let size = log.head().size;
        assert!(size >= acknowledged, "round {round}: {acknowledged} acknowledged, {size} found");
        let published = log.published().map_or(0, |published| published.head.size);
        assert!(published >= checkpoint, "round {round}: the checkpoint went back");
        checkpoint = published;
        for (index, found) in (0..).zip(log.entries(0, usize::MAX).unwrap()) {
            assert_eq!(found, entry(index), "round {round}, entry {index}");
        }
        assert_eq!(log.head(), expected_head(size), "round {round}");
        acknowledged = size;
    }
    assert!(acknowledged > 100, "the children appended only {acknowledged} entries");
}

/// Appends with many entries under way, printing each acknowledgement, until the parent ends the process.
fn append_until_killed(dir: &std::path::Path) {
    let log = Log::open(crash_options(dir), Keys::new()).unwrap();
    let out = Arc::new(Mutex::new(std::io::stdout()));
    let under_way = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + Duration::from_secs(60);
    let mut next = log.head().size;
    while Instant::now() < end {
        if under_way.load(Ordering::Acquire) > 64 {
            std::thread::sleep(Duration::from_micros(100));
            continue;
        }
        under_way.fetch_add(1, Ordering::AcqRel);
        let (out, under_way) = (Arc::clone(&out), Arc::clone(&under_way));
        log.append(entry(next), move |outcome| {
            let index = outcome.unwrap().index;
            let mut out = out.lock().unwrap();
            // The parent may be gone already.
            let _ = writeln!(out, "\nack {index}.").and_then(|()| out.flush());
            under_way.fetch_sub(1, Ordering::AcqRel);
        });
        next += 1;
    }
}
