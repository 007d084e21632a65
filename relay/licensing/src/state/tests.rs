#![allow(clippy::unwrap_used)]
use super::*;
use crate::offline::{AcceptedKeys, Terms, issue};
use crate::online::capability::CAPABILITIES;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

fn license(cap: UserCap, expires_at: &str) -> OfflineLicense {
    let key = SigningKey::from_bytes(&[7; 32]);
    let terms =
        Terms { max_keys: cap, expires_at: expires_at.into(), issued_to: "x".into(), issued_at: None };
    let keys = AcceptedKeys::of([key.verifying_key().to_bytes()]);
    OfflineLicense::verify(&issue(&terms, &key).unwrap(), &keys).unwrap()
}

fn at(text: &str) -> EffectiveTime {
    EffectiveTime::of(text.parse().unwrap(), [])
}

#[test]
fn every_transition_of_an_offline_licence() {
    let small = license(UserCap::Users(25), "2026-06-01");
    let large = license(UserCap::Unlimited, "2026-03-01");
    let cases: [(&[&OfflineLicense], &str, &str, Option<u64>); 8] = [
        (&[], "2026-01-01T00:00:00Z", "Community", Some(5)),
        (&[&small], "2026-01-01T00:00:00Z", "Licensed", Some(25)),
        (&[&small], "2026-06-01T00:00:00Z", "Licensed", Some(25)),
        (&[&small], "2026-06-01T00:00:00.000000001Z", "Community", Some(5)),
        (&[&small, &large], "2026-01-01T00:00:00Z", "Licensed", None),
        (&[&large, &small], "2026-01-01T00:00:00Z", "Licensed", None),
        (&[&small, &large], "2026-04-01T00:00:00Z", "Licensed", Some(25)),
        (&[&small, &large], "2027-01-01T00:00:00Z", "Community", Some(5)),
    ];
    for (licenses, now, tier, cap) in cases {
        let found =
            state(&Evidence::offline(licenses.iter().map(|license| (*license).clone()).collect()), at(now));
        assert_eq!((found.tier(), found.cap().limit()), (tier, cap), "at {now}");
    }
}

#[test]
fn a_licence_never_grants_less_than_none() {
    let found =
        state(&Evidence::offline(vec![license(UserCap::Users(2), "2099-01-01")]), at("2026-01-01T00:00:00Z"));
    assert_eq!(found.cap(), UserCap::Users(COMMUNITY_USERS));
}

#[test]
fn the_cap_gates_creation_of_the_next_account() {
    assert!(UserCap::Users(5).admits_beside(4));
    assert!(!UserCap::Users(5).admits_beside(5));
    assert!(!UserCap::Users(5).admits_beside(9));
    assert!(UserCap::Unlimited.admits_beside(u64::MAX));
}

#[test]
fn a_clock_set_back_does_not_revive_a_licence() {
    let evidence = Evidence::offline(vec![license(UserCap::Unlimited, "2026-06-01")]);
    let floor = "2026-07-01T00:00:00Z".parse().unwrap();
    assert_eq!(
        state(&evidence, EffectiveTime::of("2026-01-01T00:00:00Z".parse().unwrap(), [floor])),
        State::Community
    );
}

#[test]
fn warnings_come_at_thirty_fourteen_seven_and_one_day() {
    let evidence = Evidence::offline(vec![license(UserCap::Unlimited, "2026-06-30")]);
    for (now, days) in [
        ("2026-05-30T23:59:59Z", None),
        ("2026-05-31T00:00:00Z", Some(30)),
        ("2026-06-16T00:00:00Z", Some(14)),
        ("2026-06-22T00:00:00Z", Some(14)),
        ("2026-06-23T00:00:00Z", Some(7)),
        ("2026-06-29T00:00:00Z", Some(1)),
        ("2026-06-30T00:00:00Z", Some(1)),
    ] {
        assert_eq!(state(&evidence, at(now)).warning(at(now)), days, "at {now}");
    }
}

