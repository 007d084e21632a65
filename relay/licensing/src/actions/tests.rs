#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::{SignedDuration, Timestamp};
use paramant_protocol::control::{RemoteAnswer, RemoteAnswers};
use paramant_protocol::entry::Entry;
use paramant_protocol::entry::body::{Body, Document, RefusalReason, VendorRequest, VendorSilence};
use paramant_tlog::keys::{Ed25519Key, Seed, Signer as _};
use paramant_tlog::note::Note;
use paramant_tlog::tlog_proof::TlogProof;
use paramant_tlog::{Checkpoint, entry_leaf};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Answer, Ask, Chain, Effect, Judged, Offer, PATIENCE, Request, Role, Said, Silence, Unverifiable, Why,
    actor, answer, judge,
};
use crate::logged::{Logged, NotLogged};
use crate::online::keys::LicensingKeys;
use crate::online::tests::{Never, Signer};
use crate::verified::Verified;

/// What is wrong, and how it is made so.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Value));

fn relay() -> String {
    "aa".repeat(32)
}

fn noon() -> Timestamp {
    "2027-01-01T12:00:00Z".parse().unwrap()
}

fn support() -> Ask {
    Ask::SupportKey { key_sha256: [7; 32], max_seconds: 3600 }
}

fn request(chain: &Chain, ask: Ask) -> Request {
    Request {
        relay_id: relay(),
        seq: chain.seq() + 1,
        prev: chain.head(),
        id: format!("{:032x}", chain.seq() + 1),
        role: Role::Support,
        why: Why::SupportCase,
        issued_at: noon(),
        expires_at: noon() + SignedDuration::from_hours(96),
        actor_commitment: [9; 32],
        ask,
    }
}

fn bytes(signer: &Signer, request: &Request) -> Vec<u8> {
    request.to_signed(|message| Ok::<_, Never>(signer.sign(message))).unwrap()
}

fn asks() -> Vec<Ask> {
    let image = format!("sha256:{}", "cd".repeat(32));
    let offer = Offer {
        version: "1.2.3".into(),
        digest: image.clone(),
        sequence: 4,
        floor: 2,
        recalled: vec![image],
        notes_sha256: "ef".repeat(32),
    };
    vec![
        support(),
        Ask::UpdateOffer(Box::new(offer)),
        Ask::Drain { enabled: true, deadline_seconds: Some(600) },
        Ask::Drain { enabled: false, deadline_seconds: None },
        Ask::CapabilitySet { set_sha256: [3; 32] },
    ]
}

fn refusal(judged: &Judged) -> Option<(RefusalReason, bool)> {
    match judged {
        Judged::Refused { reason, takes_place, .. } => Some((*reason, *takes_place)),
        _ => None,
    }
}

