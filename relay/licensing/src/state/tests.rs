#![allow(clippy::unwrap_used)]
use super::*;
use crate::offline::{AcceptedKeys, Terms, issue};
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