proptest! {
    #[test]
    fn without_new_documents_time_only_narrows(
        caps in prop::collection::vec((prop::option::of(1..100u64), 2026..2030i16, 1..=12i8), 0..5), first in 0..2000i64, more in 0..2000i64,
    ) {
        let licenses = caps.into_iter().map(|(cap, year, month)| {
            license(cap.map_or(UserCap::Unlimited, UserCap::Users), &format!("{year:04}-{month:02}-01"))
        }).collect();
        let evidence = Evidence::offline(licenses);
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let day = |days: i64| EffectiveTime::of(start + SignedDuration::from_hours(24 * days), []);
        let (early, late) = (state(&evidence, day(first)), state(&evidence, day(first + more)));
        prop_assert!(late.cap() <= early.cap());
        prop_assert!(late.cap() >= UserCap::Users(COMMUNITY_USERS));
    }
}

proptest! {
    /// The log, its proofs and its receipts are no part of what is granted: this is all that a set can bound, and it has a floor.
    #[test]
    fn whatever_a_set_says_it_grants_no_less_than_community_and_nothing_else(
        numbers in prop::array::uniform3(prop_oneof![Just(0), Just(1), any::<u32>().prop_map(u64::from), Just((1 << 53) - 1)]),
        flags in any::<(bool, bool)>(),
        words in prop::collection::btree_set("[a-z0-9_-]{1,32}", 0..=32),
        more in prop::collection::btree_map("[a-z_]{1,20}", any::<bool>(), 0..8),
        offline in prop::option::of(1..100u64),
    ) {
        let [users, blob, time] = numbers;
        let known = serde_json::json!({
            "max_users": users, "max_blob_size_mb": blob, "retention_max_seconds": time, "addons_allowed": words,
            "ml_dsa_required": flags.0, "support_level": "none", "custom_branding": flags.1,
        });
        let mut all = known.clone();
        for (name, value) in more.iter().filter(|(name, _)| !CAPABILITIES.contains(&name.as_str())) {
            all[name] = (*value).into();
        }
        let read = |set| Grant::of_set(serde_json::from_value(set).unwrap(), offline.map(UserCap::Users));
        let granted = read(known);
        prop_assert_eq!(&granted, &read(all), "what no release knows grants nothing and bounds nothing");
        let Grant { users, max_blob, max_ttl, signatures_required: _, addons: _, custom_branding: _ } = granted;
        prop_assert!(users >= UserCap::Users(COMMUNITY_USERS));
        prop_assert!(max_blob.is_none_or(|most| most >= SMALLEST_BLOB));
        prop_assert!(max_ttl.is_none_or(|most| most >= SHORTEST_TTL));
    }
}

mod online {
    use super::*;
    use crate::Verified;
    use crate::logged::{Logged, NotLogged};
    use crate::online::capability::Tier;
    use crate::online::reply::{CapabilitySet, RefusalCause, Reply};
    use crate::online::tests::{Signer, key, noon, refusal, request, set};
    use paramant_protocol::entry::Entry;
    use paramant_protocol::entry::body::{Body, CheckinResult, Digest, LicenseCheckin};
    use paramant_protocol::leaf::{self, Purpose};
    use paramant_tlog::keys::{Ed25519Key, Seed, Signer as _};
    use paramant_tlog::note::Note;
    use paramant_tlog::tlog_proof::TlogProof;
    use paramant_tlog::{Checkpoint, entry_leaf};

    const SALT: [u8; 32] = [3; 32];

    fn log_key() -> Ed25519Key {
        Ed25519Key::from_seed("relay.example/log", &Seed::new([5; 32])).unwrap()
    }

