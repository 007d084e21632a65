//! JSON schemas for kubeconform, strict: a field the schema does not know is an error.
//!
//! Ours come from the types; Kubernetes' own from its OpenAPI v2 document, only the kinds this project renders.
//! One file each, named as kubeconform's `{{.ResourceKind}}{{.KindSuffix}}.json`.

use std::{fs, path::Path};

use paramant_crds::definition;
use serde_json::{Map, Value, json};

use crate::Error;

/// The kinds of Kubernetes that the chart, the samples and a relay's children are made of.
const KINDS: [&str; 20] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "ConfigMap",
    "CustomResourceDefinition",
    "Deployment",
    "Ingress",
    "Lease",
    "Namespace",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "Role",
    "RoleBinding",
    "Secret",
    "Service",
    "ServiceAccount",
    "StatefulSet",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

pub(crate) fn write(folder: &Path, kubernetes: Option<&Path>) -> Result<(), Error> {
    let failed = |path: &Path, source| Error::File { path: path.to_owned(), source };
    fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    let put = |kind: &str, group: &str, version: &str, schema: &Value| {
        let group = group.split('.').next().filter(|group| !group.is_empty());
        let suffix = group.map_or_else(|| version.to_owned(), |group| format!("{group}-{version}"));
        let path = folder.join(format!("{}-{suffix}.json", kind.to_lowercase()));
        fs::write(&path, schema.to_string()).map_err(|source| failed(&path, source))
    };
    for definition in definition::all()? {
        for version in &definition.spec.versions {
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
            let mut schema = serde_json::to_value(schema)?;
            if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
                properties.insert("apiVersion".to_owned(), json!({ "type": "string" }));
                properties.insert("kind".to_owned(), json!({ "type": "string" }));
                properties.insert("metadata".to_owned(), json!({ "type": "object" }));
            }
            put(&definition.spec.names.kind, &definition.spec.group, &version.name, &strict(&schema))?;
        }
    }
    let Some(path) = kubernetes else { return Ok(()) };
    let document: Value = serde_json::from_slice(&fs::read(path).map_err(|source| failed(path, source))?)?;
    let definitions = document
        .get("definitions")
        .and_then(Value::as_object)
        .ok_or_else(|| Error::NotOpenApi(path.to_owned()))?;
    for schema in definitions.values() {
        let kinds = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        for gvk in kinds.into_iter().flatten() {
            let part = |key: &str| gvk.get(key).and_then(Value::as_str).unwrap_or_default();
            if KINDS.contains(&part("kind")) {
                let resolved = strict(&resolve(schema, definitions, &mut Vec::new()));
                put(part("kind"), part("group"), part("version"), &resolved)?;
            }
        }
    }
    Ok(())
}

/// Replaces each `$ref` by what it names. A schema inside itself accepts anything there.
fn resolve(schema: &Value, definitions: &Map<String, Value>, inside: &mut Vec<String>) -> Value {
    match schema {
        Value::Array(parts) => parts.iter().map(|part| resolve(part, definitions, inside)).collect(),
        Value::Object(object) => {
            let Some(name) = object.get("$ref").and_then(Value::as_str) else {
                let below =
                    |(key, part): (&String, &Value)| (key.clone(), resolve(part, definitions, inside));
                return Value::Object(object.iter().map(below).collect());
            };
            let name = name.trim_start_matches("#/definitions/");
            if name.ends_with(".Quantity") {
                return json!({ "type": ["string", "number"] });
            }
            let Some(target) = definitions.get(name).filter(|_| !inside.iter().any(|outer| outer == name))
            else {
                return json!({});
            };
            inside.push(name.to_owned());
            let resolved = resolve(target, definitions, inside);
            inside.pop();
            resolved
        }
        other => other.clone(),
    }
}

/// Closes every object that lists its properties, and lets optional ones be null, as API servers do.
fn strict(schema: &Value) -> Value {
    let Some(object) = schema.as_object() else { return schema.clone() };
    let mut object = object.clone();
    let flag = |object: &Map<String, Value>, key: &str| object.get(key) == Some(&Value::Bool(true));
    if object.get("format") == Some(&json!("int-or-string")) || flag(&object, "x-kubernetes-int-or-string") {
        return json!({ "type": ["string", "integer"] });
    }
    let required: Vec<Value> = object.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let open = flag(&object, "x-kubernetes-preserve-unknown-fields");
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties.iter_mut() {
            *property = strict(property);
            if !required.contains(&Value::String(name.clone())) {
                allow_null(property);
            }
        }
        if !open {
            object.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
    } else if let Some(values) = object.get_mut("additionalProperties") {
        *values = strict(values);
    }
    if let Some(items) = object.get_mut("items") {
        *items = strict(items);
    }
    Value::Object(object)
}

fn allow_null(property: &mut Value) {
    let Some(object) = property.as_object_mut() else { return };
    match object.get_mut("type") {
        Some(Value::String(name)) => {
            let types = json!([name, "null"]);
            object.insert("type".to_owned(), types);
        }
        Some(Value::Array(types)) => types.push(json!("null")),
        _ => {}
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.push(Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_lists_its_fields_is_closed() {
        let schema = strict(&json!({ "type": "object", "properties": { "a": { "type": "string" } } }));
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["properties"]["a"]["type"], json!(["string", "null"]));
    }

    #[test]
    fn an_open_object_stays_open() {
        let schema = json!({
            "type": "object", "properties": { "a": {} }, "x-kubernetes-preserve-unknown-fields": true,
        });
        assert_eq!(strict(&schema).get("additionalProperties"), None);
    }
}
