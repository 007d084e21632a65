//! What goes wrong: images that fail, nodes that go, keys and logs that change. Each ends in a sentence and a way out.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use paramant_crds::relay::Step;
use paramant_operator_core::{ACCEPT_CONTROL_KEY, Durable, Report, Rival, Shared, decide};
use paramant_protocol::control::AdminReport;
use serde_json::json;

use crate::cluster::{Cluster, Fault, NAME, digest, hash, image};

fn rejected(cluster: &Cluster) -> Vec<String> {
    let state: ConfigMap =
        serde_json::from_value(cluster.get("ConfigMap", "health-state").unwrap().clone()).unwrap();
    Durable::read(Some(&state))
        .rejected
        .iter()
        .filter_map(|it| Some(it.image.as_ref()?.to_string()))
        .collect()
}

#[test]
fn an_image_that_fails_is_rolled_back_rejected_and_tried_again_only_when_named() {
    for (fault, says) in [
        (Fault::Crashes, "ended in the new pod"),
        (Fault::IsNotThere, "not healthy within 60 s"),
        (Fault::NeverReady, "not healthy within 60 s"),
        (Fault::LosesTheLog, "log"),
        (Fault::DiesAfterAWhile, "ended in the new pod"),
        (Fault::MakesNoPod, "no new pod was created"),
    ] {
        let mut cluster = Cluster::serving();
        cluster.faults.insert(digest(2), fault);
        cluster.edit(|spec| spec["image"] = json!(image(2)));
        cluster.until(Step::RollingBack);
        assert_eq!(cluster.phase(), "RollingBack", "{fault:?}");
        assert!(cluster.message().contains(says), "{fault:?}: {}", cluster.message());
        assert!(
            cluster.events.iter().any(|event| event.reason == "RollingBack" && event.message.contains(says))
        );
        cluster.settle();
        assert_eq!(cluster.pod_image(), image(1), "{fault:?}");
        if fault == Fault::MakesNoPod {
            assert!(rejected(&cluster).is_empty(), "no pod ran with it, so the image is not blamed");
            continue;
        }
        assert_eq!(rejected(&cluster), [digest(2)]);
        assert_eq!(cluster.condition("Ready").0, "True", "the last good one serves");
        assert_eq!(cluster.condition("UpdateBlocked"), ("True".into(), "RejectedDigest".into()));
        assert_eq!(cluster.condition("Stalled").0, "True", "and a person must act");
        assert!(cluster.message().contains("update.retry"), "{}", cluster.message());

        // The same digest with other settings is still the same digest.
        cluster.edit(|spec| spec["pod"] = json!({"labels": {"a": "b"}}));
        cluster.settle();
        assert_eq!(cluster.pod_image(), image(1));

        cluster.faults.clear();
        cluster.edit(|spec| spec["update"] = json!({"retry": digest(2)}));
        cluster.until(Step::Settling);
        assert_eq!(cluster.pod_image(), image(2));
        cluster.wait(310);
        cluster.settle();
        assert_eq!((cluster.phase(), rejected(&cluster).len()), ("Ready", 0));
    }
}

#[test]
fn a_retry_counts_once() {
    let mut cluster = Cluster::serving();
    cluster.faults.insert(digest(2), Fault::Crashes);
    cluster.edit(|spec| {
        spec["image"] = json!(image(2));
        spec["update"] = json!({"retry": digest(2)});
    });
    cluster.until(Step::RollingBack);
    cluster.settle();
    assert_eq!(cluster.condition("UpdateBlocked").1, "RejectedDigest");
    assert_eq!(cluster.step(), Step::Idle);
}

#[test]
fn going_back_to_the_old_image_after_a_failure_needs_no_roll() {
    let mut cluster = Cluster::serving();
    cluster.faults.insert(digest(2), Fault::Crashes);
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::RollingBack);
    cluster.settle();
    let pod = cluster.pod()["metadata"]["uid"].clone();
    cluster.edit(|spec| spec["image"] = json!(image(1)));
    cluster.settle();
    assert_eq!(cluster.pod()["metadata"]["uid"], pod);
    assert_eq!((cluster.phase(), cluster.condition("Stalled").0.as_str()), ("Ready", "False"));
}

