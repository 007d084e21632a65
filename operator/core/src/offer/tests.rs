#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use paramant_crds::policy::Mode;
use paramant_protocol::control::RemoteAnswer;
use serde_json::json;

use super::*;
use crate::durable::{Rejection, VerifiedImage};
use crate::observation::Referenced;
use crate::release::Release;

const TEXT: &str = "r.example/a/b:1";

fn digest(n: u8) -> Digest {
    Digest::of_json(&json!(n))
}

fn rules(mode: Mode) -> Rules {
    let mut rules = Rules::of(&Referenced::Unreferenced, Timestamp::UNIX_EPOCH);
    (rules.mode, rules.built_in) = (mode, false);
    rules
}

fn offer(n: u8, sequence: u64, version: &str) -> Offer {
    Offer {
        digest: digest(n),
        sequence,
        version: version.into(),
        offered_at: Timestamp::UNIX_EPOCH,
        recalled: Vec::new(),
    }
}

fn template(n: u8) -> serde_json::Value {
    json!({"spec": {"containers": [{"name": "relay", "image": format!("r.example/a/b@{}", digest(n))}]}})
}

fn labelled(n: u8, version: Option<&str>) -> VerifiedImage {
    VerifiedImage {
        digest: digest(n),
        trust: digest(99),
        key: None,
        release: Release { version: version.map(str::to_owned), ..Release::default() },
        at: Timestamp::UNIX_EPOCH,
    }
}

/// Runs image `n`, which ran well, and calls itself 1.0.0.
fn running(n: u8) -> Durable {
    Durable {
        template: Some(template(n)),
        last_good: Some(template(n)),
        verified: vec![labelled(n, Some("1.0.0"))],
        ..Durable::default()
    }
}

struct World {
    rules: Rules,
    durable: Durable,
    standing: Option<Offer>,
    heard: bool,
}

impl World {
    /// Image 1 runs and is the floor; offer 7 of image 2 stands.
    fn new() -> Self {
        Self {
            rules: rules(Mode::Window),
            durable: running(1),
            standing: Some(offer(2, 7, "1.1.0")),
            heard: true,
        }
    }

    fn follow(&mut self, floor: u8, text: &str) -> Option<u64> {
        let course = Course {
            rules: &self.rules,
            tier: None,
            heard: self.heard,
            standing: self.standing.as_ref().filter(|_| self.heard),
            reported: Some("1.0.0"),
        };
        let once = course.followed(&mut self.durable, &digest(floor), text);
        let remembered = self.durable.offers.clone();
        let again = course.followed(&mut self.durable, &digest(floor), text);
        assert_eq!((&again, &remembered), (&once, &self.durable.offers), "asked again, the same answer");
        once.map(|it| it.sequence)
    }

    /// The offer is rolled and has run well.
    fn take(&mut self) {
        assert_eq!(self.follow(1, TEXT), Some(7));
        self.durable.template = Some(template(2));
        assert_eq!(self.follow(1, TEXT), Some(7));
        self.durable.last_good = Some(template(2));
        assert_eq!(self.follow(1, TEXT), Some(7));
        assert_eq!(self.durable.offers.taken.as_ref().map(|it| it.sequence), Some(7));
    }
}

#[test]
fn an_offer_is_followed_if_it_is_newer_and_nothing_speaks_against_it() {
    type Change = fn(&mut World);
    let cases: [(&str, Change, bool); 9] = [
        ("newer", |_| {}, true),
        ("older", |it| it.standing = Some(offer(2, 7, "0.9.0")), false),
        ("as old", |it| it.standing = Some(offer(2, 7, "1.0.0")), false),
        ("no version", |it| it.standing = Some(offer(2, 7, "latest")), false),
        ("what the spec names", |it| it.standing = Some(offer(1, 7, "1.1.0")), false),
        ("recalled", |it| it.standing.as_mut().unwrap().recalled = vec![digest(2)], false),
        ("recalling another", |it| it.standing.as_mut().unwrap().recalled = vec![digest(1)], true),
        ("nothing runs yet", |it| it.durable.template = None, false),
        (
            "it failed here",
            |it| {
                it.durable.reject(Rejection {
                    template: digest(50),
                    image: Some(digest(2)),
                    reason: "died".into(),
                    at: Timestamp::UNIX_EPOCH,
                });
            },
            false,
        ),
    ];
    for (what, change, followed) in cases {
        let mut world = World::new();
        change(&mut world);
        assert_eq!(world.follow(1, TEXT).is_some(), followed, "{what}");
    }
}

