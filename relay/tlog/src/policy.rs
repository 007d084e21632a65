//! Trust policies (C2SP tlog-policy): which logs, which witnesses, and how many of those must have cosigned.
//!
//! ```text
//! log <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group <name> all|any|<k> <name>...
//! quorum <name>|none
//! ```
//! A [`Policy`] is parsed from such a text or made with [`Policy::threshold`]; [`Policy::judge`] opens a checkpoint with it.
//! Stricter than the specification in one point: the text must be UTF-8.

mod judge;
mod parse;
mod write;

pub use judge::{JudgeError, Verdict};
pub use parse::{PolicyError, Problem};

use crate::vkey::VerifierKey;

/// The longest policy that is read: more than a hundred ML-DSA-44 keys fit.
pub const MAX_POLICY: usize = 256 * 1024;

/// The quorum that asks for nothing.
pub const NONE: &str = "none";

/// Whom to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Component>,
}

/// A log whose checkpoints are accepted. The key's name is the log's origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// One of the log's keys.
    pub key: VerifierKey,
    /// Where the log is.
    pub url: Option<String>,
}

/// A witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its name within the policy; often that of its key.
    pub name: String,
    /// The key it cosigns with, type `04` or `06`.
    pub key: VerifierKey,
    /// Its submission prefix.
    pub url: Option<String>,
}

/// Some witnesses, of which at least `threshold` must have cosigned. Groups may hold groups that were defined before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    threshold: usize,
    members: Vec<Component>,
}

/// A witness or a group, by its number in the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Component {
    Witness(usize),
    Group(usize),
}

impl Policy {
    /// The logs, in the order of the text.
    #[must_use]
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The witnesses, in the order of the text.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether any cosignature is asked for.
    #[must_use]
    pub fn asks_for_witnesses(&self) -> bool {
        self.quorum.is_some()
    }
}
