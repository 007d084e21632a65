//! What witnesses answer, and policies.

use std::sync::LazyLock;

use paramant_tlog::cosignature::{self, MAX_ANSWER, MAX_LINES};
use paramant_tlog::note::Note;
use paramant_tlog::policy::{MAX_POLICY, Policy};
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::witness::{Answer, SIZE_TYPE};

use crate::run::kept;
use crate::seeds::texts;
use crate::{Memory, Target};

pub(super) const WITNESS: Target = Target {
    name: "witness",
    check: answer,
    seeds: || {
        let mut seeds = texts("cosignatures.json", &["line"]);
        seeds.extend(
            ["20852014\n", "0\n", "18446744073709551615\n", "\n", ""].map(|text| text.as_bytes().to_vec()),
        );
        let both = seeds.iter().take(2).flatten().copied().collect();
        seeds.push(both);
        seeds
    },
    words: &["— ", "witness.example/one ", "\n", "AAAAAAA=", "0", "\u{a0}"],
    memory: Memory::COPIES,
};

/// The story's checkpoint of five entries, and a witness that cosigned it.
static COSIGNED: LazyLock<(String, VerifierKey)> = LazyLock::new(|| {
    kept(|| {
        let first = |name: &str| {
            let all = texts("cosignatures.json", &[name]);
            String::from_utf8(all.first().cloned().unwrap_or_default()).expect("text")
        };
        (first("text"), VerifierKey::parse(&first("vkey")).expect("a key"))
    })
});

fn answer(input: &[u8]) {
    for status in [200, 403, 404, 409, 422, 429, 500, 302, 204] {
        for kind in [None, Some(SIZE_TYPE), Some("text/plain")] {
            match Answer::read(status, kind, input) {
                Ok(Answer::Cosigned(lines)) => {
                    assert!(status == 200 && lines.len() <= MAX_LINES && input.len() <= MAX_ANSWER);
                    let written: String = lines.iter().map(paramant_tlog::note::Signature::to_line).collect();
                    assert_eq!(written.as_bytes(), input, "written again it is another answer");
                }
                Ok(Answer::Conflict(Some(size))) => {
                    assert_eq!(status, 409);
                    let text = std::str::from_utf8(input).expect("digits");
                    assert_eq!(text.strip_suffix('\n').unwrap_or(text), size.to_string());
                }
                Ok(other) => assert!(!matches!(status, 204 | 302), "{status} is {other:?}"),
                Err(_) => assert!(matches!(status, 200 | 204 | 302 | 409) || input.len() > MAX_ANSWER),
            }
        }
    }
    let Ok(lines) = cosignature::parse_answer(input) else { return };
    let (text, key) = &*COSIGNED;
    if let Ok(found) = cosignature::verified(text, &lines, key) {
        assert!(lines.contains(&found.line), "a line that was not in the answer");
        assert_eq!(key.verify(text, &found.line.bytes), Ok(Some(found.time)));
    }
}

pub(super) const POLICY: Target = Target {
    name: "policy",
    check: policy,
    seeds: || texts("policies.json", &["policy"]),
    words: &[
        "log ",
        "witness ",
        "group ",
        "quorum ",
        "none\n",
        " any ",
        " all ",
        " 1 ",
        "#",
        "\t",
        "\n",
        "one",
        "two",
        " https://one.example/",
        "\u{2028}",
    ],
    memory: Memory { base: 256 * 1024, per_byte: 64 },
};

/// The checkpoint with no cosignature, that of one witness, that of the other, both.
static NOTES: LazyLock<Vec<Note>> = LazyLock::new(|| {
    kept(|| {
        let notes = texts("policies.json", &["note"]);
        notes.iter().take(4).map(|note| Note::parse(note).expect("a note")).collect()
    })
});

fn policy(input: &[u8]) {
    let Ok(policy) = Policy::parse(input) else { return };
    assert!(input.len() <= MAX_POLICY);
    let written = policy.to_text();
    assert_eq!(
        Policy::parse(written.as_bytes()).as_ref(),
        Ok(&policy),
        "written and read it is another policy"
    );
    assert_eq!(Policy::parse(written.as_bytes()).map(|policy| policy.to_text()), Ok(written));
    // Signatures are slow here, so only short policies judge.
    if input.len() < 1000 {
        let quorum = |note: &Note| policy.judge(note).is_ok_and(|verdict| verdict.quorum);
        let [none, one, two, both] = [0, 1, 2, 3].map(|number| NOTES.get(number).is_some_and(quorum));
        assert!(
            (!none || (one && two)) && (!(one || two) || both),
            "a further cosignature took a quorum away"
        );
    }
}
