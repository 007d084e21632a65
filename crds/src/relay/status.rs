//! What the operator reports of one relay. Written only by the operator, only when it differs.
//!
//! A view, not the truth: backups lose it. The durable copies are the ConfigMap `<relay>-state` and the relay itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    condition::conditions,
    text::{Digest, HexHash, RequestId},
};

/// What one relay is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParamantRelayStatus {
    /// The generation of the spec this status is about; -1 before the operator's first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// One sentence: what is happening and what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// What machines read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// What runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageStatus>,
    /// Who the relay is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityStatus>,
    /// Where it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// What the licence grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<LicenseStatus>,
    /// How far a drain has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
    /// Where the update machine stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateStatus>,
    /// The log's high-water mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogStatus>,
    /// Support keys that wait, are in force, or ended not long ago.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["keyId"]))]
    pub support: Vec<SupportKeyStatus>,
    /// What a vendor asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_actions: Option<RemoteActionsStatus>,
    /// The storage in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageStatus>,
}

/// One word for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Phase {
    /// Not looked at yet, or something it needs is missing.
    #[default]
    Pending,
    /// The first pod comes up.
    Installing,
    /// It serves.
    Ready,
    /// New uploads are refused, some still run.
    Draining,
    /// Nothing is in flight.
    Drained,
    /// A new template is being rolled.
    Updating,
    /// The last good template is being put back.
    RollingBack,
    /// Only a person can help.
    Blocked,
    /// Something is wrong.
    Degraded,
    /// Paused by annotation.
    Paused,
}

/// What runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ImageStatus {
    /// The digest in the last rolled template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Digest>,
    /// The release the relay reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
    /// How the digest was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
}

/// How a digest was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Verified {
    /// The name of the key in the policy.
    #[schemars(length(max = 253))]
    pub key: String,
    /// When.
    pub at: Time,
}

/// Who the relay is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityStatus {
    /// SHA3-256 (hex) of the relay's ML-DSA-65 public key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<HexHash>,
    /// SHA-256 (hex) of the pinned control certificate's SubjectPublicKeyInfo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_key: Option<HexHash>,
}

/// Where the relay is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Endpoints {
    /// Inside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub service: Option<String>,
    /// From outside, when exposed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub host: Option<String>,
    /// The transparency log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub log: Option<String>,
}

/// What the licence grants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LicenseStatus {
    /// `Community`, `Licensed`, `Pro` or `Enterprise`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub tier: Option<String>,
    /// Where the entitlement comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<LicenseSource>,
    /// The cap on active accounts; absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_users: Option<u64>,
    /// Granted capabilities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub capabilities: Vec<String>,
    /// Until when the source is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
    /// Until when grace runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_until: Option<Time>,
    /// The name in the licence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub issued_to: Option<String>,
    /// How the online check stands, where it is switched on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_in: Option<CheckInStatus>,
}

/// How the online check stands. No key and no value of what is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckInStatus {
    /// When the last verified reply came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Whether the last attempt brought one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reachable: Option<bool>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub problem: Option<String>,
    /// SHA-256 (hex) of the bytes that the next check-in sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_request_sha256: Option<HexHash>,
    /// Whether telemetry travels with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<bool>,
    /// Why the newest verified reply grants nothing. What was granted before goes on to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<LicenseRefusal>,
}

/// Why a licence server grants nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum LicenseRefusal {
    /// A payment is missing.
    PaymentFailed,
    /// The key is not known.
    UnknownKey,
    /// The key was revoked.
    Revoked,
}

/// Where an entitlement comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum LicenseSource {
    /// A signed offline licence.
    Offline,
    /// A check-in.
    Online,
    /// A capability set carried in by hand.
    AirGap,
    /// The last verified set, while the endpoint is away.
    Cache,
    /// None: Community Edition.
    #[default]
    None,
}

/// How far a drain has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainStatus {
    /// Serving, draining or drained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<DrainState>,
    /// Who asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub requested_by: Vec<DrainSource>,
    /// Since when uploads are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When the policy stops waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
}

/// The three states a person sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum DrainState {
    /// New uploads are taken.
    #[default]
    Serving,
    /// New uploads are refused; some still run.
    Draining,
    /// Nothing is in flight.
    Drained,
}

/// Who can ask for a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum DrainSource {
    /// `spec.drain`.
    Spec,
    /// The policy.
    Policy,
    /// An accepted vendor request.
    Vendor,
    /// A step of the update machine.
    Update,
    /// The process was told to end.
    Shutdown,
}

