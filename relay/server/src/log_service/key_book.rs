//! `log-keys/keys.json`: which keys sign the log, each from which tree size to which, and a rotation under way.
//!
//! The private halves lie beside it: those of generation 0 in `log-keys/` itself, later ones in `log-keys/<n>/`. A log that
//! was never rotated has no `keys.json`: its two keys sign from the beginning. Private keys that signed their last are
//! destroyed; their public halves stay here. What each step of a rotation writes, in which order, is told in
//! `super::key_ring`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data_dir::{DataDir, durable};
use crate::identity::{KeyError, LogKeys};

/// One public key and the sizes of the trees it signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRecord {
    /// Which pair it belongs to.
    pub generation: u32,
    /// The verifier key.
    pub vkey: String,
    /// The smallest tree it signs: one more than the index of the entry that added it.
    pub first_size: u64,
    /// The largest tree it signs: the index of the entry that retired it.
    pub last_size: Option<u64>,
}

impl KeyRecord {
    /// Whether it signs a tree of this size.
    #[must_use]
    pub fn signs(&self, size: u64) -> bool {
        self.first_size <= size && self.last_size.is_none_or(|last| size <= last)
    }
}

/// What a rotation's step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Step {
    /// Keys of a new generation come; the overlap begins.
    Begin,
    /// Keys of an old generation go; the overlap ends.
    Finish,
}

/// A step whose entries may not be in the log yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pending {
    pub(super) step: Step,
    /// The generation that comes or goes.
    pub(super) generation: u32,
    /// The log's size when the step began: its entries are at or after this index.
    pub(super) from: u64,
    /// Each key's entry, to be appended byte for byte.
    pub(super) entries: Vec<PendingEntry>,
}

/// The entry about one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingEntry {
    pub(super) vkey: String,
    /// Canonical JSON.
    pub(super) entry: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) keys: Vec<KeyRecord>,
    pub(super) pending: Option<Pending>,
}

impl Record {
    /// Generations that still have a private half: those that sign, and one that is coming.
    fn living(&self) -> Vec<u32> {
        let mut living: Vec<u32> =
            self.keys.iter().filter(|key| key.last_size.is_none()).map(|key| key.generation).collect();
        living.extend(self.pending.iter().map(|pending| pending.generation));
        living.sort_unstable();
        living.dedup();
        living
    }
}

/// The record on disk, and the private keys it speaks of.
#[derive(Debug)]
pub struct KeyBook {
    directory: PathBuf,
    pub(super) record: Record,
    pub(super) private: BTreeMap<u32, LogKeys>,
}

impl KeyBook {
    /// Loads the keys, or makes the first ones on first boot.
    ///
    /// # Errors
    /// [`KeyError`] when a file cannot be read or written, is damaged, or is missing although there is a log.
    pub fn open(data: &DataDir) -> Result<Self, KeyError> {
        let directory = data.log_keys();
        let mut private = BTreeMap::new();
        let record = match read(&directory)? {
            None => {
                private.insert(0, LogKeys::open(data)?);
                Record::default()
            }
            Some(record) => {
                for generation in record.living() {
                    private.insert(generation, LogKeys::load(&of_generation(&directory, generation))?);
                }
                record
            }
        };
        Ok(Self { directory, record, private })
    }

    /// Makes the keys of a new generation, durably.
    pub(super) fn make(&mut self, generation: u32) -> Result<&LogKeys, KeyError> {
        let directory = of_generation(&self.directory, generation);
        let io = |source| KeyError::Io { path: directory.clone(), source };
        crate::data_dir::make_directory(&directory).map_err(io)?;
        durable::sync_directory(&self.directory).map_err(io)?;
        let keys = LogKeys::make(&directory)?;
        Ok(match self.private.entry(generation) {
            Entry::Vacant(place) => place.insert(keys),
            Entry::Occupied(mut place) => {
                place.insert(keys);
                place.into_mut()
            }
        })
    }

    /// Destroys the private keys of a generation that signed its last.
    pub(super) fn destroy(&mut self, generation: u32) -> Result<(), KeyError> {
        self.private.remove(&generation);
        LogKeys::destroy(&of_generation(&self.directory, generation))
    }

    /// Makes the record durable.
    pub(super) fn write(&self) -> Result<(), KeyError> {
        let path = file(&self.directory);
        let bytes = serde_json::to_vec_pretty(&self.record)
            .map_err(|_| KeyError::Malformed { path: path.clone() })?;
        durable::write(&path, &bytes).map_err(|source| KeyError::Io { path, source })
    }
}

/// What the record in a directory of log keys says, for those who only look.
///
/// # Errors
/// When it cannot be read or is damaged.
pub fn recorded(directory: &Path) -> Result<Vec<KeyRecord>, KeyError> {
    Ok(read(directory)?.unwrap_or_default().keys)
}

fn read(directory: &Path) -> Result<Option<Record>, KeyError> {
    let path = file(directory);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| KeyError::Malformed { path }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeyError::Io { path, source }),
    }
}

fn file(directory: &Path) -> PathBuf {
    directory.join("keys.json")
}

fn of_generation(directory: &Path, generation: u32) -> PathBuf {
    match generation {
        0 => directory.to_owned(),
        later => directory.join(later.to_string()),
    }
}
