//! JSON that someone signed or hashed: entries, receipts, tree heads, and JSON itself.

use paramant_protocol::entry::{Entry, Kind, MAX_ENTRY};
use paramant_protocol::receipt::{self, Document};
use paramant_protocol::sth::SignedSth;
use paramant_protocol::{canonical, leaf, moment, path, strict};
use serde_json::Value;

use crate::seeds::texts;
use crate::{Memory, Target};

pub(super) const JSON: Target = Target {
    name: "json",
    check: json,
    seeds: || texts("canonical.json", &["json", "canonical"]),
    words: &[
        "{", "}", "[", "]", ",", ":", "\"", "\\u0061", "\\ud800", "\\udc00", "\"a\":", "null", "true", "1e3",
        "-0", ".0", "[[[[",
    ],
    memory: Memory::VALUES,
};

fn json(input: &[u8]) {
    let read = strict::value(input);
    let lax: Result<Value, _> = serde_json::from_slice(input);
    let Ok(value) = read else { return };
    assert_eq!(lax.ok().as_ref(), Some(&value), "what the strict reader takes any reader takes, as the same");
    assert_eq!(strict::object(input).is_ok(), value.is_object());
    let Ok(written) = canonical::value_to_vec(&value) else { return };
    let again = strict::value(&written).expect("canonical form is strict JSON");
    assert_eq!(again, value);
    assert_eq!(canonical::value_to_vec(&again).ok().as_ref(), Some(&written), "two canonical forms");
    assert!(std::str::from_utf8(&written).is_ok());
}

pub(super) const ENTRY: Target = Target {
    name: "entry",
    check: entry,
    seeds: || {
        let mut seeds = texts("entries.json", &["entry"]);
        seeds.extend(texts("entries-refused.json", &["text"]));
        seeds.retain(|seed| seed.len() < 2000);
        seeds
    },
    words: &[
        "{\"k\":\"transfer\",\"l\":\"",
        "\",\"t\":\"",
        "{\"b\":",
        "null",
        "2026-01-02T03:00:00.000Z",
        "\"}",
        "\\u0061",
        " ",
        "0000",
        "9999-12-31T23",
    ],
    memory: Memory::VALUES,
};

fn entry(input: &[u8]) {
    let Ok(entry) = Entry::parse(input) else {
        assert!(!is_transfer(input), "a transfer by its fields was refused");
        return;
    };
    assert!(input.len() <= MAX_ENTRY);
    assert_eq!(entry.bytes(), input);
    let value = strict::value(input).expect("the fast path takes JSON only");
    assert_eq!(
        canonical::value_to_vec(&value).expect("a canonical form"),
        input,
        "the fast path takes canonical bytes only"
    );
    assert_eq!(value["k"], entry.kind().name());
    assert_eq!(value["l"], hex::encode(entry.leaf()));
    assert_eq!(value["t"], entry.hour());
    assert_eq!(value.get("b").is_some(), entry.body().is_some());
    assert_eq!(value.as_object().map(serde_json::Map::len), Some(3 + usize::from(entry.body().is_some())));
    assert!(moment::is_hour(entry.hour()));
    let at = entry.hour().parse().expect("an hour is a time");
    let made = match entry.body() {
        None => {
            assert_eq!(entry.kind(), Kind::Transfer);
            Entry::transfer(entry.leaf(), at)
        }
        Some(body) => {
            let expected = leaf::body_leaf(entry.kind().name(), &value["b"], entry.hour());
            assert_eq!(expected.ok(), Some(entry.leaf()));
            Entry::with_body(body.clone(), at).expect("what was read can be made")
        }
    };
    assert_eq!(made, entry, "one entry, two spellings");
}

/// What the JSON path alone would take as a transfer.
fn is_transfer(input: &[u8]) -> bool {
    let Ok(value) = strict::value(input) else { return false };
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    canonical::value_to_vec(&value).is_ok_and(|written| written == input)
        && value.as_object().is_some_and(|fields| fields.len() == 3)
        && text("k") == "transfer"
        && path::parse_hash(text("l")).is_some()
        && moment::is_hour(text("t"))
}

pub(super) const RECEIPT: Target = Target {
    name: "receipt",
    check: receipt,
    seeds: || {
        let mut seeds = texts("receipts.json", &["json", "header"]);
        seeds.extend(texts("receipts-refused.json", &["json"]));
        seeds
    },
    words: &[
        "{\"",
        "\":",
        "\"audit_path\":[",
        "\"position\":\"left\"",
        "\"position\":\"right\"",
        "null",
        "\"sth\":",
        "\"signature\":\"\"",
        "-",
        "_",
        "=",
        "%",
    ],
    memory: Memory::VALUES,
};

fn receipt(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(document) = Document::parse(text) else { return };
    let json = document.value();
    let written = serde_json::to_string(&json).expect("JSON");
    assert_eq!(Document::parse(&written).ok().as_ref(), Some(&document));
    assert_eq!(Document::from_value(json).ok().as_ref(), Some(&document));
    assert_eq!(Document::from_value(Value::String(text.to_owned())).ok().as_ref(), Some(&document));
    if let Ok(header) = document.receipt().header_value() {
        assert!(header.len() <= receipt::MAX_HEADER);
        let again = Document::parse(&header).expect("our own header");
        assert_eq!(again.receipt(), document.receipt());
    }
    // Without a key nothing holds; with every signature taken for good, only what follows from the fields does.
    assert!(receipt::verify(&document, &|_, _| false).is_err());
    if let Ok(opened) = receipt::verify(&document, &|_, _| true) {
        let receipt = document.receipt();
        let blob = path::parse_hash(&receipt.blob_hash).expect("a hash");
        assert_eq!(opened.leaf, leaf::transfer_leaf(&blob, &receipt.sector, &receipt.ts));
        assert!(opened.index < opened.tree_size);
        let steps = receipt.inclusion_proof.audit_path.len();
        assert_eq!(Some(steps), path::sides(opened.index, opened.tree_size).map(|sides| sides.len()));
        assert!(opened.sth.is_none_or(|sth| sth.tree_size == opened.tree_size));
    }
}

pub(super) const STH: Target = Target {
    name: "sth",
    check: sth,
    seeds: || {
        let mut seeds = texts("sth.json", &["sth"]);
        seeds.extend(texts("sth-refused.json", &["text"]));
        seeds
    },
    words: &[
        "{\"",
        "\"version\":1",
        "\"tree_size\":",
        "\"timestamp\":-",
        "\"signature\":\"",
        "null",
        "9007199254740992",
        ",",
        "}",
    ],
    memory: Memory::VALUES,
};

fn sth(input: &[u8]) {
    let Ok(value) = strict::value(input) else { return };
    let Ok(head) = serde_json::from_value::<SignedSth>(value.clone()) else { return };
    assert_eq!(value.as_object().map(serde_json::Map::len), Some(6));
    assert_eq!(serde_json::to_value(&head).ok(), Some(value));
    assert!(head.verify(&|_, _| false).is_err());
    let Ok(bare) = head.verify(&|_, signature| !signature.is_empty()) else { return };
    assert_eq!(bare, head.head());
    assert_eq!(hex::encode(bare.root().expect("a verified root")), head.sha3_root);
    let message = bare.sign_bytes().expect("a verified head has a canonical form");
    assert!(message.starts_with(b"{\"relay_id\":"), "the message is kept apart from notes by its first byte");
    let value = strict::value(&message).expect("JSON");
    assert_eq!(value.as_object().map(serde_json::Map::len), Some(5));
}
