//! The one canonical JSON writer: every byte string that is signed, hashed or compared comes from here.
//!
//! Protocol §0.3, which is RFC 8785 restricted to what published clients agree on: keys sorted at every level, no
//! whitespace, JavaScript's string escapes, and integers only. A number with a fraction, or one outside the range that
//! JavaScript holds exactly, is refused rather than written in a form that two readers could spell differently.

use serde::Serialize;
use serde_json::Value;

/// The largest integer that every reader (JavaScript included) holds exactly: 2^53 − 1.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// A fraction, or an integer beyond ±(2^53 − 1).
    #[error(
        "the number {0} has no canonical form: write an integer between -(2^53-1) and 2^53-1, or a string"
    )]
    Number(String),
    /// The value cannot be JSON at all (a map with keys that are not strings, for example).
    #[error("the value cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The canonical bytes of `value`.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    value_to_vec(&serde_json::to_value(value)?)
}

/// The canonical text of `value`.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, CanonicalError> {
    let value = serde_json::to_value(value)?;
    check_numbers(&value)?;
    Ok(serde_json_canonicalizer::to_string(&value)?)
}

/// The canonical bytes of a value that is already JSON.
pub fn value_to_vec(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    check_numbers(value)?;
    Ok(serde_json_canonicalizer::to_vec(value)?)
}

fn check_numbers(value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            match magnitude {
                Some(magnitude) if magnitude <= MAX_INTEGER => Ok(()),
                _ => Err(CanonicalError::Number(number.to_string())),
            }
        }
        Value::Array(items) => items.iter().try_for_each(check_numbers),
        Value::Object(fields) => fields.values().try_for_each(check_numbers),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_at_every_level_and_nothing_is_spaced() {
        let value = json!({"b": [ {"z": 1, "a": null} ], "a": {"y": true, "x": "s"}});
        assert_eq!(to_string(&value).unwrap(), r#"{"a":{"x":"s","y":true},"b":[{"a":null,"z":1}]}"#);
    }

    #[test]
    fn strings_are_escaped_as_javascript_does() {
        let value = json!("\u{8}\t\n\u{c}\r\"\\\u{1}\u{7f}é/");
        assert_eq!(to_string(&value).unwrap(), "\"\\b\\t\\n\\f\\r\\\"\\\\\\u0001\u{7f}é/\"");
    }

    #[test]
    fn integers_are_plain_decimal_up_to_what_javascript_holds() {
        assert_eq!(to_string(&json!([0, -1, MAX_INTEGER])).unwrap(), "[0,-1,9007199254740991]");
        for refused in [json!(1.5), json!(MAX_INTEGER + 1), json!(u64::MAX), json!(1e30), json!({"a": [0.0]})]
        {
            assert!(matches!(to_vec(&refused), Err(CanonicalError::Number(_))), "{refused} was accepted");
        }
    }

    fn integer_json() -> impl Strategy<Value = Value> {
        let limit = i64::try_from(MAX_INTEGER).unwrap();
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-limit..=limit).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn writing_then_reading_gives_the_same_value_and_the_same_bytes(value in integer_json()) {
            let bytes = to_vec(&value).unwrap();
            let read: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&read, &value);
            prop_assert_eq!(to_vec(&read).unwrap(), bytes);
        }
    }
}
