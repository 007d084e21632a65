use std::path::Path;

use paramant_log::{Log, Options};
use paramant_tlog::vkey::Algorithm;
use tempfile::TempDir;

use super::super::fence::Sources;
use super::*;
use crate::data_dir::DataDir;

const ORIGIN: &str = "relay.example/log";

/// A log with its ring, as a process holds them; dropping it is a crash.
struct Open {
    log: DatedLog,
    ring: KeyRing,
    _data: DataDir,
}

/// Starts as the relay does: a step that was cut off is completed.
fn open(root: &Path) -> Open {
    let open = open_unfinished(root);
    open.ring.complete(&open.log).unwrap();
    open
}

fn open_unfinished(root: &Path) -> Open {
    let data = DataDir::open(root).unwrap();
    let identity = Identity::open(&data).unwrap();
    let book = KeyBook::open(&data).unwrap();
    let guard = Guard::new(Sources::default());
    guard.arm();
    let ring = KeyRing::new(ORIGIN, &identity, book, guard).unwrap();
    let options =
        Options { checkpoint_every: std::time::Duration::from_secs(3600), ..Options::new(data.log()) };
    let log = DatedLog::open(Log::open(options, Arc::new(ring.clone())).unwrap()).unwrap();
    Open { log, ring, _data: data }
}

impl Open {
    fn append(&self) {
        let entry = entry::Entry::transfer([7; 32], Timestamp::now());
        let entry = Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() };
        self.log.append_blocking(entry).unwrap();
    }

    /// The keys whose lines a checkpoint of the present head carries, all verified.
    fn signers(&self) -> Vec<VerifierKey> {
        let note = Note::parse(self.log.engine().publish_now().unwrap().note.as_bytes()).unwrap();
        let keys = self.ring.verifiers(self.log.engine().head().size);
        assert_eq!(note.signatures.len(), keys.len());
        assert_eq!(note.open(&keys).unwrap().len(), keys.len(), "every line verifies");
        keys
    }

    /// `(added, retired)` of every rotation entry, in order.
    fn rotations(&self) -> Vec<(Option<String>, Option<String>)> {
        let entries = self.log.engine().entries(0, 1000).unwrap();
        let bodies = entries.iter().map(|it| entry::Entry::parse(&it.bytes).unwrap().body().cloned());
        bodies
            .filter_map(|body| match body {
                Some(Body::LogKeyRotated(it)) => Some((it.added, it.retired)),
                _ => None,
            })
            .collect()
    }
}

fn algorithms(keys: &[VerifierKey]) -> Vec<Algorithm> {
    keys.iter().map(VerifierKey::algorithm).collect()
}

#[test]
fn old_and_new_keys_sign_together_until_the_old_ones_are_retired() {
    use Algorithm::{Ed25519, MlDsa44, MlDsa65};
    let temp = TempDir::new().unwrap();
    let it = open(temp.path());
    it.append();
    let old = it.signers();
    assert_eq!(algorithms(&old), [Ed25519, MlDsa44, MlDsa65]);
    assert!(matches!(it.ring.finish(&it.log), Err(RotateError::NotBegun)));

    it.ring.begin(&it.log).unwrap();
    assert!(matches!(it.ring.begin(&it.log), Err(RotateError::Overlapping)));
    assert!(matches!(it.ring.finish(&it.log), Err(RotateError::NotSeen)), "nobody saw both yet");
    let both = it.signers();
    assert_eq!(algorithms(&both), [Ed25519, MlDsa44, Ed25519, MlDsa44, MlDsa65]);
    assert_eq!(&both[..2], &old[..2]);

    it.ring.finish(&it.log).unwrap();
    let new = it.signers();
    assert_eq!(new, both[2..].to_vec());
    let name = |key: &VerifierKey| Some(key.to_string());
    assert_eq!(
        it.rotations(),
        [(name(&new[0]), None), (name(&new[1]), None), (None, name(&old[0])), (None, name(&old[1])),]
    );
    let ranges: Vec<_> = it.ring.records().iter().map(|key| (key.first_size, key.last_size)).collect();
    assert_eq!(ranges, [(0, Some(3)), (0, Some(4)), (2, None), (3, None)]);
    assert!(!temp.path().join("log-keys/ed25519.seed").exists(), "the old private key is destroyed");

    drop(it);
    let it = open(temp.path());
    it.append();
    assert_eq!(it.signers(), new, "a restart changes nothing");
    it.ring.begin(&it.log).unwrap();
    it.signers();
    it.ring.finish(&it.log).unwrap();
    assert_ne!(it.signers()[..2], new[..2], "and they are rotated again");
}

