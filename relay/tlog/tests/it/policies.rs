//! Trust policies: what is accepted, what is refused, and which cosignatures are a quorum.

use paramant_tlog::Checkpoint;
use paramant_tlog::keys::{CosignatureKey, Ed25519Key, MlDsa44Key, Seed, Signer};
use paramant_tlog::note::{Note, OpenError};
use paramant_tlog::policy::{JudgeError, Log, Policy, PolicyError, Problem, Verdict, Witness};
use paramant_tlog::vkey::Algorithm;
use proptest::prelude::*;

const ORIGIN: &str = "relay.example/log";

fn log() -> Ed25519Key {
    Ed25519Key::from_seed(ORIGIN, &Seed::new([1; 32])).unwrap()
}

fn witness(number: u8) -> CosignatureKey {
    CosignatureKey::from_seed(&format!("witness.example/{number}"), &Seed::new([100 + number; 32])).unwrap()
}

fn text() -> String {
    Checkpoint::new(ORIGIN, 7, [3; 32]).to_text()
}

/// A note of the log with lines of these witnesses, each at its time.
fn note(cosigned: &[(u8, u64)]) -> Note {
    let mut note = Note::sign(&text(), &[&log()], 0).unwrap();
    for (number, at) in cosigned {
        note.signatures.extend(Note::sign(&text(), &[&witness(*number)], *at).unwrap().signatures);
    }
    note
}

/// A policy of five witnesses `w1` to `w5` with these lines after them.
fn policy(rest: &str) -> Result<Policy, PolicyError> {
    let mut text = format!("# whom to believe\n\nlog {} https://relay.example/log/\n", log().verifier());
    for number in 1..=5 {
        text.push_str(&format!("witness w{number} {}\n", witness(number).verifier()));
    }
    Policy::parse(format!("{text}{rest}").as_bytes())
}

fn judged(rest: &str, cosigned: &[(u8, u64)]) -> Verdict {
    policy(rest).unwrap().judge(&note(cosigned)).unwrap()
}

#[test]
fn a_quorum_of_nested_groups_is_counted() {
    let rest = "group X 2 w1 w2 w3\n group\tY any w4 w5 \ngroup both all X Y\nquorum both\n";
    for (cosigned, time) in [
        (&[][..], None),
        (&[(1, 10), (2, 20)][..], None),
        (&[(1, 10), (2, 20), (4, 30)], Some(10)),
        (&[(1, 10), (2, 20), (3, 30), (4, 40), (5, 15)], Some(20)),
        (&[(1, 10), (4, 40), (5, 50)], None),
        (&[(3, 70), (1, 60), (5, 5)], Some(5)),
    ] {
        let verdict = judged(rest, cosigned);
        assert_eq!((verdict.quorum, verdict.quorum_time), (time.is_some(), time), "{cosigned:?}");
        assert_eq!(verdict.cosigned.len(), cosigned.len());
    }
}

#[test]
fn a_single_witness_or_none_can_be_the_quorum() {
    let verdict = judged("quorum w2\n", &[(2, 9)]);
    assert_eq!((verdict.quorum, verdict.quorum_time, verdict.cosigned), (true, Some(9), vec![(1, 9)]));
    assert!(!judged("quorum w2\n", &[(1, 9)]).quorum);
    let verdict = judged("quorum none\n", &[]);
    assert_eq!((verdict.quorum, verdict.quorum_time), (true, None));
}

#[test]
fn the_newest_line_of_a_witness_counts_and_strangers_do_not() {
    let verdict = judged("quorum w1\n", &[(1, 50), (1, 40), (9, 90)]);
    assert_eq!((verdict.cosigned, verdict.quorum_time), (vec![(0, 50)], Some(50)));
}

