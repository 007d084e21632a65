use proptest::prelude::*;

use super::*;

const ALONE: Sources = Sources { operator: false, witnesses: 0 };
const IN_CLUSTER: Sources = Sources { operator: true, witnesses: 0 };
const WITNESSED: Sources = Sources { operator: false, witnesses: 2 };
const BOTH: Sources = Sources { operator: true, witnesses: 2 };

/// What is heard, in this order.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Heard {
    Operator(Word),
    Witness(&'static str, Witnessed),
    /// As many seconds pass.
    Time(u64),
}
use Heard::{Operator, Time, Witness};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Word {
    Agrees,
    Objects,
    Nothing,
}
use Word::{Agrees, Nothing, Objects};

/// Entries of the log in every test.
const HELD: u64 = 100;

fn told(sources: Sources, heard: &[Heard]) -> (Fence, Instant) {
    let mut fence = Fence::new(sources);
    let mut now = Instant::now();
    for word in heard {
        match *word {
            Operator(word) => {
                let answer = match word {
                    Agrees => Some(Answer::Agrees),
                    Objects => Some(Answer::Objects("an old copy".to_owned())),
                    Nothing => None,
                };
                fence.operator_says(answer, now);
            }
            Witness(name, witnessed) => fence.witness_says(name, witnessed, HELD, now),
            Time(seconds) => now += Duration::from_secs(seconds),
        }
    }
    (fence, now)
}

fn word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Open => "open",
        Standing::Waiting(_) => "waiting",
        Standing::Closed(_) => "closed",
    }
}

const FINE: Witnessed = Witnessed::NothingBeyond;
const SAME: Witnessed = Witnessed::Size(HELD);
const BEYOND: Witnessed = Witnessed::Size(HELD + 1);
const OTHER: Witnessed = Witnessed::AnotherHistory;

#[test]
fn the_fence_opens_when_all_who_remember_have_been_heard_and_none_objects() {
    let (a, b, c) = ("a.example", "b.example", "c.example");
    let cases: &[(Sources, &[Heard], &str)] = &[
        // Nobody to ask.
        (ALONE, &[], "open"),
        (ALONE, &[Time(9999)], "open"),
        // The operator alone.
        (IN_CLUSTER, &[], "waiting"),
        (IN_CLUSTER, &[Time(99_999)], "waiting"),
        (IN_CLUSTER, &[Operator(Nothing), Time(999)], "waiting"),
        (IN_CLUSTER, &[Operator(Agrees)], "open"),
        (IN_CLUSTER, &[Operator(Objects)], "closed"),
        (IN_CLUSTER, &[Operator(Agrees), Time(9999), Operator(Objects)], "closed"),
        (IN_CLUSTER, &[Operator(Objects), Operator(Agrees)], "open"),
        (IN_CLUSTER, &[Operator(Agrees), Operator(Nothing)], "waiting"),
        // Witnesses alone: two must have answered, however long it takes.
        (WITNESSED, &[Time(99_999)], "waiting"),
        (WITNESSED, &[Witness(a, FINE), Time(99_999)], "waiting"),
        (WITNESSED, &[Witness(a, FINE), Witness(a, FINE)], "waiting"),
        (WITNESSED, &[Witness(a, FINE), Witness(b, SAME)], "open"),
        (WITNESSED, &[Witness(a, FINE), Witness(b, BEYOND), Witness(c, FINE)], "closed"),
        (WITNESSED, &[Witness(a, FINE), Witness(b, FINE), Time(9), Witness(c, OTHER)], "closed"),
        (WITNESSED, &[Witness(a, OTHER), Witness(a, FINE), Witness(b, FINE)], "open"),
        // Both: all of them, or one of the two and patience.
        (BOTH, &[Operator(Agrees)], "waiting"),
        (BOTH, &[Operator(Agrees), Time(119)], "waiting"),
        (BOTH, &[Operator(Agrees), Time(120)], "open"),
        (BOTH, &[Operator(Agrees), Witness(a, FINE), Witness(b, FINE)], "open"),
        (BOTH, &[Witness(a, FINE), Witness(b, FINE)], "waiting"),
        (BOTH, &[Witness(a, FINE), Witness(b, FINE), Time(120)], "open"),
        (BOTH, &[Witness(a, FINE), Time(99_999)], "waiting"),
        (BOTH, &[Operator(Agrees), Time(120), Witness(a, BEYOND)], "closed"),
        (BOTH, &[Witness(a, FINE), Witness(b, FINE), Time(120), Operator(Objects)], "closed"),
        (BOTH, &[Operator(Agrees), Time(60), Operator(Nothing), Operator(Agrees), Time(60)], "waiting"),
    ];
    for (sources, heard, expected) in cases {
        let (fence, now) = told(*sources, heard);
        assert_eq!(word(&fence.standing(now)), *expected, "{sources:?} {heard:?}");
    }
}

