//! Are the installed resource definitions at least as rich as the ones this operator was built with?
//!
//! A field that the installed schema does not know is dropped by the API server without a word: a person writes a safety
//! setting, and the operator never sees it. So the published schema (`/openapi/v3/…`, readable by everyone) must contain every
//! field of ours before anything is reconciled. More is fine: a newer definition serves an older operator.

use std::time::Duration;

use kube::Client;
use paramant_crds::{ParamantLicense, ParamantPolicy, ParamantRelay, definition};
use serde_json::Value;
use tokio::time::timeout;

use crate::sentence;

/// The document is a few hundred kilobytes and cached by the API server.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
const PATH: &str = "/openapi/v3/apis/paramant.app/v1alpha1";

/// Why nothing may be reconciled yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No definition is installed.
    #[error("the resource definitions of paramant.app/v1alpha1 are not installed; install the chart's CRDs")]
    NotInstalled,
    /// An older definition is installed.
    #[error("the installed definition of {kind} lacks {}; install the CRDs of this release, or these settings would be dropped unseen", fields.join(", "))]
    Lacks {
        /// Which resource.
        kind: String,
        /// Paths of missing fields, a few of them.
        fields: Vec<String>,
    },
    /// The document could not be read.
    #[error("the installed schema ({PATH}) cannot be read: {0}")]
    Unreadable(String),
}

/// Checks the installed definitions of all three resources.
pub async fn check(client: &Client) -> Result<(), Unfit> {
    let unreadable = |error: &dyn std::fmt::Display| Unfit::Unreadable(error.to_string());
    let request = http::Request::get(PATH).body(Vec::new()).map_err(|error| unreadable(&error))?;
    let text = match timeout(FETCH_TIMEOUT, client.request_text(request)).await {
        Ok(Ok(text)) => text,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Err(Unfit::NotInstalled),
        Ok(Err(error)) => return Err(Unfit::Unreadable(sentence::of_kube(&error))),
        Err(_) => return Err(unreadable(&"no answer in time")),
    };
    let document: Value = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    let ours = [
        ("ParamantRelay", definition::schema::<ParamantRelay>()),
        ("ParamantPolicy", definition::schema::<ParamantPolicy>()),
        ("ParamantLicense", definition::schema::<ParamantLicense>()),
    ];
    ours.iter().try_for_each(|(kind, schema)| compare(kind, schema, &document))
}

/// How many missing fields a message names.
const NAMED: usize = 5;

fn compare(kind: &str, ours: &Value, document: &Value) -> Result<(), Unfit> {
    let installed = installed(kind, document).ok_or(Unfit::NotInstalled)?;
    let mut fields = Vec::new();
    // `metadata` is the API server's own.
    for part in ["spec", "status"] {
        let pointer = format!("/properties/{part}");
        if let Some(ours) = ours.pointer(&pointer) {
            lacking(ours, installed.pointer(&pointer).unwrap_or(&Value::Null), part, &mut fields);
        }
    }
    fields.truncate(NAMED);
    if fields.is_empty() { Ok(()) } else { Err(Unfit::Lacks { kind: kind.to_owned(), fields }) }
}

/// The published schema of one kind, found by its type and not by its name in the document.
fn installed<'a>(kind: &str, document: &'a Value) -> Option<&'a Value> {
    let schemas = document.pointer("/components/schemas")?.as_object()?;
    schemas.values().find(|schema| {
        let types = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        types.is_some_and(|types| {
            types.iter().any(|one| one.get("kind").and_then(Value::as_str) == Some(kind))
        })
    })
}

/// Collects the paths of fields that `ours` has and `theirs` would prune.
fn lacking(ours: &Value, theirs: &Value, path: &str, fields: &mut Vec<String>) {
    if theirs.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        return;
    }
    if let Some(properties) = ours.get("properties").and_then(Value::as_object) {
        for (name, schema) in properties {
            let path = format!("{path}.{name}");
            match theirs.get("properties").and_then(|theirs| theirs.get(name)) {
                Some(found) => lacking(schema, found, &path, fields),
                None => fields.push(path),
            }
        }
    }
    for (inner, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(schema) = ours.get(inner).filter(|schema| schema.is_object()) {
            lacking(schema, theirs.get(inner).unwrap_or(&Value::Null), &format!("{path}{mark}"), fields);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn document(relay: Value) -> Value {
        let mut relay = relay;
        relay["x-kubernetes-group-version-kind"] =
            json!([{ "group": "paramant.app", "kind": "ParamantRelay", "version": "v1alpha1" }]);
        json!({ "components": { "schemas": { "app.paramant.v1alpha1.ParamantRelay": relay } } })
    }

    fn ours() -> Value {
        definition::schema::<ParamantRelay>()
    }

    #[test]
    fn our_own_schema_is_fit_and_a_richer_one_too() {
        assert_eq!(compare("ParamantRelay", &ours(), &document(ours())), Ok(()));
        let mut richer = ours();
        richer["properties"]["spec"]["properties"]["tomorrow"] = json!({ "type": "string" });
        assert_eq!(compare("ParamantRelay", &ours(), &document(richer)), Ok(()));
    }

    #[test]
    fn a_pruned_field_is_named_however_deep() {
        for pointer in [
            "/properties/spec/properties",
            "/properties/spec/properties/storage/properties",
            "/properties/status/properties",
        ] {
            let fields: Vec<String> =
                ours().pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect();
            for field in fields {
                let mut poorer = ours();
                poorer.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(&field);
                match compare("ParamantRelay", &ours(), &document(poorer)) {
                    Err(Unfit::Lacks { fields, .. }) => {
                        assert!(fields[0].ends_with(&field), "{fields:?} should name {field}")
                    }
                    other => panic!("{field} was removed, found {other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_missing_kind_is_not_installed() {
        assert_eq!(compare("ParamantPolicy", &ours(), &document(ours())), Err(Unfit::NotInstalled));
    }
}
