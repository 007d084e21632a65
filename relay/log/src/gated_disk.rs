//! A disk whose syncs can be held: what is gathered meanwhile, and what an error or a crash then leaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::disk::{Disk, RealDisk};
use crate::hooked_disk::{Hook, HookedDisk};
use crate::{AppendError, Appended, CheckpointSigner, Entry, Head, Log, Options, SignError, start};
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Entries that are appended while the sync of one batch is held: several times what is worth being gathered.
const BEHIND: u64 = 200;

/// Holds every `fdatasync` while it is closed.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    closed: bool,
    /// What held syncs answer afterwards.
    failing: bool,
    held: usize,
    passed: usize,
}

impl Gate {
    fn set(&self, closed: bool, failing: bool) {
        let mut state = self.state.lock().unwrap();
        (state.closed, state.failing) = (closed, failing);
        self.changed.notify_all();
    }

    fn pass(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.held += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.closed).unwrap();
        state.held -= 1;
        state.passed += 1;
        self.changed.notify_all();
        if state.failing { Err(io::Error::other("planted")) } else { Ok(()) }
    }

    fn wait_until_held(&self) {
        self.wait_until("no sync is held", |state| state.held > 0);
    }

    fn wait_until(&self, failure: &str, holds: impl Fn(&GateState) -> bool) {
        let wait =
            self.changed.wait_timeout_while(self.state.lock().unwrap(), PATIENCE, |state| !holds(state));
        assert!(!wait.unwrap().1.timed_out(), "{failure}");
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Hook for Gate {
    fn sync(&self) -> io::Result<()> {
        self.pass()
    }
}

/// Nothing is published in these tests.
struct Nobody;

impl CheckpointSigner for Nobody {
    fn sign(&self, _: &Head) -> Result<String, SignError> {
        Err(SignError("nobody signs here".to_owned()))
    }
}

fn entry(number: u64) -> Entry {
    Entry { bytes: format!("entry {number}.").into_bytes(), legacy_leaf: [number as u8; 32] }
}

fn options(dir: &Path) -> Options {
    Options { checkpoint_every: Duration::from_secs(3600), segment_bytes: 256 * 1024, ..Options::new(dir) }
}

/// A log with entry 0, whose entry 1 is written and being synced, and with the entries behind it gathered.
struct Held {
    log: Option<Log>,
    gate: Arc<Gate>,
    answers: Receiver<(u64, Result<Appended, AppendError>)>,
}

impl Held {
    fn new(dir: &Path) -> Self {
        let gate = Arc::new(Gate::default());
        let log =
            start::open(options(dir), Arc::new(Nobody), Arc::new(HookedDisk(Arc::clone(&gate)))).unwrap();
        log.append_blocking(entry(0)).unwrap();
        // The next sync is that of a batch: those of the start, of entry 0 and of the blank segment are over.
        gate.wait_until("a sync of the start is missing", |state| state.passed >= 3);
        let (sender, answers) = channel();
        let append = |number: u64| {
            let sender = sender.clone();
            log.append(entry(number), move |outcome| sender.send((number, outcome)).unwrap());
        };
        gate.set(true, false);
        append(1);
        gate.wait_until_held();
        (2..2 + BEHIND).for_each(append);
        let give_up = Instant::now() + PATIENCE;
        while log.queued() as u64 > BEHIND / 2 {
            assert!(Instant::now() < give_up, "nothing is gathered while a batch is being synced");
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { log: Some(log), gate, answers }
    }

    fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    fn outcomes(&self) -> Vec<(u64, Result<Appended, AppendError>)> {
        let mut outcomes: Vec<_> =
            (0..=BEHIND).map(|_| self.answers.recv_timeout(PATIENCE).expect("an answer")).collect();
        outcomes.sort_by_key(|(number, _)| *number);
        outcomes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Threads that wait at the gate are waited for when the log is dropped.
        let failing = self.gate.state.lock().unwrap().failing;
        self.gate.set(false, failing);
    }
}

/// Whether a segment holds this entry.
fn on_disk(dir: &Path, number: u64) -> bool {
    let wanted = entry(number).bytes;
    let names = RealDisk.list(&dir.join("wal")).unwrap();
    names.iter().any(|name| {
        let segment = std::fs::read(dir.join("wal").join(name)).unwrap();
        segment.windows(wanted.len()).any(|window| window == wanted)
    })
}

/// What the directory would be if the machine stopped now, everything written so far on its disk.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    std::fs::create_dir(to.path().join("wal")).unwrap();
    for name in RealDisk.list(&from.join("wal")).unwrap() {
        std::fs::copy(from.join("wal").join(&name), to.path().join("wal").join(&name)).unwrap();
    }
    to
}

fn reopened(dir: &Path) -> Log {
    Log::open(options(dir), Arc::new(Nobody)).unwrap()
}

#[test]
fn a_batch_is_gathered_while_another_is_synced_and_written_only_when_that_one_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let held = Held::new(dir.path());
    assert!(on_disk(dir.path(), 1), "the batch that is being synced is written");
    assert!((2..2 + BEHIND).all(|number| !on_disk(dir.path(), number)), "the next one is not");
    assert_eq!(held.log().head().size, 1, "nothing moves before a sync");
    assert!(held.answers.try_recv().is_err(), "nobody is answered before a sync");

    held.gate.set(false, false);
    for (number, outcome) in held.outcomes() {
        let appended = outcome.unwrap();
        assert_eq!(appended.index, number);
        assert!(appended.head.size > number);
    }
    assert_eq!(held.log().head().size, BEHIND + 2);
    let batches = held.log().counters().batches;
    assert!(batches <= 4, "{batches} syncs: what arrives during one is written with the next");
    for number in 0..BEHIND + 2 {
        assert_eq!(held.log().entry(number).unwrap().unwrap(), entry(number));
    }
}

