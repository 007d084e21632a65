//! A log with keys, and callers that append to it again and again.

use paramant_log::{CheckpointSigner, Entry, Head, Log, SignError};
use paramant_tlog::Checkpoint;
use paramant_tlog::keys::{Ed25519Key, MlDsa44Key, NoKey, Seed, Signer};
use paramant_tlog::note::Note;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::SystemTime;

const ORIGIN: &str = "bench.example/log";

/// Signs checkpoints as a relay does, with both algorithms of the notes.
pub(crate) struct Keys(Ed25519Key, MlDsa44Key);

impl Keys {
    pub(crate) fn new() -> Arc<Self> {
        let keys = || -> Result<Self, NoKey> {
            let ed25519 = Ed25519Key::from_seed(ORIGIN, &Seed::new([1; 32]))?;
            Ok(Self(ed25519, MlDsa44Key::from_seed(ORIGIN, &Seed::new([2; 32]))?))
        };
        Arc::new(keys().expect("keys"))
    }
}

impl CheckpointSigner for Keys {
    fn sign(&self, head: &Head) -> Result<String, SignError> {
        let text = Checkpoint::new(ORIGIN, head.size, head.sha256_root).to_text();
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let keys: [&dyn Signer; 2] = [&self.0, &self.1];
        Ok(Note::sign(&text, &keys, at)?.to_text())
    }
}

/// An entry that differs from all others.
pub(crate) fn entry(number: u64, length: usize) -> Entry {
    let mut bytes = vec![b'x'; length];
    let digits = number.to_string();
    let length = digits.len().min(bytes.len());
    if let (Some(place), Some(digits)) = (bytes.get_mut(..length), digits.as_bytes().get(..length)) {
        place.copy_from_slice(digits);
    }
    let mut legacy_leaf = [1; 32];
    if let Some(place) = legacy_leaf.first_chunk_mut() {
        *place = number.to_be_bytes();
    }
    Entry { bytes, legacy_leaf }
}

/// What one waiter needs to append again from its own callback.
pub(crate) struct Load {
    bytes: usize,
    next: AtomicU64,
    acknowledged: AtomicU64,
    under_way: Mutex<u64>,
    idle: Condvar,
    stop: AtomicBool,
}

impl Load {
    /// So many callers, each of which appends its next entry when the last one is durable.
    pub(crate) fn begin(log: &Log, waiters: u64, bytes: usize) -> Arc<Self> {
        let load = Arc::new(Self {
            bytes,
            next: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            under_way: Mutex::new(waiters),
            idle: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        for _ in 0..waiters {
            load.append(log);
        }
        load
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets every caller finish its entry; returns how many were acknowledged in all.
    pub(crate) fn end(&self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let under_way = self.under_way.lock().expect("lock");
        drop(self.idle.wait_while(under_way, |left| *left > 0).expect("wait"));
        self.acknowledged()
    }

    fn append(self: &Arc<Self>, log: &Log) {
        let (load, again) = (Arc::clone(self), log.clone());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        log.append(entry(number, self.bytes), move |outcome| {
            outcome.expect("append");
            load.acknowledged.fetch_add(1, Ordering::Relaxed);
            if load.stop.load(Ordering::Relaxed) {
                let mut under_way = load.under_way.lock().expect("lock");
                *under_way -= 1;
                load.idle.notify_all();
            } else {
                load.append(&again);
            }
        });
    }
}
