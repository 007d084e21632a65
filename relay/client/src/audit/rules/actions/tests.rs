#![allow(clippy::unwrap_used, clippy::panic)]

use aws_lc_rs::signature::{KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};
use jiff::{SignedDuration, Timestamp};
use paramant_licensing::actions::{Ask, Offer, Why};
use paramant_protocol::canonical::CanonicalError;
use paramant_protocol::entry::Entry;
use paramant_protocol::entry::body::{
    LicenseChanged, LicenseOrigin, LogAdopted, SupportKeyEnded, SupportKeyUsed, VendorRequest, VendorSilence,
};

use super::*;
use crate::audit::actions::{Outcome, RemoteActions, Seen, tell};
use crate::audit::report::Check;
use crate::audit::rules::{Known, Rules};

#[derive(Debug)]
struct Never;

impl From<CanonicalError> for Never {
    fn from(_: CanonicalError) -> Self {
        Self
    }
}

struct Vendor(PqdsaKeyPair);

impl Vendor {
    fn of(seed: u8) -> Self {
        Self(PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &[seed; 32]).unwrap())
    }

    fn key(&self) -> LicensingKey {
        let not_after = "2030-01-01T00:00:00Z".parse().unwrap();
        LicensingKey { public: self.0.public_key().as_ref().to_vec(), not_after }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Never> {
        let mut signature = vec![0; 3309];
        self.0.sign(message, &mut signature).unwrap();
        Ok(signature)
    }

    fn request(&self, request: &Request) -> Vec<u8> {
        request.to_signed(|message| self.sign(message)).unwrap()
    }

    fn silence(&self, silence: &Silence) -> Body {
        let bytes = silence.to_signed(|message| self.sign(message)).unwrap();
        Body::VendorSilence(VendorSilence { statement: Document::parse(&bytes).unwrap() })
    }
}

fn relay() -> String {
    "07".repeat(32)
}

fn noon() -> Timestamp {
    "2026-01-02T12:00:00Z".parse().unwrap()
}

fn held(bytes: &[u8]) -> Body {
    Body::VendorRequest(VendorRequest { request: Document::parse(bytes).unwrap() })
}

/// A log in the making: bodies, and the vendor's chain.
struct Made {
    vendor: Vendor,
    bodies: Vec<Body>,
    chain: Vec<Hash>,
}

impl Made {
    fn new() -> Self {
        Self { vendor: Vendor::of(1), bodies: Vec::new(), chain: Vec::new() }
    }

    fn next(&self, ask: Ask) -> Request {
        let seq = self.chain.len() as u64 + 1;
        Request {
            relay_id: relay(),
            seq,
            prev: self.chain.last().copied().unwrap_or_default(),
            id: format!("{seq:032x}"),
            role: Role::Support,
            why: Why::SupportCase,
            issued_at: noon() + SignedDuration::from_mins(seq as i64),
            expires_at: noon() + SignedDuration::from_hours(96),
            actor_commitment: [9; 32],
            ask,
        }
    }

    fn take(&mut self, request: &Request) -> Digest {
        let bytes = self.vendor.request(request);
        let hash = sha256(&bytes);
        self.chain.push(hash);
        self.bodies.push(held(&bytes));
        Digest(hash)
    }

    fn ask(&mut self, ask: Ask) -> Digest {
        let request = self.next(ask);
        self.take(&request)
    }

    fn say(&mut self, body: Body) -> &mut Self {
        self.bodies.push(body);
        self
    }

    /// What the vendor claims now, as of so many minutes after noon.
    fn silence(&self, minutes: i64) -> Silence {
        let (seq, head) = (self.chain.len() as u64, self.chain.last().copied().unwrap_or_default());
        Silence { relay_id: relay(), seq, head, issued_at: noon() + SignedDuration::from_mins(minutes) }
    }

    fn silent(&mut self, minutes: i64) -> &mut Self {
        let body = self.vendor.silence(&self.silence(minutes));
        self.say(body)
    }

    fn run(&self) -> Result<Rules, String> {
        self.run_with(Rules::default(), &[self.vendor.key()])
    }

