//! What the authority asks of relays, as a relay judges it: real SQLite, real signatures.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use paramant_authority::answer::{Answer, Authority, Wall};
use paramant_authority::decide::{Standing, usual};
use paramant_authority::faults::Fault;
use paramant_authority::keys;
use paramant_authority::requests::{Asking, By, Full, Kept, MAX_BYTES, Secret, USUAL};
use paramant_licensing::actions::{Ask, Chain, Judged, Offer, Request, Role, Silence, Why, actor, judge};
use paramant_licensing::online::MAX_REPLY;
use paramant_licensing::online::capability::Tier;
use paramant_licensing::online::keys::LicensingKeys;
use paramant_licensing::online::reply::{MAX_ACTIONS, Reply, accept};
use paramant_licensing::online::request::CheckIn;
use paramant_licensing::online::telemetry::Telemetry;
use paramant_licensing::{OnlineKey, Verified};
use paramant_protocol::entry::body::RefusalReason;
use paramant_protocol::leaf::{Hash, sha256};

struct World {
    authority: Authority,
    key: OnlineKey,
    pinned: LicensingKeys,
    hours: Arc<AtomicI64>,
    directory: tempfile::TempDir,
}

/// A relay's side: the chain as it has it.
#[derive(Default)]
struct Relay {
    chain: Chain,
    nonce: u8,
}

fn relay_id() -> String {
    "aa".repeat(32)
}

fn open(directory: &Path, hours: &Arc<AtomicI64>) -> Authority {
    let mut authority = Authority::open(directory).unwrap();
    let hours = hours.clone();
    let wall = move || Timestamp::now() + SignedDuration::from_hours(hours.load(Ordering::SeqCst));
    authority.wall = Arc::new(Wall(Box::new(wall)));
    authority
}

fn world() -> World {
    let (directory, hours) = (tempfile::tempdir().unwrap(), Arc::new(AtomicI64::new(0)));
    let authority = open(directory.path(), &hours);
    let now = Timestamp::now();
    let signer = keys::add(&authority.keys(), now, now + SignedDuration::from_hours(24 * 100)).unwrap();
    let key = authority.book.sell("Acme", &usual(Tier::Pro), now).unwrap();
    World { authority, key, pinned: LicensingKeys::of([signer.public]), hours, directory }
}

fn by(name: &str) -> By {
    By::new(Role::Support, Why::SupportCase, name).unwrap()
}

fn drain() -> Ask {
    Ask::Drain { enabled: true, deadline_seconds: Some(600) }
}

/// The largest that there is.
fn offer() -> Ask {
    let image = format!("sha256:{}", "cd".repeat(32));
    Ask::UpdateOffer(Box::new(Offer {
        version: "9".repeat(64),
        digest: image.clone(),
        sequence: 1 << 50,
        floor: 1 << 50,
        recalled: vec![image; 16],
        notes_sha256: "ef".repeat(32),
    }))
}

/// What a chain knows of a request.
fn place(kept: &Kept) -> (Hash, String) {
    (kept.hash(), kept.id.clone())
}

impl World {
    fn try_ask(&self, ask: Ask) -> anyhow::Result<Kept> {
        let asking = Asking { relay: relay_id(), ask, by: by("Eve Example"), lasts: USUAL };
        self.authority.book.ask(&asking, &self.authority.signer()?, self.authority.now())
    }

    fn ask(&self, ask: Ask) -> Kept {
        self.try_ask(ask).unwrap()
    }

    fn later(&self, hours: i64) {
        self.hours.fetch_add(hours, Ordering::SeqCst);
    }

    fn sell(&self, tier: Tier, by: By) {
        let change = |licence: &mut paramant_authority::book::Licence| {
            licence.sold = usual(tier);
            licence.by = by;
        };
        self.authority.book.change(&self.key, "tier", self.authority.now(), change).unwrap();
    }

    fn requests(&self) -> Vec<Kept> {
        self.authority.book.requests(&relay_id()).unwrap()
    }

    fn kinds(&self) -> Vec<String> {
        self.requests().into_iter().map(|it| it.kind).collect()
    }

    fn of(&self, answer: &Answer, asked: &[u8]) -> Verified<Reply> {
        accept(&answer.body, Some(answer.status), asked, &self.pinned, 0).unwrap()
    }
}

