//! The functions a case may call, each under the name that follows its `$`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use sha3::{Digest as _, Sha3_256};

use crate::keys;
use crate::value::{Scope, Value, at};

/// Signing keys by the names a case gave them.
pub(crate) type Keys = Mutex<BTreeMap<String, keys::P256>>;

type Answer = Result<Value, String>;

pub(crate) fn apply(name: &str, argument: &Json, scope: &Scope) -> Answer {
    let bytes = || scope.bytes(argument);
    let text = || scope.text(argument);
    match name {
        "random" => random(scope.json(argument)?.as_u64().ok_or("a length is needed")?),
        "unhex" => hex::decode(text()?).map(Value::Bytes).map_err(|error| error.to_string()),
        "unbase64" => unbase64(&text()?),
        "concat" => each(argument, |item| scope.bytes(item)).map(|parts| Value::Bytes(parts.concat())),
        "join" => each(argument, |item| scope.text(item)).map(|parts| string(parts.concat())),
        "repeat" => repeat(argument, scope),
        "slice" => slice(argument, scope),
        "u32" => {
            let number = scope.json(argument)?.as_u64().and_then(|number| u32::try_from(number).ok());
            Ok(Value::Bytes(number.ok_or("a number below 2^32 is needed")?.to_be_bytes().to_vec()))
        }
        "u16" => {
            let number = scope.json(argument)?.as_u64().and_then(|number| u16::try_from(number).ok());
            Ok(Value::Bytes(number.ok_or("a number below 2^16 is needed")?.to_be_bytes().to_vec()))
        }
        "hex" => Ok(string(hex::encode(bytes()?))),
        "base64" => Ok(string(BASE64_STANDARD.encode(bytes()?))),
        "base64url" => Ok(string(BASE64_URL_SAFE_NO_PAD.encode(bytes()?))),
        "sha256" => Ok(string(hex::encode(Sha256::digest(bytes()?)))),
        "sha3" => Ok(string(hex::encode(Sha3_256::digest(bytes()?)))),
        "utf8" => String::from_utf8(bytes()?).map(string).map_err(|error| error.to_string()),
        "upper" => Ok(string(text()?.to_uppercase())),
        "lower" => Ok(string(text()?.to_lowercase())),
        "text" => Ok(string(compact(&scope.json(argument)?))),
        "canonical" => Ok(string(canonical(&scope.json(argument)?))),
        "parse" => json_of(&scope.bytes(argument)?).map(Value::Json),
        "length" => length(scope.evaluate(argument)?),
        "sum" => {
            let numbers =
                each(argument, |item| scope.json(item)?.as_i64().ok_or("a number is needed".to_owned()))?;
            Ok(Value::Json(json!(numbers.iter().sum::<i64>())))
        }
        "get" => {
            let (of, path) = (scope.json(part(argument, "of")?)?, scope.text(part(argument, "path")?)?);
            at(&of, &path).cloned().map(Value::Json).ok_or_else(|| format!("no {path:?} in {of}"))
        }
        "with" => with(argument, scope),
        "without" => without(argument, scope),
        "now_ms" => Ok(Value::Json(json!(now_ms() + offset(argument, scope)?))),
        "now_iso" => Ok(string(iso(now_ms() + offset(argument, scope)?)?)),
        "iso" => Ok(string(iso(scope.json(argument)?.as_i64().ok_or("milliseconds are needed")?)?)),
        "hmac_sha256" => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &scope.bytes(part(argument, "key")?)?);
            Ok(string(hex::encode(hmac::sign(&key, &scope.bytes(part(argument, "of")?)?))))
        }
        "hkdf" => keys::hkdf(
            &scope.bytes(part(argument, "secret")?)?,
            &scope.bytes(part(argument, "salt")?)?,
            &scope.bytes(part(argument, "info")?)?,
        )
        .map(Value::Bytes),
        "totp" => {
            let steps = argument.get("steps").and_then(Json::as_i64).unwrap_or(0);
            keys::totp(&scope.text(part(argument, "secret")?)?, now_ms() / 30_000 + steps).map(string)
        }
        "words" => keys::words(&bytes()?).map(string),
        "pqhb" => pqhb(argument, scope).map(Value::Bytes),
        "ed25519_key" => keys::ed25519_public(&bytes()?).map(Value::Bytes),
        "ed25519_sign" => {
            let seed = scope.bytes(part(argument, "seed")?)?;
            keys::ed25519_sign(&seed, &scope.bytes(part(argument, "message")?)?).map(Value::Bytes)
        }
        "ml_dsa_65_key" => keys::ml_dsa_65_public(&bytes()?).map(Value::Bytes),
        "ml_dsa_65_sign" => {
            let seed = scope.bytes(part(argument, "seed")?)?;
            keys::ml_dsa_65_sign(&seed, &scope.bytes(part(argument, "message")?)?).map(Value::Bytes)
        }
        "ml_dsa_65_verifies" => {
            let key = scope.bytes(part(argument, "key")?)?;
            let message = scope.bytes(part(argument, "message")?)?;
            let signature = scope.bytes(part(argument, "signature")?)?;
            Ok(Value::Json(json!(keys::ml_dsa_65_verifies(&key, &message, &signature))))
        }
        "p256_key" => keys::p256_public(&scope.keys, &text()?).map(Value::Bytes),
        "p256_sign" => {
            let message = scope.bytes(part(argument, "message")?)?;
            keys::p256_sign(&scope.keys, &scope.text(part(argument, "key")?)?, &message).map(Value::Bytes)
        }
        "tree_root" => {
            let leaves = each_json(&scope.json(argument)?, digest)?;
            Ok(string(hex::encode(tree_root(&leaves))))
        }
        "path_root" => path_root(argument, scope),
        unknown => Err(format!("there is no function ${unknown}")),
    }
}