    fn run_with(&self, mut rules: Rules, keys: &[LicensingKey]) -> Result<Rules, String> {
        let (relay, licensing) = (relay(), keys.iter().map(Licensing::new).collect::<Vec<_>>());
        let known = Known { origin: "relay.example/log", identity: Some(&relay), licensing: &licensing };
        for (index, body) in (0..).zip(&self.bodies) {
            let entry = Entry::with_body(body.clone(), noon()).unwrap();
            let read = rules
                .entry(index, entry.kind().name(), entry.hour())
                .and_then(|()| rules.body(index, &entry, known));
            read.map_err(|finding| Check::failed(finding).evidence)?;
        }
        // As if every audit were two runs.
        let kept: Rules = serde_json::from_slice(&serde_json::to_vec(&rules).unwrap()).unwrap();
        assert_eq!(kept, rules);
        Ok(rules)
    }

    #[track_caller]
    fn told(&self) -> (RemoteActions, [Check; 2]) {
        self.told_with(&[self.vendor.key()])
    }

    #[track_caller]
    fn told_with(&self, keys: &[LicensingKey]) -> (RemoteActions, [Check; 2]) {
        let rules = self.run_with(Rules::default(), keys).unwrap();
        let size = self.bodies.len() as u64;
        let seen = Seen {
            checkpoint: &paramant_tlog::Checkpoint::new("relay.example/log", size, [1; 32]),
            from: 0,
            to: size,
            signed_by: vec!["Ed25519 relay.example/log+00000000".into()],
            believed: "as given",
            cosigned: None,
            quorum: false,
            identity: Some(relay()),
            licensing: keys,
        };
        tell(rules.actions(), seen)
    }

    #[track_caller]
    fn outcomes(&self) -> Vec<Outcome> {
        self.told().0.requests.into_iter().map(|row| row.outcome).collect()
    }

    #[track_caller]
    fn refused(&self, expected: &str) {
        let evidence = self.run().unwrap_err();
        assert!(evidence.contains(expected), "{evidence}");
    }

    #[track_caller]
    fn silence_is_found(&self, expected: &str) {
        let (told, [requests, silence]) = self.told();
        assert!(requests.holds && !silence.holds, "{silence:?}");
        assert!(silence.evidence.contains(expected), "{silence:?}");
        assert_eq!(told.silence.verdict, silence.evidence);
        assert!(self.run().unwrap().check().evidence.contains("--actions tells more"));
    }
}

fn support() -> Ask {
    Ask::SupportKey { key_sha256: [7; 32], max_seconds: 3600 }
}

fn drain(enabled: bool) -> Ask {
    Ask::Drain { enabled, deadline_seconds: None }
}

fn set(byte: u8) -> Ask {
    Ask::CapabilitySet { set_sha256: [byte; 32] }
}

fn offer() -> Ask {
    Ask::UpdateOffer(Box::new(Offer {
        version: "1.2.3".into(),
        digest: format!("sha256:{}", "cd".repeat(32)),
        sequence: 4,
        floor: 2,
        recalled: Vec::new(),
        notes_sha256: "ef".repeat(32),
    }))
}

fn decided(request: Digest, decision: Decision) -> Body {
    Body::VendorRequestDecided(VendorRequestDecided { request, decision })
}

fn issued(key: u8) -> Body {
    let until = "2026-01-02T13:00:00.000Z".into();
    Body::SupportKeyIssued(SupportKeyIssued { key: Digest([key; 32]), role: Role::Support, until })
}

fn refusal(reason: RefusalReason) -> Body {
    Body::RemoteActionRefused(RemoteActionRefused { action: Digest([5; 32]), role: Role::Support, reason })
}

fn changed(request: Digest, before: u8, after: u8) -> Body {
    let (before, after) = (Digest([before; 32]), Digest([after; 32]));
    Body::CapabilityChanged(CapabilityChanged { request, before, after })
}

fn draining(by: &[DrainSource]) -> Body {
    Body::DrainChanged(DrainChanged { draining: !by.is_empty(), by: by.to_vec() })
}

/// Something in between.
fn other() -> Body {
    Body::AdminChanged(paramant_protocol::entry::body::AdminChanged {
        what: paramant_protocol::entry::body::AdminChange::Token,
    })
}

