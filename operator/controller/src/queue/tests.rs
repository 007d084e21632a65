#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn a_change_of_our_own_kinds_runs_at_once() {
    let mut schedule = Schedule::default();
    let now = Instant::now();
    schedule.wake("a", Wake::Now, now);
    assert_eq!(schedule.start(now), Some("a"));
    assert_eq!(schedule.start(now), None);
}

#[test]
fn children_settle_for_200_ms_but_never_longer_than_a_second() {
    let mut schedule = Schedule::default();
    let start = Instant::now();
    for step in 0..20 {
        schedule.wake("a", Wake::Child, start + ms(100 * step));
        if step < 10 {
            assert_eq!(schedule.start(start + ms(100 * step)), None, "still settling at step {step}");
        }
    }
    assert_eq!(schedule.start(start + SETTLE_CEILING), Some("a"));

    let mut quiet = Schedule::default();
    quiet.wake("a", Wake::Child, start);
    assert_eq!(quiet.start(start + ms(199)), None);
    assert_eq!(quiet.start(start + ms(200)), Some("a"));
}

#[test]
fn a_key_never_runs_twice_at_once_and_a_wake_in_between_is_not_lost() {
    let mut schedule = Schedule::default();
    let now = Instant::now();
    schedule.wake("a", Wake::Now, now);
    assert_eq!(schedule.start(now), Some("a"));
    schedule.wake("a", Wake::Now, now);
    assert_eq!(schedule.start(now + ms(10_000)), None);
    schedule.finish(&"a", Outcome::Requeue(Duration::from_secs(600)), now);
    assert_eq!(schedule.start(now), Some("a"));
}

#[test]
fn each_key_backs_off_alone_and_children_do_not_shorten_it() {
    let mut schedule = Schedule::default();
    let start = Instant::now();
    let mut now = start;
    for _ in 0..6 {
        schedule.wake("broken", Wake::Now, now);
        assert_eq!(schedule.start(now), Some("broken"));
        schedule.finish(&"broken", Outcome::Failed, now);
        now += ms(1);
    }
    schedule.wake("broken", Wake::Child, now);
    schedule.wake("fine", Wake::Now, now);
    assert_eq!(schedule.start(now + ms(1_000)), Some("fine"));
    assert_eq!(schedule.start(now + ms(5_000)), None, "the sixth delay is about 8 s");
    schedule.wake("broken", Wake::Now, now + ms(5_000));
    assert_eq!(schedule.start(now + ms(5_000)), Some("broken"), "an edit by a person does shorten it");
    schedule.finish(&"broken", Outcome::Requeue(ms(100)), now);
    assert_eq!(schedule.start(now + ms(100)), Some("broken"), "a success forgets the failures");
}

#[test]
fn a_raced_run_comes_back_soon_and_keeps_no_failure() {
    let mut schedule = Schedule::default();
    let now = Instant::now();
    schedule.wake("a", Wake::Now, now);
    schedule.start(now);
    schedule.finish(&"a", Outcome::Raced, now);
    assert_eq!(schedule.start(now + ms(50)), Some("a"));
}

#[test]
fn races_in_a_row_are_spaced_out() {
    let mut schedule = Schedule::default();
    let (began, mut now) = (Instant::now(), Instant::now());
    let mut runs = 0;
    schedule.wake("a", Wake::Now, now);
    while now < began + Duration::from_secs(60) {
        if schedule.start(now).is_some() {
            runs += 1;
            schedule.finish(&"a", Outcome::Raced, now);
        }
        now = schedule.next_due().unwrap();
    }
    assert!((15..=20).contains(&runs), "{runs} runs in a minute");
    schedule.start(now);
    schedule.finish(&"a", Outcome::Requeue(Duration::ZERO), now);
    schedule.start(now);
    schedule.finish(&"a", Outcome::Raced, now);
    assert_eq!(schedule.next_due(), Some(now + ms(50)), "one that succeeded is quick again");
}

#[test]
fn a_gone_key_is_forgotten_unless_it_was_woken_again() {
    let mut schedule = Schedule::default();
    let now = Instant::now();
    schedule.wake("a", Wake::Now, now);
    schedule.start(now);
    schedule.finish(&"a", Outcome::Gone, now);
    assert_eq!((schedule.known(), schedule.next_due()), (0, None));
    schedule.wake("a", Wake::Now, now);
    schedule.start(now);
    schedule.wake("a", Wake::Now, now);
    schedule.finish(&"a", Outcome::Gone, now);
    assert_eq!(schedule.start(now), Some("a"));
}

#[test]
fn the_longest_waiting_key_goes_first() {
    let mut schedule = Schedule::default();
    let now = Instant::now();
    schedule.wake("late", Wake::Now, now + ms(5));
    schedule.wake("early", Wake::Now, now);
    schedule.wake("late", Wake::Now, now + ms(9));
    assert_eq!(schedule.start(now + ms(10)), Some("early"));
    assert_eq!(schedule.start(now + ms(10)), Some("late"));
}

#[test]
fn a_vanished_child_is_made_anew_a_second_later() {
    let mut schedule = Schedule::default();
    let now = Instant::now();
    schedule.wake("a", Wake::Now, now);
    schedule.start(now);
    schedule.finish(&"a", Outcome::Requeue(Duration::from_secs(600)), now);
    schedule.wake("a", Wake::Lost, now);
    assert_eq!(schedule.start(now + ms(999)), None);
    assert_eq!(schedule.start(now + MOURN), Some("a"));
}

#[test]
fn a_child_that_vanishes_during_a_pass_is_made_anew_a_second_later_all_the_same() {
    for outcome in [Outcome::Requeue(Duration::from_secs(600)), Outcome::Raced] {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        schedule.wake("a", Wake::Now, now);
        schedule.start(now);
        schedule.wake("a", Wake::Lost, now + ms(10));
        schedule.finish(&"a", outcome, now + ms(20));
        if outcome == Outcome::Raced {
            assert_eq!(schedule.start(now + ms(70)), Some("a"), "whatever is sooner");
        } else {
            assert_eq!(schedule.start(now + ms(10) + MOURN), Some("a"));
        }
    }
}

#[test]
fn a_child_that_vanishes_does_not_shorten_a_backoff() {
    let mut schedule = Schedule::default();
    let mut now = Instant::now();
    for _ in 0..6 {
        schedule.wake("a", Wake::Now, now);
        assert_eq!(schedule.start(now), Some("a"));
        schedule.wake("a", Wake::Lost, now);
        schedule.finish(&"a", Outcome::Failed, now);
        now += ms(1);
    }
    assert_eq!(schedule.start(now + ms(5_000)), None, "the sixth delay is about 8 s");
}
