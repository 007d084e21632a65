//! What `paramant audit --actions` tells of the vendor's requests.

use jiff::{SignedDuration, Timestamp};
use paramant_licensing::actions::{Ask, Request, Silence, Why};
use paramant_protocol::canonical::CanonicalError;
use paramant_protocol::entry::Body;
use paramant_protocol::entry::body::{
    Decision, Digest, Document, Role, SupportKeyEnded, SupportKeyIssued, SupportKeyUsed, VendorRequest,
    VendorRequestDecided, VendorSilence,
};
use paramant_protocol::leaf::{sha3, sha256};
use paramant_tlog::keys::{MlDsa65Key, Signer as _};
use serde_json::Value;

use crate::made_log::{AT, MadeLog, cosign, seed};
use crate::{Said, run};

#[derive(Debug)]
struct Never;

impl From<CanonicalError> for Never {
    fn from(_: CanonicalError) -> Self {
        Self
    }
}

/// A log, and the vendor that asks things of its relay.
struct Asked {
    made: MadeLog,
    vendor: MlDsa65Key,
    home: tempfile::TempDir,
    chain: Vec<[u8; 32]>,
}

impl Asked {
    fn new() -> Self {
        let mut made = MadeLog::new();
        made.transfers(300, "").head();
        let vendor = MlDsa65Key::from_seed("vendor", &seed(90)).unwrap();
        Self { made, vendor, home: tempfile::tempdir().unwrap(), chain: Vec::new() }
    }

    fn relay(&self) -> String {
        hex::encode(sha3(self.made.identity.verifier().public_key()))
    }

    fn key(&self) -> String {
        hex::encode(self.vendor.verifier().public_key())
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(AT as i64).unwrap() + SignedDuration::from_mins(minutes)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Never> {
        Ok(self.vendor.sign_document(message).unwrap())
    }

    /// The next request. `log`: whether the relay logs it.
    fn ask(&mut self, ask: Ask, log: bool) -> Digest {
        let seq = self.chain.len() as u64 + 1;
        let request = Request {
            relay_id: self.relay(),
            seq,
            prev: self.chain.last().copied().unwrap_or_default(),
            id: format!("{seq:032x}"),
            role: Role::Support,
            why: Why::SupportCase,
            issued_at: Self::at(seq as i64),
            expires_at: Self::at(6000),
            actor_commitment: [9; 32],
            ask,
        };
        let bytes = request.to_signed(|message| self.sign(message)).unwrap();
        let hash = sha256(&bytes);
        self.chain.push(hash);
        if log {
            let request = Document::parse(&bytes).unwrap();
            self.made.body(Body::VendorRequest(VendorRequest { request }));
        }
        Digest(hash)
    }

    fn silent(&mut self) {
        let silence = Silence {
            relay_id: self.relay(),
            seq: self.chain.len() as u64,
            head: self.chain.last().copied().unwrap_or_default(),
            issued_at: Self::at(60),
        };
        let bytes = silence.to_signed(|message| self.sign(message)).unwrap();
        let statement = Document::parse(&bytes).unwrap();
        self.made.body(Body::VendorSilence(VendorSilence { statement }));
    }

    /// A support key that was approved, used and revoked; and a drain that waits.
    fn busy() -> Self {
        let mut asked = Self::new();
        let request = asked.ask(Ask::SupportKey { key_sha256: [7; 32], max_seconds: 3600 }, true);
        let made = &mut asked.made;
        made.body(Body::VendorRequestDecided(VendorRequestDecided { request, decision: Decision::Approved }));
        let (key, until) = (Digest([1; 32]), "2026-01-02T05:00:00.000Z".to_owned());
        made.body(Body::SupportKeyIssued(SupportKeyIssued { key, role: Role::Support, until }));
        made.body(Body::SupportKeyUsed(SupportKeyUsed { key, count: 4, chain: Digest([2; 32]) }));
        made.body(Body::SupportKeyRevoked(SupportKeyEnded { key }));
        asked.ask(Ask::Drain { enabled: true, deadline_seconds: Some(600) }, true);
        asked.silent();
        asked.made.head().anchor();
        asked
    }

    fn audit(&self, arguments: &[&str]) -> Said {
        let copy = self.made.copy();
        run(self.home.path(), &[&["audit", copy.path().to_str().unwrap()], arguments].concat())
    }

    fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let said = self.audit(&[&["--json", "--actions"], arguments].concat());
        assert_eq!(said.out.trim_end().lines().count(), 1, "one document: {}", said.out);
        (said.code, serde_json::from_str(&said.out).unwrap())
    }
}