#[test]
fn each_request_is_told_with_what_became_of_it() {
    let mut made = Made::new();
    let key = made.ask(support());
    made.say(decided(key, Decision::Approved)).say(issued(1));
    let used = SupportKeyUsed { key: Digest([1; 32]), count: 4, chain: Digest([2; 32]) };
    made.say(Body::SupportKeyUsed(used.clone())).say(other()).say(Body::SupportKeyUsed(used));
    made.say(Body::SupportKeyRevoked(SupportKeyEnded { key: Digest([1; 32]) }));
    made.ask(offer());
    made.say(Body::UpdateOffered(UpdateOffered { version: "1.2.3".into(), role: Role::Support }));
    made.ask(drain(true));
    made.say(other()).say(draining(&[DrainSource::Vendor]));
    made.say(draining(&[DrainSource::Vendor, DrainSource::Spec])).say(draining(&[DrainSource::Spec]));
    let terms = made.ask(set(4));
    made.say(changed(terms, 3, 4)).say(changed(terms, 3, 4));
    let denied = made.ask(support());
    made.say(decided(denied, Decision::Denied));
    let lapsed = made.ask(drain(false));
    made.say(other()).say(decided(lapsed, Decision::Lapsed));
    made.ask(Ask::Unknown("run_backup".into()));
    made.say(refusal(RefusalReason::UnknownAction));
    made.ask(drain(true));
    made.say(refusal(RefusalReason::NotAllowed)).say(refusal(RefusalReason::Fork));
    made.ask(support());
    made.silent(20);

    let (told, checks) = made.told();
    assert!(checks.iter().all(|check| check.holds && check.checked), "{checks:#?}");
    let hour = "2026-01-02T12:00:00.000Z".to_owned();
    let by_policy = |entry| Outcome::AcceptedByPolicy { entry, hour: hour.clone() };
    let decided = |decision, entry| Outcome::Decided { decision, entry, hour: hour.clone() };
    let refused = |reason, entry| Outcome::Refused { reason, entry, hour: hour.clone() };
    let outcomes: Vec<Outcome> = told.requests.iter().map(|row| row.outcome.clone()).collect();
    assert_eq!(
        outcomes,
        [
            decided(Decision::Approved, 1),
            by_policy(8),
            by_policy(11),
            by_policy(15),
            decided(Decision::Denied, 18),
            decided(Decision::Lapsed, 21),
            refused(RefusalReason::UnknownAction, 23),
            refused(RefusalReason::NotAllowed, 25),
            Outcome::Waiting,
        ]
    );
    let effects = |row: usize| &told.requests[row].effects;
    let What::SupportKeyIssued { used, ended, .. } = &effects(0)[0].what else { panic!("{told:#?}") };
    assert_eq!(*used, Some(Used { first: 3, last: 5, entries: 2, count: 8 }));
    assert_eq!(*ended, Some(Ended { entry: 6, hour: hour.clone(), revoked: true }));
    let ties: Vec<(u64, &Of)> =
        told.requests.iter().flat_map(|row| &row.effects).map(|effect| (effect.entry, &effect.of)).collect();
    assert_eq!(
        ties,
        [
            (2, &Of::Next { seq: 1 }),
            (8, &Of::Next { seq: 2 }),
            (11, &Of::Only { seq: 3 }),
            (13, &Of::Only { seq: 3 }),
            (15, &Of::Named { seq: 4 }),
        ]
    );
    assert_eq!(told.untied.iter().map(|effect| effect.entry).collect::<Vec<_>>(), [26], "of no request here");
    assert!(told.silence.verdict.contains("claims 9 requests") && told.none.is_none());
    assert!(told.does_not_prove.iter().any(|limit| limit.contains("salted commitment")));
    assert!(told.does_not_prove.iter().any(|limit| limit.contains("second log")));
    let signer = made.vendor.key().hash();
    assert!(told.requests.iter().all(|row| row.asked.signed_by.as_ref() == Some(&signer)));
}

#[test]
fn a_log_without_requests_says_between_which_sizes_there_were_none() {
    let mut made = Made::new();
    let (told, [requests, silence]) = made.say(other()).told();
    assert!(told.none.unwrap().starts_with("between tree sizes 0 and 1 the log holds no request"));
    assert!(requests.checked && !silence.checked && silence.evidence.contains("claims nothing"));
    // Without any request a key may be as old as the log's first words.
    let (told, _) = made.say(issued(1)).told();
    assert!(told.none.unwrap().contains("but 1 other entry"));
    assert_eq!(told.untied[0].of, Of::None);
}

