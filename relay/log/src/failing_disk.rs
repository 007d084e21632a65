//! A disk that fails on command, and what the engine tells its callers then. What is left on disk is the matter of
//! `crash_matrix`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::backlog::Backlog;
use crate::hooked_disk::{Hook, HookedDisk};
use crate::{AppendError, CheckpointSigner, Entry, Head, Log, Options, PublishError, SignError, start};
use paramant_tlog::Checkpoint;
use paramant_tlog::keys::{Ed25519Key, Seed, Signer};
use paramant_tlog::note::Note;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What is to fail from now on.
#[derive(Default)]
struct Faults {
    syncs: AtomicBool,
    writes: AtomicBool,
    creates: AtomicBool,
    tiles: AtomicBool,
}

impl Faults {
    fn check(flag: &AtomicBool) -> io::Result<()> {
        if flag.load(Ordering::SeqCst) { Err(io::Error::other("planted")) } else { Ok(()) }
    }
}

impl Hook for Faults {
    fn create(&self, path: &Path) -> io::Result<()> {
        Self::check(&self.creates)?;
        if path.components().any(|part| part.as_os_str() == "tile") {
            Self::check(&self.tiles)?;
        }
        Ok(())
    }
    fn write(&self) -> io::Result<()> {
        Self::check(&self.writes)
    }
    fn sync(&self) -> io::Result<()> {
        Self::check(&self.syncs)
    }
    fn sync_many(&self) -> io::Result<()> {
        self.sync()
    }
}

/// Signs, unless told to refuse.
struct OneKey {
    key: Ed25519Key,
    refuse: AtomicBool,
}

impl OneKey {
    fn new() -> Arc<Self> {
        let key = Ed25519Key::from_seed("log.example", &Seed::new([1; 32])).unwrap();
        Arc::new(Self { key, refuse: AtomicBool::new(false) })
    }
}

impl CheckpointSigner for OneKey {
    fn sign(&self, head: &Head) -> Result<String, SignError> {
        if self.refuse.load(Ordering::SeqCst) {
            return Err(SignError("the fence has not answered".to_owned()));
        }
        let text = Checkpoint::new("log.example", head.size, head.sha256_root).to_text();
        let keys: [&dyn Signer; 1] = [&self.key];
        Ok(Note::sign(&text, &keys, 0)?.to_text())
    }
}

fn entry(number: u64) -> Entry {
    let mut legacy_leaf = [7; 32];
    legacy_leaf[..8].copy_from_slice(&number.to_be_bytes());
    Entry { bytes: format!("entry {number} {}", "x".repeat(1000)).into_bytes(), legacy_leaf }
}

fn options(dir: &Path) -> Options {
    Options { checkpoint_every: Duration::from_secs(3600), segment_bytes: 256 * 1024, ..Options::new(dir) }
}

fn open(dir: &Path) -> (Log, Arc<Faults>, Arc<OneKey>) {
    open_with(dir, Backlog::default())
}

fn open_with(dir: &Path, backlog: Backlog) -> (Log, Arc<Faults>, Arc<OneKey>) {
    let (faults, key) = (Arc::new(Faults::default()), OneKey::new());
    let disk = Arc::new(HookedDisk(Arc::clone(&faults)));
    let log = start::open_with(options(dir), backlog, Arc::clone(&key) as _, disk);
    (log.unwrap(), faults, key)
}

/// A log whose tiles cannot be written, with 600 published entries where 256 may wait for them.
fn without_tiles(dir: &Path, patience: Duration) -> (Log, Arc<Faults>) {
    let (log, faults, _) = open_with(dir, Backlog { most: 256, patience });
    faults.tiles.store(true, Ordering::SeqCst);
    let (sender, receiver) = std::sync::mpsc::channel();
    for number in 0..600 {
        let sender = sender.clone();
        log.append(entry(number), move |outcome| sender.send(outcome).unwrap());
    }
    for _ in 0..600 {
        receiver.recv().unwrap().unwrap();
    }
    log.publish_now().unwrap();
    (log, faults)
}

#[test]
fn a_failed_sync_fails_every_waiter_and_the_engine_stays_dead() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults, _) = open(dir.path());
    for number in 0..3 {
        log.append_blocking(entry(number)).unwrap();
    }
    faults.syncs.store(true, Ordering::SeqCst);
    let (sender, receiver) = std::sync::mpsc::channel();
    for number in 3..50 {
        let sender = sender.clone();
        log.append(entry(number), move |outcome| sender.send(outcome).unwrap());
    }
    for _ in 3..50 {
        assert_eq!(receiver.recv().unwrap(), Err(AppendError::Failed));
    }
    // Even if the disk works again: what it holds is not to be believed before a restart.
    faults.syncs.store(false, Ordering::SeqCst);
    assert_eq!(log.append_blocking(entry(3)), Err(AppendError::Failed));
    assert_eq!(log.publish_now(), Err(PublishError::Failed));
    assert!(log.has_failed());
    assert_eq!(log.head().size, 3);
    drop(log);

    let (log, ..) = open(dir.path());
    assert!(log.head().size >= 3);
    for number in 0..3 {
        assert_eq!(log.entry(number).unwrap().unwrap(), entry(number));
    }
}

