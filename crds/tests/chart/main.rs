//! What must hold of the chart whatever its values: asserted on the snapshots, which `cargo xtask generate` renders from the
//! sets in `tests/values` and the ladder holds against the chart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod monitoring;
mod rights;
mod values;
mod workload;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// Where the operator is installed in every snapshot.
const HOME: &str = "paramant-system";

fn chart() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/paramant-operator"))
}

fn read(file: &str) -> String {
    fs::read_to_string(chart().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The values and the objects of one set.
struct Shape {
    name: String,
    values: Value,
    objects: Vec<Value>,
}

impl Shape {
    fn all() -> Vec<Self> {
        let files = fs::read_dir(chart().join("tests/values")).unwrap().flatten();
        let mut names: Vec<String> =
            files.map(|file| file.path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        assert!(names.len() >= 7, "the sets are found: {names:?}");
        names.iter().map(|name| Self::named(name)).collect()
    }

    fn named(name: &str) -> Self {
        let snapshot = read(&format!("tests/snapshots/{name}.yaml"));
        let objects = snapshot
            .split("\n---\n")
            .filter(|text| text.lines().any(|line| line.starts_with("kind:")))
            .map(yaml)
            .collect();
        Self { name: name.to_owned(), values: yaml(&read(&format!("tests/values/{name}.yaml"))), objects }
    }

    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    fn only(&self, kind: &str) -> &Value {
        let found: Vec<&Value> = self.objects.iter().filter(|object| object["kind"] == kind).collect();
        assert_eq!(found.len(), 1, "{}: {kind}", self.name);
        found[0]
    }

    fn watched(&self) -> Vec<&str> {
        words(&self.values["watch"]["namespaces"])
    }
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn labels(object: &Value) -> BTreeMap<&str, &str> {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    labels.map(|(key, value)| (key.as_str(), value.as_str().unwrap())).collect()
}