#[test]
fn the_signature_of_each_document_is_checked_where_a_key_is_given() {
    let mut made = Made::new();
    made.ask(support());
    made.silent(9);
    let stranger = Vendor::of(2);
    let evidence = made.run_with(Rules::default(), &[stranger.key()]).unwrap_err();
    assert!(evidence.contains("entry 0 holds request 1, which none of the licensing keys"), "{evidence}");
    let both = made.run_with(Rules::default(), &[stranger.key(), made.vendor.key()]).unwrap();
    assert_eq!(both.actions().asked()[0].signed_by, Some(made.vendor.key().hash()));
    let ended = LicensingKey { not_after: noon(), ..made.vendor.key() };
    assert!(made.run_with(Rules::default(), &[ended]).is_err(), "its key had ended");

    let (told, [requests, silence]) = made.told_with(&[]);
    assert!(requests.holds && !requests.checked && requests.evidence.contains("signatures were not checked"));
    assert!(silence.holds && !silence.checked && silence.evidence.contains("no licensing key was given"));
    assert!(told.does_not_prove.iter().any(|limit| limit.contains("no licensing key was given")));

    made.bodies.remove(1);
    let forged = stranger.silence(&made.silence(9));
    made.say(forged).refused("entry 1 holds a silence statement that none of the licensing keys");
}

/// A log of two requests, the second changed.
fn second(change: impl Fn(&mut Request)) -> Made {
    let mut made = Made::new();
    made.ask(support());
    let mut request = made.next(drain(true));
    change(&mut request);
    made.take(&request);
    made
}

#[test]
fn requests_are_one_chain_of_this_relay() {
    assert!(second(|_| ()).run().is_ok());
    second(|it| it.relay_id = "08".repeat(32)).refused("entry 1 holds a document for the relay 0808");
    second(|it| it.seq = 4).refused("holds request 4, the one before it in the log is 1: 2 missing, a gap");
    second(|it| it.seq = 1).refused("holds another request 1 than entry 0: the chain forks");
    second(|it| it.prev = [1; 32]).refused("the chain forks");
    second(|it| it.id = format!("{:032x}", 1))
        .refused("with the id 00000000000000000000000000000001, as entry 0");
    let mut made = second(|_| ());
    made.say(made.bodies[1].clone()).refused("entry 2 holds request 2 once more, after entry 1");
    let mut made = Made::new();
    let mut first = made.next(support());
    first.seq = 2;
    made.take(&first);
    made.refused("holds request 2, the one before it in the log is 0: 1 missing");
}

