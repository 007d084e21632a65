//! What the operator and a relay say to each other on the control port: the one place where they meet.
//!
//! `GET /control/v1/state` answers [`RelayState`]; `GET /control/v1/events` streams it as server-sent events named
//! `state`, once on connect and again on every change; `PUT /control/v1/directives` takes [`Directives`] and answers
//! [`DirectivesAnswer`]; `GET /control/v1/proof` answers [`Proof`]. A courier says [`COURIER_PATH`] with its token and offers
//! tunnels on that connection from then on. Unknown fields are ignored on both sides, so that an
//! older operator and a newer relay understand each other; a field is never reused with another meaning.

mod remote;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::remote::{
    OfferReport, RemoteAnswer, RemoteAnswers, RemoteDirective, RemoteReport, RemoteRequest, RemoteState,
    SUPPORT_SECONDS, SupportReport, SupportState,
};

/// The audience of the bound ServiceAccount token by which a relay proves itself to the operator.
pub const OPERATOR_AUDIENCE: &str = "paramant-operator";
/// The audience of the token by which a courier proves itself to its relay.
pub const CONTROL_AUDIENCE: &str = "paramant-control";
/// The fixed server name the operator asks for, since it dials pod addresses.
pub const CONTROL_SERVER_NAME: &str = "relay.control.paramant.app";
/// The URI subject alternative name in the operator's client certificate.
pub const OPERATOR_URI: &str = "spiffe://paramant.app/operator";
/// Where a courier offers its tunnels: `GET` this, then the purpose, upgraded to [`TUNNEL_PROTOCOL`]. On the connection after
/// the upgrade the relay is the HTTP/2 client and the courier the server, and each CONNECT is one tunnel.
pub const COURIER_PATH: &str = "/control/v1/courier/";
/// What the courier's connection is upgraded to.
pub const TUNNEL_PROTOCOL: &str = "paramant-tunnel/1";
/// The version of this interface; it grows only when an old peer could misread a new one.
pub const CONTROL_SCHEMA: u32 = 1;

/// Everything a relay reports about itself. Holds no payload, key, label, name or audit row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelayState {
    /// [`CONTROL_SCHEMA`] of the relay that wrote this.
    pub schema: u32,
    /// The relay's release, such as `0.1.0`.
    pub version: String,
    /// When the process started.
    pub started_at: Timestamp,
    /// Whether the public listener serves requests.
    pub ready: bool,
    /// One sentence for each reason why it does not.
    #[serde(default)]
    pub not_ready: Vec<String>,
    /// The relay's own keys.
    pub identity: IdentityReport,
    /// How far a drain has come.
    pub drain: DrainReport,
    /// What the licence grants.
    pub license: LicenseReport,
    /// The durable head of the log, and its newest published checkpoint.
    pub log: LogReport,
    /// The last directives the relay took, if any.
    #[serde(default)]
    pub directives: Option<DirectivesMark>,
    /// Lower-case hex SHA-256 of the CA bundle the relay accepts operators from, as it reads it now.
    pub ca_bundle_sha256: String,
    /// How an admin signs in.
    #[serde(default)]
    pub admin: AdminReport,
    /// What a vendor asked; absent from relays that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteReport>,
    /// Which releases can read the data as it is; absent from relays that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataReport>,
}

/// Which releases can read a relay's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataReport {
    /// The newest schema this release knows.
    pub schema: u32,
    /// The oldest schema whose releases can read the data as it is now.
    pub min_reader: u32,
    /// The schema whose features may be used: what the last `commit-upgrade` allowed. Below `schema` there is a way back.
    pub committed: u32,
}

/// How an admin signs in. Says nothing of the token itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminReport {
    /// By the token in the mounted file.
    TokenFile,
    /// By the token that a set-up code was redeemed for; there is no token file, or it is empty.
    Redeemed,
    /// Not yet: a set-up code in the relay's log waits to be redeemed; there is no token file, or it is empty.
    SetupCode,
    /// The relay does not say.
    #[default]
    #[serde(other)]
    Unknown,
}

/// The relay's own keys, as an outsider may know them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityReport {
    /// Lower-case hex SHA3-256 of the ML-DSA-65 public key.
    pub fingerprint: String,
    /// Lower-case hex SHA-256 of the control certificate's SubjectPublicKeyInfo (DER).
    pub control_spki_sha256: String,
}

/// How far a drain has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainReport {
    /// Serving, draining, or drained.
    pub state: DrainState,
    /// Who asks for it now.
    #[serde(default)]
    pub requested_by: Vec<DrainSource>,
    /// Since when uploads are refused.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// When the policy stops waiting.
    #[serde(default)]
    pub deadline: Option<Timestamp>,
    /// Uploads in progress.
    pub uploads: u64,
    /// Claims whose response still runs.
    pub claims: u64,
    /// Blobs that are live and unread; they count only when payloads live in memory.
    pub unclaimed: u64,
}

