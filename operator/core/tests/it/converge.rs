//! The ways a healthy relay goes: installed, changed, drained, paused, restarted, and at rest.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ConfigMap;
use paramant_crds::relay::Step;
use paramant_operator_core::children::image_digest;
use paramant_operator_core::{DeletedKind, Digest, Durable};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Deed, Fault, NAME, digest, image, production};

fn durable(cluster: &Cluster) -> Durable {
    let state: ConfigMap =
        serde_json::from_value(cluster.get("ConfigMap", "health-state").unwrap().clone()).unwrap();
    Durable::read(Some(&state))
}

fn pods_deleted(cluster: &Cluster) -> usize {
    cluster.deeds.iter().filter(|deed| matches!(deed, Deed::Delete(DeletedKind::Pod, _))).count()
}

#[test]
fn a_manifest_becomes_a_serving_relay_and_then_there_is_silence() {
    let mut cluster = Cluster::serving();
    assert_eq!(cluster.condition("Ready"), ("True".into(), "Serving".into()));
    assert_eq!(cluster.condition("Reconciling").0, "False");
    assert_eq!(pods_deleted(&cluster), 0, "an install drains and replaces nothing");
    let before = (cluster.deeds.len(), cluster.events.len(), cluster.snapshot());
    cluster.run(40);
    assert_eq!((cluster.deeds.len(), cluster.events.len()), (before.0, before.1));
    assert_eq!(cluster.snapshot().0, before.2.0);
}

#[test]
fn traffic_alone_causes_no_write() {
    let mut cluster = Cluster::serving();
    let before = cluster.deeds.len();
    for n in 1..60 {
        if let Some(process) = &mut cluster.process {
            process.state.log.size = 7 + n;
            process.state.log.root = crate::cluster::hash(u8::try_from(n % 200).unwrap());
            process.state.drain.uploads = n % 9;
            process.state.license.active_users = n;
        }
        cluster.pass();
        cluster.now += SignedDuration::from_secs(1);
    }
    assert_eq!(cluster.deeds.len(), before, "{:?}", &cluster.deeds[before..]);
}

#[test]
fn every_intent_is_covered_once_the_api_server_has_filled_in_its_defaults() {
    let mut cluster = Cluster::with(json!({
        "image": image(1),
        "pod": {
            "resources": {"requests": {"cpu": "0.5"}, "limits": {"memory": "1Gi"}},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "imagePullSecrets": [{"name": "pull"}],
            "affinity": {"podAntiAffinity": {}},
            "labels": {"team": "x"},
        },
        "expose": {"host": "relay.acme.example", "gateway": {"name": "public"}},
        "service": {"type": "LoadBalancer"},
        "limits": {"maxBlob": "5236477"},
        "storage": {"retention": "Delete"},
    }));
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready");
    assert_eq!(cluster.get("StatefulSet", NAME).unwrap()["metadata"]["generation"], 1);
}

#[test]
fn the_first_write_already_reads_as_in_progress() {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    cluster.pass();
    assert_eq!(cluster.relay["status"]["observedGeneration"], 1);
    assert_eq!(cluster.condition("Ready").0, "False");
    assert_eq!(cluster.condition("Reconciling").0, "True");
    assert_eq!(cluster.condition("Stalled").0, "False");
}

#[test]
fn a_new_image_goes_through_every_step_and_deletes_one_pod() {
    let mut cluster = Cluster::serving();
    cluster.steps.clear();
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(2));
    assert_eq!(durable(&cluster).last_good.as_ref().and_then(image_digest).unwrap().as_str(), digest(1));
    cluster.wait(305);
    cluster.settle();
    let steps = [Step::Verifying, Step::Draining, Step::Replacing, Step::Probing, Step::Settling, Step::Idle];
    assert_eq!(cluster.steps, steps);
    assert_eq!(pods_deleted(&cluster), 1);
    assert_eq!(cluster.phase(), "Ready");
    let status = cluster.status();
    assert_eq!(status.image.unwrap().current.unwrap().as_str(), digest(2));
    assert_eq!(status.update.unwrap().last_good.unwrap().as_str(), digest(2));
}

#[test]
fn uploads_in_progress_hold_a_roll_and_the_template_waits_with_it() {
    let mut cluster = Cluster::serving();
    cluster.uploads = 3;
    let template = cluster.get("StatefulSet", NAME).unwrap()["spec"]["template"].clone();
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Draining);
    cluster.run(60);
    assert_eq!(cluster.step(), Step::Draining);
    assert_eq!(cluster.get("StatefulSet", NAME).unwrap()["spec"]["template"], template);
    assert_eq!(cluster.phase(), "Updating");
    assert_eq!(cluster.condition("Ready").0, "True", "it still serves reads");
    cluster.uploads = 0;
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(2));
}

