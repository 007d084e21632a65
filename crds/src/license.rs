//! `ParamantLicense`: which licence a set of relays runs under, and how it may be checked.
//!
//! The operator never reads the Secret: the pod mounts its keys `licence` and `licence-next`, optionally, so a missing
//! Secret means Community Edition and not a stuck pod.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clause,
    condition::conditions,
    network::{Egress, HttpsUrl},
    reference::{NameRef, SecretRef},
    relay::LicenseSource,
    span::Span,
    text::HexHash,
};

/// Which licence, and how it may be checked.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "paramant.app",
    version = "v1alpha1",
    kind = "ParamantLicense",
    plural = "paramantlicenses",
    namespaced,
    shortname = "plic",
    category = "paramant",
    status = "ParamantLicenseStatus",
    derive = "PartialEq",
    doc = "A ParamantLicense is a licence that relays of its namespace may refer to. Without one a relay is Community Edition.",
    printcolumn(name = "Tier", type_ = "string", json_path = ".status.tier"),
    printcolumn(name = "Issued-To", type_ = "string", json_path = ".status.issuedTo"),
    printcolumn(name = "Valid", type_ = "string", json_path = ".status.conditions[?(@.type==\"Valid\")].status"),
    printcolumn(name = "Expires", type_ = "date", json_path = ".status.expiresAt"),
    printcolumn(
        name = "Reachable",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Reachable\")].status"
    ),
    printcolumn(name = "Relays", type_ = "string", json_path = ".status.relays[*].name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = clause::LICENSE_NAME
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = clause::TELEMETRY_TRAVELS_WITH_CHECKS)]
#[x_kube(validation = clause::AIR_GAP_OR_ONLINE)]
pub struct ParamantLicenseSpec {
    /// The Secret with the licence. Only its keys `licence` and `licence-next` are mounted; the most generous valid one counts.
    pub secret_ref: SecretRef,
    /// Check in with the vendor. Absent: offline only, no courier, no connection out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<Online>,
    /// Numbers sent along with a check-in. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
    /// Capability sets carried in by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub air_gap: Option<AirGap>,
}

/// How to check in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Online {
    /// The licence server. Must be on the operator's allow-list; the vendor's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<HttpsUrl>,
    /// How often, from 15m to 6h; 6h when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = clause::CHECK_IN_RANGE)]
    pub interval: Option<Span>,
    /// Where the courier that checks in may connect to.
    pub egress: Egress,
}

/// Numbers sent along with a check-in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = clause::TELEMETRY_NEEDS_CONSENT)]
pub struct Telemetry {
    /// Whether they are sent.
    pub enabled: bool,
    /// The consent to one schema, made after seeing the exact bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
}

/// A consent to one telemetry schema.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Consent {
    /// The schema that was shown. A newer one needs a new consent.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub schema: u32,
    /// SHA-256 (hex) of the preview that was shown.
    pub preview_sha256: HexHash,
}

/// Capability sets carried in by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AirGap {
    /// The Secret whose key `capabilities` holds the signed reply; a Secret, because the reply names the licence key.
    pub capability_set_ref: NameRef,
}

/// What the relays under this licence report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParamantLicenseStatus {
    /// The generation of the spec this status is about; -1 before the operator's first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Community`, `Licensed`, `Pro` or `Enterprise`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub tier: Option<String>,
    /// The name in the licence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub issued_to: Option<String>,
    /// The cap on active accounts; absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_users: Option<u64>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Where the entitlement comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<LicenseSource>,
    /// The relays that refer to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub relays: Vec<LicensedRelay>,
    /// What machines read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// One relay under a licence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LicensedRelay {
    /// Its `metadata.name`.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Whether the licence is in force there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<LicensedState>,
    /// When it last checked in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_check_in: Option<Time>,
    /// Whether the endpoint answered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reachable: Option<bool>,
    /// SHA-256 (hex) of the bytes its next check-in will send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_request_sha256: Option<HexHash>,
}

/// Whether a licence is in force on one relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum LicensedState {
    /// Not reported yet.
    Unknown,
    /// In force.
    Active,
    /// The last verified set goes on while the endpoint is away.
    Grace,
    /// Community Edition.
    Community,
}
