//! Conditions: the names all three resources use, and their place in the schema.
//!
//! The type is Kubernetes' own `Condition`. In the schema conditions are a list-map by `type`, with the bounds the
//! Kubernetes API conventions give, so that server-side apply merges them one by one.

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{Schema, SchemaGenerator, json_schema};

/// The relay serves.
pub const READY: &str = "Ready";
/// The operator is still working towards the spec (abnormal when true; kstatus reads it).
pub const RECONCILING: &str = "Reconciling";
/// Only a person can help (abnormal when true; kstatus reads it).
pub const STALLED: &str = "Stalled";
/// Something is wrong, and the relay serves all the same or will again.
pub const DEGRADED: &str = "Degraded";
/// Uploads are refused and nothing is in flight.
pub const DRAINED: &str = "Drained";
/// A release other than the one running is on offer or asked for.
pub const UPDATE_AVAILABLE: &str = "UpdateAvailable";
/// An update waits; the reason says for what.
pub const UPDATE_BLOCKED: &str = "UpdateBlocked";
/// The licence in force is valid.
pub const LICENSE_VALID: &str = "LicenseValid";
/// Operator and relay understand each other.
pub const CAPABILITIES_SYNCED: &str = "CapabilitiesSynced";
/// The log continues what was seen before.
pub const LOG_CONSISTENT: &str = "LogConsistent";
/// So many witnesses as the spec asks for follow the log.
pub const LOG_WITNESSED: &str = "LogWitnessed";
/// A vendor's request waits for a decision.
pub const REMOTE_ACTION_PENDING: &str = "RemoteActionPending";
/// The relay is paused by annotation.
pub const PAUSED: &str = "Paused";

/// On a licence: it counts.
pub const VALID: &str = "Valid";
/// On a licence: the endpoint answers. On a policy: some window can admit an update.
pub const REACHABLE: &str = "Reachable";
/// On a licence: it ends within 30 days.
pub const EXPIRING_SOON: &str = "ExpiringSoon";
/// On a licence: telemetry is on, with a consent to its present schema.
pub const TELEMETRY_CONSENTED: &str = "TelemetryConsented";
/// On a policy: `status.accepted` is this generation.
pub const ACCEPTED: &str = "Accepted";

/// The schema of a list of conditions.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What machines read: one entry for each aspect, by type.",
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "description": "When the status last changed.",
                    "type": "string", "format": "date-time",
                },
                "message": {
                    "description": "One sentence for people.",
                    "type": "string", "maxLength": 32768,
                },
                "observedGeneration": {
                    "description": "The generation of the spec this is about.",
                    "type": "integer", "format": "int64",
                },
                "reason": {
                    "description": "One word for machines.",
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "status": {
                    "description": "True, False or Unknown.",
                    "type": "string", "enum": ["True", "False", "Unknown"],
                },
                "type": {
                    "description": "The aspect.",
                    "type": "string", "maxLength": 316,
                    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                },
            },
        },
    })
}