#[test]
fn an_evicted_pod_comes_back_with_the_old_template_while_a_new_one_waits() {
    let mut cluster = Cluster::serving();
    cluster.relay["spec"]["policyRef"] = json!({"name": "production"});
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.settle();
    assert_eq!(cluster.step(), Step::WaitingForApproval);
    assert_eq!(cluster.condition("UpdateBlocked"), ("True".into(), "PolicyMissing".into()));
    assert_eq!(
        (cluster.condition("Ready").0, cluster.condition("Reconciling").0),
        ("True".into(), "False".into())
    );
    cluster.objects.remove(&("Pod".into(), "health-0".into()));
    cluster.process = None;
    cluster.settle();
    assert_eq!(cluster.pod_image(), image(1));
    assert_eq!(pods_deleted(&cluster), 0);
    cluster.policy = Some(production(json!({})));
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(2), "and when the policy is there, it rolls");
}

#[test]
fn the_machines_own_drain_ends_by_itself_and_is_renewed_while_it_is_needed() {
    let mut cluster = Cluster::serving();
    cluster.uploads = 1;
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Draining);
    cluster.pass();
    let until = |cluster: &Cluster| cluster.sent.as_ref().unwrap().drain.update_until.unwrap();
    let first = until(&cluster);
    assert!(first > cluster.now);
    let seq = cluster.sent.as_ref().unwrap().seq;
    cluster.run(100);
    assert_eq!((until(&cluster), cluster.sent.as_ref().unwrap().seq), (first, seq), "not every second");
    cluster.now += SignedDuration::from_secs(1800);
    cluster.pass();
    assert!(until(&cluster) > first);
    assert_eq!(cluster.sent.as_ref().unwrap().seq, seq + 1);
}

#[test]
fn a_drain_reaches_the_relay_in_one_pass_and_status_follows_it() {
    let mut cluster = Cluster::serving();
    let seq = cluster.sent.as_ref().unwrap().seq;
    cluster.edit(|spec| spec["drain"] = json!(true));
    cluster.pass();
    let sent = cluster.sent.clone().unwrap();
    assert_eq!((sent.drain.spec, sent.seq), (Some(true), seq + 1));
    cluster.settle();
    assert_eq!(cluster.phase(), "Drained");
    assert_eq!(
        (cluster.condition("Ready").0, cluster.condition("Drained").0),
        ("True".into(), "True".into())
    );
    assert_eq!(cluster.condition("Reconciling").0, "False");
    cluster.edit(|spec| spec["drain"] = Value::Null);
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready");
    assert_eq!(cluster.condition("Drained").0, "False");
}

#[test]
fn the_order_of_directives_counts_up_only_when_their_content_changes_and_survives_a_new_leader() {
    let mut cluster = Cluster::serving();
    let seq = cluster.sent.as_ref().unwrap().seq;
    cluster.run(10);
    assert_eq!(cluster.sent.as_ref().unwrap().seq, seq);
    cluster.context.epoch = 2;
    cluster.pass();
    let sent = cluster.sent.clone().unwrap();
    assert_eq!((sent.epoch, sent.seq), (2, seq));
    // The durable copy is lost; the relay still knows how far the order has come.
    cluster.tick();
    cluster.objects.remove(&("ConfigMap".into(), "health-state".into()));
    cluster.settle();
    assert!(cluster.sent.as_ref().unwrap().seq > seq);
}

#[test]
fn a_paused_relay_is_watched_and_let_go_but_not_changed() {
    let mut cluster = Cluster::serving();
    cluster.edit(|spec| spec["drain"] = json!(true));
    cluster.settle();
    cluster.annotate("paramant.app/paused", "true");
    cluster.edit(|spec| {
        spec["image"] = json!(image(2));
        spec["limits"] = json!({"maxBlob": "1Mi"});
    });
    cluster.settle();
    assert_eq!(cluster.phase(), "Paused");
    assert_eq!(cluster.condition("Ready"), ("Unknown".into(), "Paused".into()));
    assert_eq!(cluster.condition("Paused").0, "True");
    assert_eq!(cluster.relay["status"]["observedGeneration"], 3, "it is seen");
    assert_eq!(cluster.pod_image(), image(1));
    assert!(
        !cluster.get("ConfigMap", "health-config").unwrap()["data"]["relay.yaml"]
            .as_str()
            .unwrap()
            .contains("1Mi")
    );
    assert_eq!(cluster.sent.as_ref().unwrap().drain.spec, Some(true), "a drain that is wanted stays");
    cluster.edit(|spec| spec["drain"] = Value::Null);
    cluster.settle();
    assert_eq!(cluster.sent.as_ref().unwrap().drain.spec, None, "one that is not is lifted");
    cluster.edit(|spec| spec["drain"] = json!(true));
    cluster.settle();
    assert_eq!(cluster.sent.as_ref().unwrap().drain.spec, None, "and none begins");
    cluster.context.ca_bundle_pem = "NEW".into();
    cluster.settle();
    assert_eq!(cluster.get("ConfigMap", "health-config").unwrap()["data"]["operator-ca.pem"], "NEW");
    cluster.annotate("paramant.app/paused", "false");
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(2));
}

