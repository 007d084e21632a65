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
