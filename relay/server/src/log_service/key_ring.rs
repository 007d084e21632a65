//! The keys that sign checkpoints, and their rotation with an overlap.
//!
//! A key signs exactly the trees that hold the entry which added it and not the one which retired it, so whoever has the
//! entries knows which lines a checkpoint must carry. Order of a step (begin or finish):
//!
//! | step | a crash after it leaves |
//! |---|---|
//! | 1 (begin) new private keys are written and synced | keys that nobody knows; the next rotation writes over them |
//! | 2 `keys.json` names the step and the entries it will append | the next start appends those that are missing, before it signs anything |
//! | 3 the entries are appended, durably | the next start finds them in the log |
//! | 4 `keys.json` has the sizes that follow from their places | the step is done |
//! | 5 (finish) the old private keys are overwritten and removed | keys that no record speaks of; the next finish or start removes them |
//!
//! The ring is locked from 2 to 4, and a signer waits for it: no head is signed while it is open who signs it. The ML-DSA-65
//! line is the identity's and does not rotate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use paramant_log::{AppendError, CheckpointSigner, Entry, Head, ReadError, SignError};
use paramant_protocol::entry::body::LogKeyRotated;
use paramant_protocol::entry::{self, Body, EntryError};
use paramant_tlog::Checkpoint;
use paramant_tlog::keys::{MlDsa65Key, NoKey, Signer};
use paramant_tlog::note::Note;
use paramant_tlog::vkey::VerifierKey;

use super::guard::Guard;
use super::hours::DatedLog;
use super::key_book::{KeyBook, KeyRecord, Pending, PendingEntry, Step};
use crate::identity::{Identity, KeyError, LogKeys};

/// The origin cannot name a key.
#[derive(Debug, thiserror::Error)]
#[error("the log's origin {origin:?} cannot be the name of a signing key: {source}")]
pub struct KeysRefused {
    origin: String,
    source: NoKey,
}

