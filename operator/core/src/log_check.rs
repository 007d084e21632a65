//! Does the relay's log continue what was seen before?
//!
//! The highest head ever seen is kept durably and sent to the relay, which answers with a consistency proof from there to
//! its present head. A smaller log, another root at the same size, or a proof that does not hold means entries were lost
//! or rewritten (promise N2). No proof yet means nothing either way. Pure.

use paramant_protocol::control::{LogMark, LogReport};
use paramant_tlog::{Hash, Tree, verify};

/// What a report says about the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Continuity {
    /// It continues the mark, or there is no mark.
    Continues,
    /// The report holds no proof from the mark.
    Unproven,
    /// It does not.
    Broken {
        /// What was found, in one sentence.
        found: String,
    },
}

/// Compares a report with the highest head seen before.
pub fn continuity(mark: Option<&LogMark>, report: &LogReport) -> Continuity {
    let Some(mark) = mark else { return Continuity::Continues };
    if report.checkpoint.is_none() && report.size == 0 && mark.size > 0 {
        // A relay that has only just started has not read its last checkpoint yet.
        return Continuity::Unproven;
    }
    if report.size < mark.size {
        return Continuity::Broken {
            found: format!("the log has {} entries, and {} were seen before", report.size, mark.size),
        };
    }
    if report.size == mark.size {
        return if report.root == mark.root {
            Continuity::Continues
        } else {
            Continuity::Broken {
                found: format!("the log's root at {} entries is another one than before", mark.size),
            }
        };
    }
    if mark.size == 0 {
        return Continuity::Continues;
    }
    let Some(proof) = report.consistency.as_ref().filter(|proof| proof.from == mark.size) else {
        return Continuity::Unproven;
    };
    let nodes: Option<Vec<Hash>> = proof.proof.iter().map(|node| hash(node)).collect();
    let holds = match (nodes, hash(&mark.root), hash(&report.root)) {
        (Some(nodes), Some(old), Some(new)) => {
            verify::consistency(Tree::Sha256, mark.size, &old, report.size, &new, &nodes).is_ok()
        }
        _ => false,
    };
    if holds {
        Continuity::Continues
    } else {
        Continuity::Broken {
            found: format!(
                "the log at {} entries does not continue the one at {} entries",
                report.size, mark.size
            ),
        }
    }
}

fn hash(text: &str) -> Option<Hash> {
    hex::decode(text).ok()?.try_into().ok()
}
