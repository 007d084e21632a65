//! `ParamantPolicy`: what a team allows: when updates may start, who may sign, what a vendor may ask.
//!
//! The spec in force is `status.accepted`: a policy that contradicts itself keeps the last accepted one in force.

pub mod drain;
pub mod remote;
pub mod updates;
pub mod verification;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use drain::{DrainPolicy, OnDeadline};
pub use remote::{Answer, RemoteActions, SupportAccess};
pub use updates::{
    Applies, Day, Exclusion, Gate, Mode, Moment, Overrun, StartTime, TimeZoneName, Updates, Window,
};
pub use verification::{Verification, VerificationKey};

use crate::{clause, condition::conditions};

/// What a team allows.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "paramant.app",
    version = "v1alpha1",
    kind = "ParamantPolicy",
    plural = "paramantpolicies",
    namespaced,
    shortname = "ppol",
    category = "paramant",
    status = "ParamantPolicyStatus",
    derive = "PartialEq",
    doc = "A ParamantPolicy says when relays of its namespace may be updated, who must have signed, and what a vendor may ask.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.updates.mode"),
    // Not a date: kubectl prints a date as an age, and one ahead as <invalid>.
    printcolumn(name = "Next-Window", type_ = "string", json_path = ".status.nextWindow"),
    printcolumn(name = "Relays", type_ = "integer", json_path = ".status.relays"),
    printcolumn(name = "Drain", type_ = "boolean", json_path = ".spec.drain.active"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = clause::POLICY_NAME
)]
#[serde(rename_all = "camelCase")]
pub struct ParamantPolicySpec {
    /// How drains run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainPolicy>,
    /// When template changes may be rolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updates: Option<Updates>,
    /// Whose signatures an image needs. Absent: the release key that is compiled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// What happens to a vendor's requests. Absent: support keys and drains ask; offers are shown, capability sets taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_actions: Option<RemoteActions>,
    /// Support keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_access: Option<SupportAccess>,
}

/// What the operator makes of a policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParamantPolicyStatus {
    /// The generation of the spec this status is about; -1 before the operator's first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The spec in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<AcceptedPolicy>,
    /// When the next window opens that has room for an update (drain deadline and health timeout). The window that is open
    /// now does not count; absent when none will open, or when nothing restricts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_window: Option<Time>,
    /// How many minutes of 32 days are inside a window and outside every exclusion. The days begin where a window or an
    /// exclusion last began or ended, or at the last midnight in UTC, whichever was later: so the number rests in between.
    #[serde(rename = "reachableMinutes32d", skip_serializing_if = "Option::is_none")]
    pub reachable_minutes_32d: Option<u32>,
    /// How many relays refer to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relays: Option<u32>,
    /// What machines read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// A spec that was accepted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct AcceptedPolicy {
    /// Its generation.
    pub generation: i64,
    /// The spec as it was. Kept as JSON, so that a later release can always read the object.
    #[schemars(schema_with = "any_object")]
    pub spec: Map<String, Value>,
}

impl AcceptedPolicy {
    /// The accepted spec, or what about it this release cannot read.
    pub fn parse(&self) -> Result<ParamantPolicySpec, serde_json::Error> {
        serde_json::from_value(Value::Object(self.spec.clone()))
    }
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
