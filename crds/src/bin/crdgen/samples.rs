//! Holds the hand-written samples against the definitions: known fields only, readable, and free of violations.

use std::{fs, path::Path};

use paramant_crds::{ParamantLicense, ParamantPolicy, ParamantRelay, definition, validation};
use serde_json::Value;

use crate::Error;

pub(crate) fn check(folder: &Path) -> Result<(), Error> {
    let failed = |source| Error::File { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|source| Error::File { path: path.clone(), source })?;
        check_text(&text).map_err(|reason| Error::Sample { path, reason })?;
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    documents.iter().try_for_each(check_document)
}

fn check_document(document: &Value) -> Result<(), String> {
    let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default();
    let (schema, violations) = match kind {
        "ParamantRelay" => (definition::schema::<ParamantRelay>(), validation::relay(&read(document)?)),
        "ParamantLicense" => (definition::schema::<ParamantLicense>(), validation::license(&read(document)?)),
        "ParamantPolicy" => (definition::schema::<ParamantPolicy>(), validation::policy(&read(document)?)),
        _ => return Ok(()),
    };
    if let Some(field) = unknown_field(&schema, document, "") {
        return Err(format!("{kind} has no field {field}"));
    }
    match violations.first() {
        Some(violation) => Err(violation.to_string()),
        None => Ok(()),
    }
}

fn read<T: serde::de::DeserializeOwned>(document: &Value) -> Result<T, String> {
    serde_json::from_value(document.clone()).map_err(|error| error.to_string())
}

/// Fields of every object, which no schema of a resource repeats.
const OWNED_BY_KUBERNETES: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The first field the schema does not know.
fn unknown_field(schema: &Value, value: &Value, at: &str) -> Option<String> {
    match value {
        Value::Array(items) => {
            items.iter().find_map(|item| unknown_field(schema.get("items")?, item, &format!("{at}[]")))
        }
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object)?;
            let open = schema.get("x-kubernetes-preserve-unknown-fields").is_some();
            fields.iter().find_map(|(name, field)| {
                let below = format!("{at}.{name}");
                match properties.get(name) {
                    Some(property) => unknown_field(property, field, &below),
                    None if open || (at.is_empty() && OWNED_BY_KUBERNETES.contains(&name.as_str())) => None,
                    None => Some(below),
                }
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const GOOD: &str = "apiVersion: paramant.app/v1alpha1\nkind: ParamantRelay\nmetadata: { name: a }\nspec: { image: 'r.example/a:1' }\n";

    #[test]
    fn a_misspelt_field_is_found() {
        assert_eq!(check_text(GOOD), Ok(()));
        let bad = GOOD.replace("spec: {", "spec: { limits: { maxblob: 1Mi },");
        assert_eq!(check_text(&bad), Err("ParamantRelay has no field .spec.limits.maxblob".to_owned()));
    }

    #[test]
    fn a_violation_is_found() {
        let error = check_text(&GOOD.replace("'r.example/a:1'", "a")).unwrap_err();
        assert!(error.starts_with("spec.image: write the whole image"), "{error}");
    }
}