#[test]
fn it_says_who_is_waited_for_and_what_an_objection_means() {
    let (fence, now) = told(BOTH, &[Witness("a.example", FINE)]);
    let Standing::Waiting(why) = fence.standing(now) else { panic!("{fence:?}") };
    assert!(why.contains("the operator") && why.contains("1 of 2 witnesses"), "{why}");
    let (fence, now) = told(WITNESSED, &[Witness("a.example", BEYOND)]);
    let Standing::Closed(why) = fence.standing(now) else { panic!("{fence:?}") };
    for part in ["a.example", "101", "100", "old copy", "adopt"] {
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn it_is_asked_again_when_patience_ends_and_not_before_or_after() {
    let (fence, now) = told(BOTH, &[Operator(Agrees), Time(20)]);
    assert_eq!(fence.due(now), Some(now + Duration::from_secs(100)));
    assert_eq!(fence.due(now + Duration::from_secs(100)), None);
    assert_eq!(told(BOTH, &[]).0.due(now), None);
}

fn heard() -> impl Strategy<Value = Heard> {
    let name = prop_oneof![Just("a.example"), Just("b.example"), Just("c.example")];
    let witnessed = prop_oneof![Just(FINE), Just(SAME), Just(BEYOND), Just(OTHER)];
    prop_oneof![
        prop_oneof![Just(Agrees), Just(Objects), Just(Nothing)].prop_map(Operator),
        (name, witnessed).prop_map(|(name, witnessed)| Witness(name, witnessed)),
        (0u64..400).prop_map(Time),
    ]
}

proptest! {
    /// Whatever was heard and in which order: with an objection in force it is closed, and it never opens with nobody heard.
    #[test]
    fn one_objection_in_force_is_enough_and_silence_opens_nothing(words in prop::collection::vec(heard(), 0..20)) {
        for sources in [IN_CLUSTER, WITNESSED, BOTH] {
            let (fence, now) = told(sources, &words);
            let last_of_operator = words.iter().rev().find_map(|word| match word {
                Operator(word) => Some(*word),
                _ => None,
            });
            let last_of = |name: &str| words.iter().rev().find_map(|word| match word {
                Witness(who, witnessed) if *who == name => Some(*witnessed),
                _ => None,
            });
            let witnesses = ["a.example", "b.example", "c.example"].map(last_of);
            let objects = last_of_operator == Some(Objects)
                || witnesses.iter().any(|it| matches!(it, Some(BEYOND | OTHER)));
            let agreeing = witnesses.iter().filter(|it| matches!(it, Some(FINE | SAME))).count();
            let heard = (sources.operator && last_of_operator == Some(Agrees))
                || (sources.witnesses > 0 && agreeing >= 2);
            match fence.standing(now) {
                Standing::Closed(_) => prop_assert!(objects),
                Standing::Open => prop_assert!(heard && !objects),
                Standing::Waiting(_) => prop_assert!(!objects),
            }
        }
    }
}
