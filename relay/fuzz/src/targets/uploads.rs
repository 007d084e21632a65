//! The JSON body of an upload, as it streams in: scanner and base64 against readers that see the whole.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use paramant_protocol::upload::base64_stream::{Base64Stream, NotBase64};
use paramant_protocol::upload::json_body::{BodyError, JsonBody, REST};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::{Memory, Target};

pub(super) const UPLOAD: Target = Target {
    name: "upload",
    check: upload,
    seeds: || {
        let bodies = [
            r#"{"hash":"ab","payload":"QUJDRA==","ttl_ms":300000,"meta":{"device_id":"phone"}}"#,
            r#"{"payload":"QUJD","max_views":1}"#,
            r#"{"meta":{"payload":"no","a":["payload","b"]}, "payload" : "QU\/\u0041-_"}"#,
            r#"{"a":"payload","pay\u006coad":"QQ"}"#,
            r#"{"payload":null}"#,
            "{}",
        ];
        bodies.map(|body| body.as_bytes().to_vec()).to_vec()
    },
    words: &[
        "\"payload\":",
        "\"payload\"",
        "\"p\\u0061yload\":\"QQ==\"",
        "\"QUJD",
        "==\"",
        "\\u00",
        "\\/",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "\\\"",
        "\\ud800",
    ],
    memory: Memory { base: 256 * 1024, per_byte: 1024 },
};

type Read = (Map<String, Value>, Option<Vec<u8>>);

fn upload(input: &[u8]) {
    let whole = streamed(input, input.len().max(1));
    for size in [1, 3, 64] {
        assert_eq!(streamed(input, size), whole, "in pieces of {size}");
    }
    match reference(input) {
        Some(expected) if input.len() <= REST => assert_eq!(whole, Some(expected)),
        Some(expected) => assert!(whole.is_none_or(|whole| whole == expected)),
        None => assert_eq!(whole, None, "taken, though no other reader takes it"),
    }
}

fn streamed(input: &[u8], size: usize) -> Option<Read> {
    let (mut scanner, mut base64, mut decoded) = (JsonBody::default(), Base64Stream::default(), Vec::new());
    for piece in input.chunks(size) {
        scanner.push(piece, |text| base64.push(text, &mut decoded)).ok()?;
    }
    let (fields, seen) = scanner.finish().map_err(|_: BodyError<NotBase64>| ()).ok()?;
    base64.finish(&mut decoded).ok()?;
    Some((fields, seen.then_some(decoded)))
}

/// The same by `serde_json` and `base64`.
fn reference(input: &[u8]) -> Option<Read> {
    let Fields(mut fields, payloads) = serde_json::from_slice(input).ok()?;
    if payloads > 1 {
        return None;
    }
    let Some(Value::String(text)) = fields.get_mut("payload") else { return Some((fields, None)) };
    let text = std::mem::take(text).replace('-', "+").replace('_', "/");
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(&STANDARD, config).decode(text).ok()?;
    Some((fields, Some(decoded)))
}

/// An object, and how often it names `payload`.
struct Fields(Map<String, Value>, usize);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting;
        impl<'de> Visitor<'de> for Counting {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let (mut fields, mut payloads) = (Map::new(), 0);
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    payloads += usize::from(key == "payload");
                    fields.insert(key, value);
                }
                Ok(Fields(fields, payloads))
            }
        }
        deserializer.deserialize_map(Counting)
    }
}