#[test]
fn a_first_image_that_is_not_there_blocks_and_an_edit_alone_heals_it() {
    for fault in [Fault::IsNotThere, Fault::Crashes] {
        let mut cluster = Cluster::with(json!({ "image": image(1) }));
        cluster.faults.insert(digest(1), fault);
        cluster.settle();
        assert_eq!(cluster.phase(), "Blocked", "{fault:?}");
        assert_eq!(
            (cluster.condition("Ready").0, cluster.condition("Stalled").0),
            ("False".into(), "True".into())
        );
        let reason = if fault == Fault::Crashes { "CrashLoopBackOff" } else { "ImagePullBackOff" };
        assert_eq!(cluster.condition("Stalled").1, reason);
        cluster.edit(|spec| spec["image"] = json!(image(2)));
        cluster.run(30);
        assert_eq!(cluster.pod_image(), image(2), "the broken pod is deleted, or it would wedge the roll");
        cluster.wait(310);
        cluster.settle();
        assert_eq!(cluster.phase(), "Ready");
    }
}

#[test]
fn a_blocked_relay_is_silent_though_the_kubelet_keeps_trying() {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    cluster.faults.insert(digest(1), Fault::IsNotThere);
    cluster.settle();
    let deeds = cluster.deeds.len();
    for n in 0..60 {
        let (reason, message) = if n % 2 == 0 {
            ("ErrImagePull", "rpc error: code = NotFound desc = failed to pull x: not found".to_owned())
        } else {
            (
                "ImagePullBackOff",
                format!(
                    "Back-off pulling image \"x\": ErrImagePull: rpc error: code = NotFound desc = try {n}: not found"
                ),
            )
        };
        let pod = cluster.get_mut("Pod", "health-0").unwrap();
        pod["status"]["containerStatuses"][0]["state"]["waiting"] =
            json!({"reason": reason, "message": message});
        cluster.pass();
    }
    assert_eq!(cluster.deeds.len(), deeds);
}

#[test]
fn a_crashing_relay_keeps_its_reason_while_it_runs_for_a_moment() {
    let mut cluster = Cluster::serving();
    cluster.faults.insert(digest(1), Fault::Crashes);
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.condition("Degraded").1.as_str()), ("Degraded", "CrashLoopBackOff"));
    assert_eq!(cluster.condition("Stalled").0, "False", "it ran well before and may again");
    let deeds = cluster.deeds.len();
    let pod = cluster.get_mut("Pod", "health-0").unwrap();
    pod["status"]["containerStatuses"][0]["state"] = json!({"running": {}});
    pod["status"]["containerStatuses"][0]["restartCount"] = json!(4);
    cluster.pass();
    assert_eq!(cluster.deeds.len(), deeds);
    cluster.faults.clear();
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready");
}

#[test]
fn a_pod_that_fits_nowhere_says_so() {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    cluster.unschedulable = true;
    cluster.settle();
    assert_eq!(cluster.condition("Ready"), ("False".into(), "Unschedulable".into()));
    assert_eq!(cluster.condition("Reconciling").0, "True");
    assert!(cluster.message().contains("0/1 nodes are available"));
    let claim = cluster.get_mut("PersistentVolumeClaim", "data-health-0").unwrap();
    claim["status"]["phase"] = json!("Pending");
    let pod = cluster.get_mut("Pod", "health-0").unwrap();
    pod["status"]["conditions"][0]["message"] =
        json!("0/1 nodes: didn't find available persistent volumes to bind");
    cluster.pass();
    assert_eq!(cluster.condition("Ready").1, "VolumePending");
    assert!(cluster.message().contains("data-health-0"));
}

#[test]
fn another_version_of_the_control_interface_is_named_and_ends_nothing() {
    let mut cluster = Cluster::serving();
    let pod = cluster.pod()["metadata"]["uid"].clone();
    let ours = cluster.process.as_ref().unwrap().state.schema;
    cluster.process.as_mut().unwrap().state.schema = ours + 1;
    cluster.settle();
    assert_eq!(cluster.condition("CapabilitiesSynced"), ("False".into(), "VersionSkew".into()));
    let message = cluster.relay["status"]["conditions"].to_string();
    for part in [format!("version {}", ours + 1), format!("this operator {ours}"), "update the older".into()]
    {
        assert!(message.contains(&part), "{message}");
    }
    assert_eq!((cluster.phase(), cluster.condition("Ready").0.as_str()), ("Ready", "True"));
    cluster.edit(|spec| spec["drain"] = json!(true));
    cluster.settle();
    assert_eq!(cluster.sent.as_ref().unwrap().drain.spec, Some(true), "a drain is asked for all the same");
    assert_eq!(cluster.pod()["metadata"]["uid"], pod);
    cluster.process.as_mut().unwrap().state.schema = ours;
    cluster.settle();
    assert_eq!(cluster.condition("CapabilitiesSynced").0, "True");
}

