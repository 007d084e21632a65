#![allow(clippy::unwrap_used)]

use super::*;
use paramant_protocol::entry::body::{
    ClockCorrected, CloseCause, Digest, LogAdopted, LogClosed, RelayStarted, Role, SupportKeyEnded,
};
use paramant_tlog::keys::{CosignatureKey, Ed25519Key, Seed, Signer as _};

const ORIGIN: &str = "relay.example/log";
const HOURS: [&str; 4] =
    ["2026-01-02T01:30:00Z", "2026-01-02T02:30:00Z", "2026-01-02T03:30:00Z", "2026-01-03T03:30:00Z"];

fn at(hour: usize) -> Timestamp {
    HOURS[hour].parse().unwrap()
}

/// Runs entries, each with its hour, through fresh rules. Answers what is said against the last.
fn run(entries: &[(usize, Body)]) -> Result<Rules, String> {
    let identity = "07".repeat(32);
    let known = Known { origin: ORIGIN, identity: Some(&identity), licensing: &[] };
    let mut rules = Rules::default();
    let mut result = Ok(());
    for (index, (hour, body)) in entries.iter().enumerate() {
        assert_eq!(result, Ok(()), "only the last entry may be wrong");
        let entry = Entry::with_body(body.clone(), at(*hour)).unwrap();
        let index = index as u64;
        result = rules
            .entry(index, entry.kind().name(), entry.hour())
            .and_then(|()| rules.body(index, &entry, known).map(drop));
    }
    match result {
        Ok(()) => Ok(rules),
        Err(finding) => Err(Check::failed(finding).evidence),
    }
}

fn started(identity: u8) -> Body {
    Body::RelayStarted(RelayStarted { identity: Digest([identity; 32]), version: "1".into() })
}

fn rotated(added: Option<&str>, retired: Option<&str>) -> Body {
    Body::LogKeyRotated(LogKeyRotated {
        added: added.map(str::to_owned),
        retired: retired.map(str::to_owned),
    })
}

fn issued(key: u8, until: &str) -> Body {
    Body::SupportKeyIssued(SupportKeyIssued {
        key: Digest([key; 32]),
        role: Role::Support,
        until: until.into(),
    })
}

fn closed() -> Body {
    Body::LogClosed(LogClosed { cause: CloseCause::Deleted })
}

fn key(seed: u8) -> String {
    Ed25519Key::from_seed(ORIGIN, &Seed::new([seed; 32])).unwrap().verifier().to_string()
}

#[track_caller]
fn refused(entries: &[(usize, Body)], expected: &str) {
    let evidence = run(entries).unwrap_err();
    assert!(evidence.contains(expected), "{evidence}");
}

fn adopted(origin: &str) -> Body {
    Body::LogAdopted(LogAdopted { origin: origin.into(), size: 9, root: Digest([1; 32]) })
}

fn corrected(by: ClockAuthority) -> Body {
    Body::ClockCorrected(ClockCorrected { by })
}

#[test]
fn hours_go_back_by_more_than_one_only_where_an_entry_says_that_the_clock_was_set_back() {
    let order = "more than an hour before";
    assert!(run(&[(1, started(7)), (0, started(7)), (1, started(7))]).is_ok());
    refused(&[(2, started(7)), (1, started(7)), (0, started(7))], order);
    let machine = || corrected(ClockAuthority::Machine);
    let rules = run(&[(2, started(7)), (0, machine()), (0, started(7)), (1, started(7))]).unwrap();
    assert!(rules.check().evidence.contains("entry 1 says that the clock was set back"));
    refused(&[(2, started(7)), (0, corrected(ClockAuthority::Admin))], order);
    refused(&[(3, started(7)), (2, machine()), (0, started(7))], order);
    // What follows the first entry of an adopted log is from the log before.
    assert!(run(&[(3, adopted("old.example/log")), (0, started(7))]).is_ok());
    refused(&[(3, adopted("old.example/log")), (2, started(7)), (0, started(7))], order);
}

#[test]
fn nothing_follows_the_end_of_a_log() {
    assert!(run(&[(0, started(7)), (0, closed())]).is_ok());
    refused(&[(0, closed()), (0, started(7))], "entry 1 follows entry 0, which closed the log");
}

#[test]
fn a_log_that_replaced_another_says_so_first_or_not_at_all() {
    let rules = run(&[(0, adopted("old.example/log")), (0, started(7))]).unwrap();
    let told = rules.check().evidence;
    assert!(
        told.contains("it replaced old.example/log, whose last known checkpoint has 9 entries"),
        "{told}"
    );
    refused(&[(0, started(7)), (0, adopted("old.example/log"))], "entry 1 says that this log replaced old");
    refused(&[(0, adopted("a")), (0, adopted("b"))], "only a first entry may");
    refused(&[(0, adopted(ORIGIN))], "replaced itself");
}

#[test]
fn the_identity_is_the_one_that_signs_and_never_changes() {
    assert!(run(&[(0, started(7)), (1, started(7))]).is_ok());
    refused(&[(0, started(8))], "names the identity 0808");
}

#[test]
fn a_key_comes_once_and_goes_once() {
    let (one, two) = (key(1), key(2));
    let rules = run(&[(0, rotated(Some(&two), None)), (0, rotated(None, Some(&one)))]).unwrap();
    let (parsed_one, parsed_two) = (VerifierKey::parse(&one).unwrap(), VerifierKey::parse(&two).unwrap());
    assert!(rules.added(&parsed_two) && rules.retired(&parsed_one) && !rules.retired(&parsed_two));
    assert_eq!(rules.active().collect::<Vec<_>>(), [&two]);
    refused(&[(0, rotated(Some(&two), None)), (0, rotated(Some(&two), None))], "once more");
    refused(&[(0, rotated(None, Some(&one))), (0, rotated(None, Some(&one)))], "once more");
    refused(&[(0, rotated(None, Some(&one))), (0, rotated(Some(&one), None))], "once more");
    refused(&[(0, rotated(Some("nonsense"), None))], "cannot be read");
    let other = Ed25519Key::from_seed("other.example", &Seed::new([1; 32])).unwrap().verifier().to_string();
    refused(&[(0, rotated(Some(&other), None))], "no key of relay.example/log");
    let witness = CosignatureKey::from_seed(ORIGIN, &Seed::new([1; 32])).unwrap().verifier().to_string();
    refused(&[(0, rotated(Some(&witness), None))], "no key of relay.example/log");
}

#[test]
fn a_support_key_is_issued_for_a_day_before_anything_else_is_said_of_it() {
    let ended = |key: u8| Body::SupportKeyExpired(SupportKeyEnded { key: Digest([key; 32]) });
    let until = "2026-01-03T02:00:00.000Z";
    assert!(run(&[(0, issued(1, until)), (3, ended(1))]).is_ok());
    refused(&[(0, issued(1, until)), (3, ended(2))], "never issued");
    refused(&[(0, issued(1, until)), (0, issued(1, until))], "once more");
    refused(&[(0, issued(1, "2026-01-03T03:00:00.000Z"))], "a day at most");
    refused(&[(1, issued(1, "2026-01-02T01:00:00.000Z"))], "a day at most");
}

#[test]
fn what_was_seen_is_kept_between_runs() {
    let rules = run(&[(0, started(7)), (0, rotated(Some(&key(2)), None)), (0, closed())]).unwrap();
    let kept: Rules = serde_json::from_slice(&serde_json::to_vec(&rules).unwrap()).unwrap();
    assert_eq!(kept, rules);
    assert_eq!(rules.summary(), "1 log_closed, 1 log_key_rotated, 1 relay_started");
}