#[test]
fn a_failed_write_of_a_batch_ends_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults, _) = open(dir.path());
    log.append_blocking(entry(0)).unwrap();
    faults.writes.store(true, Ordering::SeqCst);
    assert_eq!(log.append_blocking(entry(1)), Err(AppendError::Failed));
    assert_eq!(log.append_blocking(entry(2)), Err(AppendError::Failed));
}

#[test]
fn a_full_disk_refuses_appends_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults, _) = open(dir.path());
    faults.creates.store(true, Ordering::SeqCst);
    let mut number = 0;
    // One blank segment may be ready already, so at most two are filled.
    let refused = loop {
        match log.append_blocking(entry(number)) {
            Ok(appended) => assert_eq!(appended.index, number),
            Err(error) => break error,
        }
        number += 1;
        assert!(number < 2000);
    };
    assert!(matches!(refused, AppendError::NoSegment(_)), "{refused:?}");
    assert!(!log.has_failed());
    faults.creates.store(false, Ordering::SeqCst);
    let give_up = std::time::Instant::now() + Duration::from_secs(30);
    let appended = loop {
        match log.append_blocking(entry(number)) {
            Ok(appended) => break appended,
            Err(error) => assert!(std::time::Instant::now() < give_up, "{error}"),
        }
    };
    assert_eq!(appended.index, number);
    drop(log);
    assert_eq!(open(dir.path()).0.head().size, number + 1);
}

#[test]
fn appends_are_refused_while_tiles_cannot_be_written_and_taken_again_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults) = without_tiles(dir.path(), Duration::from_millis(50));
    let refused = log.append_blocking(entry(600));
    assert!(matches!(refused, Err(AppendError::TilesBehind(_))), "{refused:?}");
    assert!(!log.has_failed());
    faults.tiles.store(false, Ordering::SeqCst);
    let give_up = std::time::Instant::now() + Duration::from_secs(30);
    while let Err(error) = log.append_blocking(entry(600)) {
        assert!(std::time::Instant::now() < give_up, "{error}");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(log.head().size, 601);
}

#[test]
fn a_log_whose_tiles_cannot_be_written_closes_with_all_that_was_queued() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _faults) = without_tiles(dir.path(), Duration::from_secs(3600));
    let (sender, receiver) = std::sync::mpsc::channel();
    log.append(entry(600), move |outcome| sender.send(outcome).unwrap());
    let (closed, waiting) = std::sync::mpsc::channel();
    std::thread::spawn(move || closed.send(log.close()).unwrap());
    waiting.recv_timeout(Duration::from_secs(30)).expect("closing hangs").unwrap();
    assert_eq!(receiver.recv().unwrap().unwrap().index, 600);
}

#[test]
fn a_checkpoint_whose_sync_fails_is_never_seen_and_ends_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let (log, faults, _) = open(dir.path());
    log.append_blocking(entry(0)).unwrap();
    faults.syncs.store(true, Ordering::SeqCst);
    assert_eq!(log.publish_now(), Err(PublishError::Failed));
    assert!(log.published().is_none());
    assert!(log.has_failed());
}

#[test]
fn a_signer_that_refuses_stops_checkpoints_but_not_appends() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _, key) = open(dir.path());
    key.refuse.store(true, Ordering::SeqCst);
    for number in 0..600 {
        log.append_blocking(entry(number)).unwrap();
    }
    assert!(matches!(log.publish_now(), Err(PublishError::Sign(_))));
    assert!(log.published().is_none());
    assert!(log.tile(0, 0, 1).unwrap().is_none());
    // Several segments above the last checkpoint are copied at start.
    drop(log);
    let (log, ..) = open(dir.path());
    assert_eq!(log.head().size, 600);
    assert_eq!(log.publish_now().unwrap().head.size, 600);
}

#[test]
fn a_note_about_something_else_is_not_published() {
    struct Liar;
    impl CheckpointSigner for Liar {
        fn sign(&self, head: &Head) -> Result<String, SignError> {
            OneKey::new().sign(&Head { size: head.size + 1, ..*head })
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(options(dir.path()), Arc::new(Liar)).unwrap();
    log.append_blocking(entry(0)).unwrap();
    assert!(matches!(log.publish_now(), Err(PublishError::WrongNote(_))));
    assert!(log.published().is_none());
}
