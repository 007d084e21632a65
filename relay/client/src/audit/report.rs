//! What an audit found, check by check, each with its evidence.

use std::time::Duration;

use paramant_tlog::{Checkpoint, Hash};
use serde::Serialize;

use super::actions::RemoteActions;

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Whether nothing was found against it.
    pub holds: bool,
    /// Whether it could be checked at all: a copy has no JSON interface, a relay may have no witnesses.
    pub checked: bool,
    /// What was seen.
    pub evidence: String,
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    name: &'static str,
    evidence: String,
}

pub(super) fn finding(name: &'static str, evidence: impl Into<String>) -> Finding {
    Finding { name, evidence: evidence.into() }
}

impl Finding {
    pub(super) fn into_evidence(self) -> String {
        self.evidence
    }
}

impl Check {
    pub(super) fn passed(name: &'static str, evidence: impl Into<String>) -> Self {
        Self { name, holds: true, checked: true, evidence: evidence.into() }
    }

    /// Nothing can be said, and that is no fault of the log.
    pub(super) fn unchecked(name: &'static str, evidence: impl Into<String>) -> Self {
        Self { name, holds: true, checked: false, evidence: evidence.into() }
    }

    pub(super) fn failed(finding: Finding) -> Self {
        Self { name: finding.name, holds: false, checked: true, evidence: finding.evidence }
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
    /// Root of the SHA3-256 tree at that size, hex; none where only a part of the log was there.
    pub sha3_root: Option<String>,
}

/// What the work cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Timing {
    /// Entries read in this run.
    pub entries: u64,
    /// Microseconds spent on parsing and hashing them, on one core.
    pub trees_us: u64,
    /// Signatures of tree heads checked in this run.
    pub heads: u64,
    /// Microseconds spent on those, over all cores.
    pub signatures_us: u64,
    /// Microseconds from the first request to the last check.
    pub all_us: u64,
}

/// All checks, in the order in which they were made. A failed one is the last: what follows would build on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The checks.
    pub checks: Vec<Check>,
    /// The head, if every check was reached.
    pub head: Option<Head>,
    /// What the work cost.
    pub timing: Timing,
    /// The vendor's requests and what became of them, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actions: Option<RemoteActions>,
}

impl Report {
    /// Whether every check was reached and nothing was found.
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
        self.head = Some(Head {
            origin: checkpoint.origin.clone(),
            size: checkpoint.size,
            sha256_root: hex::encode(checkpoint.root),
            sha3_root: sha3_root.map(hex::encode),
        });
    }
}

/// A number of things, in words.
pub(super) fn counted(count: u64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
