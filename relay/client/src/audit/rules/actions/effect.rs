//! Entries that tell what became of requests, and how each of them is tied to one.
//!
//! Few entries name their request. `support_key_issued` and `remote_action_refused` hold salted commitments, `update_offered` and
//! `drain_changed` name none: there only the order of entries ties, and [`Of`] says how.

use paramant_protocol::entry::body::{Decision, Digest, RefusalReason, Role};
use serde::{Deserialize, Serialize};

/// An entry that follows from a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Its index.
    pub entry: u64,
    /// Its hour.
    pub hour: String,
    /// From which request.
    #[serde(flatten)]
    pub of: Of,
    /// What it says.
    #[serde(flatten)]
    pub what: What,
}

/// To which request an entry belongs, as far as the log proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tie", rename_all = "snake_case")]
pub enum Of {
    /// The entry names the request by its hash.
    Named {
        /// Number of the request.
        seq: u64,
    },
    /// The entry is the next after the request or after its approval. Order only.
    Next {
        /// Number of the request.
        seq: u64,
    },
    /// No other request before it can be meant. Order only.
    Only {
        /// Number of the request.
        seq: u64,
    },
    /// Several requests before it can be meant, and the log does not tell which.
    OneOf {
        /// How many.
        count: u64,
        /// The first of them.
        seqs: Vec<u64>,
    },
    /// No request that the log holds before it.
    None,
}

impl Of {
    /// The request, if it is one.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Named { seq } | Self::Next { seq } | Self::Only { seq } => Some(*seq),
            Self::OneOf { .. } | Self::None => None,
        }
    }
}

/// What such an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A request that waited was answered.
    VendorRequestDecided {
        /// How.
        decision: Decision,
    },
    /// A request was refused.
    RemoteActionRefused {
        /// Why.
        reason: RefusalReason,
        /// Of which role.
        role: Role,
    },
    /// A support key was admitted.
    SupportKeyIssued {
        /// The commitment by which later entries name it.
        key: Digest,
        /// Of which role.
        role: Role,
        /// Until when it works at the longest.
        until: String,
        /// Its uses.
        used: Option<Used>,
        /// Its end.
        ended: Option<Ended>,
    },
    /// A release was offered.
    UpdateOffered {
        /// Which.
        version: String,
        /// By which role.
        role: Role,
    },
    /// The vendor's drain began or ended.
    DrainChanged {
        /// Whether uploads are refused now, for whatever reason.
        draining: bool,
        /// Whether the vendor is among the reasons.
        by_vendor: bool,
    },
    /// What an accepted set grants from here on.
    CapabilityChanged {
        /// What was granted before.
        before: Digest,
        /// What is granted now.
        after: Digest,
    },
}

impl What {
    /// The kind of entry.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::VendorRequestDecided { .. } => "vendor_request_decided",
            Self::RemoteActionRefused { .. } => "remote_action_refused",
            Self::SupportKeyIssued { .. } => "support_key_issued",
            Self::UpdateOffered { .. } => "update_offered",
            Self::DrainChanged { .. } => "drain_changed",
            Self::CapabilityChanged { .. } => "capability_changed",
        }
    }
}

/// The `support_key_used` entries of a key, summed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// The first entry.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// How many entries.
    pub entries: u64,
    /// How many uses.
    pub count: u64,
}

/// How a support key ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The entry.
    pub entry: u64,
    /// Its hour.
    pub hour: String,
    /// By the admin; else it ran out.
    pub revoked: bool,
}
