//! What an auditor remembers between runs: keys, head, and where to go on. A log that goes back, forks or changes keys without
//! saying so is found by it, and what was checked is not read again.

use paramant_protocol::path::parse_hash;
use paramant_tlog::note::Note;
use paramant_tlog::{Checkpoint, Hash};
use serde::{Deserialize, Serialize};

use super::heads::HeadsSoFar;
use super::keys::{Keys, Opened};
use super::report::{Check, Finding, finding};
use super::rules::Rules;
use super::walk::{Edge, Roots};

/// The version of this form, and the oldest that can be read: that one had nothing to go on from.
const VERSION: u32 = 2;
const OLDEST: u32 = 1;

const NAME: &str = "continuity";

/// What was seen last time, when everything held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    version: u32,
    /// The log's name.
    pub origin: String,
    /// The log's verifier keys, in the order shown.
    pub keys: Vec<String>,
    /// Entries that were read.
    pub size: u64,
    /// Root of the SHA-256 tree over them, hex.
    pub sha256_root: String,
    /// Root of the SHA3-256 tree over them, hex; empty where only a part of the log was read.
    pub sha3_root: String,
    /// The signed checkpoint: evidence against a log that contradicts it later.
    pub checkpoint: String,
    /// Where to go on.
    #[serde(default)]
    pub(super) resume: Option<Resume>,
}

/// Where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resume {
    pub(super) edge: Edge,
    /// What the entries before the edge allow.
    pub(super) rules: Rules,
    pub(super) heads: HeadsSoFar,
}

impl Remembered {
    /// Reads what was written.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let remembered: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let sound = (OLDEST..=VERSION).contains(&remembered.version)
            && parse_hash(&remembered.sha256_root).is_some()
            && (remembered.sha3_root.is_empty() || parse_hash(&remembered.sha3_root).is_some());
        if sound { Ok(remembered) } else { Err("it was written by another version, or damaged".into()) }
    }

    /// The form to write.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default() // total: strings and integers
    }

    pub(super) fn of(keys: &Keys, opened: &Opened, size: u64, roots: &Roots, resume: Resume) -> Self {
        Self {
            version: VERSION,
            origin: keys.origin.clone(),
            keys: keys.all.iter().map(ToString::to_string).collect(),
            size,
            sha256_root: roots.sha256.get(&size).map(hex::encode).unwrap_or_default(),
            sha3_root: roots.sha3.get(&size).map(hex::encode).unwrap_or_default(),
            checkpoint: opened.note.clone(),
            resume: Some(resume),
        }
    }

    /// How many tree heads were checked, from the first on.
    pub fn heads(&self) -> u64 {
        self.resume.as_ref().map_or(0, |resume| resume.heads.count)
    }

    /// The same, but the next audit reads the log from its first entry again.
    #[must_use]
    pub fn from_the_start(self) -> Self {
        Self { resume: None, ..self }
    }

    /// The checkpoint that was seen.
    pub(super) fn seen(&self) -> Option<Checkpoint> {
        let note = Note::parse(self.checkpoint.as_bytes()).ok()?;
        Checkpoint::parse(&note.text).ok()
    }

    /// Whether the log walked now begins with the one remembered, and holds the checkpoint seen then.
    pub(super) fn continues(&self, roots: &Roots, checkpoint: &Checkpoint) -> Result<Check, Finding> {
        let wrong = |text: String| finding(NAME, text);
        if checkpoint.size < self.size {
            let text =
                format!("the log went back: {} entries now, {} were seen before", checkpoint.size, self.size);
            return Err(wrong(text));
        }
        let same = |remembered: &str, now: Option<&Hash>| parse_hash(remembered).as_ref() == now;
        let sha3 = self.sha3_root.is_empty() || same(&self.sha3_root, roots.sha3.get(&self.size));
        if !same(&self.sha256_root, roots.sha256.get(&self.size)) || !sha3 {
            return Err(wrong(format!(
                "the first {} entries are not those seen before: the log was forked",
                self.size
            )));
        }
        // Larger than what was read of it then when only a part of the log was there.
        if let Some(seen) = self.seen() {
            if seen.size > checkpoint.size {
                let text = format!(
                    "the log went back: {} entries now, a checkpoint of {} was seen before",
                    checkpoint.size, seen.size
                );
                return Err(wrong(text));
            }
            super::witnesses::lies_in(&seen, &roots.sha256, NAME)?;
        }
        Ok(Check::passed(NAME, format!("it continues the {} entries seen before", self.size)))
    }

    /// A log that went back is told before anything of it is read.
    pub(super) fn not_before(&self, checkpoint: &Checkpoint) -> Result<(), Finding> {
        if checkpoint.size < self.size {
            let text =
                format!("the log went back: {} entries now, {} were seen before", checkpoint.size, self.size);
            return Err(finding(NAME, text));
        }
        Ok(())
    }
}
