#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn claim(holder: Option<&str>) -> Claim {
    Claim {
        holder: holder.map(str::to_owned),
        transitions: 3,
        duration: LEASE_DURATION,
        resource_version: "7".to_owned(),
    }
}

fn me() -> Identity {
    Identity::new("operator-a", "1")
}

#[test]
fn the_table_of_verdicts_holds() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let rows = [
        ("no lease at all is taken", None, after(0), Verdict::Acquire),
        ("a released lease is taken at once", Some(claim(None)), after(0), Verdict::Acquire),
        ("an empty holder counts as released", Some(claim(Some(""))), after(0), Verdict::Acquire),
        ("our own lease is renewed", Some(claim(Some("operator-a_1"))), after(0), Verdict::Renew),
        (
            "our own lease is renewed even when late",
            Some(claim(Some("operator-a_1"))),
            after(60),
            Verdict::Renew,
        ),
        (
            "our pod's previous container is succeeded at once",
            Some(claim(Some("operator-a_0"))),
            after(0),
            Verdict::Acquire,
        ),
        (
            "another holder is respected",
            Some(claim(Some("operator-b_1"))),
            after(0),
            Verdict::Yield(Duration::from_secs(15)),
        ),
        (
            "another holder is respected to its end",
            Some(claim(Some("operator-b_1"))),
            after(14),
            Verdict::Yield(Duration::from_secs(1)),
        ),
        ("a silent holder loses it", Some(claim(Some("operator-b_1"))), after(15), Verdict::Acquire),
        (
            "a name that only begins like ours is another",
            Some(claim(Some("operator-a-b_1"))),
            after(0),
            Verdict::Yield(Duration::from_secs(15)),
        ),
        (
            "a holder without incarnation is another",
            Some(claim(Some("operator-a"))),
            after(0),
            Verdict::Yield(Duration::from_secs(15)),
        ),
    ];
    for (sentence, claim, now, expected) in rows {
        assert_eq!(evaluate(&Observed::first(claim, start), &me(), now), expected, "{sentence}");
    }
}

#[test]
fn a_renewal_by_the_holder_restarts_the_clock_and_a_mere_look_does_not() {
    let start = Instant::now();
    let seen = Observed::first(Some(claim(Some("operator-b_1"))), start);
    let same = seen.then(Some(claim(Some("operator-b_1"))), start + Duration::from_secs(10));
    assert_eq!(same.unchanged_since, start);
    let mut renewed = claim(Some("operator-b_1"));
    renewed.resource_version = "8".to_owned();
    let moved = same.then(Some(renewed), start + Duration::from_secs(10));
    assert_eq!(moved.unchanged_since, start + Duration::from_secs(10));
    assert_eq!(
        evaluate(&moved, &me(), start + Duration::from_secs(20)),
        Verdict::Yield(Duration::from_secs(5))
    );
}

#[test]
fn a_leader_gives_up_before_anyone_else_may_start() {
    assert!(RENEW_DEADLINE + Duration::from_secs(4) < LEASE_DURATION, "one slow request must fit in between");
    assert!(RENEW_EVERY * 2 <= RENEW_DEADLINE, "one renewal may fail");
}