#[test]
fn only_requests_and_statements_of_the_closed_form_are_logged() {
    let none = Document::parse(br#"{"signature":"AA==","type":"paramant/action/v1"}"#).unwrap();
    Made::new()
        .say(Body::VendorRequest(VendorRequest { request: none.clone() }))
        .refused("entry 0 holds a request that is none");
    Made::new()
        .say(Body::VendorSilence(VendorSilence { statement: none }))
        .refused("entry 0 holds a silence statement that is none");
    let mut made = Made::new();
    let elsewhere = Silence { relay_id: "08".repeat(32), ..made.silence(1) };
    let body = made.vendor.silence(&elsewhere);
    made.say(body).refused("holds a document for the relay 0808");
}

#[test]
fn an_answer_names_a_request_before_it_and_comes_once() {
    let mut made = Made::new();
    let one = made.ask(support());
    made.say(decided(one, Decision::Lapsed));
    assert!(made.run().is_ok());
    made.say(decided(one, Decision::Approved)).refused("entry 2 answers request 1 once more, after entry 1");
    let mut made = Made::new();
    made.ask(support());
    made.say(decided(Digest([8; 32]), Decision::Denied)).refused("answers the request 0808");
    let mut made = Made::new();
    made.say(decided(one, Decision::Approved));
    made.ask(support());
    made.refused("entry 0 answers the request");
}

#[test]
fn a_change_of_capabilities_carries_out_a_request_for_that_very_set() {
    let mut made = Made::new();
    let (one, key, two) = (made.ask(set(1)), made.ask(support()), made.ask(set(2)));
    let with = |bodies: &[Body]| {
        let mut all = made.bodies.clone();
        all.extend_from_slice(bodies);
        Made { bodies: all, vendor: Vendor::of(1), chain: made.chain.clone() }
    };
    assert!(with(&[changed(one, 0, 1), decided(two, Decision::Approved), changed(two, 1, 2)]).run().is_ok());
    assert!(with(&[changed(one, 0, 1), changed(one, 0, 1)]).run().is_ok(), "written again after a crash");
    with(&[changed(Digest([8; 32]), 0, 1)]).refused("carries out the request 0808");
    with(&[changed(key, 0, 1)]).refused("carries out request 2, which is a support_key request");
    with(&[changed(one, 0, 2)]).refused("grants the set 0202");
    with(&[changed(one, 0, 1), changed(two, 0, 2)]).refused("that the set 0000");
    // Another licence key begins anew; the change itself brings one entry.
    let license = || {
        let changed = LicenseChanged { source: LicenseOrigin::Online, document: None };
        Body::LicenseChanged(changed)
    };
    with(&[changed(one, 0, 1), license(), changed(two, 0, 2)]).refused("that the set 0000");
    assert!(with(&[changed(one, 0, 1), license(), license(), changed(two, 0, 2)]).run().is_ok());
    for no in [Decision::Denied, Decision::Lapsed] {
        with(&[decided(one, no), changed(one, 0, 1)]).refused("carries out request 1, which was turned down");
    }
}

#[test]
fn a_support_key_has_a_request_of_its_own_once_there_are_requests() {
    let mut made = Made::new();
    made.ask(drain(true));
    made.say(issued(1)).refused("entry 1 issues a support key for support, and no entry before it");
    let mut made = Made::new();
    made.ask(support());
    made.say(issued(1));
    assert!(made.run().is_ok());
    made.say(issued(2)).refused("issues support key 2 for support, and the entries before it hold 1 request");
    let mut made = Made::new();
    let one = made.ask(support());
    made.say(decided(one, Decision::Denied)).say(issued(1)).refused("not turned down");
    let mut made = Made::new();
    let mut owner = made.next(support());
    owner.role = Role::Owner;
    made.take(&owner);
    made.say(issued(1)).refused("no entry before it holds a request");
}

#[test]
fn where_several_requests_can_be_meant_the_log_does_not_tell_which() {
    let mut made = Made::new();
    made.ask(support());
    made.ask(support());
    made.say(other()).say(issued(1)).say(other()).say(issued(2));
    let (told, _) = made.told();
    let of = Of::OneOf { count: 2, seqs: vec![1, 2] };
    assert_eq!(told.untied.iter().map(|it| &it.of).collect::<Vec<_>>(), [&of, &of]);
    assert_eq!(made.outcomes(), [Outcome::Waiting, Outcome::Waiting]);
    made.say(issued(3)).refused("support key 3 for support");
}

#[test]
fn a_drain_ends_by_a_request_only_where_it_is_the_next_entry() {
    let mut made = Made::new();
    made.ask(drain(true));
    made.say(draining(&[DrainSource::Vendor]));
    made.ask(drain(false));
    made.say(draining(&[]));
    let (told, _) = made.told();
    assert_eq!(told.requests[1].effects[0].of, Of::Next { seq: 2 });
    assert_eq!(told.requests[0].effects.len(), 1);
    // The vendor is not among the reasons: nothing of this.
    let mut made = Made::new();
    made.say(draining(&[DrainSource::Spec])).say(draining(&[]));
    assert!(made.told().0.untied.is_empty());
}

#[test]
fn a_silence_statement_is_held_against_the_requests() {
    let mut made = Made::new();
    made.silent(0);
    made.ask(support());
    made.silent(1);
    made.ask(drain(true));
    let (told, [_, silence]) = made.told();
    assert!(silence.holds && silence.evidence.contains("claims 1 request up to"), "{silence:?}");
    assert!(silence.evidence.contains("the log holds 2, of which 1 made since") && told.silence.count == 2);

    // What it claims may be logged after it.
    let mut made = Made::new();
    let mut later = Made::new();
    later.ask(support());
    made.say(made.vendor.silence(&later.silence(1)));
    made.silence_is_found("says that the vendor made 1 request; the log holds 0: the relay has not logged");
    // The very request: a second signature over the same is another.
    made.say(later.bodies[0].clone());
    assert!(made.told().1[1].holds);
}

#[test]
fn a_vendor_that_contradicts_itself_is_found() {
    let mut made = Made::new();
    made.ask(support());
    let other_head = Silence { head: [1; 32], ..made.silence(1) };
    let body = made.vendor.silence(&other_head);
    made.say(body).silence_is_found("entry 1 names another head of 1 requests");

    // The same, said before the request came.
    let mut made = Made::new();
    let ahead = Silence { seq: 1, head: [1; 32], ..made.silence(1) };
    made.say(made.vendor.silence(&ahead));
    made.ask(support());
    made.silence_is_found("names another head");

    // No further request up to a time, and then one from before.
    let mut made = Made::new();
    made.silent(5);
    made.ask(support());
    made.silence_is_found("there were 0 requests; request 1 of entry 1 was made at 2026-01-02T12:01:00Z");
    let mut made = Made::new();
    let silence = made.silence(5);
    made.ask(support());
    let body = made.vendor.silence(&silence);
    made.say(body).silence_is_found("there were 0 requests");

    let mut made = Made::new();
    let [one, two] = [[1; 32], [2; 32]].map(|head| Silence { seq: 3, head, ..made.silence(1) });
    let bodies = [one, two].map(|it| made.vendor.silence(&it));
    for body in bodies {
        made.say(body);
    }
    made.silence_is_found("two statements of 3 requests with two heads");
}

#[test]
fn what_came_before_an_adopted_log_or_a_part_is_unknown() {
    let mut before = Made::new();
    let old = before.ask(support());
    let mut made = Made::new();
    made.chain.clone_from(&before.chain);
    let adopted = LogAdopted { origin: "old.example/log".into(), size: 9, root: Digest([1; 32]) };
    made.say(Body::LogAdopted(adopted));
    made.say(decided(old, Decision::Approved)).say(issued(1));
    made.ask(drain(true));
    made.silent(5);
    let (told, checks) = made.told();
    assert!(checks.iter().all(|check| check.holds), "{checks:#?}");
    assert!(checks[0].evidence.contains("requests before number 2 are not in what was read"));
    assert_eq!((told.requests[0].asked.seq, told.untied.len()), (2, 2));
    assert!(told.does_not_prove.iter().any(|limit| limit.contains("the log that this one replaced")));
    made.say(decided(old, Decision::Denied)).refused("once more");

    // The same entries are nothing that a log which begins anew could hold.
    made.bodies.remove(0);
    made.refused("which no entry before it holds");
    assert!(made.run_with(Rules::of_a_part(), &[]).is_err(), "answered twice there too");
    made.bodies.pop();
    assert!(made.run_with(Rules::of_a_part(), &[]).is_ok());

    let mut wrong = Made::new();
    let request = Request { seq: 3, ..wrong.next(support()) };
    wrong.take(&request);
    let evidence = wrong.run_with(Rules::of_a_part(), &[]).unwrap_err();
    assert!(evidence.contains("whose prev is of another place"), "{evidence}");
}

/// 20,000 requests and as many keys, used and ended: nothing is searched for.
#[test]
fn a_long_log_takes_no_quadratic_time() {
    let mut actions = Actions::default();
    let begun = std::time::Instant::now();
    let request = Made::new().next(support());
    for seq in 1..=20_000_u64 {
        let hash = Digest(sha256(&seq.to_be_bytes()));
        let request = Request { seq, id: format!("{seq:032x}"), ..request.clone() };
        actions.kept.just = Some((2 * seq, seq));
        actions.add(Asked::new(request, 2 * seq, "2026-01-02T12:00:00.000Z", hash, None));
        // Every second one waits for good, so that there are always many that can be meant.
        if seq.is_multiple_of(2) {
            let at = At { index: 2 * seq + 1, hour: "", relay: None, licensing: &[] };
            let until = "2026-01-02T13:00:00.000Z".to_owned();
            actions.issued(at, &SupportKeyIssued { key: hash, role: Role::Support, until }).unwrap();
            actions.used(at, hash, 1);
            actions.refused(
                at,
                &RemoteActionRefused { action: hash, role: Role::Support, reason: RefusalReason::NotAllowed },
            );
            actions.ended(at, hash, false);
            actions
                .decided(at, &VendorRequestDecided { request: hash, decision: Decision::Approved })
                .unwrap();
        }
    }
    assert_eq!(actions.asked().len(), 20_000);
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}