#[test]
fn a_lost_node_is_named_and_its_pod_is_not_forced_away() {
    let mut cluster = Cluster::serving();
    let pod = cluster.get_mut("Pod", "health-0").unwrap();
    pod["spec"]["nodeName"] = json!("n1");
    pod["status"]["conditions"] =
        json!([{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}]);
    cluster.pass();
    assert_eq!((cluster.phase(), cluster.condition("Degraded").1.as_str()), ("Degraded", "NodeLost"));
    assert!(cluster.message().contains("n1"));
    let now = cluster.now;
    let pod = cluster.get_mut("Pod", "health-0").unwrap();
    pod["metadata"]["deletionTimestamp"] = json!((now - jiff::SignedDuration::from_secs(61)).to_string());
    let decision = cluster.pass();
    assert!(decision.delete.is_empty());
    assert_eq!(cluster.condition("Ready").1, "NodeLost");
    // A node that answers is not blamed, and nobody is told to taint it.
    cluster.get_mut("Pod", "health-0").unwrap()["status"]["conditions"] = json!([]);
    assert!(cluster.pass().delete.is_empty());
    assert_eq!(cluster.condition("Ready").1, "PodNotEnding");
    assert!(!cluster.message().contains("taint"), "{}", cluster.message());
}

#[test]
fn a_readiness_gate_of_somebody_else_is_no_lost_node() {
    let mut cluster = Cluster::serving();
    cluster.get_mut("Pod", "health-0").unwrap()["status"]["conditions"] = json!([
        {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady"},
        {"type": "ContainersReady", "status": "True"},
    ]);
    cluster.pass();
    assert_eq!(cluster.condition("Ready"), ("False".into(), "ReadinessGates".into()));
    assert!(!cluster.message().contains("taint"), "{}", cluster.message());
}

#[test]
fn a_changed_control_key_stalls_until_a_person_agrees() {
    let mut cluster = Cluster::serving();
    let pod_uid = cluster.pod()["metadata"]["uid"].as_str().unwrap().to_owned();
    cluster.report = Some(Report::KeyChanged { found: hash(9), pod_uid });
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.condition("Stalled").1.as_str()), ("Blocked", "ControlKeyChanged"));
    assert!(cluster.message().contains(&hash(9)), "the message says what to write");
    cluster.annotate(ACCEPT_CONTROL_KEY, &hash(8));
    cluster.settle();
    assert_eq!(cluster.phase(), "Blocked", "another key is not this one");
    cluster.annotate(ACCEPT_CONTROL_KEY, &hash(9));
    cluster.settle();
    assert_eq!(cluster.status().identity.unwrap().control_key.unwrap().as_str(), hash(9));
    cluster.report = None;
    cluster.process.as_mut().unwrap().state.identity.control_spki_sha256 = hash(9);
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready");
}

#[test]
fn nothing_a_relay_with_another_key_says_is_believed() {
    let mut cluster = Cluster::serving();
    let process = cluster.process.as_mut().unwrap();
    process.state.identity.control_spki_sha256 = hash(9);
    process.state.license.tier = "Enterprise".into();
    cluster.settle();
    assert_eq!(cluster.status().license.unwrap().tier.unwrap(), "Community");
}

#[test]
fn a_log_that_shrank_stalls() {
    let mut cluster = Cluster::serving();
    cluster.faults.insert(digest(1), Fault::LosesTheLog);
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.condition("LogConsistent").0.as_str()), ("Blocked", "False"));
    assert_eq!(cluster.status().log.unwrap().size, Some(7), "the mark stays where it was");
    cluster.faults.clear();
    cluster.settle();
    assert_eq!(cluster.condition("LogConsistent").0, "True");
}

#[test]
fn an_unreachable_relay_still_serves_and_is_degraded() {
    let mut cluster = Cluster::serving();
    cluster.report = Some(Report::Unreachable { since: cluster.now, reason: "connection refused".into() });
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.condition("Ready").0.as_str()), ("Degraded", "True"));
    assert_eq!(cluster.condition("CapabilitiesSynced").0, "False");
    cluster.report = Some(Report::Unknown);
    cluster.settle();
    assert_eq!(cluster.phase(), "Degraded", "a new leader knows nothing yet, and says nothing new");
    assert_eq!(cluster.status().identity.unwrap().fingerprint.unwrap().as_str(), hash(1));
}

