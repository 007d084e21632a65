//! The schema of the values: complete, and closed.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Shape, read, yaml};

/// Parts of other people's schemas, which the API server judges.
const OPEN: &[&str] = &[
    "global",
    "nodeAffinity",
    "podAffinity",
    "podAntiAffinity",
    "labelSelector",
    "podSelector",
    "namespaceSelector",
    "ipBlock",
    "valueFrom",
    "claims",
];

fn schema() -> Value {
    serde_json::from_str(&read("values.schema.json")).unwrap()
}

/// Every object in the schema by its path, with whether unknown keys are refused or bounded.
fn objects(schema: &Value, path: &str, found: &mut Vec<(String, bool)>) {
    if schema["type"] == "object" {
        found.push((path.to_owned(), schema.get("additionalProperties").is_some_and(|it| it != true)));
    }
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        objects(child, &format!("{path}.{name}"), found);
    }
    if schema["items"].is_object() {
        objects(&schema["items"], path, found);
    }
}

#[test]
fn no_object_takes_a_key_that_nobody_reads() {
    let mut found = Vec::new();
    objects(&schema(), "", &mut found);
    assert!(found.len() > 20, "the objects are found");
    for (path, closed) in found {
        let last = path.rsplit('.').next().unwrap_or_default();
        assert!(closed || OPEN.contains(&last), "values{path} takes anything");
    }
}

/// The paths of all values that are no objects, down to what a person fills in.
fn leaves(values: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    match (values.as_object(), schema["properties"].as_object()) {
        (Some(object), Some(known)) if !object.is_empty() => {
            for (name, value) in object {
                let path = format!("{path}.{name}");
                let schema =
                    known.get(name).unwrap_or_else(|| panic!("values.schema.json does not know {path}"));
                leaves(value, schema, &path, found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn every_value_has_a_schema_and_every_schema_a_value_with_a_comment() {
    let (text, schema) = (read("values.yaml"), schema());
    let values = yaml(&text);
    let mut found = BTreeSet::new();
    leaves(&values, &schema, "", &mut found);
    assert!(found.contains(".image.digest") && found.contains(".resources.limits"), "{found:?}");
    for (name, part) in schema["properties"].as_object().unwrap() {
        if name == "global" {
            continue;
        }
        assert!(values.get(name).is_some(), "values.yaml lacks {name}");
        assert!(part["description"].as_str().is_some_and(|it| !it.is_empty()), "{name} has no description");
        let closed = part["additionalProperties"] == false && name != "resources" && name != "affinity";
        for child in
            part["properties"].as_object().filter(|_| closed).into_iter().flatten().map(|(name, _)| name)
        {
            assert!(values[name].get(child).is_some(), "values.yaml lacks {name}.{child}");
            let line = format!("\n  {child}:");
            let at = text.find(&format!("\n{name}:")).unwrap();
            let before = &text[at..at + text[at..].find(&line).unwrap()];
            assert!(before.rsplit("\n\n").next().unwrap().contains("# -- "), "{name}.{child} has no comment");
        }
    }
}

#[test]
fn the_set_with_everything_sets_everything_that_can_be_set() {
    let set = Shape::named("everything").values;
    for name in yaml(&read("values.yaml")).as_object().unwrap().keys() {
        let elsewhere = ["crds", "rbac", "affinity", "dashboard"].contains(&name.as_str());
        assert!(elsewhere || set.get(name).is_some(), "tests/values/everything.yaml lacks {name}");
    }
}
