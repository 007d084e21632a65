//! What may run: signatures, whose keys count, and what a lost registry stops.

use k8s_openapi::api::core::v1::ConfigMap;
use paramant_crds::relay::Step;
use paramant_operator_core::Durable;
use paramant_operator_core::release::{Release, TrustedKey, Verdict};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Deed, NAME, digest, image, production};

fn durable(cluster: &Cluster) -> Durable {
    let state: ConfigMap =
        serde_json::from_value(cluster.get("ConfigMap", "health-state").unwrap().clone()).unwrap();
    Durable::read(Some(&state))
}

fn refuse(cluster: &mut Cluster, n: u8) {
    let reason = "no signature of a trusted key was found".to_owned();
    cluster.registry.verdicts.insert(digest(n), Verdict::Refused { kind: "Unsigned", reason });
}

fn policy(verification: Value) -> Value {
    production(json!({"updates": {"mode": "Manual"}, "verification": verification}))
}

const OLD: &str = include_str!("../signatures/other.pub");
const NEW: &str = include_str!("../signatures/release.pub");

fn key(name: &str, pem: &str) -> Value {
    json!({"keys": [{"name": name, "pem": pem}]})
}

#[test]
fn the_first_image_runs_only_once_it_was_verified() {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    cluster.registry.slow = 5;
    cluster.run(4);
    assert!(cluster.get("StatefulSet", NAME).is_none() && cluster.get("Pod", "health-0").is_none());
    assert_eq!(cluster.phase(), "Pending");
    assert_eq!(cluster.condition("Reconciling"), ("True".into(), "Verifying".into()));
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.pod_image()), ("Ready", image(1)));
    let verified = cluster.status().image.unwrap().verified.unwrap();
    assert_eq!(verified.key, "release");
    assert!(cluster.pass().inspect.is_none(), "and is not asked about again");
    let asked = &cluster.registry.asked;
    assert_eq!((asked.len(), asked[0].repository.as_str()), (1, "registry.example/paramant/relay"));
}

#[test]
fn a_first_image_that_is_not_signed_never_runs_and_says_what_to_do() {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    refuse(&mut cluster, 1);
    cluster.settle();
    assert!(cluster.get("StatefulSet", NAME).is_none());
    assert_eq!((cluster.phase(), cluster.condition("Stalled").1.as_str()), ("Blocked", "SignatureInvalid"));
    assert!(cluster.message().contains("no signature of a trusted key"), "{}", cluster.message());
    assert!(cluster.message().contains("spec.verification.keys"), "{}", cluster.message());
    cluster.registry.verdicts.clear();
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready", "signed later, it runs without an edit");
}

#[test]
fn an_update_that_is_not_signed_is_refused_and_what_runs_goes_on() {
    let mut cluster = Cluster::serving();
    let pod = cluster.pod()["metadata"]["uid"].clone();
    refuse(&mut cluster, 2);
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.settle();
    assert_eq!(cluster.step(), Step::Verifying);
    assert_eq!(cluster.condition("UpdateBlocked"), ("True".into(), "SignatureInvalid".into()));
    assert_eq!(cluster.condition("Stalled").0, "True", "waiting does not help");
    assert_eq!(cluster.condition("Ready").0, "True");
    assert_eq!(cluster.condition("UpdateAvailable").0, "True");
    assert_eq!(cluster.pod()["metadata"]["uid"], pod);
    assert_eq!(cluster.status().update.unwrap().blocked_by.as_deref(), Some("SignatureInvalid"));
}

#[test]
fn a_registry_that_is_away_holds_an_update_and_its_return_alone_heals_it() {
    let mut cluster = Cluster::serving();
    cluster.registry.away = true;
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.settle();
    assert_eq!(cluster.condition("UpdateBlocked"), ("True".into(), "RegistryUnavailable".into()));
    assert_eq!(cluster.condition("Reconciling").0, "True");
    assert_eq!(cluster.condition("Stalled").0, "False");
    assert!(cluster.message().contains("connection refused"), "{}", cluster.message());
    cluster.registry.away = false;
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(2));
}

#[test]
fn an_image_that_does_not_exist_waits_for_a_person_and_is_found_once_it_is_pushed() {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    cluster.registry.lacks = true;
    cluster.settle();
    assert_eq!(cluster.condition("Stalled"), ("True".into(), "ImageNotFound".into()));
    assert!(cluster.message().contains("the registry has no image"), "{}", cluster.message());
    cluster.registry.forget();
    cluster.context.epoch += 1;
    cluster.settle();
    assert_eq!(
        cluster.condition("Stalled"),
        ("True".into(), "ImageNotFound".into()),
        "nor does a new leader forget"
    );
    cluster.registry.lacks = false;
    cluster.settle();
    assert_eq!((cluster.pod_image(), cluster.phase()), (image(1), "Ready"));
}

#[test]
fn a_registry_that_is_lost_after_the_check_stops_neither_the_roll_nor_the_way_back() {
    let mut cluster = Cluster::serving();
    cluster.uploads = 1;
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Draining);
    cluster.registry.away = true;
    cluster.registry.forget();
    // A new leader, with nothing but what is stored.
    cluster.context.epoch += 1;
    cluster.uploads = 0;
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(2));
    cluster.edit(|spec| spec["image"] = json!(image(1)));
    cluster.settle();
    assert_eq!((cluster.pod_image(), cluster.phase()), (image(1), "Ready"), "back to what was good");
    assert!(cluster.status().update.unwrap().rejected.is_empty(), "which rejects nothing");
}