#[test]
fn mode_and_tier_decide_and_the_built_in_policy_leaves_it_to_people() {
    for (mode, tier, follows) in [
        (Mode::Manual, Some("Enterprise"), false),
        (Mode::Window, None, true),
        (Mode::Approval, None, true),
        (Mode::ByTier, None, false),
        (Mode::ByTier, Some("Community"), false),
        (Mode::ByTier, Some("Licensed"), false),
        (Mode::ByTier, Some("Pro"), true),
        (Mode::ByTier, Some("Enterprise"), true),
    ] {
        assert_eq!(rules(mode).follow_offers(tier), follows, "{mode:?} {tier:?}");
        let mut built_in = rules(mode);
        built_in.built_in = true;
        assert!(!built_in.follow_offers(tier), "{mode:?} {tier:?}");
        let mut refusing = rules(mode);
        refusing.remote.answers.update_offer = RemoteAnswer::Refuse;
        assert!(!refusing.follow_offers(tier), "{mode:?} {tier:?}");
    }
}

#[test]
fn one_that_waits_goes_when_it_is_withdrawn_and_stays_while_nobody_is_heard() {
    let mut world = World::new();
    assert_eq!(world.follow(1, TEXT), Some(7));
    world.heard = false;
    assert_eq!(world.follow(1, TEXT), Some(7));
    world.rules = rules(Mode::Manual);
    assert_eq!(world.follow(1, TEXT), None, "the policy counts all the same");
    world.rules = rules(Mode::Window);
    world.heard = true;
    assert_eq!(world.follow(1, TEXT), Some(7));
    world.standing = None;
    assert_eq!(world.follow(1, TEXT), None);
}

#[test]
fn one_that_is_rolled_comes_to_its_end_and_one_that_ran_well_stays() {
    type Change = fn(&mut World);
    let changes: [Change; 4] = [
        |it| it.standing = None,
        |it| it.rules = rules(Mode::Manual),
        |it| it.standing = Some(Offer { recalled: vec![digest(2)], ..offer(3, 8, "1.0.5") }),
        |it| it.heard = false,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut world = World::new();
        assert_eq!(world.follow(1, TEXT), Some(7));
        world.durable.template = Some(template(2));
        change(&mut world);
        assert_eq!(world.follow(1, TEXT), Some(7), "{number}, while it is rolled");
        let mut world = World::new();
        world.take();
        change(&mut world);
        assert_eq!(world.follow(1, TEXT), Some(7), "{number}, taken");
    }
}

#[test]
fn after_one_that_was_taken_only_a_newer_one_comes() {
    let mut world = World::new();
    world.take();
    world.durable.verified.push(labelled(2, Some("1.1.0")));
    for (next, follows) in [
        (offer(3, 8, "1.2.0"), 8),
        (offer(3, 6, "1.2.0"), 7),
        (offer(3, 8, "1.1.0"), 7),
        (offer(3, 8, "1.0.5"), 7),
    ] {
        world.standing = Some(next.clone());
        assert_eq!(world.follow(1, TEXT), Some(follows), "{next:?}");
        assert_eq!(world.durable.offers.taken.as_ref().map(|it| it.sequence), Some(7), "it is the way back");
    }
}

#[test]
fn whichever_of_image_and_offer_is_the_newer_release_counts() {
    for (floor, taken) in [
        (labelled(5, Some("1.0.5")), Some(7)),
        (labelled(5, Some("1.1.0")), Some(7)),
        (labelled(5, Some("1.2.0")), None),
        // It does not say what it is, and is the later word.
        (labelled(5, None), None),
    ] {
        let mut world = World::new();
        world.take();
        assert_eq!(world.follow(5, "r.example/a/b:5"), None, "the image is looked at first");
        assert_eq!(
            world.durable.offers.taken.as_ref().map(|it| it.sequence),
            Some(7),
            "and nothing forgotten"
        );
        world.durable.verified.push(floor.clone());
        assert_eq!(world.follow(5, "r.example/a/b:5"), taken, "{floor:?}");
        assert_eq!(world.durable.offers.taken.is_some(), taken.is_some());
    }
}

#[test]
fn one_that_was_recalled_is_not_put_back() {
    let mut world = World::new();
    world.take();
    // A person pinned the one before.
    world.durable.template = Some(template(1));
    world.durable.last_good = Some(template(1));
    world.standing = Some(Offer { recalled: vec![digest(2)], ..offer(3, 8, "0.9.0") });
    assert_eq!(world.follow(1, TEXT), None);
}

#[test]
fn an_offer_is_shown_unless_it_is_known_to_be_no_newer() {
    for (offer, running, shown) in [
        (offer(2, 7, "1.1.0"), Some("1.0.0"), true),
        (offer(2, 7, "1.0.0"), Some("1.0.0"), false),
        (offer(2, 7, "0.9.0"), Some("1.0.0"), false),
        (offer(2, 7, "next"), Some("1.0.0"), true),
        (offer(2, 7, "1.1.0"), None, true),
        (offer(1, 7, "1.1.0"), Some("1.0.0"), false),
        (Offer { recalled: vec![digest(2)], ..offer(2, 7, "1.1.0") }, Some("1.0.0"), false),
    ] {
        assert_eq!(offer.is_worth_showing(&digest(1), running), shown, "{offer:?} {running:?}");
    }
}
