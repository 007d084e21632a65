//! Reading JSON that someone signed or that someone hostile sent: duplicate keys are refused, as are fractions.
//!
//! Two readers that resolve a duplicate key differently would see two documents under one signature. Nesting is bounded by
//! `serde_json` itself (128 levels), so no input can exhaust the stack.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why bytes were refused.
#[derive(Debug, thiserror::Error)]
#[error("not strict JSON: {0}")]
pub struct StrictError(#[from] serde_json::Error);

/// Reads exactly one JSON value, refusing duplicate keys, fractions and trailing bytes.
pub fn value(bytes: &[u8]) -> Result<Value, StrictError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// As [`value`], for a document that must be an object.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, StrictError> {
    match value(bytes)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(StrictError(serde_json::Error::custom("expected an object"))),
    }
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value without duplicate keys or fractions")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Err(E::custom(format_args!("the number {value} is not an integer in range")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} appears twice")));
            }
            let value = fields.next_value_seed(Strict)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_json_is_read() {
        let value = value(br#" {"a":[1,-2,null,true,"x"],"b":{"a":1}} "#).unwrap();
        assert_eq!(value, serde_json::json!({"a":[1,-2,null,true,"x"],"b":{"a":1}}));
    }

    #[test]
    fn duplicates_fractions_and_trailing_bytes_are_refused() {
        let deep = "[".repeat(100_000);
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"{"a":1,"\u0061":2}"#,
            "1.5",
            "1e3",
            "1 2",
            "",
            "{",
            &deep,
        ] {
            assert!(value(text.as_bytes()).is_err(), "{} was accepted", &text[..text.len().min(40)]);
        }
        assert!(object(b"[]").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = value(&bytes);
        }
    }
}