    /// A log of one entry, about these bytes.
    fn proof(bytes: &[u8], result: CheckinResult) -> TlogProof {
        let reply = Some(Digest(leaf::commit(Purpose::LicenseReply, &SALT, bytes)));
        let body = Body::LicenseCheckin(LicenseCheckin { request: Digest([0; 32]), reply, result });
        let entry = Entry::with_body(body, noon()).unwrap().into_bytes();
        let text = Checkpoint::new("relay.example/log", 1, entry_leaf(&entry)).to_text();
        let checkpoint = Note::sign(&text, &[&log_key()], 0).unwrap().to_text();
        TlogProof { extra: Some(entry), index: 0, path: Vec::new(), checkpoint }
    }

    fn logged(reply: &Reply) -> Logged<Verified<Reply>> {
        let signer = Signer::of(1);
        let bytes = signer.reply(reply);
        let verified = Verified::open(&bytes, &signer.keys()).unwrap();
        let result = if reply.set().is_some() { CheckinResult::Accepted } else { CheckinResult::Refused };
        Logged::prove(verified, &SALT, &proof(&bytes, result), &[log_key().verifier().clone()]).unwrap()
    }

    /// A set of some users, issued so many hours after noon.
    fn of(sequence: u64, hours: i64, users: u64) -> Reply {
        Reply::Set(set(&request(1), sequence, noon() + SignedDuration::from_hours(hours), users))
    }

    fn refused(sequence: u64, hours: i64) -> Reply {
        let at = noon() + SignedDuration::from_hours(hours);
        Reply::Refusal(refusal(&request(1), sequence, at, RefusalCause::Revoked))
    }

    fn after(replies: &[Reply], offline: &[OfflineLicense], seconds: i64) -> State {
        let mut evidence = Evidence::offline(offline.to_vec());
        evidence.online_key = Some(key());
        replies.iter().for_each(|reply| evidence.hold(logged(reply), false));
        state(&evidence, EffectiveTime::of(noon() + SignedDuration::from_secs(seconds), []))
    }

    fn phase(state: &State) -> (&'static str, Option<u64>) {
        let name = match state {
            State::Community => "Community",
            State::Offline { .. } => "Offline",
            State::Online(_) => "Online",
            State::Grace(_) => "Grace",
        };
        (name, state.cap().limit())
    }

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    #[test]
    fn a_set_lasts_to_its_own_end_however_many_newer_ones_came() {
        let mut long = set(&request(1), 1, noon(), 50);
        long.expires_at = noon() + SignedDuration::from_hours(24);
        let mut evidence = Evidence { online_key: Some(key()), ..Evidence::default() };
        evidence.hold(logged(&Reply::Set(long)), false);
        for number in 1..200 {
            let newer = if number % 7 == 0 { refused(1 + number, 1) } else { of(1 + number, 1, 10) };
            evidence.hold(logged(&newer), false);
        }
        let held = evidence.held(&key().digest());
        assert!(held.len() < 5 && held.contains(&1), "{held:?}");
        let cap = |hours: i64| {
            let at = EffectiveTime::of(noon() + SignedDuration::from_hours(hours), []);
            state(&evidence, at).cap().limit()
        };
        assert_eq!((cap(2), cap(24), cap(25)), (Some(50), Some(50), Some(10)));
        // Different grants are never one for another, but for more of them than anybody sells.
        let mut many = Evidence { online_key: Some(key()), ..Evidence::default() };
        for number in 1..=100 {
            many.hold(logged(&of(number, 0, 100 + number)), false);
        }
        assert_eq!((many.held(&key().digest()).len(), many.last_sequence()), (MOST_REPLIES, 100));
        assert_eq!(many.latest(), Some(noon()));
    }

