//! Where inputs come from: the vectors of the specification, and a folder for each target with what they do not hold.
//!
//! What a run found to break a property is added to the folder when it is mended, and so is checked for ever.

use std::path::PathBuf;

use serde_json::Value;

use crate::Target;

/// The folder of a target's own seeds.
#[must_use]
pub fn folder(target: &Target) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target.name)
}

/// All seeds of a target: of the vectors, then of its folder by name.
///
/// # Panics
/// When a file cannot be read.
#[must_use]
pub fn of(target: &Target) -> Vec<Vec<u8>> {
    let mut seeds = (target.seeds)();
    if let Ok(entries) = std::fs::read_dir(folder(target)) {
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder entry").path()).collect();
        paths.sort();
        seeds.extend(paths.iter().map(|path| std::fs::read(path).expect("a seed")));
    }
    seeds
}

/// All texts under these names in a file of vectors, at any depth.
pub(crate) fn texts(file: &str, names: &[&str]) -> Vec<Vec<u8>> {
    strings(file, names).into_iter().map(String::into_bytes).collect()
}

/// As [`texts`], for hex.
pub(crate) fn bytes(file: &str, names: &[&str]) -> Vec<Vec<u8>> {
    strings(file, names).iter().map(|text| hex::decode(text).expect("hex in a vector")).collect()
}

fn strings(file: &str, names: &[&str]) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/vectors").join(file);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found = Vec::new();
    collect(&serde_json::from_slice(&text).expect("JSON in a vector"), names, &mut found);
    assert!(!found.is_empty(), "{file} has no {names:?}");
    found
}

fn collect(value: &Value, names: &[&str], found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, names, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if names.contains(&name.as_str()) => found.push(text.clone()),
                    Value::Array(items) if names.contains(&name.as_str()) => {
                        found.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    _ => collect(value, names, found),
                }
            }
        }
        _ => {}
    }
}
