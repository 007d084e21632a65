//! The published JSON interface of the log (protocol §6.3): `/v2/ct/*` and `/v2/sth*`, public, unauthenticated by itself.
//!
//! Times are hours, as in the entries; who wants proof takes the tiles. Both the documented and the running names are
//! sent where they differ.

use serde::{Deserialize, Serialize};

use crate::path::Step;
use crate::sth::SignedSth;

/// Entries per page when the client names none.
pub const DEFAULT_LIMIT: u64 = 100;
/// The most entries per page.
pub const MAX_LIMIT: u64 = 1000;
/// The most tree heads in a history answer.
pub const MAX_HISTORY: u64 = 100;

/// Tree heads per page of `/log/sth` when the client names none.
pub const DEFAULT_HEADS: u64 = 100;
/// The most tree heads per page of `/log/sth`.
pub const MAX_HEADS: u64 = 1000;

/// The longest document that `POST /log/gossip` takes, in bytes.
pub const MAX_GOSSIP: usize = 64 * 1024;

/// What a log says of a checkpoint or tree head that somebody saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GossipVerdict {
    /// It is signed by this log and is a head that this log had.
    Consistent,
    /// It is signed by this log and is over more entries than this log has.
    Ahead,
    /// It is signed by this log and is no head of this log: there are two histories.
    Inconsistent,
    /// It is of another log, or nothing in it is signed by this one's keys.
    Unverifiable,
}

impl GossipVerdict {
    /// Every verdict.
    pub const ALL: [Self; 4] = [Self::Consistent, Self::Ahead, Self::Inconsistent, Self::Unverifiable];

    /// As it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consistent => "consistent",
            Self::Ahead => "ahead",
            Self::Inconsistent => "inconsistent",
            Self::Unverifiable => "unverifiable",
        }
    }
}

/// A head that a verdict compares with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipHead {
    /// Entries.
    pub size: u64,
    /// The root, hex, of the tree that the document speaks of: SHA-256 for a checkpoint, SHA3-256 for a tree head.
    pub root: String,
}

/// The answer to `POST /log/gossip`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipAnswer {
    /// The verdict.
    pub verdict: GossipVerdict,
    /// Why, in a sentence.
    pub detail: String,
    /// The newest head of this log.
    pub ours: GossipHead,
    /// When consistent: the RFC 6962 proof that the document's tree is a prefix of ours, hex.
    pub proof: Vec<String>,
}

/// The answer to `GET /log/gossip`: documents that this log's keys signed and its entries contradict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipEvidence {
    /// Oldest first; none in a log that has one history.
    pub evidence: Vec<Contradiction>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    /// The hour it arrived in.
    pub received: String,
    /// The document as it arrived.
    pub document: String,
}

/// The answer to `GET /log/archive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveIndex {
    /// By number.
    pub archives: Vec<ArchiveLine>,
}

/// One archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveLine {
    /// Its number, from 0.
    pub number: u64,
    /// Its first entry.
    pub first: u64,
    /// How many entries it has, or will have when it is asked for next.
    pub entries: u64,
    /// Whether it has all its entries and will never change again.
    pub complete: bool,
    /// Where it is, relative to `/log/`.
    pub path: String,
}

/// The answer to `GET /log/sth?from=&limit=`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeHeadPage {
    /// How many were ever signed.
    pub total: u64,
    /// The number of the first that follows, from 0.
    pub from: u64,
    /// Oldest first, each exactly as signed.
    pub sths: Vec<SignedSth>,
}

/// The answer to `GET /v2/ct/log` and `GET /v2/ct`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// Always true.
    pub ok: bool,
    /// Entries in the log.
    pub size: u64,
    /// The documented name of `size`.
    #[serde(default)]
    pub tree_size: Option<u64>,
    /// The SHA3-256 root at `size`, hex.
    pub root: String,
    /// Ascending from `from`.
    pub entries: Vec<LogEntry>,
    /// Only in answers to a question for a kind or a time: where to go on, unless everything asked for was looked at. An
    /// addition of ours; one answer looks at a bounded number of entries and may find none of them fitting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_from: Option<u64>,
}

/// One entry of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its index.
    pub index: u64,
    /// Its kind; older relays leave it out for device keys.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub kind: Option<String>,
    /// Hex.
    pub leaf_hash: String,
    /// The root right after it, hex.
    pub tree_hash: String,
    /// The hour.
    pub ts: String,
}

/// The answer to `GET /v2/ct/proof/:index`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofAnswer {
    /// Always true.
    pub ok: bool,
    /// The entry.
    pub index: u64,
    /// Hex.
    pub leaf_hash: String,
    /// The root the proof leads to, hex.
    pub tree_hash: String,
    /// Bottom-up.
    pub proof: Vec<Step>,
    /// The hour.
    pub ts: String,
    /// The documented name of `proof`.
    #[serde(default)]
    pub audit_path: Option<Vec<Step>>,
    /// The documented name of `tree_hash`.
    #[serde(default)]
    pub root: Option<String>,
    /// The size the proof is for: index + 1 unless asked otherwise.
    #[serde(default)]
    pub tree_size: Option<u64>,
}

/// The answer to `GET /v2/sth` and `GET /v2/sth/:unixms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SthAnswer {
    /// Always true.
    pub ok: bool,
    /// The tree head.
    pub sth: SignedSth,
    /// SHA3-256 of the identity key, hex: beside the head, since within it would break published verifiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pk_hash: Option<String>,
}

/// The answer to `GET /v2/sth/history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SthHistory {
    /// Always true.
    pub ok: bool,
    /// How many follow.
    pub count: u64,
    /// How many were ever signed.
    pub total: u64,
    /// Oldest first.
    pub sths: Vec<SignedSth>,
}

/// The answer to `GET /v2/sth/consistency`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyAnswer {
    /// Always true.
    pub ok: bool,
    /// The older size.
    pub from: u64,
    /// The newer size.
    pub to: u64,
    /// Hex, RFC 6962 form.
    pub proof: Vec<String>,
}

/// The answer to `POST /v2/verify-receipt` (always 200 once the receipt could be read).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptVerdict {
    /// The verdict.
    pub valid: bool,
    /// The published machine code when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// From the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob_hash: Option<String>,
    /// ISO text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrieved_at: Option<String>,
    /// From the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sector: Option<String>,
    /// From the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay_id: Option<String>,
    /// From the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn_confirmed: Option<bool>,
    /// Of the proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_size: Option<u64>,
    /// From the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_size_at_retrieval: Option<u64>,
    /// Of the proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_index: Option<u64>,
}
