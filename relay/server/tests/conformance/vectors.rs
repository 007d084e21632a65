//! The vectors of protocol §11, as `vectors.yaml` holds them: each is computed from its fields with the functions of the
//! language, which proves the functions; the relay's own code is held against the same numbers where it lives
//! (`docs/spec/conformance/README.md` says where).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::language;
use crate::matching::differences;
use crate::value::Scope;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    #[serde(default, rename = "let")]
    variables: BTreeMap<String, Json>,
    /// What is computed, and what it must be.
    of: Vec<Pair>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    check: Json,
    is: Json,
}

#[test]
fn the_published_vectors_follow_from_their_fields() {
    let vectors: Vec<Vector> = language::read(&language::directory().join("vectors.yaml"));
    assert!(vectors.len() >= 14, "one for each kind of §11");
    for vector in &vectors {
        let mut scope = Scope::default();
        scope.define(&vector.variables).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert!(!vector.of.is_empty(), "{} checks nothing", vector.name);
        for pair in &vector.of {
            let value = scope.json(&pair.check).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
            let found = differences(&pair.is, Some(&value), &scope, &vector.name);
            assert!(found.is_empty(), "{found:?}");
            // And is not equal by accident: another number is seen as another.
            let other = Json::String("another".to_owned());
            assert!(!differences(&other, Some(&value), &scope, &vector.name).is_empty());
        }
    }
}