/// The three states a person sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrainState {
    /// New uploads are taken.
    Serving,
    /// New uploads are refused; some are still running.
    Draining,
    /// Nothing is in flight and the settle time has passed.
    Drained,
}

/// Who can ask for a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DrainSource {
    /// `spec.drain` of the ParamantRelay.
    Spec,
    /// `spec.drain.active` of the ParamantPolicy.
    Policy,
    /// An accepted vendor request.
    Vendor,
    /// A step of the update machine.
    Update,
    /// The process was told to end (SIGTERM).
    Shutdown,
}

/// What the licence grants, as far as status shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LicenseReport {
    /// `Community`, `Licensed`, `Pro`, `Enterprise`.
    pub tier: String,
    /// Where it comes from.
    pub source: LicenseSource,
    /// The cap on active accounts; absent means none.
    #[serde(default)]
    pub max_users: Option<u64>,
    /// Active accounts now.
    pub active_users: u64,
    /// Names of granted capabilities.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Until when the source is valid.
    #[serde(default)]
    pub valid_until: Option<Timestamp>,
    /// Until when grace runs.
    #[serde(default)]
    pub grace_until: Option<Timestamp>,
    /// Why a licence that was found does not count, one sentence each.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Who it was issued to, if the licence says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_to: Option<String>,
    /// How the online check stands, where it is switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_in: Option<CheckInReport>,
}

/// How the online check stands. Holds no key and no value of what is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckInReport {
    /// When the last verified reply came.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// Whether the last attempt brought one; absent before the first of this process.
    #[serde(default)]
    pub reachable: Option<bool>,
    /// Why not: one sentence that does not change from attempt to attempt.
    #[serde(default)]
    pub problem: Option<String>,
    /// Lower-case hex SHA-256 of the bytes that the next check-in sends.
    #[serde(default)]
    pub next_request_sha256: Option<String>,
    /// The vendor has revoked the key, and nobody is asked about it.
    #[serde(default)]
    pub revoked: bool,
    /// The newest verified reply is a refusal: `payment_failed`, `unknown_key` or `revoked`. What was granted before goes on to its end.
    #[serde(default)]
    pub refused: Option<String>,
    /// Telemetry is switched on.
    #[serde(default)]
    pub telemetry: bool,
}

/// Where an entitlement comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    None,
}

/// The log's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogReport {
    /// The log's name in checkpoints.
    pub origin: String,
    /// Entries covered by the newest published checkpoint.
    pub size: u64,
    /// Lower-case hex of its SHA-256 root.
    pub root: String,
    /// When it was signed.
    #[serde(default)]
    pub checkpoint_at: Option<Timestamp>,
    /// The signed note itself.
    #[serde(default)]
    pub checkpoint: Option<String>,
    /// A proof (lower-case hex nodes, RFC 6962 order) that `size`/`root` continue the high-water mark last directed.
    #[serde(default)]
    pub consistency: Option<ConsistencyReport>,
    /// Whether the relay signs its log.
    #[serde(default)]
    pub fence: FenceReport,
    /// Names of the logs that this one was adopted in place of, newest first.
    #[serde(default)]
    pub retired: Vec<String>,
    /// What witnesses say of it; absent where none are configured: then whoever holds the log's keys could show two logs.
    #[serde(default)]
    pub witnesses: Option<WitnessesReport>,
}

/// How far the witnesses follow the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WitnessesReport {
    /// How many must have cosigned a checkpoint.
    pub quorum: u32,
    /// Entries under the newest checkpoint that so many have cosigned.
    #[serde(default)]
    pub size: Option<u64>,
    /// When the last of those cosigned.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// Whether there is a quorum, and the newest checkpoint that was sent to witnesses has it too or still may get it in time.
    pub reached: bool,
    /// Each of them.
    pub members: Vec<WitnessReport>,
}

/// One witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WitnessReport {
    /// Its name in the settings.
    pub name: String,
    /// Entries under the checkpoint it cosigned last, as far as the relay knows.
    pub size: u64,
    /// When it did.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// How it stands.
    pub state: WitnessState,
    /// More words where something is wrong: one sentence that does not change from attempt to attempt.
    #[serde(default)]
    pub message: Option<String>,
}

/// How a witness stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WitnessState {
    /// It has not answered this process yet.
    Waiting,
    /// Its last answer was a cosignature.
    Cosigning,
    /// It did not answer, or there is no courier to carry the question.
    Unreachable,
    /// It asked for patience, or failed.
    Busy,
    /// It does not know this log: register the log with it.
    UnknownLog,
    /// It trusts none of the log's keys.
    Untrusted,
    /// It has cosigned more of this log than there is: the log was rolled back, or copied.
    Ahead,
    /// It has seen another history of this log.
    Inconsistent,
    /// Its answer was none that a witness may give.
    Misbehaving,
    /// A newer relay's word.
    #[serde(other)]
    Unknown,
}

