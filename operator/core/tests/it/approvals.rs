//! A person's word on updates: approve, update now, pin, try again; and what a policy makes of attempts.

use paramant_crds::relay::Step;
use paramant_operator_core::Report;
use paramant_operator_core::release::TrustedKey;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Fault, digest, image, production};

const TAG: &str = "registry.example/paramant/relay:3.2.0";
const UPDATE_NOW: &str = "paramant.app/update-now";

fn policy(updates: Value) -> Value {
    production(json!({"updates": updates}))
}

/// A relay that serves image 1 under this policy; the tag means image 2.
fn under(updates: Value) -> Cluster {
    let mut cluster = Cluster::serving();
    cluster.relay["spec"]["policyRef"] = json!({"name": "production"});
    cluster.policy = Some(policy(updates));
    cluster.tags.insert(TAG.into(), digest(2));
    cluster.settle();
    cluster
}

/// Made at a quarter past two in the afternoon, no window is open.
fn no_window() -> Value {
    json!({"mode": "Window", "windows": [{"start": "02:00", "duration": "2h"}]})
}

#[test]
fn a_tag_waits_for_approval_and_the_message_is_the_command_that_gives_it() {
    let mut cluster = under(json!({"mode": "Approval", "applies": {"image": "Now"}}));
    cluster.edit(|spec| spec["image"] = json!(TAG));
    cluster.settle();
    assert_eq!(cluster.step(), Step::WaitingForApproval);
    assert_eq!(cluster.condition("UpdateBlocked"), ("True".into(), "AwaitingApproval".into()));
    assert_eq!(cluster.condition("UpdateAvailable").0, "True");
    assert_eq!(
        (cluster.condition("Ready").0, cluster.condition("Reconciling").0),
        ("True".into(), "False".into())
    );
    let message = cluster.message().to_owned();
    let (command, patch) = message.split_once(" -p '").unwrap();
    assert!(
        command.ends_with(
            "kubectl -n transfers patch prelay health --type merge --field-manager=paramant-admin"
        )
    );
    // What the message prints is what is done.
    let patch: Value = serde_json::from_str(patch.trim_end_matches('\'')).unwrap();
    cluster.edit(|spec| spec["update"] = patch["spec"]["update"].clone());
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(2));
}

#[test]
fn an_approval_of_another_digest_or_for_an_offer_approves_nothing() {
    for approve in [json!({"digest": digest(3)}), json!({"digest": digest(2), "sequence": 7})] {
        let mut cluster = under(json!({"mode": "Approval", "applies": {"image": "Now"}}));
        cluster.edit(|spec| {
            spec["image"] = json!(TAG);
            spec["update"] = json!({"approve": approve});
        });
        cluster.settle();
        assert_eq!((cluster.step(), cluster.pod_image()), (Step::WaitingForApproval, image(1)));
    }
}

#[test]
fn an_approval_is_void_under_other_keys_until_it_is_given_again() {
    let mut cluster = under(json!({"mode": "Approval", "applies": {"image": "Now"}}));
    cluster.uploads = 1;
    cluster.edit(|spec| {
        spec["image"] = json!(TAG);
        spec["update"] = json!({"approve": {"digest": digest(2)}});
    });
    cluster.until(Step::Draining);
    cluster.context.release_keys = vec![TrustedKey { name: "other".into(), pem: "OTHER".into() }];
    cluster.settle();
    assert_eq!((cluster.step(), cluster.pod_image()), (Step::WaitingForApproval, image(1)));
    assert!(cluster.message().contains("void"), "{}", cluster.message());
    cluster.edit(|spec| spec["update"] = Value::Null);
    cluster.settle();
    cluster.uploads = 0;
    cluster.edit(|spec| spec["update"] = json!({"approve": {"digest": digest(2)}}));
    cluster.until(Step::Settling);
}

#[test]
fn a_digest_in_the_image_approves_itself_and_settings_need_no_approval() {
    for edit in [json!({"image": image(2)}), json!({"pod": {"labels": {"a": "b"}}})] {
        let mut cluster = under(json!({"mode": "Approval", "applies": {"image": "Now", "pod": "Now"}}));
        cluster.edit(|spec| {
            for (field, value) in edit.as_object().unwrap() {
                spec[field] = value.clone();
            }
        });
        cluster.until(Step::Settling);
    }
}

#[test]
fn by_tier_only_enterprise_is_asked() {
    for (tier, step) in [("Enterprise", Step::WaitingForApproval), ("Pro", Step::Settling)] {
        let mut cluster = under(json!({"mode": "ByTier", "applies": {"image": "Now"}}));
        cluster.process.as_mut().unwrap().state.license.tier = tier.into();
        cluster.settle();
        cluster.edit(|spec| spec["image"] = json!(TAG));
        cluster.until(step);
    }
}

#[test]
fn a_tier_that_nobody_knows_yet_is_waited_for_and_asks_nobody() {
    let mut cluster = under(json!({"mode": "ByTier", "applies": {"image": "Now"}}));
    cluster.settle();
    cluster.relay["status"]["license"] = Value::Null;
    cluster.report = Some(Report::Unknown);
    cluster.edit(|spec| spec["image"] = json!(TAG));
    cluster.settle();
    assert_eq!(cluster.condition("UpdateBlocked").1, "TierUnknown");
    cluster.report = None;
    cluster.until(Step::Settling);
}

