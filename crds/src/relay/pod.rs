//! The pod's settings: pieces of Kubernetes' pod template, carried to the StatefulSet as written.
//!
//! They are JSON values here, not `k8s-openapi` types: the CRD's schema is kept small by not repeating Kubernetes'
//! own, so a value the API server stored may still be refused for the StatefulSet, and must not stop a watch.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{clause, reference::NameRef, span::Span, text::ObjectName};

/// How long the pod may take to finish what is in flight when it is told to end.
pub const DEFAULT_TERMINATION_GRACE: &str = "600s";

/// The pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Requests and limits of the relay's container.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "resources")]
    pub resources: Map<String, Value>,
    /// Labels a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "string_map")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints the pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "tolerations")]
    pub tolerations: Vec<Map<String, Value>>,
    /// Affinity, as in a pod's spec.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "affinity")]
    pub affinity: Map<String, Value>,
    /// Topology spread constraints, as in a pod's spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "topology_spread_constraints")]
    pub topology_spread_constraints: Vec<Map<String, Value>>,
    /// The priority class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<ObjectName>,
    /// More labels for the pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "string_map")]
    #[x_kube(validation = clause::POD_LABELS_ARE_FREE)]
    pub labels: BTreeMap<String, String>,
    /// More annotations for the pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "string_map")]
    #[x_kube(validation = clause::POD_ANNOTATIONS_ARE_FREE)]
    pub annotations: BTreeMap<String, String>,
    /// Secrets for pulling the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<NameRef>,
    /// How long the pod may take to finish what is in flight when it is told to end; 600s when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = clause::GRACE_RANGE)]
    pub termination_grace_period: Option<Span>,
}

/// A map of short strings: labels, annotations, selectors.
pub(crate) fn string_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 4096 },
    })
}

fn resources(_: &mut SchemaGenerator) -> Schema {
    let quantities = serde_json::json!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "x-kubernetes-int-or-string": true,
            "maxLength": 32,
            "pattern": "^([0-9]+|[0-9]*\\.[0-9]+)(([KMGTPE]i)|[numkMGTPE])?$",
        },
    });
    json_schema!({
        "type": "object",
        "properties": { "requests": quantities, "limits": quantities },
    })
}

fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "properties": {
                "key": { "type": "string", "maxLength": 316 },
                "operator": { "type": "string", "enum": ["Exists", "Equal"] },
                "value": { "type": "string", "maxLength": 63 },
                "effect": { "type": "string", "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"] },
                "tolerationSeconds": { "type": "integer", "format": "int64" },
            },
        },
    })
}

fn affinity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 3,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

fn topology_spread_constraints(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["topologyKey", "whenUnsatisfiable"],
        "items": {
            "type": "object",
            "required": ["maxSkew", "topologyKey", "whenUnsatisfiable"],
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {
                "maxSkew": { "type": "integer", "format": "int32", "minimum": 1 },
                "topologyKey": { "type": "string", "minLength": 1, "maxLength": 316 },
                "whenUnsatisfiable": { "type": "string", "enum": ["DoNotSchedule", "ScheduleAnyway"] },
            },
        },
    })
}