/// Whether a relay signs its log, and if not, why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FenceReport {
    /// Signing, waiting, or refusing.
    pub state: FenceState,
    /// One sentence, unless it signs.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The three states of the fence against old copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FenceState {
    /// Heads and checkpoints are signed. Also a relay that does not say.
    #[default]
    Signing,
    /// Nobody outside has said yet whether this is the newest copy of the log; nothing is signed.
    Waiting,
    /// Somebody outside has seen a log that this one does not continue; nothing is signed.
    Refused,
}

/// A consistency proof from the directed high-water mark to the reported head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsistencyReport {
    /// The older size.
    pub from: u64,
    /// The nodes, lower-case hex.
    pub proof: Vec<String>,
}

/// What the operator wants of one relay. The relay persists it before it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directives {
    /// `metadata.uid` of the ParamantRelay. A new one resets the order below.
    pub relay_uid: String,
    /// The Lease's transitions: a later leader outranks an earlier one.
    pub epoch: u64,
    /// Counts up within one relay; kept in `<relay>-state`.
    pub seq: u64,
    /// Who asks for a drain.
    pub drain: DrainDirective,
    /// The highest log head the operator ever saw of this relay.
    #[serde(default)]
    pub log_high_water: Option<LogMark>,
    /// The relay identity (fingerprint) whose log the operator has judged by that mark and found to be no other relay's. A
    /// relay signs only for an identity that is its own; absent: not judged yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_identity: Option<String>,
    /// Why the relay must not sign its log, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_refused: Option<String>,
    /// `commit-upgrade`: the release that runs has settled, so data may be written that the one before it cannot read. Names the
    /// schema that is committed; a relay never commits less than it did, nor more than it knows. Absent: nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_schema: Option<u32>,
    /// The resource is being deleted: SIGTERM appends `log_closed`.
    #[serde(default)]
    pub deleting: bool,
    /// Who may offer tunnels out; absent: nobody.
    #[serde(default)]
    pub couriers: Option<CouriersDirective>,
    /// How a vendor's requests are answered; absent: as the relay's defaults say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteDirective>,
}

/// Who may offer tunnels out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CouriersDirective {
    /// The keys that the cluster signs ServiceAccount tokens with: its JSON Web Key Set.
    pub token_keys: String,
    /// One for each purpose that is switched on.
    pub admitted: Vec<AdmittedCourier>,
}

/// One courier, known by the account in its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmittedCourier {
    /// What it is for.
    pub purpose: CourierPurpose,
    /// Its namespace.
    pub namespace: String,
    /// Its ServiceAccount.
    pub service_account: String,
}

/// What a courier is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CourierPurpose {
    /// Pushes to witnesses.
    Witness,
    /// Calls of users' webhooks.
    Webhook,
    /// The licence check.
    License,
    /// A newer operator's word: never admitted.
    #[serde(other)]
    Unknown,
}

impl CourierPurpose {
    /// As in paths and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Witness => "witness",
            Self::Webhook => "webhook",
            Self::License => "license",
            Self::Unknown => "unknown",
        }
    }
}

/// The operator's part of the drain decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainDirective {
    /// `spec.drain`: `Some(false)` also overrides the vendor.
    #[serde(default)]
    pub spec: Option<bool>,
    /// `spec.drain.active` of the policy.
    #[serde(default)]
    pub policy: bool,
    /// The update machine asks until this instant; the relay enforces the end alone.
    #[serde(default)]
    pub update_until: Option<Timestamp>,
    /// How long a drain may take, in seconds, before `deadline` is reported.
    pub deadline_seconds: u64,
    /// How long nothing must be in flight before the relay calls itself drained.
    pub settle_seconds: u64,
}

/// A position in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogMark {
    /// The log's name. Absent in marks of releases that did not write it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Entries.
    pub size: u64,
    /// Lower-case hex SHA-256 root.
    pub root: String,
}

/// Which directives a relay holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectivesMark {
    /// As received.
    pub relay_uid: String,
    /// As received.
    pub epoch: u64,
    /// As received.
    pub seq: u64,
}

/// The answer to a PUT: 200 with `accepted: true`, or 409 with `accepted: false` and what the relay holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectivesAnswer {
    /// Whether they were newer and are now in force.
    pub accepted: bool,
    /// What the relay holds now.
    pub held: Option<DirectivesMark>,
    /// Why not, if not.
    #[serde(default)]
    pub reason: Option<String>,
}

/// How a relay proves which pod it is, before the operator pins its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// The bound ServiceAccount token, audience [`OPERATOR_AUDIENCE`]. Secret: never logged.
    pub token: String,
}