#[test]
fn a_changed_ca_bundle_or_limit_restarts_nothing() {
    let mut cluster = Cluster::serving();
    let set = cluster.get("StatefulSet", NAME).unwrap().clone();
    cluster.context.ca_bundle_pem = "NEW\nOLD".into();
    cluster.edit(|spec| spec["limits"] = json!({"maxBlob": "16Mi"}));
    cluster.settle();
    assert_eq!(cluster.get("StatefulSet", NAME).unwrap(), &set);
    let config = &cluster.get("ConfigMap", "health-config").unwrap()["data"];
    assert_eq!(config["operator-ca.pem"], "NEW\nOLD");
    assert!(config["relay.yaml"].as_str().unwrap().contains("16Mi"));
}

#[test]
fn a_lost_status_changes_nothing_but_status() {
    let mut cluster = Cluster::serving();
    let (relay, objects) = cluster.snapshot();
    cluster.relay["status"] = json!({"observedGeneration": -1});
    cluster.settle();
    assert_eq!(cluster.snapshot().1, objects);
    assert_eq!(cluster.phase(), relay["status"]["phase"].as_str().unwrap());
    assert_eq!(pods_deleted(&cluster), 0);
}

#[test]
fn a_status_lost_in_any_step_of_a_roll_ends_in_the_same_place() {
    for step in [Step::Verifying, Step::Draining, Step::Replacing, Step::Probing, Step::Settling] {
        let mut cluster = Cluster::serving();
        cluster.edit(|spec| spec["image"] = json!(image(2)));
        cluster.until(step);
        cluster.relay["status"] = json!({"observedGeneration": -1});
        cluster.until(Step::Settling);
        cluster.wait(310);
        cluster.settle();
        assert_eq!((cluster.pod_image(), cluster.phase()), (image(2), "Ready"), "lost in {step:?}");
        assert_eq!(durable(&cluster).last_good.as_ref().and_then(image_digest).unwrap().as_str(), digest(2));
    }
}

#[test]
fn a_lost_durable_copy_is_rebuilt_from_what_runs() {
    let mut cluster = Cluster::serving();
    let pod = cluster.pod().clone();
    cluster.objects.remove(&("ConfigMap".into(), "health-state".into()));
    cluster.settle();
    assert_eq!(cluster.pod()["metadata"]["uid"], pod["metadata"]["uid"]);
    assert_eq!(cluster.phase(), "Ready");
    let state = durable(&cluster);
    assert!(state.template.is_some() && state.last_good.is_some() && state.control_key.is_some());
}

#[test]
fn a_removed_stateful_set_comes_back_with_the_last_rolled_template() {
    let mut cluster = Cluster::serving();
    cluster.relay["spec"]["policyRef"] = json!({"name": "missing"});
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.settle();
    cluster.objects.remove(&("StatefulSet".into(), NAME.into()));
    cluster.settle();
    let template = cluster.get("StatefulSet", NAME).unwrap()["spec"]["template"].clone();
    assert_eq!(image_digest(&template).unwrap().as_str(), digest(1));
}

#[test]
fn what_somebody_else_changed_in_a_child_is_put_back() {
    let mut cluster = Cluster::serving();
    for (kind, name, pointer, value) in [
        ("NetworkPolicy", NAME, "/spec/policyTypes", json!(["Ingress"])),
        ("Service", NAME, "/spec/selector/paramant.app~1relay", json!("other")),
        ("StatefulSet", NAME, "/spec/updateStrategy/type", json!("RollingUpdate")),
        ("ConfigMap", "health-config", "/data/relay.yaml", json!("payload: Memory")),
    ] {
        let before = cluster.get(kind, name).unwrap().pointer(pointer).unwrap().clone();
        *cluster.get_mut(kind, name).unwrap().pointer_mut(pointer).unwrap() = value;
        cluster.settle();
        assert_eq!(cluster.get(kind, name).unwrap().pointer(pointer).unwrap(), &before, "{kind} {pointer}");
    }
    assert_eq!(pods_deleted(&cluster), 0);
}

