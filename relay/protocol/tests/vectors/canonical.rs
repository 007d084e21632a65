//! Section 2.

use paramant_protocol::{canonical, strict};
use serde::Deserialize;

use crate::files::vectors;

#[derive(Deserialize)]
struct Vector {
    name: String,
    json: String,
    canonical: Option<String>,
    strict: bool,
}

#[test]
fn canonical_json_is_the_one_of_the_specification() {
    for vector in vectors::<Vector>("canonical.json") {
        let read = strict::value(vector.json.as_bytes());
        assert_eq!(read.is_ok(), vector.strict, "{}: {read:?}", vector.name);
        let written = read.ok().and_then(|value| canonical::to_string(&value).ok());
        assert_eq!(written, vector.canonical, "{}", vector.name);
    }
}