#[test]
fn a_checkpoint_that_no_log_of_the_policy_signed_is_refused() {
    let policy = policy("quorum none\n").unwrap();
    let other = Ed25519Key::from_seed(ORIGIN, &Seed::new([2; 32])).unwrap();
    let unsigned = Note::sign(&text(), &[&other], 0).unwrap();
    assert_eq!(policy.judge(&unsigned), Err(JudgeError::Open(OpenError::Unsigned)));
    // Witnesses alone are no log, and a log does not sign for another origin.
    let mut witnessed = note(&[(1, 1)]);
    witnessed.signatures.remove(0);
    assert_eq!(policy.judge(&witnessed), Err(JudgeError::NoLog { origin: ORIGIN.into() }));
    let elsewhere = Checkpoint::new("other.example/log", 7, [3; 32]).to_text();
    let elsewhere = Note::sign(&elsewhere, &[&log()], 0).unwrap();
    assert_eq!(policy.judge(&elsewhere), Err(JudgeError::NoLog { origin: "other.example/log".into() }));
}

#[test]
fn a_spoiled_line_of_a_witness_of_the_policy_spoils_the_note() {
    let mut note = note(&[(1, 1)]);
    note.signatures[1].bytes[0] ^= 1;
    let spoiled =
        OpenError::Invalid { name: "witness.example/1".into(), algorithm: Algorithm::Ed25519Cosignature };
    assert_eq!(policy("quorum none\n").unwrap().judge(&note), Err(JudgeError::Open(spoiled)));
}

#[test]
fn malformed_policies_are_refused_by_line() {
    let vkey = witness(7).verifier().to_string();
    let again = witness(1).verifier().to_string();
    let log_again = log().verifier().to_string();
    let cases: Vec<(String, Problem)> = vec![
        ("quorums w1".into(), Problem::Keyword("quorums".into())),
        ("log".into(), Problem::Words("log <vkey> [<url>]")),
        (format!("log {vkey}"), Problem::KeyType { role: "log", algorithm: Algorithm::Ed25519Cosignature }),
        (format!("log {log_again}"), Problem::DuplicateKey),
        (
            format!("witness w9 {log_again}"),
            Problem::KeyType { role: "witness", algorithm: Algorithm::Ed25519 },
        ),
        (format!("witness w9 {again}"), Problem::DuplicateKey),
        (format!("witness w1 {vkey}"), Problem::DuplicateName("w1".into())),
        (format!("witness none {vkey}"), Problem::DuplicateName("none".into())),
        (
            format!("witness w9 {vkey} https://w.example extra"),
            Problem::Words("witness <name> <vkey> [<url>]"),
        ),
        ("group g all".into(), Problem::Words("group <name> all|any|<k> <name>...")),
        ("group g 3 w1 w2".into(), Problem::Threshold { found: "3".into(), members: 2 }),
        ("group g 0 w1 w2".into(), Problem::Threshold { found: "0".into(), members: 2 }),
        ("group g +1 w1 w2".into(), Problem::Threshold { found: "+1".into(), members: 2 }),
        ("group g some w1 w2".into(), Problem::Threshold { found: "some".into(), members: 2 }),
        ("group g all w1 w1".into(), Problem::MemberTwice("w1".into())),
        ("group g all w1 none".into(), Problem::Unknown("none".into())),
        ("group g all w1 g".into(), Problem::Unknown("g".into())),
        ("group w1 all w2".into(), Problem::DuplicateName("w1".into())),
        ("quorum w6".into(), Problem::Unknown("w6".into())),
        // U+2003 is no white space here: the name is another one.
        ("quorum w1\u{2003}".into(), Problem::Unknown("w1\u{2003}".into())),
        ("quorum".into(), Problem::Words("quorum <name>|none")),
    ];
    for (line, problem) in cases {
        let expected = Err(PolicyError::Line { line: 9, problem });
        assert_eq!(policy(&format!("{line}\nquorum none\n")), expected, "{line}");
    }
    let twice = PolicyError::Line { line: 10, problem: Problem::MemberTwice("w1".into()) };
    assert_eq!(policy("group a any w1\ngroup b any w1 w2\nquorum a\n"), Err(twice));
    let second = PolicyError::Line { line: 10, problem: Problem::SecondQuorum };
    assert_eq!(policy("quorum w1\nquorum w1\n"), Err(second));
    assert_eq!(policy(""), Err(PolicyError::NoQuorum));
    assert_eq!(Policy::parse(b""), Err(PolicyError::NoQuorum));
    assert_eq!(Policy::parse(b"quorum none"), Err(PolicyError::Unended));
    assert_eq!(Policy::parse(b"quorum none\r\n"), Err(PolicyError::Characters));
    assert_eq!(Policy::parse(b"quorum \x7f\n"), Err(PolicyError::Characters));
    assert_eq!(Policy::parse(b"# \xff\nquorum none\n"), Err(PolicyError::Characters));
    assert_eq!(Policy::parse(&vec![b'\n'; 300_000]), Err(PolicyError::TooLong));
    assert!(Policy::parse(b"quorum none\n").is_ok());
}

