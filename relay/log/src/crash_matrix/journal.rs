//! What the world outside was told by a log through all its lives: what a crash must not take back.

use super::oracle;
use crate::{Appended, CheckpointSigner, Entry, Head, SignError};
use paramant_tlog::Checkpoint;
use paramant_tlog::keys::{Ed25519Key, Seed, Signer};
use paramant_tlog::note::Note;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

/// The name of every log here.
pub(super) const ORIGIN: &str = "log.example";

/// Who appended an entry, and as its how manyeth: tells two entries with the same index apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    /// The life of the log, from 0.
    pub(super) life: u32,
    pub(super) serial: u32,
}

/// Everything told so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Lives begun.
    pub(super) lives: u32,
    /// Entries handed in by each life.
    pub(super) submitted: BTreeMap<u32, u32>,
    /// Acknowledged entries by index.
    pub(super) acknowledged: BTreeMap<u64, Id>,
    /// Heads given with acknowledgements.
    pub(super) stated: Vec<Head>,
    /// Heads ever signed, in order, published or not.
    pub(super) signed: Vec<Head>,
    /// Size of the newest checkpoint that anyone could see.
    pub(super) published: u64,
    /// What was wrong already while it was told.
    pub(super) wrong: Vec<String>,
}

/// The one record of it. Clones are the same record.
#[derive(Clone, Default)]
pub(super) struct Journal(Arc<Mutex<Seen>>);

impl Journal {
    pub(super) fn new(seen: Seen) -> Self {
        Self(Arc::new(Mutex::new(seen)))
    }

    pub(super) fn seen(&self) -> Seen {
        self.0.lock().unwrap().clone()
    }

    /// A new life of the log.
    pub(super) fn begin_life(&self) -> u32 {
        let mut seen = self.0.lock().unwrap();
        seen.lives += 1;
        seen.lives - 1
    }

    /// The next entry of a life.
    pub(super) fn submit(&self, life: u32, length: usize) -> (Id, Entry) {
        let mut seen = self.0.lock().unwrap();
        let count = seen.submitted.entry(life).or_default();
        let id = Id { life, serial: *count };
        *count += 1;
        (id, oracle::entry(id, length))
    }

    pub(super) fn acknowledge(&self, id: Id, appended: Appended) {
        let mut seen = self.0.lock().unwrap();
        if let Some(other) = seen.acknowledged.insert(appended.index, id) {
            seen.wrong.push(format!("index {} is given to {other:?} and to {id:?}", appended.index));
        }
        if seen.stated.last() != Some(&appended.head) {
            seen.stated.push(appended.head);
        }
    }

    pub(super) fn publish(&self, size: u64) {
        let mut seen = self.0.lock().unwrap();
        seen.published = seen.published.max(size);
    }
}

fn key() -> &'static Ed25519Key {
    static KEY: OnceLock<Ed25519Key> = OnceLock::new();
    KEY.get_or_init(|| Ed25519Key::from_seed(ORIGIN, &Seed::new([1; 32])).unwrap())
}

/// The verifier key for outside judges.
pub(super) fn vkey() -> String {
    key().verifier().to_string()
}

impl CheckpointSigner for Journal {
    fn sign(&self, head: &Head) -> Result<String, SignError> {
        {
            let mut seen = self.0.lock().unwrap();
            if let Some(last) = seen.signed.last().filter(|last| last.size > head.size) {
                let wrong = format!("size {} is signed after size {}", head.size, last.size);
                seen.wrong.push(wrong);
            }
            seen.signed.push(*head);
        }
        let text = Checkpoint::new(ORIGIN, head.size, head.sha256_root).to_text();
        let keys: [&dyn Signer; 1] = [key()];
        Ok(Note::sign(&text, &keys, 0)?.to_text())
    }
}
