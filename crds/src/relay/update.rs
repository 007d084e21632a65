//! A person's word on updates.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::text::Digest;

/// A person's word on updates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct UpdateWish {
    /// Approves one digest, and one offer of it if it came as an offer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approve: Option<Approval>,
    /// Holds this digest, whatever `image` and offers say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<Digest>,
    /// Clears the rejection of this digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Digest>,
}

/// An approval of one digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Approval {
    /// What is approved.
    pub digest: Digest,
    /// The offer's sequence, when the digest was offered. Void when the offer changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}