/// Where the update machine stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStatus {
    /// What could be rolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<AvailableUpdate>,
    /// The step that is being taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// When the step began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// What is being rolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<UpdateTarget>,
    /// The UID of the pod that is being replaced: no other is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub victim: Option<String>,
    /// How often this target was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// When the next window opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_window: Option<Time>,
    /// Why the update waits: the reason of the UpdateBlocked condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub blocked_by: Option<String>,
    /// The last digest that ran well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_good: Option<Digest>,
    /// Digests that failed, newest last. `spec.update.retry` clears one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["digest"]))]
    pub rejected: Vec<Rejected>,
}

/// A release that could be rolled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AvailableUpdate {
    /// Its version, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
    /// Its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The offer's sequence, when offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// When it was offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered_at: Option<Time>,
}

/// A step of the one machine through which every template change goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Step {
    /// Nothing to roll.
    #[default]
    Idle,
    /// The target is resolved and its signature checked.
    Verifying,
    /// A person must approve it.
    WaitingForApproval,
    /// No window is open.
    WaitingForWindow,
    /// Uploads in flight finish.
    Draining,
    /// The template is written and the old pod deleted.
    Replacing,
    /// The new pod must become healthy and continue the log.
    Probing,
    /// It must stay healthy.
    Settling,
    /// The last good template is being put back.
    RollingBack,
}

impl Step {
    /// As written in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Verifying => "Verifying",
            Self::WaitingForApproval => "WaitingForApproval",
            Self::WaitingForWindow => "WaitingForWindow",
            Self::Draining => "Draining",
            Self::Replacing => "Replacing",
            Self::Probing => "Probing",
            Self::Settling => "Settling",
            Self::RollingBack => "RollingBack",
        }
    }
}

/// What is being rolled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateTarget {
    /// The digest of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// SHA-256 (hex) of the pod template's canonical JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<HexHash>,
    /// The offer's sequence, when it came as an offer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

/// A digest that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Rejected {
    /// Which.
    pub digest: Digest,
    /// Why.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// When.
    pub at: Time,
}

/// The log's high-water mark, as far as status keeps it: on transitions, else at most every five minutes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogStatus {
    /// The log's name in its checkpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub origin: Option<String>,
    /// Entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its SHA-256 root (hex).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<HexHash>,
    /// When the checkpoint was signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_at: Option<Time>,
    /// Whether it continues what was seen before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent: Option<bool>,
}

/// One support key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SupportKeyStatus {
    /// Its id; never the key.
    #[schemars(length(max = 128))]
    pub key_id: String,
    /// Who holds it: Owner or Support.
    #[schemars(length(max = 63))]
    pub role: String,
    /// When it ends.
    pub expires_at: Time,
    /// Whether it is in force.
    pub state: SupportKeyState,
}

/// Whether a support key is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum SupportKeyState {
    /// It waits for an admin.
    Pending,
    /// It is in force.
    Active,
    /// An admin ended it.
    Revoked,
    /// Its time is over.
    Expired,
}

/// What a vendor asked, and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteActionsStatus {
    /// The number of the last request that took its place in the vendor's chain; 0 before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sequence: Option<u64>,
    /// What it asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub last_action: Option<String>,
    /// When it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Time>,
    /// Requests that wait for an admin, the one that ends first at the front.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub pending: Vec<PendingRequest>,
    /// Requests that wait for nobody any more, the newest at the front.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub recent: Vec<AnsweredRequest>,
    /// What about a vendor's requests wants a person's eye: a gap in their numbers, say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub problem: Option<String>,
}

/// A vendor's request that waits for an admin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingRequest {
    /// Its id, to answer by.
    pub id: RequestId,
    /// `support_key`, `update_offer`, `drain` or `capability_set`.
    #[schemars(length(max = 64))]
    pub kind: String,
    /// Who asks: Owner or Support.
    #[schemars(length(max = 63))]
    pub role: String,
    /// The code of its reason.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// What it asks, in one sentence of the relay's.
    #[schemars(length(max = 512))]
    pub asks: String,
    /// When it can no more be agreed to.
    pub ends_at: Time,
}

/// A vendor's request that waits for nobody any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnsweredRequest {
    /// Its id.
    pub id: RequestId,
    /// What was asked, in one word.
    #[schemars(length(max = 64))]
    pub kind: String,
    /// Who asked: Owner or Support.
    #[schemars(length(max = 63))]
    pub role: String,
    /// The code of its reason.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// When it came.
    pub received_at: Time,
    /// What became of it.
    pub outcome: RequestOutcome,
    /// Its entry in the relay's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_index: Option<u64>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum RequestOutcome {
    /// It was accepted.
    Accepted,
    /// An admin said no.
    Denied,
    /// Nobody answered in time.
    Lapsed,
    /// It was refused without asking: by policy, or because it does not fit.
    Refused,
}

/// The storage in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// The claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub claim: Option<String>,
    /// What the volume really holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub capacity: Option<String>,
}