#[track_caller]
fn says(said: &Said, all: &[&str]) {
    for expected in all {
        assert!(said.out.contains(expected), "{expected}\n{}", said.out);
    }
}

#[test]
fn requests_are_told_with_what_became_of_them_and_what_that_rests_on() {
    let asked = Asked::busy();
    let said = asked.audit(&["--actions", "--licensing-key", &asked.key()]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let hash = hex::encode(sha3(asked.vendor.verifier().public_key()));
    says(
        &said,
        &[
            "ok    actions      2 requests of the vendor in one chain",
            "ok    silence      the newest of 1 statement, entry 307, claims 2 requests",
            "1    00000000000000000000000000000001  support_key  support  support_case  301",
            "approved: entry 302",
            "entry 303, 2026-01-02T03:00:00.000Z: support_key_issued for support, until 2026-01-02T05:00:00.000Z at the longest; by order: the next entry",
            "support_key_used: 4 times, entries 304 to 304",
            "entry 305, 2026-01-02T03:00:00.000Z: support_key_revoked",
            "waiting: the log ties neither answer nor effect to it",
            "entries 0 to 308 of relay.example/log\n",
            &format!("relay {}", asked.relay()),
            &format!("licensing key {hash}"),
            "no witness's cosignature was seen",
            "that the relay's process is honest",
            "that there is no second log",
            "salted commitment",
        ],
    );

    let (code, value) = asked.json(&["--licensing-key", &asked.key()]);
    assert_eq!((code, &value["ok"]), (0, &true.into()), "{value}");
    let actions = &value["actions"];
    let request = &actions["requests"][0];
    for (field, expected) in [("kind", "support_key"), ("role", "support"), ("reason", "support_case")] {
        assert_eq!(request[field], expected, "{request}");
    }
    assert_eq!((&request["seq"], &request["entry"]), (&1.into(), &301.into()));
    assert_eq!((&request["outcome"]["decision"], &request["signed_by"]), (&"approved".into(), &hash.into()));
    let effect = &request["effects"][0];
    assert_eq!(
        (&effect["tie"], &effect["entry"], &effect["used"]["count"]),
        (&"next".into(), &303.into(), &4.into())
    );
    assert_eq!(actions["requests"][1]["outcome"]["what"], "waiting");
    assert_eq!(actions["rests_on"]["size"], 309);
    assert!(actions["does_not_prove"].as_array().unwrap().len() >= 5, "{actions}");
}

#[test]
fn a_quorum_that_was_pinned_is_named_and_leaves_no_room_for_a_second_log() {
    let asked = Asked::busy();
    let copy = asked.made.copy();
    cosign(copy.path(), &[0, 2], AT);
    let policy = asked.home.path().join("policy");
    std::fs::write(&policy, asked.made.policy().to_text()).unwrap();
    let copy = copy.path().to_str().unwrap();
    let said = run(asked.home.path(), &["audit", copy, "--actions", "--policy", policy.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    says(&said, &["cosigned by w0, w2 over 309 entries, under the policy given"]);
    assert!(!said.out.contains("that there is no second log"), "{}", said.out);
    let said = run(asked.home.path(), &["audit", copy, "--actions"]);
    says(&said, &["under the relay's own policy, which proves nothing", "that there is no second log"]);
}

#[test]
fn without_a_key_signatures_are_not_checked_and_with_another_the_requests_do_not_hold() {
    let asked = Asked::busy();
    let said = asked.audit(&["--actions"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    says(&said, &["--    actions", "    signature not checked\n", "  no licensing key\n"]);

    let other = MlDsa65Key::from_seed("vendor", &seed(91)).unwrap();
    let other = hex::encode(other.verifier().public_key());
    let said = asked.audit(&["--actions", "--licensing-key", &other]);
    assert!(
        said.code == 1 && said.err.contains("none of the licensing keys given has signed"),
        "{}",
        said.err
    );
    // One of several is enough. In a file, as an authority lists its keys.
    let file = asked.home.path().join("keys");
    std::fs::write(&file, format!("{} 2030-01-01T00:00:00Z from 2026-01-01T00:00:00Z\n", asked.key()))
        .unwrap();
    let file = file.to_str().unwrap();
    let said = asked.audit(&["--actions", "--licensing-key", &other, "--licensing-key", file]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    says(&said, &[", until 2030-01-01T00:00:00Z"]);

    let empty = asked.home.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    for (arguments, code, expected) in [
        (&["--licensing-key", &other][..], 2, "--actions"),
        (&["--actions", "--licensing-key", "/nonexistent"], 6, "/nonexistent"),
        (&["--actions", "--licensing-key", empty.to_str().unwrap()], 2, "empty"),
        (&["--actions", "--licensing-key", &other.replace('0', "x")], 2, "3904 hex digits"),
    ] {
        let said = asked.audit(arguments);
        assert!(
            said.code == code && said.err.contains(expected),
            "{arguments:?}: {} {}",
            said.code,
            said.err
        );
    }
}

#[test]
fn a_log_without_requests_says_between_which_sizes() {
    let mut asked = Asked::new();
    asked.silent();
    let none = "between tree sizes 0 and 302 the log holds no request of the vendor, no refusal of one, and no effect";
    let said = asked.audit(&["--actions", "--licensing-key", &asked.key()]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    says(&said, &[none, "claims 0 requests", "by a silence statement: more than that the vendor claims it"]);
    let (code, value) = asked.json(&[]);
    let actions = &value["actions"];
    assert_eq!((code, &actions["requests"]), (0, &Value::Array(Vec::new())));
    assert!(actions["none"].as_str().unwrap().starts_with(none), "{actions}");
    assert_eq!(actions["silence"]["newest"]["seq"], 0);
    // Who does not ask is told nothing of it.
    let said = asked.audit(&["--json"]);
    assert!(said.code == 0 && !said.out.contains("does_not_prove"), "{}", said.out);
}

#[test]
fn a_statement_of_more_requests_than_the_log_holds_is_a_finding() {
    let mut asked = Asked::busy();
    asked.ask(Ask::Drain { enabled: false, deadline_seconds: None }, false);
    asked.silent();
    let said = asked.audit(&["--actions", "--licensing-key", &asked.key()]);
    let plainly = "says that the vendor made 3 requests; the log holds 2: the relay has not logged something that the vendor says it asked, or has not received it yet";
    assert!(said.code == 1 && said.err.contains(plainly), "{} {}", said.code, said.err);
    says(&said, &["FAIL  silence", "approved: entry 302"]);
    assert!(!said.out.contains("holds: "), "{}", said.out);
    let (code, value) = asked.json(&[]);
    assert_eq!((code, &value["ok"]), (1, &false.into()));
    assert!(value["actions"]["silence"]["verdict"].as_str().unwrap().contains("the log holds 2"), "{value}");
    // A plain audit does not judge it, and says so.
    let said = asked.audit(&[]);
    assert!(said.code == 0 && said.out.contains("--actions tells more"), "{} {}", said.code, said.out);
}

#[test]
fn the_whole_log_is_told_whatever_an_earlier_run_remembered() {
    let asked = Asked::busy();
    let state = asked.home.path().join("state").display().to_string();
    assert_eq!(asked.audit(&["--state", &state]).code, 0);
    let (code, value) = asked.json(&["--state", &state, "--licensing-key", &asked.key()]);
    assert_eq!((code, &value["timing"]["entries"]), (0, &309.into()), "{value}");
    assert_eq!(value["actions"]["requests"].as_array().unwrap().len(), 2);
    let said = asked.audit(&["--state", &state]);
    assert!(said.code == 0 && said.out.contains("continues the 309 entries"), "{}", said.out);
}

#[test]
fn requests_that_do_not_fit_end_a_plain_audit_too() {
    let mut asked = Asked::busy();
    asked.ask(Ask::Drain { enabled: false, deadline_seconds: None }, false);
    asked.ask(Ask::Drain { enabled: false, deadline_seconds: None }, true);
    let said = asked.audit(&[]);
    assert!(
        said.code == 1 && said.err.contains("1 missing, a gap in the chain"),
        "{} {}",
        said.code,
        said.err
    );
}