#[test]
fn the_younger_of_two_relays_with_one_identity_is_refused() {
    let mut cluster = Cluster::serving();
    let mut seen = cluster.observe();
    let rival = |created: i64| Rival {
        namespace: "other".into(),
        name: "twin".into(),
        uid: "twin".into(),
        created: Timestamp::from_second(created).unwrap(),
        shares: Shared::LogOrigin,
    };
    seen.rivals = vec![rival(1_000)];
    let decision = decide(&seen, &cluster.context, cluster.now);
    assert_eq!(decision.status.phase.map(|phase| format!("{phase:?}")).as_deref(), Some("Blocked"));
    assert!(decision.status.message.unwrap().contains("other/twin"));
    assert!(decision.apply.is_empty() && decision.delete.is_empty());
    seen.rivals = vec![rival(2_000_000_000)];
    let decision = decide(&seen, &cluster.context, cluster.now);
    assert_eq!(decision.status, cluster.status(), "the older one notices nothing");
    cluster.settle();
}

#[test]
fn a_spec_that_breaks_a_rule_stalls_and_changes_nothing() {
    let mut cluster = Cluster::serving();
    let (_, objects) = cluster.snapshot();
    cluster.edit(|spec| spec["limits"] = json!({"maxBlob": "huge"}));
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.condition("Stalled").1.as_str()), ("Blocked", "InvalidSpec"));
    assert!(cluster.message().contains("spec.limits.maxBlob"), "{}", cluster.message());
    let without_state = |all: &std::collections::BTreeMap<(String, String), serde_json::Value>| {
        all.iter()
            .filter(|((_, name), _)| name != "health-state")
            .map(|(_, it)| it.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(without_state(&cluster.snapshot().1), without_state(&objects));
    cluster.edit(|spec| spec["drain"] = json!(true));
    cluster.settle();
    assert_eq!(cluster.sent.as_ref().unwrap().drain.spec, Some(true), "a drain still works");
}

#[test]
fn a_bundle_of_authorities_without_a_certificate_never_reaches_the_relay() {
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let egress = json!({"cidrs": ["192.0.2.0/24"]});
    let mut cluster = Cluster::serving();
    let settings = |cluster: &Cluster| cluster.get("ConfigMap", "health-config").unwrap()["data"].clone();
    let before = settings(&cluster);
    cluster.edit(|spec| {
        spec["webhooks"] = json!({"hosts": ["hooks.example"], "egress": egress, "caBundle": hollow})
    });
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.condition("Stalled").1.as_str()), ("Blocked", "InvalidSpec"));
    assert!(cluster.message().contains("spec.webhooks.caBundle"), "{}", cluster.message());
    assert_eq!(settings(&cluster), before);
}

#[test]
fn a_gateway_that_the_cluster_does_not_have_degrades_and_says_what_to_install() {
    let mut cluster = Cluster::with(json!({
        "image": image(1),
        "expose": {"host": "relay.acme.example", "gateway": {"name": "public"}},
    }));
    cluster.context.gateway_api = false;
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.condition("Degraded").1.as_str()), ("Degraded", "NotExposed"));
    assert!(cluster.get("HTTPRoute", NAME).is_none());
}

#[test]
fn a_missing_admin_secret_is_named_and_its_arrival_is_noticed() {
    let mut cluster =
        Cluster::with(json!({ "image": image(1), "admin": {"tokenSecretRef": {"name": "health-admin"}} }));
    cluster.settle();
    assert_eq!(
        (cluster.phase(), cluster.condition("Degraded").1.as_str()),
        ("Degraded", "AdminTokenMissing")
    );
    assert!(cluster.message().contains("health-admin"));
    assert_eq!(cluster.condition("Ready").0, "True", "it serves all the same");
    cluster.process.as_mut().unwrap().state.admin = AdminReport::TokenFile;
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready");
}

#[test]
fn a_missing_licence_object_restarts_nothing() {
    let mut cluster = Cluster::with(json!({ "image": image(1), "licenseRef": {"name": "acme"} }));
    cluster.license = Some(json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantLicense",
        "metadata": {"name": "acme", "namespace": "transfers", "uid": "lic", "generation": 1},
        "spec": {"secretRef": {"name": "acme-license"}},
    }));
    cluster.settle();
    assert_eq!(cluster.condition("LicenseValid"), ("False".into(), "NoValidLicense".into()));
    let pod = cluster.pod()["metadata"]["uid"].clone();
    cluster.license = None;
    cluster.settle();
    assert_eq!(cluster.pod()["metadata"]["uid"], pod);
    assert_eq!(cluster.condition("LicenseValid"), ("False".into(), "LicenseMissing".into()));
    assert_eq!(cluster.phase(), "Ready");
}