/// The size decides, not the moment: a head that was taken before the entry is signed by who signed then.
#[test]
fn a_head_from_before_a_step_carries_the_lines_of_before() {
    let temp = TempDir::new().unwrap();
    let it = open(temp.path());
    it.append();
    let before = it.log.engine().head();
    it.ring.begin(&it.log).unwrap();
    let between = it.log.engine().head();
    it.signers();
    it.ring.finish(&it.log).unwrap();
    let lines = |head: &Head| Note::parse(it.ring.sign(head).unwrap().as_bytes()).unwrap().signatures.len();
    assert_eq!((lines(&before), lines(&between), lines(&it.log.engine().head())), (3, 5, 3));
}

#[test]
fn a_step_that_a_crash_cut_off_is_completed_before_the_next_signature_and_appended_once() {
    for begun in [false, true] {
        for appended in 0..=2 {
            let temp = TempDir::new().unwrap();
            let it = open(temp.path());
            it.append();
            if begun {
                it.ring.begin(&it.log).unwrap();
                it.signers();
            }
            let mut state = it.ring.lock();
            let (step, generation, keys): (_, _, Vec<String>) = if begun {
                let keys = of(&state.book.record.keys, 0).map(|key| key.vkey.clone()).collect();
                (Step::Finish, 0, keys)
            } else {
                let keys = pair(ORIGIN, state.book.make(1).unwrap()).unwrap();
                (Step::Begin, 1, keys.iter().map(|key| key.verifier().to_string()).collect())
            };
            it.ring.announce(&mut state, &it.log, step, generation, keys).unwrap();
            let pending = state.book.record.pending.clone().unwrap();
            drop(state);
            for entry in pending.entries.iter().take(appended) {
                let legacy_leaf = entry::Entry::parse(entry.entry.as_bytes()).unwrap().leaf();
                let bytes = entry.entry.clone().into_bytes();
                it.log.append_blocking(Entry { bytes, legacy_leaf }).unwrap();
            }
            drop(it);

            let it = open(temp.path());
            assert_eq!(it.rotations().len(), if begun { 4 } else { 2 }, "{begun} {appended}");
            assert_eq!(it.signers().len(), if begun { 3 } else { 5 }, "{begun} {appended}");
            assert!(it.ring.lock().book.record.pending.is_none());
            assert_eq!(temp.path().join("log-keys/ed25519.seed").exists(), !begun);
            drop(it);
            assert_eq!(open(temp.path()).rotations().len(), if begun { 4 } else { 2 }, "once");
        }
    }
}

#[test]
fn new_keys_that_no_record_names_are_written_over() {
    let temp = TempDir::new().unwrap();
    let it = open(temp.path());
    it.append();
    it.ring.lock().book.make(1).unwrap();
    let orphan = std::fs::read(temp.path().join("log-keys/1/ed25519.seed")).unwrap();
    drop(it);
    let it = open(temp.path());
    assert_eq!(it.signers().len(), 3);
    it.ring.begin(&it.log).unwrap();
    assert_eq!(it.signers().len(), 5);
    assert_ne!(std::fs::read(temp.path().join("log-keys/1/ed25519.seed")).unwrap(), orphan);
}

#[test]
fn a_log_that_may_not_be_signed_is_not_rotated() {
    let temp = TempDir::new().unwrap();
    let it = open(temp.path());
    it.ring.0.guard.operator_says(Some(super::super::fence::Answer::Objects("an old copy".to_owned())));
    assert!(matches!(it.ring.begin(&it.log), Err(RotateError::Fenced(_))));
    assert!(it.log.engine().publish_now().is_err(), "and nothing is signed");
}

#[test]
fn a_clock_that_is_set_back_does_not_take_checkpoints_along() {
    let mut clock = Clock::default();
    let times = [100, 101, 40, 41, 101, 102].map(|now| clock.never_back(now));
    assert_eq!(times, [100, 101, 101, 101, 101, 102]);
}