#[test]
fn a_field_that_the_spec_drops_is_dropped_from_the_child() {
    let mut cluster =
        Cluster::with(json!({ "image": image(1), "service": {"annotations": {"lb": "internal"}} }));
    cluster.settle();
    cluster.edit(|spec| spec["service"] = json!({}));
    cluster.settle();
    assert!(cluster.get("Service", NAME).unwrap()["metadata"]["annotations"]["lb"].is_null());
}

#[test]
fn a_restart_that_somebody_asks_for_goes_through_the_machine() {
    let mut cluster = Cluster::serving();
    let pod = cluster.pod()["metadata"]["uid"].clone();
    let set = cluster.get_mut("StatefulSet", NAME).unwrap();
    set["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] =
        json!("2026-01-01T00:00:00Z");
    set["metadata"]["generation"] = json!(2);
    cluster.steps.clear();
    cluster.until(Step::Settling);
    assert!(cluster.steps.contains(&Step::Draining));
    cluster.wait(310);
    cluster.settle();
    assert_ne!(cluster.pod()["metadata"]["uid"], pod);
    assert_eq!(pods_deleted(&cluster), 1);
}

#[test]
fn pod_settings_go_through_the_same_machine_and_a_failed_one_rejects_no_image() {
    let mut cluster = Cluster::serving();
    cluster.edit(|spec| spec["pod"] = json!({"priorityClassName": "high"}));
    cluster.until(Step::Replacing);
    cluster.faults.insert(digest(1), Fault::NeverReady);
    cluster.until(Step::RollingBack);
    cluster.faults.clear();
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready");
    let rejected = durable(&cluster).rejected;
    assert_eq!((rejected.len(), rejected[0].image.clone()), (1, None));
    cluster.edit(|spec| spec["pod"] = json!({"priorityClassName": "low"}));
    cluster.until(Step::Settling);
}

#[test]
fn an_operator_that_renders_the_same_wishes_differently_restarts_nothing() {
    let mut cluster = Cluster::serving();
    let pod = cluster.pod()["metadata"]["uid"].clone();
    // As an earlier release would have left it: another probe period, everywhere the template is kept.
    let set = cluster.get_mut("StatefulSet", NAME).unwrap();
    set["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] = json!(7);
    let revision = format!("{NAME}-{}", &Digest::of_json(&set["spec"]["template"]).hex()[..10]);
    cluster.get_mut("Pod", "health-0").unwrap()["metadata"]["labels"]["controller-revision-hash"] =
        json!(revision);
    let state = cluster.get_mut("ConfigMap", "health-state").unwrap();
    let mut template: Value = serde_json::from_str(state["data"]["template"].as_str().unwrap()).unwrap();
    template["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] = json!(7);
    state["data"]["template"] = json!(template.to_string());
    cluster.settle();
    assert_eq!(cluster.pod()["metadata"]["uid"], pod);
    assert_eq!(cluster.step(), Step::Idle);
    let period = |cluster: &Cluster| {
        let template = &cluster.get("StatefulSet", NAME).unwrap()["spec"]["template"];
        template["spec"]["containers"][0]["readinessProbe"]["periodSeconds"].clone()
    };
    assert_eq!(period(&cluster), 7);
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.until(Step::Settling);
    assert_eq!(period(&cluster), 2, "the next roll takes the new form along");
}

#[test]
fn a_tag_is_resolved_once_and_only_another_text_asks_again() {
    let tag = "registry.example/paramant/relay:3.1.0";
    let mut cluster = Cluster::with(json!({ "image": tag }));
    cluster.pass();
    assert_eq!(cluster.condition("Ready").1, "ResolvingImage");
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.condition("Stalled").1.as_str()), ("Blocked", "ImageNotFound"));
    cluster.tags.insert(tag.into(), digest(1));
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.pod_image()), ("Ready", image(1)));
    cluster.tags.insert(tag.into(), digest(2));
    cluster.relay["status"] = json!({"observedGeneration": -1});
    cluster.resolution = Default::default();
    cluster.settle();
    assert_eq!(cluster.pod_image(), image(1), "a tag that moved is not followed");
    assert!(cluster.pass().resolve.is_none());
}

#[test]
fn a_pin_holds_a_digest_whatever_the_image_says() {
    let mut cluster = Cluster::serving();
    cluster.edit(|spec| {
        spec["image"] = json!("registry.example/paramant/relay:9.9.9");
        spec["update"] = json!({"pin": digest(3)});
    });
    cluster.until(Step::Settling);
    assert_eq!(cluster.pod_image(), image(3));
}

