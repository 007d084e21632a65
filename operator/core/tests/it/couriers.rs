//! A courier comes with the wish for witnesses and goes with it, and no relay restarts for either.

use paramant_operator_core::DeletedKind;
use paramant_protocol::control::CourierPurpose;
use paramant_tlog::keys::{CosignatureKey, Seed, Signer as _};
use serde_json::{Value, json};

use crate::cluster::{COURIER, Cluster, Deed, WEBHOOK_COURIER, image};

fn witnesses() -> Value {
    let key = CosignatureKey::from_seed("witness.example/w", &Seed::new([1; 32])).unwrap();
    let member =
        json!({ "name": "w", "publicKey": key.verifier().to_string(), "url": "https://witness.example" });
    json!({ "quorum": 1, "members": [member], "egress": { "cidrs": ["192.0.2.0/24"] } })
}

fn witnessed() -> Cluster {
    let mut cluster = Cluster::serving();
    cluster.deeds.clear();
    cluster.edit(|spec| spec["log"] = json!({ "witnesses": witnesses() }));
    cluster.settle();
    cluster
}

fn position(cluster: &Cluster, what: &str) -> usize {
    let deed = Deed::Apply(what.to_owned());
    cluster.deeds.iter().position(|it| *it == deed).unwrap_or_else(|| panic!("{what}: {:?}", cluster.deeds))
}

fn arguments(cluster: &Cluster) -> Vec<String> {
    let deployment = cluster.get("Deployment", COURIER).unwrap();
    serde_json::from_value(deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone()).unwrap()
}

#[test]
fn a_courier_is_made_in_the_order_in_which_its_pod_needs_things() {
    let cluster = witnessed();
    let deployment = format!("Deployment/{COURIER}");
    let policy = position(&cluster, &format!("NetworkPolicy/{COURIER}"));
    let account = position(&cluster, &format!("ServiceAccount/{COURIER}"));
    assert!(position(&cluster, &deployment) < policy, "{:?}", cluster.deeds);
    assert!(policy < account, "no pod can be made without its account, so none is ever without its policy");
    let applies = cluster.deeds.iter().filter(|it| **it == Deed::Apply(deployment.clone())).count();
    assert_eq!(applies, 2, "first without a replica, then with one");
    let live = cluster.get("Deployment", COURIER).unwrap();
    assert_eq!(live["spec"]["replicas"], 1);
    let arguments = arguments(&cluster);
    assert!(arguments.contains(&"10.0.0.7:7443".to_owned()), "{arguments:?}");
    assert!(arguments.contains(&"witness.example:443".to_owned()), "{arguments:?}");
}

#[test]
fn the_relay_is_told_of_its_courier_and_of_its_witnesses_and_goes_on_running() {
    let before = Cluster::serving().pod()["metadata"]["uid"].clone();
    let cluster = witnessed();
    assert_eq!(cluster.pod()["metadata"]["uid"], before, "no restart");
    assert!(!cluster.deeds.iter().any(|deed| matches!(deed, Deed::Delete(..))), "{:?}", cluster.deeds);
    let couriers = cluster.sent.clone().unwrap().couriers.unwrap();
    let admitted = couriers.admitted.first().unwrap();
    assert_eq!((admitted.purpose, admitted.service_account.as_str()), (CourierPurpose::Witness, COURIER));
    assert_eq!(couriers.token_keys, "{\"keys\":[]}");
    let settings = cluster.get("ConfigMap", "health-config").unwrap()["data"]["relay.yaml"].as_str().unwrap();
    assert!(settings.contains("reach: Courier"), "{settings}");
    assert_eq!(cluster.condition("LogWitnessed"), ("False".into(), "Configuring".into()));
    assert_eq!(Cluster::serving().condition("LogWitnessed"), ("False".into(), "NoWitnesses".into()));
}

#[test]
fn new_token_keys_are_passed_on_and_touch_nothing_else() {
    let mut cluster = witnessed();
    let (seq, objects) = (cluster.sent.as_ref().unwrap().seq, cluster.objects.len());
    cluster.deeds.clear();
    cluster.context.token_keys = None;
    cluster.settle();
    assert_eq!(cluster.sent.as_ref().unwrap().seq, seq, "keys that cannot be read now are no news");
    cluster.context.token_keys = Some("{\"keys\":[1]}".into());
    cluster.settle();
    let sent = cluster.sent.clone().unwrap();
    assert_eq!((sent.seq, sent.couriers.unwrap().token_keys.as_str()), (seq + 1, "{\"keys\":[1]}"));
    assert_eq!(cluster.deeds, [Deed::State]);
    assert_eq!(cluster.objects.len(), objects);
}

#[test]
fn without_the_wish_the_courier_goes_with_all_that_is_its_own() {
    let mut cluster = witnessed();
    cluster.deeds.clear();
    cluster.edit(|spec| spec["log"] = Value::Null);
    cluster.settle();
    let deleted: Vec<_> = cluster.deeds.iter().filter(|deed| matches!(deed, Deed::Delete(..))).collect();
    assert_eq!(deleted, [&Deed::Delete(DeletedKind::Courier, COURIER.into())]);
    for (kind, name) in [
        ("Deployment", COURIER),
        ("NetworkPolicy", COURIER),
        ("ServiceAccount", COURIER),
        ("Service", "health-control"),
    ] {
        assert!(cluster.get(kind, name).is_none(), "{kind} {name}");
    }
    assert!(cluster.get("Service", "health").is_some(), "and nothing of the relay's");
    assert_eq!(cluster.sent.as_ref().unwrap().couriers, None);
}