    #[test]
    fn nothing_counts_that_the_log_does_not_hold() {
        let signer = Signer::of(1);
        let bytes = signer.reply(&of(1, 0, 50));
        let verified = || Verified::open(&bytes, &signer.keys()).unwrap();
        let keys = [log_key().verifier().clone()];
        let prove = |proof: &TlogProof, salt: [u8; 32], keys: &[_]| {
            Logged::prove(verified(), &salt, proof, keys).map(|logged| logged.index())
        };
        let good = proof(&bytes, CheckinResult::Accepted);
        assert_eq!(prove(&good, SALT, &keys), Ok(0));
        assert_eq!(prove(&good, [4; 32], &keys), Err(NotLogged::Entry), "another salt");
        assert_eq!(prove(&proof(&bytes, CheckinResult::Rejected), SALT, &keys), Err(NotLogged::Entry));
        assert_eq!(
            prove(&proof(b"another reply", CheckinResult::Accepted), SALT, &keys),
            Err(NotLogged::Entry)
        );
        assert_eq!(prove(&good, SALT, &[]), Err(NotLogged::Checkpoint), "no key");
        let stranger = Ed25519Key::from_seed("relay.example/log", &Seed::new([6; 32])).unwrap();
        assert_eq!(prove(&good, SALT, &[stranger.verifier().clone()]), Err(NotLogged::Checkpoint));
        let both = [keys[0].clone(), stranger.verifier().clone()];
        assert_eq!(prove(&good, SALT, &both), Err(NotLogged::Checkpoint), "every key of the log signs");
        assert_eq!(prove(&TlogProof { index: 1, ..good.clone() }, SALT, &keys), Err(NotLogged::Inclusion));
        assert_eq!(prove(&TlogProof { extra: None, ..good }, SALT, &keys), Err(NotLogged::Entry));
    }

    #[test]
    fn every_edge_of_the_online_check() {
        let one = [of(1, 0, 50)];
        for (seconds, expected) in [
            (-DAY, ("Online", Some(50))),
            (0, ("Online", Some(50))),
            (6 * HOUR, ("Online", Some(50))),
            (6 * HOUR + 1, ("Grace", Some(50))),
            (7 * DAY - 1, ("Grace", Some(50))),
            (7 * DAY, ("Grace", Some(50))),
            (7 * DAY + 1, ("Community", Some(5))),
        ] {
            assert_eq!(phase(&after(&one, &[], seconds)), expected, "{seconds} s after");
        }
        let later = [of(1, 0, 50), of(2, 8 * 24, 50)];
        assert_eq!(phase(&after(&later, &[], 8 * DAY)), ("Online", Some(50)), "the next reply restores all");
    }

    #[test]
    fn widening_counts_at_once_and_narrowing_at_the_older_sets_own_end() {
        let wider = [of(1, 0, 50), of(2, 1, 90)];
        assert_eq!(phase(&after(&wider, &[], 2 * HOUR)), ("Online", Some(90)));
        assert_eq!(phase(&after(&wider, &[], 7 * DAY)), ("Grace", Some(90)));
        let narrower = [of(2, 1, 10), of(1, 0, 50)];
        for (seconds, cap) in
            [(2 * HOUR, 50), (6 * HOUR, 50), (6 * HOUR + 1, 10), (7 * HOUR, 10), (7 * DAY, 10)]
        {
            assert_eq!(after(&narrower, &[], seconds).cap().limit(), Some(cap), "{seconds} s after");
        }
        assert_eq!(after(&narrower, &[], 7 * DAY).source(), LicenseSource::Cache);
    }

    #[test]
    fn a_signed_refusal_ends_the_online_part_at_that_same_instant() {
        let ended = [of(1, 0, 50), refused(2, 2)];
        for (seconds, expected) in [
            (3 * HOUR, ("Online", Some(50))),
            (6 * HOUR, ("Online", Some(50))),
            (6 * HOUR + 1, ("Community", Some(5))),
            (7 * DAY, ("Community", Some(5))),
        ] {
            assert_eq!(phase(&after(&ended, &[], seconds)), expected, "{seconds} s after");
        }
        assert_eq!(phase(&after(&[refused(1, 0)], &[], 0)), ("Community", Some(5)));
        let back = [of(1, 0, 50), refused(2, 2), of(3, 9, 60)];
        assert_eq!(phase(&after(&back, &[], 9 * HOUR)), ("Online", Some(60)));
    }

