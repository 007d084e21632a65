//! The three CustomResourceDefinitions as the API server gets them.
//!
//! The schema is generated here rather than taken from the derive, because ours differ in three ways: no `nullable`
//! (absent and null are one thing, so CEL's `has` tells the truth), formats Kubernetes knows, and a `status` that reads
//! as in progress before the operator's first look.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceValidation, JSONSchemaProps,
};
use kube::{CustomResourceExt, core::schema::StructuralSchemaRewriter};
use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::Transform};
use serde_json::{Map, Value, json};

use crate::{ParamantLicense, ParamantPolicy, ParamantRelay};

/// All three, in the order of their names.
pub fn all() -> Result<[CustomResourceDefinition; 3], serde_json::Error> {
    Ok([of::<ParamantLicense>()?, of::<ParamantPolicy>()?, of::<ParamantRelay>()?])
}

/// The definition of one resource.
pub fn of<T: CustomResourceExt + JsonSchema>() -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut definition = T::crd();
    let schema: JSONSchemaProps = serde_json::from_value(schema::<T>())?;
    for version in &mut definition.spec.versions {
        version.schema = Some(CustomResourceValidation { open_api_v3_schema: Some(schema.clone()) });
    }
    Ok(definition)
}

/// The structural schema of one resource, as JSON.
pub fn schema<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .with_transform(AbsentNotNull)
        .with_transform(StructuralSchemaRewriter)
        .with_transform(KubernetesFormats)
        .into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.remove("title");
    }
    if let Some(status) = schema.pointer_mut("/properties/status").and_then(Value::as_object_mut) {
        status.insert("default".to_owned(), json!({ "observedGeneration": -1 }));
    }
    schema
}

/// `Option<T>` is a field that may be absent, never one that may be null.
#[derive(Clone)]
struct AbsentNotNull;

impl Transform for AbsentNotNull {
    fn transform(&mut self, schema: &mut Schema) {
        schemars::transform::transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        object.remove("nullable");
        if let Some(Value::Array(types)) = object.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                object.insert("type".to_owned(), only);
            }
        }
        if let Some(some) = some_of_option(object) {
            object.remove("anyOf");
            for (key, value) in some {
                // The field's own description says more than its type's.
                object.entry(key).or_insert(value);
            }
        }
    }
}

/// The schema of `T` when the object is the schema of an `Option<T>`.
fn some_of_option(object: &Map<String, Value>) -> Option<Map<String, Value>> {
    let any_of = object.get("anyOf")?.as_array()?;
    let [some, none] = any_of.as_slice() else { return None };
    let is_null = none.get("type") == Some(&json!("null")) || none.get("enum") == Some(&json!([null]));
    is_null.then(|| some.as_object().cloned()).flatten()
}

/// Kubernetes knows `int32` and `int64`; an unsigned number is one with a minimum.
#[derive(Clone)]
struct KubernetesFormats;

impl Transform for KubernetesFormats {
    fn transform(&mut self, schema: &mut Schema) {
        schemars::transform::transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        if object.get("format") == Some(&json!("uint32")) || object.get("format") == Some(&json!("uint64")) {
            object.insert("format".to_owned(), json!("int64"));
        }
    }
}

#[cfg(test)]
mod tests;