#[test]
fn a_courier_follows_the_relays_image_only_when_that_is_rolled() {
    let mut cluster = witnessed();
    let of_courier = |cluster: &Cluster| {
        let deployment = cluster.get("Deployment", COURIER).unwrap();
        deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    };
    assert_eq!(of_courier(&cluster), image(1));
    cluster.uploads = 1;
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster.run(10);
    assert_eq!(
        (cluster.pod_image(), of_courier(&cluster)),
        (image(1), image(1)),
        "the roll waits for an upload"
    );
    cluster.uploads = 0;
    cluster.run(30);
    cluster.settle();
    assert_eq!((cluster.pod_image(), of_courier(&cluster)), (image(2), image(2)));
}

#[test]
fn a_witness_that_no_relay_could_read_is_told_before_anything_is_made() {
    let mut cluster = Cluster::serving();
    cluster.deeds.clear();
    let mut wrong = witnesses();
    wrong["members"][0]["publicKey"] = json!("witness.example+0123abcd+BBBB");
    cluster.edit(|spec| spec["log"] = json!({ "witnesses": wrong }));
    cluster.settle();
    assert!(cluster.message().contains("members[0].publicKey"), "{}", cluster.message());
    assert!(cluster.get("Deployment", COURIER).is_none());
}

/// A certificate authority of one's own.
fn ca() -> &'static str {
    static CA: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    CA.get_or_init(|| {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    })
}

fn webhooks() -> Value {
    json!({ "hosts": ["hooks.example"], "caBundle": ca(), "egress": { "cidrs": ["203.0.113.0/24"] } })
}

#[test]
fn a_relay_with_webhooks_has_a_courier_of_their_own_beside_that_to_witnesses() {
    let mut cluster = witnessed();
    let pod = cluster.pod()["metadata"]["uid"].clone();
    cluster.edit(|spec| spec["webhooks"] = webhooks());
    cluster.settle();
    assert_eq!(cluster.pod()["metadata"]["uid"], pod, "no restart");
    let admitted = cluster.sent.clone().unwrap().couriers.unwrap().admitted;
    let admitted: Vec<_> = admitted.iter().map(|it| (it.purpose, it.service_account.as_str())).collect();
    assert_eq!(admitted, [(CourierPurpose::Witness, COURIER), (CourierPurpose::Webhook, WEBHOOK_COURIER)]);
    for (courier, control, purpose, destination) in [
        (COURIER, "health-control", "witness", "witness.example:443"),
        (WEBHOOK_COURIER, "health-control-webhook", "webhook", "hooks.example:443"),
    ] {
        let deployment = cluster.get("Deployment", courier).unwrap();
        assert_eq!(deployment["spec"]["replicas"], 1, "{courier}");
        let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        let arguments: Vec<String> = serde_json::from_value(arguments.clone()).unwrap();
        let destinations: Vec<_> = arguments.iter().filter(|it| it.ends_with(":443")).collect();
        assert_eq!(destinations, [destination], "{courier}: {arguments:?}");
        assert!(arguments.contains(&purpose.to_owned()), "{courier}");
        let owner = &cluster.get("Service", control).unwrap()["metadata"]["ownerReferences"][0];
        assert_eq!(owner["name"], courier, "each has a Service of its own, which goes with it");
    }
    let settings = cluster.get("ConfigMap", "health-config").unwrap()["data"]["relay.yaml"].clone();
    let settings: Value = serde_saphyr::from_str(settings.as_str().unwrap()).unwrap();
    assert_eq!(
        settings["webhooks"],
        json!({ "hosts": ["hooks.example"], "caBundle": ca(), "reach": "Courier" })
    );

    cluster.deeds.clear();
    cluster.edit(|spec| spec["log"] = Value::Null);
    cluster.settle();
    let deleted: Vec<_> = cluster.deeds.iter().filter(|deed| matches!(deed, Deed::Delete(..))).collect();
    assert_eq!(deleted, [&Deed::Delete(DeletedKind::Courier, COURIER.into())]);
    for (kind, name) in [("Deployment", WEBHOOK_COURIER), ("Service", "health-control-webhook")] {
        assert!(cluster.get(kind, name).is_some(), "{kind} {name} is not the other's");
    }
    cluster.deeds.clear();
    cluster.edit(|spec| spec["webhooks"] = Value::Null);
    cluster.settle();
    assert!(cluster.get("Service", "health-control-webhook").is_none());
    assert_eq!(cluster.sent.as_ref().unwrap().couriers, None);
}

#[test]
fn a_host_of_webhooks_that_no_relay_would_call_is_told_before_anything_is_made() {
    let mut cluster = Cluster::serving();
    let mut wrong = webhooks();
    wrong["hosts"] = json!(["hooks.example", "localhost"]);
    cluster.edit(|spec| spec["webhooks"] = wrong);
    cluster.settle();
    assert!(cluster.message().contains("spec.webhooks.hosts[1]"), "{}", cluster.message());
    assert!(cluster.get("Deployment", WEBHOOK_COURIER).is_none());
}