#[test]
fn each_of_the_four_is_read_as_it_was_written() {
    let (signer, mut chain) = (Signer::of(1), Chain::default());
    for ask in asks() {
        let made = request(&chain, ask);
        match judge(&bytes(&signer, &made), &relay(), &chain, &signer.keys(), noon()) {
            Judged::Admitted(read) => {
                assert_eq!(read.get(), &made);
                chain.take(&read);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(chain.seq(), 5);
}

#[test]
fn what_is_not_the_next_of_this_relays_chain_is_refused() {
    let (signer, mut chain) = (Signer::of(1), Chain::default());
    let first = bytes(&signer, &request(&chain, support()));
    let at_noon = |bytes: &[u8], chain: &Chain| judge(bytes, &relay(), chain, &signer.keys(), noon());
    chain.take(&Verified::open_request(&first, &signer.keys()).unwrap());
    assert!(matches!(at_noon(&first, &chain), Judged::Known), "a vendor may repeat itself");

    let next = request(&chain, Ask::Drain { enabled: true, deadline_seconds: None });
    let is = |change: &dyn Fn(&mut Request)| {
        let mut changed = next.clone();
        change(&mut changed);
        refusal(&at_noon(&bytes(&signer, &changed), &chain))
    };
    assert_eq!(is(&|_| ()), None);
    assert_eq!(is(&|it| it.relay_id = "ab".repeat(32)), Some((RefusalReason::WrongRelay, false)));
    assert_eq!(is(&|it| it.seq = 3), Some((RefusalReason::Gap, false)));
    assert_eq!(is(&|it| it.seq = u64::from(u32::MAX)), Some((RefusalReason::Gap, false)));
    assert_eq!(is(&|it| it.prev = [1; 32]), Some((RefusalReason::Fork, false)));
    assert_eq!(is(&|it| it.seq = 1), Some((RefusalReason::Fork, false)), "another first request");
    let answered = |it: &mut Request| it.id = format!("{:032x}", 1);
    assert_eq!(
        is(&answered),
        Some((RefusalReason::Fork, false)),
        "what was said of the first is no word about it"
    );
    let unknown = |it: &mut Request| it.ask = Ask::Unknown("run_backup".into());
    assert_eq!(is(&unknown), Some((RefusalReason::UnknownAction, true)));
    let late = |it: &mut Request| {
        it.issued_at = noon() - SignedDuration::from_hours(2);
        it.expires_at = noon();
    };
    assert_eq!(is(&late), Some((RefusalReason::Expired, true)));
}

#[test]
fn the_policy_answers_each_kind_by_its_own_rule_and_nobody_agrees_to_what_it_refuses_or_what_is_over() {
    use RemoteAnswer::{Allow, Ask as Asks, Refuse};
    let chain = Chain::default();
    let received = noon();
    let yes = |by_admin| Answer::Accept { by_admin };
    for ask in asks() {
        let request = request(&chain, ask);
        let others =
            RemoteAnswers { support_key: Refuse, update_offer: Refuse, drain: Refuse, capability: Refuse };
        for (rule, said, before, after) in [
            (Allow, None, yes(false), Answer::Lapse),
            (Allow, Some(Said::Approve), yes(false), Answer::Lapse),
            (Allow, Some(Said::Deny), Answer::Deny, Answer::Deny),
            (Asks, None, Answer::Wait, Answer::Lapse),
            (Asks, Some(Said::Approve), yes(true), Answer::Lapse),
            (Asks, Some(Said::Deny), Answer::Deny, Answer::Deny),
            (Refuse, None, Answer::Refuse, Answer::Refuse),
            (Refuse, Some(Said::Approve), Answer::Refuse, Answer::Refuse),
            (Refuse, Some(Said::Deny), Answer::Refuse, Answer::Refuse),
        ] {
            let mut answers = others;
            match request.ask {
                Ask::SupportKey { .. } => answers.support_key = rule,
                Ask::UpdateOffer(_) => answers.update_offer = rule,
                Ask::Drain { .. } => answers.drain = rule,
                Ask::CapabilitySet { .. } | Ask::Unknown(_) => answers.capability = rule,
            }
            let second = SignedDuration::from_secs(1);
            let at = |now| answer(&request, received, &answers, said, now);
            let case = format!("{} {rule:?} {said:?}", request.ask.kind());
            assert_eq!(at(received + PATIENCE - second), before, "{case}");
            assert_eq!(at(received + PATIENCE), after, "{case}, four days on");
            let late = Request { expires_at: received + second, ..request.clone() };
            assert_eq!(
                answer(&late, received, &answers, said, received + second),
                after,
                "{case}, at its end"
            );
        }
    }
    let usual = RemoteAnswers::default();
    assert_eq!(
        [usual.support_key, usual.update_offer, usual.drain, usual.capability],
        [Asks, Allow, Asks, Allow]
    );
}

#[test]
fn what_no_pinned_key_signed_is_never_logged() {
    let (signer, stranger, chain) = (Signer::of(1), Signer::of(2), Chain::default());
    let made = request(&chain, support());
    let judged = |bytes: &[u8], keys: &LicensingKeys| match judge(bytes, &relay(), &chain, keys, noon()) {
        Judged::Unverifiable(error) => Some(error),
        _ => None,
    };
    let good = bytes(&signer, &made);
    assert_eq!(judged(&good, &signer.keys()), None);
    assert_eq!(judged(&good, &stranger.keys()), Some(Unverifiable::Signature));
    assert_eq!(judged(&good, &LicensingKeys::default()), Some(Unverifiable::Signature));
    let ended = LicensingKeys::of([signer.key("2026-12-31T00:00:00Z")]);
    assert_eq!(judged(&good, &ended), Some(Unverifiable::Signature));
    let text = String::from_utf8(good.clone()).unwrap();
    let owner = text.replace("\"role\":\"support\"", "\"role\":\"owner\"");
    assert_ne!(owner, text);
    assert_eq!(judged(owner.as_bytes(), &signer.keys()), Some(Unverifiable::Signature), "a forged role");
    assert_eq!(judged(b"", &signer.keys()), Some(Unverifiable::Json));
    assert_eq!(judged(&vec![b' '; 13_000], &signer.keys()), Some(Unverifiable::TooLong));
    let twice = text.replace("\"seq\":1", "\"seq\":1,\"seq\":1");
    assert_eq!(judged(twice.as_bytes(), &signer.keys()), Some(Unverifiable::Json));
}

#[test]
fn an_auditor_without_a_key_reads_what_is_claimed_in_the_same_form() {
    let (signer, stranger) = (Signer::of(1), Signer::of(2));
    let made = request(&Chain::default(), support());
    assert_eq!(Request::claimed(&bytes(&signer, &made)), Ok(made.clone()));
    assert_eq!(Request::claimed(&bytes(&stranger, &made)), Ok(made.clone()), "whoever signed it");
    let silence = Silence { relay_id: relay(), seq: 0, head: [0; 32], issued_at: noon() };
    let said = silence.to_signed(|message| Ok::<_, Never>(stranger.sign(message))).unwrap();
    assert_eq!(Silence::claimed(&said), Ok(silence));
    assert_eq!(Request::claimed(&said), Err(Unverifiable::Form));
    assert_eq!(Silence::claimed(&bytes(&signer, &made)), Err(Unverifiable::Form));
    assert_eq!(Request::claimed(br#"{"type":"paramant/action/v1"}"#), Err(Unverifiable::Signature));
    assert_eq!(Request::claimed(&[b' '; 13_000]), Err(Unverifiable::TooLong));
}

#[test]
fn the_form_is_closed() {
    let signer = Signer::of(1);
    let good: Value =
        serde_json::from_slice(&bytes(&signer, &request(&Chain::default(), support()))).unwrap();
    let read = |change: &dyn Fn(&mut Value)| {
        let mut value = good.clone();
        value.as_object_mut().unwrap().remove("signature");
        change(&mut value);
        Verified::open_request(&signer.object(value), &signer.keys()).map(|it| it.get().ask.clone())
    };
    assert_eq!(read(&|_| ()), Ok(support()));
    let wrong: [Change<'_>; 15] = [
        ("another type", &|it| it["type"] = json!("paramant/action/v2")),
        ("a field too many", &|it| it["message"] = json!("call us")),
        ("a role that is none", &|it| it["role"] = json!("admin")),
        ("a reason in words", &|it| it["reason"] = json!("because we say so")),
        ("no details", &|it| it["details"] = Value::Null),
        ("details too many", &|it| it["details"]["shell"] = json!(true)),
        ("a key for longer than a day", &|it| it["details"]["max_seconds"] = json!(86_401)),
        ("a key for a moment", &|it| it["details"]["max_seconds"] = json!(299)),
        ("a secret in place of its hash", &|it| it["details"]["key_sha256"] = json!("secret")),
        ("number nought", &|it| it["seq"] = json!(0)),
        ("an end before the beginning", &|it| it["expires_at"] = json!("2027-01-01T12:00:00Z")),
        ("a time with an offset", &|it| it["issued_at"] = json!("2027-01-01T12:00:00+00:00")),
        ("an id in words", &|it| it["id"] = json!("the first")),
        ("a kind in words", &|it| it["kind"] = json!("Run this")),
        ("an actor that is named", &|it| it["actor_commitment"] = json!("Mallory")),
    ];
    for (what, change) in wrong {
        assert_eq!(read(change), Err(Unverifiable::Form), "{what}");
    }
    // What is none of the four is verified all the same, and its details are nobody's business.
    let other = read(&|it| {
        it["kind"] = json!("trigger_backup");
        it["details"] = json!({"to": "elsewhere"});
    });
    assert_eq!(other, Ok(Ask::Unknown("trigger_backup".into())));
}

fn log_key() -> Ed25519Key {
    Ed25519Key::from_seed("relay.example/log", &Seed::new([5; 32])).unwrap()
}

/// A log of one entry.
fn log_of(body: Body) -> TlogProof {
    let entry = Entry::with_body(body, noon()).unwrap().into_bytes();
    let text = Checkpoint::new("relay.example/log", 1, entry_leaf(&entry)).to_text();
    let checkpoint = Note::sign(&text, &[&log_key()], 0).unwrap().to_text();
    TlogProof { extra: Some(entry), index: 0, path: Vec::new(), checkpoint }
}

/// A log that holds this request.
fn log_with(bytes: &[u8]) -> TlogProof {
    log_of(Body::VendorRequest(VendorRequest { request: Document::parse(bytes).unwrap() }))
}

fn prove(signer: &Signer, bytes: &[u8], proof: &TlogProof) -> Result<Logged<Verified<Request>>, NotLogged> {
    let verified = Verified::open_request(bytes, &signer.keys()).unwrap();
    Logged::prove(verified, &[0; 32], proof, &[log_key().verifier().clone()])
}

#[test]
fn only_the_entry_of_this_very_request_shows_that_it_is_logged() {
    let (signer, chain) = (Signer::of(1), Chain::default());
    let asked = bytes(&signer, &request(&chain, support()));
    let other = bytes(&signer, &request(&chain, Ask::Drain { enabled: true, deadline_seconds: None }));
    let shown = |proof: &TlogProof| prove(&signer, &asked, proof).map(|logged| logged.index());
    assert_eq!(shown(&log_with(&asked)), Ok(0));
    assert_eq!(shown(&log_with(&other)), Err(NotLogged::Entry), "another request");
    let statement = Document::parse(&asked).unwrap();
    let silence = log_of(Body::VendorSilence(VendorSilence { statement }));
    assert_eq!(shown(&silence), Err(NotLogged::Entry), "an entry of another kind");
}

#[test]
fn a_drain_lasts_a_week_at_most_and_a_support_key_as_long_as_request_policy_and_a_day_allow() {
    let signer = Signer::of(1);
    let until = |ask: Ask, policy: u64| {
        let bytes = bytes(&signer, &request(&Chain::default(), ask));
        let logged = prove(&signer, &bytes, &log_with(&bytes)).unwrap();
        match Effect::of(logged, noon(), policy).unwrap() {
            Effect::Drain(draining) => draining.left(noon()).map(|left| left.as_secs()),
            Effect::Support(support) => Some(support.until().duration_since(noon()).unsigned_abs().as_secs()),
            other => panic!("{other:?}"),
        }
    };
    let drain = |enabled, deadline_seconds| until(Ask::Drain { enabled, deadline_seconds }, 0);
    assert_eq!((drain(false, None), drain(false, Some(60))), (None, None));
    assert_eq!((drain(true, None), drain(true, Some(60))), (Some(24 * 3600), Some(60)));
    let week = Some(7 * 24 * 3600);
    assert_eq!((drain(true, Some(30 * 24 * 3600)), drain(true, Some(u64::from(u32::MAX)))), (week, week));
    let support = |max_seconds, policy| until(Ask::SupportKey { key_sha256: [7; 32], max_seconds }, policy);
    assert_eq!((support(3600, u64::MAX), support(3600, 600)), (Some(3600), Some(600)));
    assert_eq!(support(24 * 3600, u64::MAX), Some(24 * 3600));
}

#[test]
fn offers_are_closed_too() {
    let (signer, chain) = (Signer::of(1), Chain::default());
    let offer = asks().remove(1);
    let good: Value = serde_json::from_slice(&bytes(&signer, &request(&chain, offer))).unwrap();
    let wrong: [Change<'_>; 6] = [
        ("a link", &|it| it["notes_url"] = json!("https://vendor.example")),
        ("a tag for a digest", &|it| it["digest"] = json!("latest")),
        ("a version with a space", &|it| it["version"] = json!("1.2.3 now")),
        ("too many recalled", &|it| it["recalled"] = json!(vec![it["digest"].clone(); 17])),
        ("a recalled tag", &|it| it["recalled"] = json!(["v1"])),
        ("no floor", &|it| drop(it.as_object_mut().unwrap().remove("floor"))),
    ];
    for (what, change) in wrong {
        let mut value = good.clone();
        value.as_object_mut().unwrap().remove("signature");
        change(&mut value["details"]);
        let read = Verified::open_request(&signer.object(value), &signer.keys());
        assert_eq!(read.map(|it| it.get().ask.clone()), Err(Unverifiable::Form), "{what}");
    }
}

#[test]
fn a_silence_statement_speaks_of_one_chain_at_one_time() {
    let (signer, mut chain) = (Signer::of(1), Chain::default());
    let silence = Silence { relay_id: relay(), seq: 0, head: [0; 32], issued_at: noon() };
    let bytes_of = |it: &Silence| it.to_signed(|message| Ok::<_, Never>(signer.sign(message))).unwrap();
    let read = Verified::open_silence(&bytes_of(&silence), &signer.keys()).unwrap();
    assert_eq!(read.get(), &silence);
    assert!(read.get().fits(&relay(), &chain));
    assert!(!read.get().fits(&"ab".repeat(32), &chain));
    chain
        .take(&Verified::open_request(&bytes(&signer, &request(&chain, support())), &signer.keys()).unwrap());
    assert!(!read.get().fits(&relay(), &chain), "it says nothing of a later request");
    assert!(Verified::open_silence(&bytes_of(&silence), &Signer::of(2).keys()).is_err());
    // A request is no silence, and the reverse.
    let asked = bytes(&signer, &request(&Chain::default(), support()));
    assert_eq!(Verified::open_silence(&asked, &signer.keys()).map(drop), Err(Unverifiable::Form));
    assert_eq!(
        Verified::open_request(&bytes_of(&silence), &signer.keys()).map(drop),
        Err(Unverifiable::Form)
    );
}

#[test]
fn an_actor_is_committed_to_with_the_relay_and_the_request() {
    let of =
        |relay: &str, id: &str, actor: &str, salt: u8| actor::commit(relay, id, actor, &[salt; 32]).unwrap();
    let one = of("r", "i", "ada", 1);
    assert_eq!(one, of("r", "i", "ada", 1));
    for other in
        [of("s", "i", "ada", 1), of("r", "j", "ada", 1), of("r", "i", "bob", 1), of("r", "i", "ada", 2)]
    {
        assert_ne!(one, other);
    }
    // Where one part ends and the next begins is part of it.
    assert_ne!(of("ra", "b", "c", 1), of("r", "ab", "c", 1));
    assert_eq!(actor::commit("r", "i", &"x".repeat(70_000), &[0; 32]), None);
}

proptest! {
    /// Whatever arrives: no panic, and nothing is admitted that was not signed for this place.
    #[test]
    fn no_bytes_are_admitted_unsigned(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in "[ -~]{0,200}") {
        let signer = Signer::of(1);
        for input in [bytes.as_slice(), text.as_bytes()] {
            let judged = judge(input, &relay(), &Chain::default(), &signer.keys(), noon());
            prop_assert!(matches!(judged, Judged::Unverifiable(_)));
        }
    }

    /// A chain is one order: any other is refused.
    #[test]
    fn requests_count_in_one_order_only(order in Just((0..5).collect::<Vec<usize>>()).prop_shuffle()) {
        let (signer, mut chain) = (Signer::of(1), Chain::default());
        let mut made = Vec::new();
        for ask in asks() {
            let bytes = bytes(&signer, &request(&chain, ask));
            chain.take(&Verified::open_request(&bytes, &signer.keys()).unwrap());
            made.push(bytes);
        }
        let mut seen = Chain::default();
        let mut taken = Vec::new();
        for &place in &order {
            let judged = judge(&made[place], &relay(), &seen, &signer.keys(), noon());
            if let Judged::Admitted(read) = &judged {
                seen.take(read);
                taken.push(place);
            } else {
                prop_assert_eq!(refusal(&judged), Some((RefusalReason::Gap, false)));
            }
        }
        let expected: Vec<usize> = (0..taken.len()).collect();
        prop_assert_eq!(taken, expected);
    }
}
