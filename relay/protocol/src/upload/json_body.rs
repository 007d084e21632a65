//! The JSON body of an upload, read as a stream: the text of `payload` flows through, everything else is kept.
//!
//! The scanner follows strings and nesting just far enough to know the top-level `payload` when it comes, in any position.
//! What is not payload text is copied aside with an empty string in its place, and parsed whole at the end: grammar is
//! `serde_json`'s business alone, and a document is accepted exactly when `serde_json` would accept it and `payload` comes
//! once. Memory is bounded by [`REST`], however long the payload.

use serde_json::{Map, Value};

/// Bytes of everything but the payload at most. A signature in hex (6,618 characters) and a file name (2,048) fit many times.
pub const REST: usize = 64 * 1024;

/// The scanner between two pieces of a body.
#[derive(Debug, Default)]
pub struct JsonBody {
    /// The document with the payload's text cut out.
    rest: Vec<u8>,
    depth: usize,
    place: Place,
    /// Where the string that is being read starts in `rest`, its first quote included.
    string: usize,
    /// The last string read at depth 1 in a key's place was `payload`.
    payload_key: bool,
    payload_named: bool,
    payload_seen: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between tokens; `key` when a string read now would be a key of the top-level object.
    #[default]
    Between,
    /// In a string that is kept.
    String { escaped: bool },
    /// In the payload.
    Payload,
    /// After a backslash in the payload.
    PayloadEscape,
    /// In `\uXXXX` in the payload.
    PayloadUnicode { digits: u8, code: u16 },
}

/// Why a body is not an upload.
#[derive(Debug, thiserror::Error)]
pub enum BodyError<E> {
    /// Not JSON, or not an object.
    #[error("the body is not a JSON object: {0}")]
    Json(String),
    /// `payload` comes twice.
    #[error("the body holds payload twice")]
    TwoPayloads,
    /// Too much besides the payload.
    #[error("the fields besides payload are longer than {REST} bytes")]
    TooMuchBesides,
    /// Whoever takes the payload refused it.
    #[error(transparent)]
    Payload(E),
}

impl JsonBody {
    /// Scans another piece; the payload's text in it goes to `payload`, with JSON's escapes undone.
    ///
    /// # Errors
    /// When the body cannot be an upload any more, or `payload` answers an error.
    pub fn push<E>(
        &mut self,
        mut piece: &[u8],
        mut payload: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), BodyError<E>> {
        while let Some((&byte, after)) = piece.split_first() {
            match self.place {
                Place::Between => {
                    self.keep(byte)?;
                    self.between(byte)?;
                    piece = after;
                }
                Place::String { escaped } => {
                    self.keep(byte)?;
                    self.place = match byte {
                        _ if escaped => Place::String { escaped: false },
                        b'\\' => Place::String { escaped: true },
                        b'"' => {
                            self.string_ended();
                            Place::Between
                        }
                        _ => Place::String { escaped: false },
                    };
                    piece = after;
                }
                Place::Payload => {
                    let end =
                        piece.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(piece.len());
                    let (text, after) = piece.split_at(end);
                    if text.iter().any(|byte| *byte < 0x20) {
                        return Err(BodyError::Json("a control character in payload".into()));
                    }
                    payload(text).map_err(BodyError::Payload)?;
                    piece = match after.split_first() {
                        Some((b'"', after)) => {
                            self.keep(b'"')?;
                            self.place = Place::Between;
                            after
                        }
                        Some((_, after)) => {
                            self.place = Place::PayloadEscape;
                            after
                        }
                        None => after,
                    };
                }
                Place::PayloadEscape => {
                    self.place = Place::Payload;
                    let plain = match byte {
                        b'"' | b'\\' | b'/' => byte,
                        b'b' => 8,
                        b'f' => 12,
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'u' => {
                            self.place = Place::PayloadUnicode { digits: 0, code: 0 };
                            piece = after;
                            continue;
                        }
                        _ => return Err(BodyError::Json("an unknown escape in payload".into())),
                    };
                    payload(&[plain]).map_err(BodyError::Payload)?;
                    piece = after;
                }
                Place::PayloadUnicode { digits, code } => {
                    let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
                    let digit =
                        digit.ok_or_else(|| BodyError::Json("an unknown escape in payload".into()))?;
                    let code = code << 4 | digit;
                    self.place = Place::PayloadUnicode { digits: digits + 1, code };
                    if digits == 3 {
                        self.place = Place::Payload;
                        // No character of base64 is beyond ASCII; any other stands for "not base64".
                        payload(&[u8::try_from(code).unwrap_or(0)]).map_err(BodyError::Payload)?;
                    }
                    piece = after;
                }
            }
        }
        Ok(())
    }

    /// Ends the body: its fields, with an empty `payload` when it was a string, and whether it was.
    ///
    /// # Errors
    /// When the body is not one JSON object.
    pub fn finish<E>(self) -> Result<(Map<String, Value>, bool), BodyError<E>> {
        match serde_json::from_slice(&self.rest) {
            Ok(Value::Object(fields)) => Ok((fields, self.payload_seen)),
            Ok(_) => Err(BodyError::Json("expected an object".into())),
            Err(error) => Err(BodyError::Json(error.to_string())),
        }
    }

    fn keep<E>(&mut self, byte: u8) -> Result<(), BodyError<E>> {
        if self.rest.len() == REST {
            return Err(BodyError::TooMuchBesides);
        }
        self.rest.push(byte);
        Ok(())
    }

