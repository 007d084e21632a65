#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};

use super::*;

/// Calls `visit` with each schema below `schema` and its path.
fn walk(schema: &Value, at: &str, visit: &mut impl FnMut(&str, &serde_json::Map<String, Value>)) {
    let Some(object) = schema.as_object() else { return };
    visit(at, object);
    for (name, property) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(property, &format!("{at}.{name}"), visit);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(below) = object.get(key) {
            walk(below, &format!("{at}[]"), visit);
        }
    }
}

fn schemas() -> [(&'static str, Value); 3] {
    [
        ("relay", schema::<ParamantRelay>()),
        ("license", schema::<ParamantLicense>()),
        ("policy", schema::<ParamantPolicy>()),
    ]
}

fn paths_with(schema: &Value, matches: impl Fn(&serde_json::Map<String, Value>) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    walk(schema, "", &mut |at, object| {
        if matches(object) {
            found.push(at.to_owned());
        }
    });
    found
}

#[test]
fn the_spec_has_no_default_anywhere() {
    let planted = json!({ "properties": { "a": { "items": { "default": [] } } } });
    let has_default = |object: &serde_json::Map<String, Value>| object.contains_key("default");
    assert_eq!(paths_with(&planted, has_default), [".a[]"], "the search finds a planted default");
    for (name, schema) in schemas() {
        assert_eq!(paths_with(&schema["properties"]["spec"], has_default), [""; 0], "{name}");
        assert_eq!(paths_with(&schema, has_default), [".status"], "{name}");
    }
}

#[test]
fn a_fresh_object_reads_as_in_progress() {
    for (name, schema) in schemas() {
        assert_eq!(
            schema.pointer("/properties/status/default"),
            Some(&json!({ "observedGeneration": -1 })),
            "{name}"
        );
    }
}

#[test]
fn absent_is_the_only_way_to_say_nothing() {
    for (name, schema) in schemas() {
        assert_eq!(paths_with(&schema, |object| object.contains_key("nullable")), [""; 0], "{name}");
        assert_eq!(paths_with(&schema, |object| object.get("type").is_some_and(Value::is_array)), [""; 0]);
    }
}

#[test]
fn every_schema_is_structural() {
    for (name, schema) in schemas() {
        let loose = |object: &serde_json::Map<String, Value>| {
            let int_or_string = object.contains_key("x-kubernetes-int-or-string");
            !int_or_string
                && (!object.contains_key("type")
                    || ["anyOf", "oneOf", "allOf", "not", "$ref", "const"]
                        .iter()
                        .any(|key| object.contains_key(*key)))
        };
        assert_eq!(paths_with(&schema, loose), [""; 0], "{name}");
    }
}

#[test]
fn conditions_are_a_list_map_by_type() {
    for (name, schema) in schemas() {
        let conditions = &schema["properties"]["status"]["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map", "{name}");
        assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]), "{name}");
    }
}

#[test]
fn every_list_says_how_it_merges_and_how_long_it_may_be() {
    for (name, schema) in schemas() {
        let is_list = |object: &serde_json::Map<String, Value>| object.get("type") == Some(&json!("array"));
        assert!(!paths_with(&schema, is_list).is_empty(), "{name} has lists");
        let unclear = |object: &serde_json::Map<String, Value>| {
            is_list(object)
                && !(object.contains_key("x-kubernetes-list-type") && object.contains_key("maxItems"))
        };
        assert_eq!(paths_with(&schema, unclear), [""; 0], "{name}");
    }
    let relay = schema::<ParamantRelay>();
    let limits = &relay["properties"]["spec"]["properties"]["limits"]["properties"];
    assert_eq!(limits["trustedProxies"]["x-kubernetes-list-type"], "set");
}

#[test]
fn every_string_and_every_map_is_bounded() {
    for (name, schema) in schemas() {
        let unbounded = |object: &serde_json::Map<String, Value>| {
            let has = |key: &str| object.contains_key(key);
            match object.get("type").and_then(Value::as_str) {
                Some("string") => {
                    !(has("maxLength") || has("enum") || object.get("format") == Some(&json!("date-time")))
                }
                Some("object") => has("additionalProperties") && !has("maxProperties"),
                _ => false,
            }
        };
        let mut paths = paths_with(&schema, unbounded);
        // The API server owns these two.
        paths.retain(|path| path != ".apiVersion" && path != ".kind");
        assert_eq!(paths, [""; 0], "{name}");
    }
}

#[test]
fn numbers_use_formats_kubernetes_knows() {
    for (name, schema) in schemas() {
        let odd = |object: &serde_json::Map<String, Value>| {
            let known = ["int32", "int64", "date-time"];
            object.get("format").and_then(Value::as_str).is_some_and(|format| !known.contains(&format))
        };
        assert_eq!(paths_with(&schema, odd), [""; 0], "{name}");
    }
}

#[test]
fn every_field_says_what_it_is() {
    for (name, schema) in schemas() {
        for (part, schema) in schema["properties"].as_object().unwrap() {
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                assert!(property["description"].is_string(), "{name}: {part}.{field}");
            }
        }
    }
}

#[test]
fn each_definition_is_small_enough_to_apply() {
    for definition in all().unwrap() {
        let size = serde_json::to_vec(&definition).unwrap().len();
        // `kubectl apply` keeps a copy in an annotation of at most 256 KiB.
        assert!(size < 128 * 1024, "{:?}: {size} bytes", definition.metadata.name);
        assert_eq!(definition.spec.names.categories, Some(vec!["paramant".to_owned()]));
        assert_eq!(definition.spec.names.short_names.as_ref().map(Vec::len), Some(1));
    }
}