#[test]
fn another_key_asks_again_and_stops_nothing_that_runs() {
    let mut cluster = Cluster::serving();
    cluster.relay["spec"]["policyRef"] = json!({"name": "production"});
    cluster.policy = Some(policy(key("old", OLD)));
    cluster.settle();
    let pod = cluster.pod()["metadata"]["uid"].clone();
    assert_eq!(cluster.status().image.unwrap().verified.unwrap().key, "old");
    refuse(&mut cluster, 1);
    refuse(&mut cluster, 2);
    cluster.policy = Some(policy(key("new", NEW)));
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.pod()["metadata"]["uid"].clone()), ("Ready", pod.clone()));
    assert_eq!(cluster.status().image.unwrap().verified.unwrap().key, "old", "as it was found then");
    assert!(cluster.pass().inspect.is_none(), "of what runs one answer is enough");
    cluster.edit(|spec| spec["pod"] = json!({"labels": {"a": "b"}}));
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(1), "another setting of what runs is not held back");
    cluster.wait(310);
    cluster.settle();
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.settle();
    assert_eq!(cluster.condition("UpdateBlocked").1, "SignatureInvalid", "it blocks what comes next");
    cluster.policy = Some(policy(key("old", OLD)));
    cluster.registry.verdicts.clear();
    cluster.until(Step::Settling);
}

#[test]
fn an_answer_to_another_question_is_none() {
    let mut cluster = Cluster::serving();
    cluster.registry.slow = u32::MAX;
    let stale = cluster.registry.inspection();
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.settle();
    assert_eq!(cluster.registry.inspection(), stale, "it is still the answer for the first image");
    assert_eq!((cluster.step(), cluster.pod_image()), (Step::Verifying, image(1)));
}

#[test]
fn an_unsigned_image_runs_only_by_permission_and_is_not_shown_as_verified() {
    for permitted in [false, true] {
        let mut cluster = Cluster::with(json!({ "image": image(1), "policyRef": {"name": "production"} }));
        cluster.policy = Some(policy(json!({"allowUnsigned": permitted})));
        cluster.registry.verdicts.insert(digest(1), Verdict::Unsigned);
        cluster.settle();
        assert_eq!(cluster.phase(), if permitted { "Ready" } else { "Blocked" });
        assert!(cluster.status().image.and_then(|image| image.verified).is_none());
    }
}

#[test]
fn without_any_key_nothing_runs_and_nobody_is_asked() {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    cluster.context.release_keys.clear();
    cluster.settle();
    assert_eq!(cluster.condition("Stalled").1, "SignatureInvalid");
    assert!(cluster.registry.asked.is_empty());
    cluster.context.release_keys = vec![TrustedKey { name: "release".into(), pem: "PEM".into() }];
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready");
}

#[test]
fn with_a_policy_that_is_not_there_a_first_image_is_judged_by_the_built_in_one() {
    let mut cluster = Cluster::with(json!({ "image": image(1), "policyRef": {"name": "production"} }));
    refuse(&mut cluster, 1);
    cluster.settle();
    assert_eq!(cluster.condition("Stalled").1, "SignatureInvalid");
    assert_eq!(cluster.registry.asked[0].trust.keys[0].name, "release");
    cluster.registry.verdicts.clear();
    cluster.policy = Some(policy(json!({"allowUnsigned": true})));
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready");
    cluster.policy = None;
    let asked = cluster.registry.asked.len();
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.settle();
    assert_eq!(
        (cluster.condition("UpdateBlocked").1.as_str(), cluster.registry.asked.len()),
        ("PolicyMissing", asked)
    );
}

#[test]
fn a_new_leader_says_nothing_new_of_an_image_that_may_not_run() {
    for first in [true, false] {
        let mut cluster =
            if first { Cluster::with(json!({ "image": image(2) })) } else { Cluster::serving() };
        refuse(&mut cluster, 2);
        cluster.edit(|spec| spec["image"] = json!(image(2)));
        cluster.settle();
        cluster.registry.forget();
        cluster.registry.slow = 3;
        let told = (cluster.events.len(), cluster.relay["status"].clone());
        cluster.deeds.clear();
        for _ in 0..6 {
            cluster.pass();
        }
        assert_eq!((cluster.events.len(), cluster.relay["status"].clone()), told, "first: {first}");
        assert!(!cluster.deeds.contains(&Deed::Status));
    }
}

#[test]
fn the_version_an_image_calls_itself_is_shown_before_it_runs() {
    let mut cluster = Cluster::serving();
    let release = Release { version: Some("3.2.0".into()), ..Release::default() };
    cluster.registry.releases.insert(digest(2), release);
    cluster.uploads = 1;
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Draining);
    let available = cluster.status().update.unwrap().available.unwrap();
    assert_eq!(
        (available.version.as_deref(), available.digest.unwrap().as_str()),
        (Some("3.2.0"), &*digest(2))
    );
    cluster.uploads = 0;
    cluster.until(Step::Settling);
    assert!(cluster.status().update.unwrap().available.is_none());
    assert_eq!(cluster.condition("UpdateAvailable"), ("False".into(), "UpToDate".into()));
}

#[test]
fn a_lost_durable_copy_takes_no_verification_away_that_people_saw() {
    let mut cluster = Cluster::serving();
    let before = cluster.status().image;
    cluster.registry.away = true;
    cluster.registry.forget();
    cluster.objects.remove(&("ConfigMap".into(), "health-state".into()));
    cluster.settle();
    assert_eq!(cluster.status().image, before);
    cluster.registry.away = false;
    cluster.settle();
    assert!(
        durable(&cluster).verified.iter().any(|it| it.digest.as_str() == digest(1)),
        "asked again for people"
    );
}