#[test]
fn a_tier_that_ends_while_a_person_is_asked_does_not_answer_for_them() {
    let mut cluster = under(json!({"mode": "ByTier", "applies": {"image": "Now"}}));
    cluster.process.as_mut().unwrap().state.license.tier = "Enterprise".into();
    cluster.settle();
    cluster.edit(|spec| spec["image"] = json!(TAG));
    cluster.until(Step::WaitingForApproval);
    cluster.process.as_mut().unwrap().state.license.tier = "Community".into();
    cluster.settle();
    assert_eq!(cluster.step(), Step::WaitingForApproval);
    cluster.edit(|spec| spec["update"] = json!({"approve": {"digest": digest(2)}}));
    cluster.until(Step::Settling);
}

#[test]
fn update_now_opens_window_and_approval_once_for_its_digest() {
    let mut cluster = under(json!({"mode": "Approval", "applies": {"image": "Now"}}));
    cluster.annotate(UPDATE_NOW, &digest(3));
    cluster.edit(|spec| spec["image"] = json!(TAG));
    cluster.settle();
    assert_eq!(cluster.step(), Step::WaitingForApproval, "it is about another digest");
    cluster.annotate(UPDATE_NOW, &digest(2));
    cluster.until(Step::Settling);
    cluster.wait(310);
    cluster.settle();
    assert_eq!(cluster.pod_image(), image(2));
    cluster.edit(|spec| spec["image"] = json!(image(1)));
    cluster.until(Step::Settling);
    cluster.wait(310);
    cluster.settle();
    cluster.edit(|spec| spec["image"] = json!(TAG));
    cluster.settle();
    assert_eq!(cluster.step(), Step::WaitingForApproval, "it has had its effect");
    cluster.relay["metadata"]["annotations"][UPDATE_NOW] = Value::Null;
    cluster.relay["metadata"]["annotations"].as_object_mut().unwrap().remove(UPDATE_NOW);
    cluster.settle();
    cluster.annotate(UPDATE_NOW, &digest(2));
    cluster.until(Step::Settling);
}

#[test]
fn update_now_is_no_way_round_a_signature_or_a_missing_policy() {
    let mut cluster = under(no_window());
    cluster.policy = None;
    cluster.annotate(UPDATE_NOW, &digest(2));
    cluster.edit(|spec| spec["image"] = json!(TAG));
    cluster.settle();
    assert_eq!(cluster.condition("UpdateBlocked").1, "PolicyMissing");
    cluster.policy = Some(policy(no_window()));
    let refused =
        paramant_operator_core::release::Verdict::Refused { kind: "WrongKey", reason: "wrong key".into() };
    cluster.registry.verdicts.insert(digest(2), refused);
    cluster.settle();
    assert_eq!(cluster.condition("UpdateBlocked").1, "SignatureInvalid");
    cluster.registry.verdicts.clear();
    cluster.until(Step::Settling);
}

#[test]
fn a_digest_is_tried_as_often_as_the_policy_says() {
    let mut cluster = under(json!({"mode": "Manual", "maxAttempts": 3, "applies": {"image": "Now"}}));
    cluster.faults.insert(digest(2), Fault::Crashes);
    cluster.steps.clear();
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    let mut attempts = Vec::new();
    for _ in 0..1000 {
        cluster.pass();
        cluster.tick();
        attempts.extend(cluster.status().update.and_then(|update| update.attempt));
    }
    attempts.dedup();
    let tries = cluster.steps.iter().filter(|step| **step == Step::Probing).count();
    assert_eq!((tries, attempts), (3, vec![1, 2, 3]));
    assert_eq!(cluster.condition("UpdateBlocked").1, "RejectedDigest");
    assert_eq!(cluster.pod_image(), image(1));
    cluster.edit(|spec| spec["update"] = json!({"retry": digest(2)}));
    cluster.faults.clear();
    cluster.until(Step::Settling);
}

#[test]
fn a_pin_outranks_the_image_and_approves_itself() {
    let mut cluster = under(json!({"mode": "Approval", "applies": {"image": "Now"}}));
    cluster.edit(|spec| {
        spec["image"] = json!(TAG);
        spec["update"] = json!({"pin": digest(3)});
    });
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(3));
}

#[test]
fn a_policy_that_is_deleted_or_edited_in_any_step_leads_to_an_end() {
    for step in [Step::Verifying, Step::Draining, Step::Replacing, Step::Probing, Step::Settling] {
        for edited in [None, Some(policy(json!({"mode": "Approval"})))] {
            let mut cluster = under(json!({"mode": "Manual", "applies": {"image": "Now"}}));
            cluster.edit(|spec| spec["image"] = json!(TAG));
            cluster.until(step);
            cluster.policy.clone_from(&edited);
            cluster.run(3);
            cluster.wait(400);
            cluster.settle();
            let begun = matches!(step, Step::Replacing | Step::Probing | Step::Settling);
            let runs = if begun { image(2) } else { image(1) };
            assert_eq!(cluster.pod_image(), runs, "{step:?}: what touched the pod goes on, the rest waits");
            assert_eq!(cluster.condition("Ready").0, "True");
            cluster.policy = Some(policy(json!({"mode": "Manual", "applies": {"image": "Now"}})));
            cluster.run(30);
            cluster.wait(400);
            cluster.settle();
            assert_eq!((cluster.pod_image(), cluster.phase()), (image(2), "Ready"), "{step:?}");
        }
    }
}