#[test]
fn a_crash_while_the_next_batch_is_gathered_leaves_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let held = Held::new(dir.path());
    let copy = copy(dir.path());
    held.gate.set(false, false);
    let crashed = reopened(copy.path());
    assert_eq!(crashed.head().size, 2, "the batch that was written, and none behind it");
    assert_eq!(crashed.append_blocking(entry(9)).unwrap().index, 2);
}

#[test]
fn a_failed_sync_discards_the_batch_that_was_gathered_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let held = Held::new(dir.path());
    held.gate.set(false, true);
    for (number, outcome) in held.outcomes() {
        assert_eq!(outcome, Err(AppendError::Failed), "entry {number}");
    }
    assert!(held.log().has_failed());
    assert_eq!(held.log().head().size, 1);
    assert!((2..2 + BEHIND).all(|number| !on_disk(dir.path(), number)), "nothing follows a failed batch");
    drop(held);
    let log = reopened(dir.path());
    assert!((1..=2).contains(&log.head().size), "a batch whose sync failed may be there or not");
    assert_eq!(log.entry(0).unwrap().unwrap(), entry(0));
}

#[test]
fn the_last_handle_may_be_dropped_in_the_callback_of_a_failed_append() {
    let dir = tempfile::tempdir().unwrap();
    let mut held = Held::new(dir.path());
    let log = held.log.take().unwrap();
    let last = Arc::new(Mutex::new(None));
    let (sender, dropped) = channel();
    log.append(entry(999), {
        let last = Arc::clone(&last);
        move |outcome| {
            let log: Option<Log> = last.lock().unwrap().take();
            drop(log);
            sender.send(outcome).unwrap();
        }
    });
    *last.lock().unwrap() = Some(log);
    held.gate.set(false, true);
    assert_eq!(dropped.recv_timeout(PATIENCE).expect("dropping hangs"), Err(AppendError::Failed));
}