    fn between<E>(&mut self, byte: u8) -> Result<(), BodyError<E>> {
        match byte {
            b'"' if self.depth == 1 && self.payload_key => {
                self.payload_seen = true;
                self.payload_key = false;
                self.place = Place::Payload;
            }
            b'"' => {
                self.string = self.rest.len() - 1;
                self.place = Place::String { escaped: false };
            }
            b'{' | b'[' => {
                self.depth += 1;
                self.payload_key = false;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.payload_key = false;
            }
            // A colon stands between `payload` and its value. A second one of that name is refused whatever it is: readers
            // differ in which of two they take.
            b':' if self.payload_key => {
                if self.payload_named {
                    return Err(BodyError::TwoPayloads);
                }
                self.payload_named = true;
            }
            // White space may stand anywhere.
            b':' | b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => self.payload_key = false,
        }
        Ok(())
    }

    fn string_ended(&mut self) {
        let text = self.rest.get(self.string..).unwrap_or_default();
        // A value "payload" is followed by a comma or a brace, which clear the flag; only a key is followed by a string.
        self.payload_key = self.depth == 1
            && (text == b"\"payload\""
                || (text.contains(&b'\\')
                    && serde_json::from_slice::<String>(text).is_ok_and(|key| key == "payload")));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::convert::Infallible;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    type Scanned = Result<(Map<String, Value>, Option<String>), BodyError<Infallible>>;

    fn scan(body: &[u8], piece: usize) -> Scanned {
        let mut scanner = JsonBody::default();
        let mut payload = Vec::new();
        for piece in body.chunks(piece.max(1)) {
            scanner.push(piece, |text| {
                payload.extend_from_slice(text);
                Ok(())
            })?;
        }
        let (fields, seen) = scanner.finish()?;
        Ok((fields, seen.then(|| String::from_utf8_lossy(&payload).into_owned())))
    }

    /// What `serde_json` makes of the same body, in the scanner's terms.
    fn reference(body: &[u8]) -> Option<(Map<String, Value>, Option<String>)> {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else { return None };
        let payload = match fields.get_mut("payload") {
            Some(Value::String(text)) => Some(std::mem::take(text)),
            _ => None,
        };
        Some((fields, payload))
    }

    #[test]
    fn payload_is_found_wherever_it_stands_and_nowhere_else() {
        for body in [
            json!({"payload": "QUJD", "hash": "x"}),
            json!({"hash": "payload", "ttl_ms": 5, "payload": "QUJD"}),
            json!({"meta": {"payload": "no", "a": ["payload", "b"]}, "payload": "QUJD"}),
            json!({"a": "payload", "b": "payload", "c": "payload"}),
            json!({"payload": 7}),
            json!({"payload": {"payload": "no"}}),
            json!({"payload": null, "x": "QUJD"}),
            json!({}),
        ] {
            let text = serde_json::to_vec_pretty(&body).unwrap();
            for piece in [1, 3, 1000] {
                assert_eq!(scan(&text, piece).unwrap(), reference(&text).unwrap(), "{body}");
            }
        }
    }

    #[test]
    fn escapes_in_the_payload_and_in_its_name_are_undone() {
        let body = br#"{"pay\u006coad":"A\/\u0042\\ \" \n\t"}"#;
        for piece in 1..10 {
            assert_eq!(scan(body, piece).unwrap(), reference(body).unwrap());
        }
    }

    #[test]
    fn two_payloads_and_endless_fields_are_refused() {
        for twice in [
            r#"{"payload":"a","payload":"b"}"#,
            r#"{"payload":"a","payload":1}"#,
            r#"{"payload":null,"payload":"b"}"#,
            r#"{"payload":"a","p\u0061yload" : {}}"#,
        ] {
            assert!(matches!(scan(twice.as_bytes(), 4), Err(BodyError::TwoPayloads)), "{twice}");
        }
        let endless = format!(r#"{{"x":"{}"}}"#, "y".repeat(REST));
        assert!(matches!(scan(endless.as_bytes(), 4096), Err(BodyError::TooMuchBesides)));
        let long = format!(r#"{{"payload":"{}","x":1}}"#, "y".repeat(10 * REST));
        assert_eq!(scan(long.as_bytes(), 4096).unwrap().1.unwrap().len(), 10 * REST);
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["payload", "[A-Za-z0-9+/=\"\\\\{}\\[\\]:, ]{0,12}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            text.prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(prop_oneof!["payload", "hash", "[a-z\"\\\\]{0,6}"], inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_document_reads_as_serde_json_reads_it(value in value(), pretty in any::<bool>(), piece in 1usize..40) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            match (scan(&text, piece), reference(&text)) {
                (Ok(scanned), Some(expected)) => prop_assert_eq!(scanned, expected),
                (Err(_), None) => {}
                (scanned, expected) => prop_assert!(false, "{scanned:?} where serde_json says {expected:?}"),
            }
        }

        #[test]
        fn a_damaged_document_is_accepted_only_if_serde_json_accepts_it(value in value(), at in any::<prop::sample::Index>(), byte in prop::sample::select(b"\"\\{}[]:,payload \n\x00x0".to_vec()), piece in 1usize..40) {
            let mut text = serde_json::to_vec(&json!({"a": value, "payload": "QUJD", "z": 1})).unwrap();
            let at = at.index(text.len());
            text[at] = byte;
            match (scan(&text, piece), reference(&text)) {
                (Ok(scanned), Some(expected)) => prop_assert_eq!(scanned, expected),
                (Err(_), None) | (Err(BodyError::TwoPayloads), Some(_)) => {}
                (scanned, expected) => prop_assert!(false, "{scanned:?} where serde_json says {expected:?}"),
            }
        }
    }
}