pub(crate) fn string(text: impl Into<String>) -> Value {
    Value::Json(Json::String(text.into()))
}

fn part<'a>(argument: &'a Json, name: &str) -> Result<&'a Json, String> {
    argument.get(name).ok_or_else(|| format!("{name:?} is missing"))
}

fn each<T>(argument: &Json, one: impl FnMut(&Json) -> Result<T, String>) -> Result<Vec<T>, String> {
    argument.as_array().ok_or("a list is needed")?.iter().map(one).collect()
}

fn each_json<T>(list: &Json, one: impl FnMut(&Json) -> Result<T, String>) -> Result<Vec<T>, String> {
    list.as_array().ok_or("a list is needed")?.iter().map(one).collect()
}

fn random(length: u64) -> Answer {
    let mut bytes = vec![0; usize::try_from(length).map_err(|error| error.to_string())?];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(Value::Bytes(bytes))
}

/// Either alphabet, padded or not (protocol §0.3).
fn unbase64(text: &str) -> Answer {
    let url = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    BASE64_URL_SAFE_NO_PAD.decode(url).map(Value::Bytes).map_err(|error| error.to_string())
}

fn repeat(argument: &Json, scope: &Scope) -> Answer {
    let count = scope.json(part(argument, "times")?)?.as_u64().ok_or("times: a number is needed")?;
    let of = scope.evaluate(part(argument, "of")?)?;
    let count = usize::try_from(count).map_err(|error| error.to_string())?;
    match of {
        Value::Bytes(bytes) => Ok(Value::Bytes(bytes.repeat(count))),
        Value::Json(Json::String(text)) => Ok(string(text.repeat(count))),
        Value::Json(other) => Err(format!("{other} cannot be repeated")),
    }
}

fn slice(argument: &Json, scope: &Scope) -> Answer {
    let number = |name: &str, default: usize| {
        argument
            .get(name)
            .and_then(Json::as_u64)
            .map_or(Ok(default), usize::try_from)
            .map_err(|error| error.to_string())
    };
    let of = scope.evaluate(part(argument, "of")?)?;
    let textual = matches!(of, Value::Json(_));
    let bytes = of.into_bytes()?;
    let (from, to) = (number("from", 0)?, number("to", bytes.len())?);
    let cut =
        bytes.get(from..to).ok_or_else(|| format!("no {from}..{to} in {} bytes", bytes.len()))?.to_vec();
    if textual {
        String::from_utf8(cut).map(string).map_err(|error| error.to_string())
    } else {
        Ok(Value::Bytes(cut))
    }
}

fn length(value: Value) -> Answer {
    let length = match value {
        Value::Bytes(bytes) => bytes.len(),
        Value::Json(Json::String(text)) => text.len(),
        Value::Json(Json::Array(items)) => items.len(),
        Value::Json(Json::Object(fields)) => fields.len(),
        Value::Json(other) => return Err(format!("{other} has no length")),
    };
    Ok(Value::Json(json!(length)))
}

