//! Events and conditions over a whole life: each transition once, nothing in between.

use paramant_crds::relay::Step;
use paramant_operator_core::{EventType, Refused, decide};
use serde_json::json;

use crate::cluster::{Cluster, Fault, NAME, digest, image, production};

fn reasons(cluster: &Cluster) -> Vec<&str> {
    cluster.events.iter().map(|event| event.reason.as_str()).collect()
}

#[test]
fn an_install_and_a_roll_tell_their_story_in_events() {
    let mut cluster = Cluster::serving();
    assert_eq!(reasons(&cluster).last(), Some(&"Serving"));
    cluster.events.clear();
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Settling);
    cluster.wait(310);
    cluster.settle();
    let story: Vec<&str> =
        reasons(&cluster).into_iter().filter(|reason| !["Drained", "Serving"].contains(reason)).collect();
    assert_eq!(story, ["Verifying", "UpdateAvailable", "Draining", "Replacing", "Probing", "Settling"]);
    assert!(cluster.events.iter().all(|event| event.type_ == EventType::Normal));
}

#[test]
fn a_drain_is_told_as_a_drain() {
    let mut cluster = Cluster::serving();
    cluster.events.clear();
    cluster.uploads = 1;
    cluster.edit(|spec| spec["drain"] = json!(true));
    cluster.settle();
    cluster.uploads = 0;
    cluster.settle();
    cluster.edit(|spec| spec["drain"] = json!(false));
    cluster.settle();
    assert_eq!(reasons(&cluster), ["Draining", "Drained", "Serving"]);
}

#[test]
fn trouble_is_a_warning() {
    let mut cluster = Cluster::serving();
    cluster.events.clear();
    cluster.faults.insert(digest(2), Fault::Crashes);
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::RollingBack);
    cluster.settle();
    let warnings: Vec<&str> = cluster
        .events
        .iter()
        .filter(|it| it.type_ == EventType::Warning)
        .map(|it| it.reason.as_str())
        .collect();
    assert!(warnings.contains(&"RollingBack") && warnings.contains(&"RejectedDigest"), "{warnings:?}");
}

#[test]
fn a_transition_moves_only_its_own_clock() {
    let mut cluster = Cluster::serving();
    let times = |cluster: &Cluster, type_: &str| {
        let status = cluster.status();
        status.conditions.into_iter().find(|it| it.type_ == type_).unwrap().last_transition_time
    };
    let (ready, drained) = (times(&cluster, "Ready"), times(&cluster, "Drained"));
    cluster.run(5);
    cluster.edit(|spec| spec["drain"] = json!(true));
    cluster.settle();
    assert_eq!(times(&cluster, "Ready"), ready);
    assert!(times(&cluster, "Drained") > drained);
}

#[test]
fn what_a_relay_says_can_never_make_a_status_unwritable() {
    let mut cluster = Cluster::serving();
    let state = &mut cluster.process.as_mut().unwrap().state;
    state.version = "v".repeat(10_000);
    state.license.tier = "t".repeat(10_000);
    state.license.capabilities = (0..500).map(|n| format!("{n}{}", "c".repeat(500))).collect();
    state.identity.fingerprint = "not a hash".into();
    cluster.settle();
    let status = cluster.status();
    assert_eq!(status.image.unwrap().version.unwrap().len(), 128);
    let license = status.license.unwrap();
    assert_eq!((license.tier.unwrap().len(), license.capabilities.len()), (63, 64));
    assert!(status.identity.unwrap().fingerprint.unwrap().as_str().len() == 64, "the last good one stays");
}

#[test]
fn a_log_with_an_endless_name_is_shown_in_part_and_continues_itself() {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    while cluster.process.is_none() {
        cluster.pass();
        cluster.tick();
    }
    cluster.process.as_mut().unwrap().state.log.origin = "o".repeat(10_000);
    cluster.settle();
    assert_eq!(cluster.status().log.unwrap().origin.unwrap().len(), 200);
    assert_eq!((cluster.phase(), cluster.condition("LogConsistent").0.as_str()), ("Ready", "True"));
}

#[test]
fn endpoints_say_where_the_relay_and_its_log_are() {
    let cluster = Cluster::serving();
    let endpoints = cluster.status().endpoints.unwrap();
    assert_eq!(endpoints.service.as_deref(), Some("http://health.transfers.svc"));
    assert_eq!(endpoints.log.as_deref(), Some("http://health.transfers.svc/log/"));
    let mut exposed = Cluster::with(json!({
        "image": image(1), "expose": {"host": "relay.acme.example", "ingressClassName": "nginx"},
    }));
    exposed.settle();
    assert_eq!(exposed.status().endpoints.unwrap().log.as_deref(), Some("https://relay.acme.example/log/"));
}