#[test]
fn a_relay_made_again_continues_its_log_and_key_but_not_its_template() {
    let mut cluster = Cluster::serving();
    let before = durable(&cluster);
    cluster.relay["metadata"]["uid"] = json!("another");
    cluster.relay["status"] = json!({"observedGeneration": -1});
    cluster.relay["spec"]["image"] = json!(image(2));
    cluster.objects.retain(|(kind, name), _| kind == "PersistentVolumeClaim" || name == "health-state");
    cluster.process = None;
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.pod_image()), ("Ready", image(2)));
    let after = durable(&cluster);
    assert_eq!((after.log, after.control_key), (before.log, before.control_key));
    assert_eq!(after.relay_uid.as_deref(), Some("another"));
}

#[test]
fn a_relay_that_is_being_deleted_is_told_so_and_nothing_else_is_done() {
    let mut cluster = Cluster::serving();
    let seq = cluster.sent.as_ref().unwrap().seq;
    cluster.relay["metadata"]["deletionTimestamp"] = json!(cluster.now.to_string());
    let decision = cluster.pass();
    assert!(decision.apply.is_empty() && decision.delete.is_empty() && decision.state.is_none());
    let said = decision.directives.unwrap();
    assert!(said.deleting && said.seq > seq);
}

#[test]
fn a_way_in_that_is_no_longer_wanted_is_taken_away_if_it_is_ours() {
    let mut cluster = Cluster::with(json!({
        "image": image(1),
        "expose": {"host": "relay.acme.example", "ingressClassName": "nginx"},
    }));
    cluster.settle();
    assert!(cluster.get("Ingress", NAME).is_some());
    cluster
        .edit(|spec| spec["expose"] = json!({"host": "relay.acme.example", "gateway": {"name": "public"}}));
    cluster.settle();
    assert!(cluster.get("Ingress", NAME).is_none());
    assert!(cluster.get("HTTPRoute", NAME).is_some());
    cluster.get_mut("HTTPRoute", NAME).unwrap()["metadata"]["ownerReferences"] = json!([]);
    cluster.edit(|spec| spec["expose"] = Value::Null);
    cluster.pass();
    assert!(cluster.get("HTTPRoute", NAME).is_some(), "somebody else's stays");
}

#[test]
fn a_larger_volume_reaches_the_claim_then_its_template_and_restarts_nothing() {
    let mut cluster = Cluster::serving();
    let set = cluster.get("StatefulSet", NAME).unwrap().clone();
    let pod = cluster.pod()["metadata"]["uid"].clone();
    cluster.edit(|spec| spec["storage"] = json!({"size": "20Gi"}));
    cluster.settle();
    let size = "/spec/resources/requests/storage";
    let claim = cluster.get("PersistentVolumeClaim", "data-health-0").unwrap();
    assert_eq!(claim.pointer(size).unwrap(), "20Gi");
    let after = cluster.get("StatefulSet", NAME).unwrap();
    assert_eq!(after["spec"]["volumeClaimTemplates"][0].pointer(size).unwrap(), "20Gi");
    assert_ne!(
        after["metadata"]["uid"], set["metadata"]["uid"],
        "a claim template cannot be changed in place"
    );
    assert_eq!(after["spec"]["template"], set["spec"]["template"]);
    let orphaned = Deed::Delete(DeletedKind::StatefulSetOrphan, NAME.into());
    assert_eq!(cluster.deeds.iter().filter(|deed| **deed == orphaned).count(), 1);
    assert_eq!((cluster.pod()["metadata"]["uid"].clone(), cluster.step()), (pod, Step::Idle));
}

#[test]
fn another_reader_of_metrics_is_let_in_and_restarts_nothing() {
    let mut cluster = Cluster::serving();
    let (set, pod) = (cluster.get("StatefulSet", NAME).unwrap().clone(), cluster.pod().clone());
    let monitoring = json!({ "namespaceSelector": { "matchLabels": { "team": "watch" } } });
    cluster.context.metrics_from = vec![serde_json::from_value(monitoring.clone()).unwrap()];
    cluster.settle();
    let policy = cluster.get("NetworkPolicy", NAME).unwrap();
    assert_eq!(policy.pointer("/spec/ingress/2/from/0"), Some(&monitoring));
    assert_eq!((cluster.get("StatefulSet", NAME).unwrap(), cluster.pod()), (&set, &pod));
    cluster.context.metrics_from.clear();
    cluster.settle();
    assert_eq!(cluster.get("NetworkPolicy", NAME).unwrap().pointer("/spec/ingress/2"), None);
}
