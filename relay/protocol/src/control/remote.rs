//! What the operator and a relay say to each other of a vendor's requests: how they are answered, and what became of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// For how many seconds a support key works unless an admin says otherwise: a working day.
pub const SUPPORT_SECONDS: u64 = 8 * 3600;

/// How a vendor's requests are answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteDirective {
    /// For each of the four.
    #[serde(default)]
    pub answers: RemoteAnswers,
    /// How long a support key may work, in seconds; absent: as long as it asks for.
    #[serde(default)]
    pub support_seconds: Option<u64>,
    /// Ids of requests that an admin agreed to.
    #[serde(default)]
    pub approved: Vec<String>,
    /// Ids of requests that an admin refused. For a support key in force: revoked, for good.
    #[serde(default)]
    pub denied: Vec<String>,
}

/// What happens to each of the four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RemoteAnswers {
    /// A support key.
    pub support_key: RemoteAnswer,
    /// An offered update.
    pub update_offer: RemoteAnswer,
    /// A drain.
    pub drain: RemoteAnswer,
    /// Another capability set.
    pub capability: RemoteAnswer,
}

impl Default for RemoteAnswers {
    fn default() -> Self {
        use RemoteAnswer::{Allow, Ask};
        Self { support_key: Ask, update_offer: Allow, drain: Ask, capability: Allow }
    }
}

/// What happens to one kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteAnswer {
    /// It is accepted.
    Allow,
    /// It waits for an admin.
    Ask,
    /// It is refused. Also a newer operator's word.
    #[serde(other)]
    Refuse,
}

/// What a vendor asked, and what became of it. Holds no secret and no actor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteReport {
    /// The number of the last request that took its place in the chain; 0 before the first.
    #[serde(default)]
    pub sequence: u64,
    /// What wants a person's eye: one sentence each.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Documents since the start of the process that no pinned key signed, or that are no requests.
    #[serde(default)]
    pub unverifiable: u64,
    /// The newest requests, the newest first; those that wait are always among them.
    #[serde(default)]
    pub requests: Vec<RemoteRequest>,
    /// Support keys that are in force or ended lately, the newest first.
    #[serde(default)]
    pub support: Vec<SupportReport>,
    /// The newest offer that stands.
    #[serde(default)]
    pub offer: Option<OfferReport>,
}

/// One request of a vendor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteRequest {
    /// Its place in the chain; absent if it took none.
    #[serde(default)]
    pub sequence: Option<u64>,
    /// Its id.
    pub id: String,
    /// `support_key`, `update_offer`, `drain`, `capability_set`, or another word that was refused.
    pub kind: String,
    /// `owner` or `support`.
    pub role: String,
    /// The code of its reason.
    pub reason: String,
    /// When it came.
    pub received_at: Timestamp,
    /// When it can no more be agreed to.
    pub ends_at: Timestamp,
    /// What became of it.
    pub state: RemoteState,
    /// What it asks, in one sentence of the relay's.
    pub asks: String,
    /// Its entry in the log.
    #[serde(default)]
    pub log_index: Option<u64>,
    /// Entries under the checkpoint that covered its entry before it had any effect.
    #[serde(default)]
    pub checkpoint_size: Option<u64>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteState {
    /// It waits for an admin.
    Waiting,
    /// It was accepted.
    Accepted,
    /// The admin said no.
    Denied,
    /// Nobody answered in time.
    Lapsed,
    /// It was refused without asking: by policy, or because it does not fit.
    Refused,
    /// A newer relay's word.
    #[serde(other)]
    Unknown,
}

/// One support key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupportReport {
    /// The id of the request for it; never the key.
    pub id: String,
    /// `owner` or `support`.
    pub role: String,
    /// Since when it works.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Whether it is in force.
    pub state: SupportState,
    /// How often it was used.
    #[serde(default)]
    pub uses: u64,
}

/// Whether a support key is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupportState {
    /// It is.
    Active,
    /// The admin ended it.
    Revoked,
    /// Its time is over.
    Expired,
    /// A newer relay's word.
    #[serde(other)]
    Unknown,
}

/// An offer that was accepted for show. It is applied by nobody but the operator's machine, as its policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferReport {
    /// The id of its request.
    pub id: String,
    /// The release.
    pub version: String,
    /// Its image.
    pub digest: String,
    /// Its place among offers.
    pub sequence: u64,
    /// When it was made.
    pub offered_at: Timestamp,
    /// SHA-256 of its notes.
    pub notes_sha256: String,
    /// Images that nobody should run any more.
    #[serde(default)]
    pub recalled: Vec<String>,
}