/// What a new relay's status says when the controller hands back this refusal.
fn told(kind: &str, name: &str) -> (String, String) {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    // The registry has answered, so there are children to make.
    cluster.pass();
    let mut seen = cluster.observe();
    let (kind, name, message) = (kind.to_owned(), name.to_owned(), "exceeded quota".to_owned());
    seen.refused = Some(Refused { kind, name, sealed: None, message });
    let status = decide(&seen, &cluster.context, cluster.now).status;
    let stalled = status.conditions.iter().find(|it| it.type_ == "Stalled").unwrap();
    (stalled.reason.clone(), status.message.unwrap())
}

#[test]
fn a_child_that_fails_for_no_fault_of_its_intent_is_told_and_so_is_the_durable_copy() {
    for (kind, name) in [("StatefulSet", "health"), ("Service", "health"), ("ConfigMap", "health-state")] {
        let (reason, message) = told(kind, name);
        assert_eq!(reason, "ChildRefused", "{kind} {name}");
        assert!(
            message.contains(&format!("{kind} {name}")) && message.contains("exceeded quota"),
            "{message}"
        );
    }
    assert_ne!(told("Service", "another").0, "ChildRefused", "nothing of that name would be applied");
}

#[test]
fn a_stateful_set_that_fails_for_no_fault_of_its_own_fails_no_roll() {
    let mut cluster = Cluster::serving();
    cluster.edit(|spec| spec["pod"] = json!({"nodeSelector": {"disk": "ssd"}}));
    cluster.until(Step::Replacing);
    let mut seen = cluster.observe();
    let (kind, name, message) = ("StatefulSet".to_owned(), NAME.to_owned(), "a webhook is away".to_owned());
    seen.refused = Some(Refused { kind, name, sealed: None, message });
    let next = decide(&seen, &cluster.context, cluster.now).status.update.unwrap();
    assert_eq!(next.step, Some(Step::Replacing));
}

#[test]
fn a_first_installation_never_looks_like_an_update() {
    for arrives in 0..20 {
        // All of one manifest, the relay first: licence and policy are seen a moment later.
        let mut cluster = Cluster::with(json!({
            "image": image(1), "licenseRef": {"name": "acme"}, "policyRef": {"name": "production"},
        }));
        let policy = production(json!({}));
        if arrives % 2 == 0 {
            cluster.policy = Some(policy.clone());
        }
        for second in 0..60 {
            if second == arrives {
                if cluster.phase() == "Ready" {
                    // From here on it is a change of what serves.
                    return;
                }
                cluster.policy = Some(policy.clone());
                cluster.license = Some(json!({
                    "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantLicense",
                    "metadata": {"name": "acme", "namespace": "transfers", "uid": "lic", "generation": 1},
                    "spec": {"secretRef": {"name": "acme-license"}},
                }));
            }
            cluster.pass();
            cluster.tick();
            let phase = cluster.phase();
            assert!(["Pending", "Installing", "Ready"].contains(&phase), "{arrives}, {second}: {phase}");
            let step = cluster.step();
            assert!(step != Step::Settling, "there is nothing to go back to: {arrives}, {second}");
        }
        assert_eq!((cluster.phase(), cluster.step()), ("Ready", Step::Idle), "{arrives}");
    }
    panic!("it never was ready while the licence was away");
}

#[test]
fn an_update_is_available_while_the_spec_wants_an_image_that_does_not_run() {
    let mut cluster = Cluster::serving();
    assert_eq!(cluster.condition("UpdateAvailable"), ("False".into(), "UpToDate".into()));
    cluster.edit(|spec| spec["pod"] = json!({"labels": {"a": "b"}}));
    cluster.until(Step::Settling);
    assert_eq!(cluster.condition("UpdateAvailable").0, "False", "a setting is no release");
    cluster.wait(310);
    cluster.settle();
    cluster.faults.insert(digest(2), Fault::Crashes);
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.pass();
    assert_eq!(cluster.condition("UpdateAvailable").0, "True");
    cluster.until(Step::RollingBack);
    cluster.settle();
    assert_eq!(cluster.condition("UpdateAvailable").0, "True", "it failed, and is wanted all the same");
    cluster.edit(|spec| spec["image"] = json!(image(1)));
    cluster.settle();
    assert_eq!(cluster.condition("UpdateAvailable").0, "False");
    let told = cluster.events.iter().filter(|event| event.reason == "UpdateAvailable").count();
    assert_eq!(told, 2, "once when it was wanted, once when it was wanted again after it failed");
}