    #[test]
    fn losing_online_falls_back_to_offline_and_then_to_community() {
        let offline = [license(UserCap::Users(25), "2026-06-05")];
        let one = [of(1, 0, 50)];
        assert_eq!(phase(&after(&one, &offline, HOUR)), ("Online", Some(50)));
        assert_eq!(phase(&after(&one, &offline, 7 * DAY + 1)), ("Offline", Some(25)));
        assert_eq!(phase(&after(&one, &offline, 30 * DAY)), ("Community", Some(5)));
        let large = [license(UserCap::Unlimited, "2027-01-01")];
        let both = after(&one, &large, HOUR);
        assert_eq!((phase(&both), both.grant().max_blob), (("Online", None), None), "the more generous word");
    }

    #[test]
    fn each_field_is_the_more_generous_of_what_serves() {
        let mut first = set(&request(1), 1, noon(), 50);
        first.capabilities.ml_dsa_required = true;
        first.tier = Tier::Enterprise;
        let mut second: CapabilitySet = set(&request(1), 2, noon() + SignedDuration::from_hours(1), 10);
        second.capabilities.max_blob_size_mb = 100;
        second.capabilities.custom_branding = true;
        let both = [Reply::Set(first), Reply::Set(second)];
        let found = after(&both, &[], 2 * HOUR);
        let grant = found.grant();
        assert_eq!((grant.users, grant.max_blob), (UserCap::Users(50), Some(100 << 20)));
        assert_eq!(
            (grant.signatures_required, grant.custom_branding, found.tier()),
            (false, true, "Enterprise")
        );
        let later = after(&both, &[], 7 * HOUR);
        assert_eq!((later.tier(), later.cap()), ("Pro", UserCap::Users(10)));
        assert_eq!(
            after(&[of(1, 0, 1)], &[], 0).cap(),
            UserCap::Users(COMMUNITY_USERS),
            "never below Community"
        );
    }

    #[test]
    fn a_set_counts_only_while_the_key_it_was_given_to_is_there() {
        let mut evidence = Evidence::default();
        evidence.hold(logged(&of(3, 0, 50)), true);
        let now = EffectiveTime::of(noon(), []);
        assert_eq!((state(&evidence, now), evidence.last_sequence()), (State::Community, 0));
        evidence.online_key = OnlineKey::parse(&format!("plk_{}", "cd".repeat(32)));
        assert_eq!(state(&evidence, now), State::Community);
        evidence.online_key = Some(key());
        assert_eq!((state(&evidence, now).source(), evidence.last_sequence()), (LicenseSource::AirGap, 3));
    }

    #[test]
    fn a_clock_set_back_cannot_stretch_grace() {
        let mut evidence = Evidence { online_key: Some(key()), ..Evidence::default() };
        evidence.hold(logged(&of(1, 0, 50)), false);
        assert_eq!(phase(&state(&evidence, EffectiveTime::of(noon(), []))), ("Online", Some(50)));
        let floor = noon() + SignedDuration::from_hours(8 * 24);
        assert_eq!(state(&evidence, EffectiveTime::of(noon(), [floor])), State::Community);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn without_new_documents_time_grants_nothing_more(
            replies in prop::collection::vec((1..200u64, 0..48i64, prop::bool::weighted(0.2)), 1..5),
            offline in prop::option::of(5..100u64), first in 0..30*DAY, more in 0..30*DAY,
        ) {
            let replies: Vec<Reply> = replies.iter().zip(1..).map(|((users, hours, refuse), sequence)| {
                if *refuse { refused(sequence, *hours) } else { of(sequence, *hours, *users) }
            }).collect();
            let offline: Vec<_> = offline.map(|users| license(UserCap::Users(users), "2026-06-10")).into_iter().collect();
            let (early, late) = (after(&replies, &offline, first), after(&replies, &offline, first + more));
            prop_assert!(late.cap() <= early.cap(), "{early:?} {late:?}");
            prop_assert!(late.cap() >= UserCap::Users(COMMUNITY_USERS));
            prop_assert!(late.grant().addons.is_subset(&early.grant().addons));
        }
    }
}