impl Relay {
    fn check_in(&mut self, world: &World, fault: Option<Fault>) -> (Verified<Reply>, Vec<Judged>) {
        self.check_in_with(world, &world.key, fault)
    }

    /// Checks in, judges what the reply carries, and sees that the silence statement speaks of the vendor's chain.
    fn check_in_with(
        &mut self,
        world: &World,
        key: &OnlineKey,
        fault: Option<Fault>,
    ) -> (Verified<Reply>, Vec<Judged>) {
        self.nonce += 1;
        let asked = CheckIn::new(key, &relay_id(), "0.1.0", [self.nonce; 16], Telemetry::off());
        let asked = asked.to_bytes().unwrap();
        let answer = world.authority.answer(&asked, fault).unwrap();
        assert!(answer.body.len() <= MAX_REPLY, "{} bytes", answer.body.len());
        let reply = world.of(&answer, &asked);
        let mut judged = Vec::new();
        for action in reply.get().actions() {
            let one = judge(&action, &relay_id(), &self.chain, &world.pinned, world.authority.now());
            if let Judged::Admitted(request) | Judged::Refused { request, takes_place: true, .. } = &one {
                self.chain.take(request);
            }
            judged.push(one);
        }
        let silence = Verified::open_silence(&reply.get().silence().unwrap(), &world.pinned).unwrap();
        let book = Chain::of(world.requests().iter().map(place));
        assert!(silence.get().fits(&relay_id(), &book), "{silence:?}");
        (reply, judged)
    }
}

fn admitted(judged: &[Judged]) -> Vec<Ask> {
    let ask = |judged: &Judged| match judged {
        Judged::Admitted(request) => Some(request.get().ask.clone()),
        _ => None,
    };
    judged.iter().filter_map(ask).collect()
}

fn refused(judged: &[Judged]) -> Vec<RefusalReason> {
    let reason = |judged: &Judged| match judged {
        Judged::Refused { reason, .. } => Some(*reason),
        _ => None,
    };
    judged.iter().filter_map(reason).collect()
}

#[test]
fn every_reply_carries_the_chain_and_a_relay_goes_on_from_it() {
    let (world, mut relay) = (world(), Relay::default());
    let (reply, judged) = relay.check_in(&world, None);
    assert!(judged.is_empty() && reply.get().set().is_some());
    let support = Ask::SupportKey { key_sha256: [7; 32], max_seconds: 300 };
    world.ask(support.clone());
    world.ask(Ask::Unknown("trigger_backup".into()));
    world.ask(drain());
    let (_, judged) = relay.check_in(&world, None);
    assert_eq!(admitted(&judged), [support, drain()]);
    assert_eq!(refused(&judged), [RefusalReason::UnknownAction]);
    let (_, judged) = relay.check_in(&world, None);
    assert!(judged.len() == 3 && judged.iter().all(|it| matches!(it, Judged::Known)), "{judged:?}");
    // Whoever comes from a backup gets what it missed.
    assert_eq!(Relay { nonce: 50, ..Relay::default() }.check_in(&world, None).1.len(), 3);

    // Refusals carry them as well, of a licence and of a key that nobody was sold.
    world.ask(offer());
    for (standing, news) in [(Standing::Unpaid, 1), (Standing::Revoked, 0)] {
        let change = |licence: &mut paramant_authority::book::Licence| licence.standing = standing;
        world.authority.book.change(&world.key, "changed", Timestamp::now(), change).unwrap();
        let (reply, judged) = relay.check_in(&world, None);
        assert!(reply.get().set().is_none());
        assert_eq!((judged.len(), admitted(&judged).len()), (4, news));
    }
    let other = OnlineKey::parse(&format!("plk_{}", "00".repeat(32))).unwrap();
    let (reply, judged) = relay.check_in_with(&world, &other, None);
    assert!(reply.get().set().is_none() && judged.len() == 4);

    // The record names each by its hash, and its own chain still holds.
    let record = world.authority.book.record().unwrap();
    for request in world.requests() {
        let row = record.iter().find(|row| row.request == Some(hex::encode(request.hash()))).unwrap();
        assert_eq!(row.what, format!("request {}", request.kind));
        assert_eq!((row.relay.clone(), row.key.clone()), (Some(relay_id()), "00".repeat(32)));
    }
}