fn with(argument: &Json, scope: &Scope) -> Answer {
    let mut of = scope.json(part(argument, "of")?)?;
    let set = scope.json(part(argument, "set")?)?;
    let fields = of.as_object_mut().ok_or("of: an object is needed")?;
    fields.extend(set.as_object().ok_or("set: an object is needed")?.clone());
    Ok(Value::Json(of))
}

fn without(argument: &Json, scope: &Scope) -> Answer {
    let mut of = scope.json(part(argument, "of")?)?;
    let object = of.as_object_mut().ok_or("of: an object is needed")?;
    for field in each(part(argument, "fields")?, |field| scope.text(field))? {
        object.remove(&field);
    }
    Ok(Value::Json(of))
}

/// A PQHB v1 blob by its fields (§5.1); a field left out is as the SDKs write it, with stand-ins for the cryptography.
fn pqhb(argument: &Json, scope: &Scope) -> Result<Vec<u8>, String> {
    let number = |name: &str, default: u64| argument.get(name).and_then(Json::as_u64).unwrap_or(default);
    let field = |name: &str, default: usize| match argument.get(name) {
        Some(template) => scope.bytes(template),
        None => random(default as u64)?.into_bytes(),
    };
    let prefixed = |bytes: Vec<u8>| {
        [u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec(), bytes].concat()
    };
    let id =
        |name: &str| u16::try_from(number(name, 2)).map(u16::to_be_bytes).map_err(|error| error.to_string());
    let byte =
        |name: &str, default: u64| u8::try_from(number(name, default)).map_err(|error| error.to_string());
    let mut blob = b"PQHB".to_vec();
    blob.push(byte("version", 1)?);
    blob.extend(id("kem")?);
    blob.extend(id("sig")?);
    blob.push(byte("flags", 0)?);
    blob.extend(prefixed(field("ct_kem", 1088)?));
    blob.extend(prefixed(field("sender_pub", 1952)?));
    if number("sig", 2) != 0 {
        blob.extend(prefixed(field("signature", 3309)?));
    }
    blob.extend(field("nonce", 12)?);
    blob.extend(prefixed(field("ciphertext", 64)?));
    blob.extend(field("padding", 0)?);
    Ok(blob)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn offset(argument: &Json, scope: &Scope) -> Result<i64, String> {
    scope.json(argument)?.as_i64().ok_or_else(|| "an offset in milliseconds is needed".to_owned())
}

fn iso(ms: i64) -> Result<String, String> {
    let at = jiff::Timestamp::from_millisecond(ms).map_err(|error| error.to_string())?;
    Ok(format!("{at:.3}"))
}

pub(crate) fn json_of(bytes: &[u8]) -> Result<Json, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("no JSON: {error}"))
}

fn compact(json: &Json) -> String {
    json.to_string()
}

/// §0.3, for the integers and strings a protocol document may hold.
pub(crate) fn canonical(json: &Json) -> String {
    match json {
        Json::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Json::Object(fields) => {
            let sorted: BTreeMap<&String, &Json> = fields.iter().collect();
            let field = |(name, value): (&&String, &&Json)| {
                format!("{}:{}", Json::from(name.as_str()), canonical(value))
            };
            format!("{{{}}}", sorted.iter().map(field).collect::<Vec<_>>().join(","))
        }
        scalar => scalar.to_string(),
    }
}

fn digest(text: &Json) -> Result<[u8; 32], String> {
    let text = text.as_str().ok_or("a hash is needed")?;
    let bytes = hex::decode(text).map_err(|error| error.to_string())?;
    bytes.try_into().map_err(|_| format!("{text} is no hash of 32 bytes"))
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha3_256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// §6.1: neighbours are paired level by level, an odd last node moves up.
fn tree_root(leaves: &[[u8; 32]]) -> [u8; 32] {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| if let [left, right] = pair { node(left, right) } else { pair[0] })
            .collect();
    }
    level.first().copied().unwrap_or_default()
}

/// Walks an audit path from a leaf to a root (§6.1).
fn path_root(argument: &Json, scope: &Scope) -> Answer {
    let mut current = digest(&scope.json(part(argument, "leaf")?)?)?;
    for step in scope.json(part(argument, "path")?)?.as_array().ok_or("path: a list is needed")? {
        let sibling = digest(part(step, "hash")?)?;
        current = match step["position"].as_str() {
            Some("left") => node(&sibling, &current),
            Some("right") => node(&current, &sibling),
            _ => return Err(format!("no position in {step}")),
        };
    }
    Ok(string(hex::encode(current)))
}
