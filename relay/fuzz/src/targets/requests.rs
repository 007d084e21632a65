//! What a request brings besides a body of its own form: conditions and ranges, and the document of a gossip.

use paramant_protocol::conditions::{Conditions, Selection, Validators};
use paramant_protocol::gossip::Document;
use paramant_protocol::strict;

use crate::seeds::texts;
use crate::{Memory, Target};

pub(super) const CONDITIONS: Target = Target {
    name: "conditions",
    check: conditions,
    seeds: || {
        let requests = [
            "bytes=0-99\n\n\n",
            "bytes=5-\n\"abc\"\n\n",
            "bytes=-7\nFri, 02 Jan 2026 03:04:05 GMT\n\n",
            "\n\nW/\"x\", \"abc\"\n",
            "\n\n\nFri, 02 Jan 2026 03:04:05 GMT",
            "bytes=0-0,5-6\n\"other\"\n*\nyesterday",
        ];
        requests.map(|request| request.as_bytes().to_vec()).to_vec()
    },
    words: &[
        "bytes=",
        "-",
        ",",
        "\"abc\"",
        "W/",
        "*",
        "\n",
        "Fri, 02 Jan 2026 03:04:05 GMT",
        "18446744073709551616",
    ],
    memory: Memory::COPIES,
};

/// A line each: `Range`, `If-Range`, `If-None-Match`, `If-Modified-Since`; an empty one is absent.
fn conditions(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.splitn(4, '\n').map(|line| (!line.is_empty()).then_some(line));
    let mut line = || lines.next().flatten();
    let (range, if_range) = (line(), line());
    let (tags, since) = (line(), line());
    let modified = "2026-01-02T03:04:05Z".parse().expect("a time");
    let validators = Validators { etag: "\"abc\"".into(), modified: Some(modified) };
    let mut asked = Conditions::default();
    asked.range(range, if_range);
    asked.if_modified_since(since);
    if let Some(tags) = tags {
        asked.if_none_match(tags);
    }
    for length in [0, 1, 1000, u64::MAX] {
        let selected = asked.select(&validators, length);
        let continues =
            if_range.is_none_or(|validator| validator == "\"abc\"" || !validator.starts_with('"'));
        let expected = range.filter(|_| continues).and_then(|range| part(range, length));
        match selected {
            Selection::NotModified => assert!(
                tags.map_or(since.is_some(), |tags| tags.contains('*') || tags.contains("\"abc\"")),
                "what the client does not say it has"
            ),
            Selection::Part { .. } | Selection::Beyond => assert_eq!(Some(selected), expected),
            Selection::Whole => {
                assert!(expected.is_none() || if_range.is_some(), "{expected:?} of {range:?}")
            }
        }
        let mut head = asked.clone();
        head.head = true;
        assert!(matches!(head.select(&validators, length), Selection::NotModified | Selection::Whole));
        let mut has_it = asked.clone();
        has_it.if_none_match("\"abc\"");
        assert_eq!(has_it.select(&validators, length), Selection::NotModified);
        if let Selection::Part { first, last } = selected {
            assert!(first <= last && last < length, "{first}-{last} of {length}");
            let mut again = Conditions::default();
            again.range(Some(&format!("bytes={first}-{last}")), None);
            assert_eq!(again.select(&validators, length), selected);
        }
    }
}

/// RFC 9110 §14.1.2 in 128 bits, for one range.
fn part(range: &str, length: u64) -> Option<Selection> {
    let (unit, spec) = range.split_once('=')?;
    let (first, last) = spec.trim().split_once('-')?;
    let digits = |text: &str| text.chars().all(|digit| digit.is_ascii_digit());
    if !unit.eq_ignore_ascii_case("bytes") || !digits(first) || !digits(last) || first.len() + last.len() == 0
    {
        return None;
    }
    // What does not fit lies behind any end.
    let number = |text: &str| u128::from(text.parse().unwrap_or(u64::MAX));
    let length = u128::from(length);
    let (from, to) = match (first, last) {
        ("", count) => (length - number(count).min(length), length),
        (first, "") => (number(first), length),
        (first, last) if number(first) > number(last) => return None,
        (first, last) => (number(first), number(last).saturating_add(1).min(length)),
    };
    if from >= length {
        return Some(Selection::Beyond);
    }
    let within = |number: u128| u64::try_from(number).expect("below the length");
    Some(Selection::Part { first: within(from), last: within(to - 1) })
}

pub(super) const GOSSIP: Target = Target {
    name: "gossip",
    check: gossip,
    seeds: || {
        let mut seeds = texts("checkpoints.json", &["note"]);
        seeds.extend(texts("checkpoints-refused.json", &["note"]).into_iter().take(8));
        seeds.extend(texts("sth.json", &["sth"]));
        seeds.extend(texts("sth-refused.json", &["text"]));
        seeds
    },
    words: &[
        "— ",
        "\n\n",
        "\n",
        "{",
        " {",
        "}",
        "\"version\":1",
        "\"tree_size\":",
        "1.0",
        "\"\\u0076ersion\":1",
    ],
    memory: Memory::VALUES,
};

fn gossip(input: &[u8]) {
    match Document::parse(input) {
        Ok(Document::Checkpoint(note, checkpoint)) => {
            assert_eq!(note.to_text().as_bytes(), input, "written again it is another note");
            assert_eq!(checkpoint.to_text(), note.text);
            assert!(strict::value(input).is_err(), "a note that is JSON as well");
        }
        Ok(Document::TreeHead(head)) => {
            let value = strict::value(input).expect("what is taken as a tree head any strict reader reads");
            assert_eq!(serde_json::to_value(&head).ok(), Some(value));
        }
        Err(_) => assert!(
            !strict::value(input).is_ok_and(|value| value.get("sha3_root").is_some() && is_head(value)),
            "a tree head was refused"
        ),
    }
}

fn is_head(value: serde_json::Value) -> bool {
    serde_json::from_value::<paramant_protocol::sth::SignedSth>(value).is_ok()
}