/// Why a rotation's step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// A rotation is under way.
    #[error("the log's keys are being rotated already: finish that rotation first")]
    Overlapping,
    /// None is.
    #[error("no rotation of the log's keys is under way: begin one first")]
    NotBegun,
    /// Nobody outside could have seen the new keys beside the old.
    #[error("no checkpoint with both the old and the new keys was published yet: try again in a moment")]
    NotSeen,
    /// Nothing may be signed.
    #[error("the log is not signed now: {0}")]
    Fenced(String),
    /// A key file. The step is completed at the next start if its entries were announced.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The name cannot stand in a key.
    #[error(transparent)]
    Name(#[from] NoKey),
    /// The entry cannot be made.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The log takes no entries; the step is completed at the next start.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A private key at work, with the sizes it signs.
struct Line {
    key: Box<dyn Signer>,
    record: KeyRecord,
}

struct State {
    book: KeyBook,
    lines: Vec<Line>,
    clock: Clock,
}

/// The time of the newest signature, in seconds. A clock that is set back must not make a newer checkpoint look older than the
/// one before it: the time stands still until the clock has caught up.
#[derive(Default)]
struct Clock(u64);

impl Clock {
    fn never_back(&mut self, now: u64) -> u64 {
        self.0 = self.0.max(now);
        self.0
    }
}

/// The ring; cheap to clone.
#[derive(Clone)]
pub(super) struct KeyRing(Arc<Inner>);

struct Inner {
    origin: String,
    identity: MlDsa65Key,
    guard: Guard,
    state: Mutex<State>,
}

impl KeyRing {
    pub(super) fn new(
        origin: &str,
        identity: &Identity,
        mut book: KeyBook,
        guard: Guard,
    ) -> Result<Self, KeysRefused> {
        let refused = |source| KeysRefused { origin: origin.to_owned(), source };
        if let (true, Some(first)) = (book.record.keys.is_empty(), book.private.get(&0)) {
            let keys = pair(origin, first).map_err(refused)?;
            book.record.keys = keys.iter().map(|key| record(&**key, 0, 0)).collect();
        }
        let lines = lines(origin, &book).map_err(refused)?;
        let identity = identity.checkpoint_key(origin).map_err(refused)?;
        let state = Mutex::new(State { book, lines, clock: Clock::default() });
        Ok(Self(Arc::new(Inner { origin: origin.to_owned(), identity, guard, state })))
    }

    /// The keys that sign a tree of this size, in the order of their lines.
    pub(super) fn verifiers(&self, size: u64) -> Vec<VerifierKey> {
        let state = self.lock();
        let signing = state.lines.iter().filter(|line| line.record.signs(size));
        let mut keys: Vec<_> = signing.map(|line| line.key.verifier().clone()).collect();
        keys.push(self.0.identity.verifier().clone());
        keys
    }

    /// Every key that ever signed, but the identity's, oldest first.
    pub(super) fn records(&self) -> Vec<KeyRecord> {
        self.lock().book.record.keys.clone()
    }

    /// At start, before anything is signed: completes a step that a crash cut off.
    pub(super) fn complete(&self, log: &DatedLog) -> Result<(), RotateError> {
        let mut state = self.lock();
        if state.book.record.pending.is_some() {
            tracing::warn!("a rotation of the log's keys was cut off; it is completed now");
            self.append_and_record(&mut state, log)?;
        }
        let retired: Vec<u32> = retired_generations(&state.book.record.keys);
        for generation in retired {
            state.book.destroy(generation)?;
        }
        Ok(())
    }

    /// Adds the keys of a new generation: from here on checkpoints carry the lines of both.
    pub(super) fn begin(&self, log: &DatedLog) -> Result<(), RotateError> {
        self.0.guard.may_sign().map_err(RotateError::Fenced)?;
        let mut state = self.lock();
        if state.book.record.pending.is_some() || living_generations(&state.book.record.keys).len() != 1 {
            return Err(RotateError::Overlapping);
        }
        let generation = state.book.record.keys.iter().map(|key| key.generation).max().unwrap_or(0) + 1;
        let keys = pair(&self.0.origin, state.book.make(generation)?)?;
        let added: Vec<String> = keys.iter().map(|key| key.verifier().to_string()).collect();
        self.announce(&mut state, log, Step::Begin, generation, added)?;
        self.append_and_record(&mut state, log)
    }

    /// Retires the keys of the old generation: from here on checkpoints carry the lines of the new one only.
    pub(super) fn finish(&self, log: &DatedLog) -> Result<(), RotateError> {
        self.0.guard.may_sign().map_err(RotateError::Fenced)?;
        let published = log.engine().published().map_or(0, |published| published.head.size);
        let mut state = self.lock();
        let living = living_generations(&state.book.record.keys);
        let (Some(old), Some(new)) = (living.first().copied(), living.get(1).copied()) else {
            return Err(RotateError::NotBegun);
        };
        if state.book.record.pending.is_some() {
            return Err(RotateError::Overlapping);
        }
        let new_first = of(&state.book.record.keys, new).map(|key| key.first_size).max().unwrap_or(u64::MAX);
        if published < new_first {
            return Err(RotateError::NotSeen);
        }
        let retired: Vec<String> = of(&state.book.record.keys, old).map(|key| key.vkey.clone()).collect();
        self.announce(&mut state, log, Step::Finish, old, retired)?;
        self.append_and_record(&mut state, log)?;
        state.book.destroy(old)?;
        Ok(())
    }

    /// Step 2: what will be appended is on disk before it is.
    fn announce(
        &self,
        state: &mut State,
        log: &DatedLog,
        step: Step,
        generation: u32,
        vkeys: Vec<String>,
    ) -> Result<(), RotateError> {
        let now = Timestamp::now();
        let mut entries = Vec::with_capacity(vkeys.len());
        for vkey in vkeys {
            let (added, retired) = match step {
                Step::Begin => (Some(vkey.clone()), None),
                Step::Finish => (None, Some(vkey.clone())),
            };
            let entry = entry::Entry::with_body(Body::LogKeyRotated(LogKeyRotated { added, retired }), now)?;
            let entry = String::from_utf8_lossy(entry.bytes()).into_owned();
            entries.push(PendingEntry { vkey, entry });
        }
        let from = log.engine().head().size;
        state.book.record.pending = Some(Pending { step, generation, from, entries });
        state.book.write().inspect_err(|_| state.book.record.pending = None)?;
        Ok(())
    }

    /// Steps 3 and 4. What is in the log already is not appended again.
    fn append_and_record(&self, state: &mut State, log: &DatedLog) -> Result<(), RotateError> {
        let Some(pending) = state.book.record.pending.clone() else { return Ok(()) };
        let mut keys = state.book.record.keys.clone();
        for PendingEntry { vkey, entry } in &pending.entries {
            let leaf = entry::Entry::parse(entry.as_bytes())?.leaf();
            let index = match log.engine().find_legacy_leaf(&leaf, pending.from)? {
                Some(index) => index,
                None => {
                    let entry = Entry { bytes: entry.clone().into_bytes(), legacy_leaf: leaf };
                    log.append_blocking(entry)?.index
                }
            };
            match pending.step {
                Step::Begin => keys.push(KeyRecord {
                    generation: pending.generation,
                    vkey: vkey.clone(),
                    first_size: index + 1,
                    last_size: None,
                }),
                Step::Finish => {
                    for key in keys.iter_mut().filter(|key| key.vkey == *vkey) {
                        key.last_size = Some(index);
                    }
                }
            }
        }
        state.book.record.keys = keys;
        state.book.record.pending = None;
        // In force before it is on disk: the entries are in the log, so a signature must follow them whatever the disk says.
        state.lines = lines(&self.0.origin, &state.book)?;
        state.book.write()?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CheckpointSigner for KeyRing {
    fn sign(&self, head: &Head) -> Result<String, SignError> {
        self.0.guard.may_sign().map_err(SignError)?;
        let text = Checkpoint::new(&self.0.origin, head.size, head.sha256_root).to_text();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut state = self.lock();
        let at = state.clock.never_back(now);
        let signing = state.lines.iter().filter(|line| line.record.signs(head.size));
        let mut keys: Vec<&dyn Signer> = signing.map(|line| &*line.key).collect();
        keys.push(&self.0.identity);
        let note = Note::sign(&text, &keys, at).map_err(|error| SignError(error.to_string()))?;
        Ok(note.to_text())
    }
}

/// The lines of all keys whose private half is here.
fn lines(origin: &str, book: &KeyBook) -> Result<Vec<Line>, NoKey> {
    let mut lines = Vec::new();
    for (generation, keys) in &book.private {
        for key in pair(origin, keys)? {
            let vkey = key.verifier().to_string();
            // One that is coming has no record before its entry is in the log.
            let found = book.record.keys.iter().find(|it| it.generation == *generation && it.vkey == vkey);
            if let Some(record) = found.cloned() {
                lines.push(Line { key, record });
            }
        }
    }
    Ok(lines)
}

fn pair(origin: &str, keys: &LogKeys) -> Result<[Box<dyn Signer>; 2], NoKey> {
    let (ed25519, ml_dsa_44) = keys.checkpoint_keys(origin)?;
    Ok([Box::new(ed25519), Box::new(ml_dsa_44)])
}

fn record(key: &dyn Signer, generation: u32, first_size: u64) -> KeyRecord {
    KeyRecord { generation, vkey: key.verifier().to_string(), first_size, last_size: None }
}

fn of(keys: &[KeyRecord], generation: u32) -> impl Iterator<Item = &KeyRecord> {
    keys.iter().filter(move |key| key.generation == generation)
}

/// Generations with a key that still signs, oldest first.
fn living_generations(keys: &[KeyRecord]) -> Vec<u32> {
    let mut living: Vec<u32> =
        keys.iter().filter(|key| key.last_size.is_none()).map(|key| key.generation).collect();
    living.sort_unstable();
    living.dedup();
    living
}

fn retired_generations(keys: &[KeyRecord]) -> Vec<u32> {
    let living = living_generations(keys);
    let mut retired: Vec<u32> =
        keys.iter().map(|key| key.generation).filter(|generation| !living.contains(generation)).collect();
    retired.dedup();
    retired
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
