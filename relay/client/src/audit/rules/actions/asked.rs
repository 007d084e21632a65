//! A request as the log holds it.

use jiff::Timestamp;
use paramant_licensing::actions::{Ask, Request, Why};
use paramant_protocol::entry::body::{Digest, Role};
use serde::{Deserialize, Serialize};

/// One `vendor_request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its place in the relay's chain.
    pub seq: u64,
    /// Its id.
    pub id: String,
    /// What is asked: one of the four, or another word.
    pub kind: String,
    /// What is asked in particular.
    pub details: Details,
    /// In which role.
    pub role: Role,
    /// Why.
    pub reason: Why,
    /// The entry that holds it.
    pub entry: u64,
    /// The hour of that entry.
    pub hour: String,
    /// When the vendor made it.
    pub issued_at: Timestamp,
    /// Until when it may be acted upon.
    pub expires_at: Timestamp,
    /// SHA-256 of the request.
    pub sha256: Digest,
    /// SHA3-256 of the licensing key that signed it; none where no key was given to hold it against.
    pub signed_by: Option<String>,
}

/// What the entries that follow are held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Details {
    /// A support key.
    SupportKey {
        /// For how long at most.
        max_seconds: u64,
    },
    /// An offer.
    UpdateOffer {
        /// Of this release.
        version: String,
        /// Its image.
        digest: String,
    },
    /// A drain.
    Drain {
        /// On or off.
        enabled: bool,
    },
    /// A capability set.
    CapabilitySet {
        /// Its hash.
        set_sha256: Digest,
    },
    /// None of the four.
    Unknown,
}

impl Asked {
    pub(super) fn new(
        request: Request,
        entry: u64,
        hour: &str,
        sha256: Digest,
        signed_by: Option<String>,
    ) -> Self {
        let kind = request.ask.kind().to_owned();
        let details = match request.ask {
            Ask::SupportKey { max_seconds, .. } => Details::SupportKey { max_seconds },
            Ask::UpdateOffer(offer) => Details::UpdateOffer { version: offer.version, digest: offer.digest },
            Ask::Drain { enabled, .. } => Details::Drain { enabled },
            Ask::CapabilitySet { set_sha256 } => Details::CapabilitySet { set_sha256: Digest(set_sha256) },
            Ask::Unknown(_) => Details::Unknown,
        };
        Self {
            seq: request.seq,
            id: request.id,
            kind,
            details,
            role: request.role,
            reason: request.why,
            entry,
            hour: hour.to_owned(),
            issued_at: request.issued_at,
            expires_at: request.expires_at,
            sha256,
            signed_by,
        }
    }
}
