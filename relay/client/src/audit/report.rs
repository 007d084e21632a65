//! What an audit found, check by check, each with its evidence.

use paramant_tlog::{Checkpoint, Hash};
use serde::Serialize;

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// What was seen.
    pub evidence: String,
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    name: &'static str,
    evidence: String,
}

pub(super) fn finding(name: &'static str, evidence: impl Into<String>) -> Finding {
    Finding { name, evidence: evidence.into() }
}

impl Check {
    pub(super) fn passed(name: &'static str, evidence: impl Into<String>) -> Self {
        Self { name, holds: true, evidence: evidence.into() }
    }

    pub(super) fn failed(finding: Finding) -> Self {
        Self { name: finding.name, holds: false, evidence: finding.evidence }
    }
}

/// The log's head, once everything under it was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The log's name.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// Root of the SHA-256 tree, hex.
    pub sha256_root: String,
    /// Root of the SHA3-256 tree at that size, hex.
    pub sha3_root: String,
}

/// All checks, in the order in which they were made. A failed one is the last: what follows would build on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The checks.
    pub checks: Vec<Check>,
    /// The head, if every check was reached.
    pub head: Option<Head>,
}

impl Report {
    /// Whether every check was made and holds.
    pub fn holds(&self) -> bool {
        self.head.is_some() && self.checks.iter().all(|check| check.holds)
    }

    /// The check that does not hold.
    pub fn failure(&self) -> Option<&Check> {
        self.checks.iter().find(|check| !check.holds)
    }

    pub(super) fn add(&mut self, check: Check) {
        self.checks.push(check);
    }

    pub(super) fn conclude(&mut self, checkpoint: &Checkpoint, sha3_root: Option<Hash>) {
        self.head = sha3_root.map(|sha3_root| Head {
            origin: checkpoint.origin.clone(),
            size: checkpoint.size,
            sha256_root: hex::encode(checkpoint.root),
            sha3_root: hex::encode(sha3_root),
        });
    }
}