#[test]
fn two_books_over_one_file_do_not_fork_a_chain() {
    let (world, relays) = (world(), ["aa".repeat(32), "bb".repeat(32), "cc".repeat(32)]);
    let processes: Vec<_> = (0..4)
        .map(|process| {
            let authority = open(world.directory.path(), &world.hours);
            let relays = relays.clone();
            std::thread::spawn(move || {
                let signer = authority.signer().unwrap();
                for relay in relays.iter().cycle().take(6) {
                    let by = by(&format!("process {process}"));
                    let asking = Asking { relay: relay.clone(), ask: drain(), by, lasts: USUAL };
                    authority.book.ask(&asking, &signer, authority.now()).unwrap();
                }
            })
        })
        .collect();
    processes.into_iter().for_each(|process| process.join().unwrap());
    for relay in relays {
        // Reading it checks each `prev`; and a relay takes all of it.
        let all = world.authority.book.requests(&relay).unwrap();
        assert_eq!(all.iter().map(|it| it.seq).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
        let mut chain = Chain::default();
        for kept in all {
            let Judged::Admitted(request) =
                judge(&kept.signed, &relay, &chain, &world.pinned, Timestamp::now())
            else {
                panic!("number {}", kept.seq)
            };
            chain.take(&request);
        }
    }
    assert_eq!(world.authority.book.record().unwrap().len(), 1 + 24);
}

#[test]
fn nothing_leaves_a_chain() {
    let world = world();
    let (first, _) = (world.ask(drain()), world.ask(drain()));
    let connection = rusqlite::Connection::open(world.directory.path().join("book.db")).unwrap();
    let again = "INSERT OR REPLACE INTO requests SELECT relay, 1, 'another', kind, signed, actor, salt, made FROM requests WHERE seq = 1";
    let gap = again.replace(" 1, ", " 9, ");
    for change in
        ["UPDATE requests SET actor = 'Mallory'", "DELETE FROM requests WHERE seq = 2", again, gap.as_str()]
    {
        assert!(connection.execute(change, []).is_err(), "{change}");
    }
    assert_eq!(world.requests()[0], first);
    connection
        .execute_batch(
            "DROP TRIGGER requests_stay;
             UPDATE requests SET signed = CAST(replace(signed, 'support_case', 'legal_order') AS BLOB) WHERE seq = 1",
        )
        .unwrap();
    let error = world.authority.book.requests(&relay_id()).unwrap_err();
    assert!(error.to_string().contains("number 2"), "{error}");
}

#[test]
fn a_change_of_terms_makes_one_request_and_the_first_answer_makes_none() {
    let (world, mut relay) = (world(), Relay::default());
    relay.check_in(&world, None);
    relay.check_in(&world, None);
    assert!(world.requests().is_empty());

    world.sell(Tier::Enterprise, By::new(Role::Owner, Why::LegalOrder, "Seller Sam").unwrap());
    // What never arrives tells nobody anything.
    let asked = CheckIn::new(&world.key, &relay_id(), "0.1.0", [99; 16], Telemetry::off());
    for fault in [Fault::Silent, Fault::OtherRelay, Fault::OtherKey, Fault::OldSequence, Fault::Altered] {
        world.authority.answer(&asked.to_bytes().unwrap(), Some(fault)).unwrap();
    }
    assert!(world.requests().is_empty(), "a fault made a request");

    let (reply, judged) = relay.check_in(&world, None);
    assert_eq!(reply.get().set().unwrap().tier, Tier::Enterprise);
    assert_eq!(admitted(&judged), [Ask::CapabilitySet { set_sha256: reply.terms().unwrap() }]);
    let Some(Judged::Admitted(request)) = judged.first() else { panic!("{judged:?}") };
    let request = request.get();
    assert_eq!((request.role, request.why), (Role::Owner, Why::LegalOrder));
    assert_eq!(request.expires_at.duration_since(request.issued_at), SignedDuration::from_hours(24 * 30));
    assert_eq!(world.authority.book.open_request(&relay_id(), &request.id).unwrap().actor, "Seller Sam");
    let record = world.authority.book.record().unwrap();
    let row = record.iter().find(|row| row.what == "request capability_set").unwrap();
    assert_eq!(row.key, hex::encode(world.key.digest()));

    relay.check_in(&world, None);
    assert_eq!(world.kinds(), ["capability_set"], "the same terms were asked for again");
    // Another process, later: it is remembered durably. A refusal in between is no set.
    let change = |licence: &mut paramant_authority::book::Licence| licence.standing = Standing::Unpaid;
    world.authority.book.change(&world.key, "unpaid", Timestamp::now(), change).unwrap();
    relay.check_in(&world, None);
    let change = |licence: &mut paramant_authority::book::Licence| licence.standing = Standing::Active;
    world.authority.book.change(&world.key, "renewed", Timestamp::now(), change).unwrap();
    let world = World { authority: open(world.directory.path(), &world.hours), ..world };
    relay.check_in(&world, None);
    assert_eq!(world.kinds(), ["capability_set"]);
    // Another key of the same relay begins anew.
    let other = world.authority.book.sell("Acme", &usual(Tier::Community), Timestamp::now()).unwrap();
    relay.check_in_with(&world, &other, None);
    assert_eq!(world.kinds().len(), 1);
    // There and back between two check-ins is no change.
    world.sell(Tier::Community, By::default());
    world.sell(Tier::Enterprise, By::default());
    relay.check_in(&world, None);
    assert_eq!(world.kinds().len(), 1);
    world.sell(Tier::Pro, By::default());
    relay.check_in(&world, None);
    assert_eq!(world.kinds().len(), 2);
}

#[test]
fn a_change_waits_for_its_place_and_is_never_answered_without_its_request() {
    let (world, mut relay) = (world(), Relay::default());
    relay.check_in(&world, None);
    for _ in 0..MAX_ACTIONS {
        world.ask(drain());
    }
    world.sell(Tier::Enterprise, By::default());
    let (reply, judged) = relay.check_in(&world, None);
    assert_eq!(reply.get().set().unwrap().tier, Tier::Pro, "the new set came without its request");
    assert_eq!(admitted(&judged).len(), MAX_ACTIONS);
    world.later(23);
    assert_eq!(relay.check_in(&world, None).0.get().set().unwrap().tier, Tier::Pro);
    world.later(2);
    let (reply, judged) = relay.check_in(&world, None);
    assert_eq!(reply.get().set().unwrap().tier, Tier::Enterprise);
    assert_eq!(admitted(&judged), [Ask::CapabilitySet { set_sha256: reply.terms().unwrap() }]);
}

#[test]
fn no_more_are_made_than_a_relay_can_be_told_of() {
    let (world, mut relay) = (world(), Relay::default());
    for _ in 0..MAX_ACTIONS {
        world.ask(drain());
    }
    let full = |world: &World| world.try_ask(drain()).unwrap_err().is::<Full>();
    assert!(full(&world));
    assert!(Full.to_string().contains("24 hours"));
    // A day alone does not help a relay that was not there, nor does somebody who names it without a licence.
    world.later(25);
    assert!(full(&world));
    let stranger = OnlineKey::parse(&format!("plk_{}", "00".repeat(32))).unwrap();
    Relay::default().check_in_with(&world, &stranger, None);
    assert!(full(&world));
    assert_eq!(admitted(&relay.check_in(&world, None).1).len(), MAX_ACTIONS);
    // Nor does a check-in alone: the next may be lost.
    for _ in 0..MAX_ACTIONS {
        world.ask(drain());
        relay.check_in(&world, None);
    }
    assert!(full(&world));
    // Another relay's are its own.
    let asking = Asking { relay: "bb".repeat(32), ask: drain(), by: by("Eve"), lasts: USUAL };
    world.authority.book.ask(&asking, &world.authority.signer().unwrap(), world.authority.now()).unwrap();
    assert_eq!(relay.chain, Chain::of(world.requests().iter().map(place)));
}

/// From a backup older than the last eight requests, a relay refuses all it is sent until it is told again what it lacks.
#[test]
fn a_relay_that_lacks_requests_is_told_them_again_and_goes_on() {
    let (mut world, mut relay) = (world(), Relay::default());
    for _ in 0..2 {
        for _ in 0..MAX_ACTIONS {
            world.ask(drain());
        }
        relay.check_in(&world, None);
        world.later(25);
    }
    world.ask(drain());
    let mut restored = Relay { nonce: 50, ..Relay::default() };
    let (_, judged) = restored.check_in(&world, None);
    assert_eq!(refused(&judged), [RefusalReason::Gap; MAX_ACTIONS]);

    let book = &world.authority.book;
    for wrong in [0, 18] {
        let refused = book.repeat(&relay_id(), wrong).unwrap_err().to_string();
        assert!(refused.contains("requests 1 to 17"), "{refused}");
    }
    book.repeat(&relay_id(), 1).unwrap();
    // A stranger's check-in and a fault do not count as told, and it outlives a restart.
    let stranger = OnlineKey::parse(&format!("plk_{}", "00".repeat(32))).unwrap();
    Relay::default().check_in_with(&world, &stranger, None);
    world.authority = open(world.directory.path(), &world.hours);
    for count in [8, 8, 1] {
        let (_, judged) = restored.check_in(&world, None);
        let taken = judged.iter().filter(|it| !matches!(it, Judged::Known)).count();
        assert_eq!((judged.len(), taken), (count, count), "{judged:?}");
        assert!(!refused(&judged).contains(&RefusalReason::Gap));
    }
    assert_eq!(restored.chain, Chain::of(world.requests().iter().map(place)));
    // From here on the newest are carried, as always.
    let (_, judged) = restored.check_in(&world, None);
    assert!(judged.len() == MAX_ACTIONS && judged.iter().all(|it| matches!(it, Judged::Known)), "{judged:?}");
}

#[test]
fn the_largest_requests_fit_into_a_reply_and_none_is_dropped_unseen() {
    let (world, mut relay) = (world(), Relay::default());
    let mut made = 0;
    while world.try_ask(offer()).is_ok() {
        made += 1;
    }
    let size = world.requests()[0].signed.len();
    assert_eq!(made, MAX_BYTES / size, "of {size} bytes each");
    assert!(made < MAX_ACTIONS, "the bytes are the limit here");
    // `check_in` sees that the reply is no longer than what a relay reads.
    assert_eq!(admitted(&relay.check_in(&world, None).1).len(), made);
    world.later(25);
    for _ in 0..made {
        world.ask(offer());
    }
    let (_, judged) = relay.check_in(&world, None);
    assert_eq!((judged.len(), admitted(&judged).len()), (made, made));
}

#[test]
fn a_silence_statement_is_never_belied_by_a_later_request() {
    let (world, mut relay) = (world(), Relay::default());
    world.later(5);
    let (reply, _) = relay.check_in(&world, None);
    let silence = Verified::open_silence(&reply.get().silence().unwrap(), &world.pinned).unwrap();
    let Silence { issued_at, seq: 0, .. } = *silence.get() else { panic!("{silence:?}") };
    // The clock was wrong, and somebody mended it.
    world.later(-5);
    relay.check_in(&world, None);
    let request = Verified::open_request(&world.ask(drain()).signed, &world.pinned).unwrap();
    assert!(request.get().issued_at > issued_at);
}

#[test]
fn a_request_opens_to_its_actor_and_to_nobody_else() {
    let world = world();
    let made = world.ask(drain());
    let opened = world.authority.book.open_request(&relay_id(), &made.id).unwrap();
    assert_eq!(opened.actor, "Eve Example");
    let request = Verified::open_request(&made.signed, &world.pinned).unwrap();
    let commitment = request.get().actor_commitment;
    assert_eq!(actor::commit(&relay_id(), &made.id, "Eve Example", &opened.salt), Some(commitment));
    assert!(!String::from_utf8_lossy(&made.signed).contains("Eve Example"));
    assert!(world.authority.book.open_request(&relay_id(), &"0".repeat(32)).is_err());
    assert!(world.authority.book.open_request(&"bb".repeat(32), &made.id).is_err());
    let connection = rusqlite::Connection::open(world.directory.path().join("book.db")).unwrap();
    connection
        .execute_batch("DROP TRIGGER requests_stay; UPDATE requests SET actor = 'Mallory Example'")
        .unwrap();
    let error = world.authority.book.open_request(&relay_id(), &made.id).unwrap_err();
    assert!(error.to_string().contains("another actor"), "{error}");
}

#[test]
fn what_no_relay_could_read_is_not_asked() {
    let world = world();
    let wrong = [
        Ask::SupportKey { key_sha256: [7; 32], max_seconds: 86_401 },
        Ask::Unknown("Run this".into()),
        Ask::Unknown("drain".into()),
    ];
    for ask in wrong {
        let error = world.try_ask(ask.clone()).unwrap_err();
        assert!(error.to_string().contains("no relay could read this"), "{ask:?}: {error}");
    }
    let asking = Asking { relay: "a relay".into(), ask: drain(), by: by("Eve"), lasts: USUAL };
    let signer = world.authority.signer().unwrap();
    assert!(world.authority.book.ask(&asking, &signer, Timestamp::now()).is_err());
    assert!(world.requests().is_empty());
    assert_eq!(world.authority.book.record().unwrap().len(), 1, "only the sale");
}

#[test]
fn each_wrong_request_is_refused_and_the_book_does_not_change() {
    let faults = [
        (Fault::ForkedRequest, Some(RefusalReason::Fork)),
        (Fault::GapRequest, Some(RefusalReason::Gap)),
        (Fault::ExpiredRequest, Some(RefusalReason::Expired)),
        (Fault::WrongRelayRequest, Some(RefusalReason::WrongRelay)),
        (Fault::UnsignedRequest, None),
    ];
    for (fault, reason) in faults {
        let (world, mut relay) = (world(), Relay::default());
        world.ask(drain());
        relay.check_in(&world, None);
        let book = world.requests();
        let (reply, judged) = relay.check_in(&world, Some(fault));
        assert_eq!(refused(&judged), Vec::from_iter(reason), "{fault}: {judged:?}");
        let unverifiable = judged.iter().filter(|it| matches!(it, Judged::Unverifiable(_))).count();
        assert_eq!(unverifiable, usize::from(reason.is_none()), "{fault}");
        assert!(admitted(&judged).is_empty(), "{fault}");
        // It says the same again, and stops when told to.
        let again = relay.check_in(&world, Some(fault)).0;
        assert_eq!(again.get().actions(), reply.get().actions(), "{fault}");
        assert_eq!(world.requests(), book, "{fault} changed the book");
        assert_eq!(relay.check_in(&world, None).0.get().actions().len(), 1);
        // Full as it is, a reply still has no more than it may.
        for _ in 1..MAX_ACTIONS {
            world.ask(drain());
        }
        let (reply, _) = relay.check_in(&world, Some(fault));
        assert_eq!(reply.get().actions().len(), MAX_ACTIONS, "{fault}");
    }
    // With such a fault a change of terms is asked for as ever.
    let (world, mut relay) = (world(), Relay::default());
    relay.check_in(&world, None);
    world.sell(Tier::Enterprise, By::default());
    let (reply, judged) = relay.check_in(&world, Some(Fault::GapRequest));
    assert_eq!(admitted(&judged), [Ask::CapabilitySet { set_sha256: reply.terms().unwrap() }]);
}

#[test]
fn a_relay_knows_a_support_key_by_its_hash() {
    let secret = Secret::new().unwrap();
    let digits = secret.expose().strip_prefix("psk_").unwrap();
    assert_eq!(hex::decode(digits).unwrap().len(), 32);
    let hashed = format!("paramant/support/v1{}{}", relay_id(), secret.expose());
    assert_eq!(secret.key_sha256(&relay_id()), sha256(hashed.as_bytes()));
    assert_ne!(secret.expose(), Secret::new().unwrap().expose());
    assert!(!format!("{secret:?}").contains(digits));
}

/// The request must be readable as such where this crate is the only one that makes it.
#[test]
fn a_request_says_what_was_asked() {
    let world = world();
    let kept = world.ask(offer());
    let read = Verified::open_request(&kept.signed, &world.pinned).unwrap();
    let Request { relay_id, seq, prev, id, role, why, ask, .. } = read.get().clone();
    assert_eq!((relay_id, seq, prev, id), (self::relay_id(), 1, [0; 32], kept.id));
    assert_eq!((role, why, ask), (Role::Support, Why::SupportCase, offer()));
}