#[test]
fn a_policy_comes_back_as_it_was_written() {
    for rest in [
        "quorum none\n",
        "quorum w3\n",
        "group X 2 w1 w2 w3\ngroup Y any w4 w5\ngroup both all X Y\nquorum both\n",
    ] {
        let policy = policy(rest).unwrap();
        let text = policy.to_text();
        assert_eq!(Policy::parse(text.as_bytes()).unwrap(), policy);
        assert!(text.ends_with(rest) && text.contains(" https://relay.example/log/\n"), "{text}");
    }
}

fn made(count: u8, threshold: usize) -> Result<Policy, PolicyError> {
    let witnesses = (1..=count).map(|number| Witness {
        name: format!("w{number}"),
        key: witness(number).verifier().clone(),
        url: Some("https://w.example/".into()),
    });
    Policy::threshold([Log { key: log().verifier().clone(), url: None }], witnesses, threshold)
}

#[test]
fn a_policy_is_made_from_keys_and_a_number() {
    for (count, threshold, expected) in [
        (0, 0, "quorum none\n"),
        (3, 0, "quorum none\n"),
        (1, 1, "quorum w1\n"),
        (3, 2, "group quorum-of-witnesses 2 w1 w2 w3\nquorum quorum-of-witnesses\n"),
    ] {
        let policy = made(count, threshold).unwrap();
        assert!(policy.to_text().ends_with(expected), "{}", policy.to_text());
        assert_eq!(Policy::parse(policy.to_text().as_bytes()).unwrap(), policy);
        assert_eq!(policy.asks_for_witnesses(), threshold > 0);
    }
    assert!(made(2, 3).is_err() && made(0, 1).is_err());
}

#[test]
fn what_cannot_be_written_is_refused_when_a_policy_is_made() {
    for name in ["", "a b", "a\tb", "a\nquorum", "#w", "a\u{7f}"] {
        let witness = Witness { name: name.into(), key: witness(1).verifier().clone(), url: None };
        let problem = Problem::Unwritable(name.to_owned());
        assert_eq!(Policy::threshold([], [witness], 0), Err(PolicyError::Line { line: 0, problem }));
    }
    let log = Log { key: log().verifier().clone(), url: Some("https://a b/".into()) };
    assert!(Policy::threshold([log], [], 0).is_err());
}

#[test]
fn a_post_quantum_witness_counts_like_any_other() {
    let key = MlDsa44Key::from_seed("witness.example/pq", &Seed::new([77; 32])).unwrap();
    let policy = policy(&format!("witness pq {}\nquorum pq\n", key.verifier())).unwrap();
    let mut note = note(&[]);
    assert!(!policy.judge(&note).unwrap().quorum);
    note.signatures.extend(Note::sign(&text(), &[&key as &dyn Signer], 123).unwrap().signatures);
    assert_eq!(policy.judge(&note).unwrap().quorum_time, Some(123));
}

#[test]
fn a_long_chain_of_groups_is_no_danger() {
    let mut rest = "group g0 any w1\n".to_owned();
    for number in 1..8000 {
        rest.push_str(&format!("group g{number} any g{}\n", number - 1));
    }
    rest.push_str("quorum g7999\n");
    assert_eq!(judged(&rest, &[(1, 5)]).quorum_time, Some(5));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "(quorum|group|log|witness| |\n|\t|w1|all|any|none|#|2){0,40}") {
        let _ = Policy::parse(&bytes);
        let _ = policy(&text);
    }
}
