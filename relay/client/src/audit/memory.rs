//! What an auditor remembers between runs: keys and head. A log that goes back, forks or changes keys is found by it.

use paramant_protocol::path::parse_hash;
use paramant_tlog::Checkpoint;
use serde::{Deserialize, Serialize};

use super::entries::Walk;
use super::keys::Keys;
use super::report::{Check, Finding, finding};

/// The version of this form.
const VERSION: u32 = 1;

/// What was seen last time, when everything held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    version: u32,
    /// The log's name.
    pub origin: String,
    /// The log's verifier keys, in the order shown.
    pub keys: Vec<String>,
    /// Entries.
    pub size: u64,
    /// Root of the SHA-256 tree, hex.
    pub sha256_root: String,
    /// Root of the SHA3-256 tree, hex.
    pub sha3_root: String,
    /// The signed checkpoint: evidence against a log that contradicts it later.
    pub checkpoint: String,
}

impl Remembered {
    /// Reads what was written.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let remembered: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let sound = remembered.version == VERSION
            && parse_hash(&remembered.sha256_root).is_some()
            && parse_hash(&remembered.sha3_root).is_some();
        if sound { Ok(remembered) } else { Err("it was written by another version, or damaged".into()) }
    }

    /// The form to write.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default() // total: strings and integers
    }

    pub(super) fn of(keys: &Keys, checkpoint: &Checkpoint, walk: &Walk<'_>, note: String) -> Self {
        Self {
            version: VERSION,
            origin: keys.origin.clone(),
            keys: keys.all.iter().map(ToString::to_string).collect(),
            size: checkpoint.size,
            sha256_root: hex::encode(checkpoint.root),
            sha3_root: walk.sha3_root_at(checkpoint.size).map(hex::encode).unwrap_or_default(),
            checkpoint: note,
        }
    }

    /// Whether the log walked now begins with the one remembered.
    pub(super) fn continues(&self, walk: &Walk<'_>, checkpoint: &Checkpoint) -> Result<Check, Finding> {
        let wrong = |text: String| finding("continuity", text);
        if checkpoint.size < self.size {
            let text =
                format!("the log went back: {} entries now, {} were seen before", checkpoint.size, self.size);
            return Err(wrong(text));
        }
        let now =
            (walk.sha256_root_at(self.size).map(hex::encode), walk.sha3_root_at(self.size).map(hex::encode));
        if now != (Some(self.sha256_root.clone()), Some(self.sha3_root.clone())) {
            return Err(wrong(format!(
                "the first {} entries are not those seen before: the log was forked",
                self.size
            )));
        }
        Ok(Check::passed("continuity", format!("it continues the {} entries seen before", self.size)))
    }
}
