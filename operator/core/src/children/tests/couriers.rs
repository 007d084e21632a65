//! The courier of a relay with witnesses: what it is made of, and what it may reach.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::*;

/// Two witnesses behind one address, one elsewhere.
fn witnessed(egress: Value) -> ParamantRelay {
    let member = |name: &str, url: &str| json!({ "name": name, "publicKey": "w+00000000+AAAA", "url": url });
    let members = [
        member("a", "https://witness.example/a"),
        member("b", "https://witness.example/b"),
        member("c", "https://192.0.2.7:8443"),
    ];
    relay(json!({
        "image": "registry.example/paramant/relay:3.1.0",
        "log": { "witnesses": { "quorum": 2, "members": members, "egress": egress } },
        "pod": {
            "tolerations": [{ "key": "relay", "operator": "Exists" }],
            "imagePullSecrets": [{ "name": "pull" }],
        },
    }))
}

fn owner() -> OwnerReference {
    deployment_as_owner(
        &serde_json::from_value(json!({ "metadata": { "name": "d", "uid": "d-1" } })).unwrap(),
    )
    .unwrap()
}

#[test]
fn a_courier_exists_only_for_a_relay_with_witnesses() {
    assert!(Courier::to_witnesses(Subject::of(&full()).unwrap()).is_none());
    let relay = witnessed(json!({ "cidrs": ["192.0.2.0/24"] }));
    let subject = Subject::of(&relay).unwrap();
    let courier = Courier::to_witnesses(subject).unwrap();
    assert_eq!(
        (courier.name().as_str(), courier.control_name().as_str()),
        ("health-courier-witness", "health-control")
    );
    let yaml = relay_yaml(&subject, &StaticSettings::wanted(&subject));
    let read: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(read["log"]["witnesses"]["reach"], "Courier");
    assert_eq!(read["log"]["witnesses"]["members"][2]["url"], "https://192.0.2.7:8443");
}

#[test]
fn witnesses_change_no_pod_template_so_no_relay_restarts_for_them() {
    let with = witnessed(json!({ "cidrs": ["192.0.2.0/24"] }));
    let mut without = with.clone();
    without.spec.log = None;
    assert_eq!(template_of(&with, None), template_of(&without, None));
}

#[test]
fn a_courier_has_no_replica_before_it_knows_its_relay_and_then_says_where_it_may_go() {
    let relay = witnessed(json!({ "cidrs": ["192.0.2.0/24"] }));
    let courier = Courier::to_witnesses(Subject::of(&relay).unwrap()).unwrap();
    let digest = DIGEST.parse().unwrap();
    assert_eq!(courier.deployment(&digest, None)["spec"]["replicas"], 0);
    let contact = Contact { address: "10.96.0.7", key: "abc" };
    let intent = courier.deployment(&digest, Some(contact));
    assert_eq!(intent["spec"]["replicas"], 1);
    let pod = &intent["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["args"],
        json!([
            "courier",
            "--purpose",
            "witness",
            "--relay",
            "10.96.0.7:7443",
            "--relay-key",
            "abc",
            "--token-file",
            "/var/run/secrets/paramant/control-token",
            "--destination",
            "witness.example:443",
            "--destination",
            "192.0.2.7:8443",
        ])
    );
    assert_eq!(pod["containers"][0]["image"], format!("registry.example/paramant/relay@{DIGEST}"));
    let token = &pod["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["audience"], "paramant-control");
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["tolerations"], json!([{ "key": "relay", "operator": "Exists" }]));
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "pull" }]));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let v6 = courier.deployment(&digest, Some(Contact { address: "fd00::7", key: "abc" }));
    assert_eq!(v6["spec"]["template"]["spec"]["containers"][0]["args"][4], "[fd00::7]:7443");
}

#[test]
fn no_selector_of_the_relays_matches_its_courier() {
    let relay = witnessed(json!({ "cidrs": ["192.0.2.0/24"] }));
    let subject = Subject::of(&relay).unwrap();
    let intent = Courier::to_witnesses(subject).unwrap().deployment(&DIGEST.parse().unwrap(), None);
    let labels = intent["spec"]["template"]["metadata"]["labels"].as_object().unwrap();
    let matches = subject.selector().iter().all(|(key, value)| labels.get(key).is_some_and(|it| it == value));
    assert!(!matches, "{labels:?}");
    assert!(!labels.contains_key(RELAY_LABEL) && !labels.contains_key("app.kubernetes.io/managed-by"));
}

#[test]
fn what_belongs_to_a_courier_goes_with_its_deployment() {
    let relay = witnessed(json!({ "cidrs": ["192.0.2.0/24"] }));
    let courier = Courier::to_witnesses(Subject::of(&relay).unwrap()).unwrap();
    let owner = owner();
    for child in
        [courier.control_service(&owner), courier.network_policy(&owner), courier.service_account(&owner)]
    {
        let owners = &child["metadata"]["ownerReferences"];
        assert_eq!(
            (owners[0]["kind"].as_str(), owners[0]["uid"].as_str()),
            (Some("Deployment"), Some("d-1")),
            "{child}"
        );
        assert_eq!(child["metadata"]["annotations"][INTENT_ANNOTATION].as_str().unwrap().len(), 64);
    }
    let deployment = courier.deployment(&DIGEST.parse().unwrap(), None);
    assert_eq!(deployment["metadata"]["ownerReferences"][0]["uid"], "u-1");
    let service = courier.control_service(&owner);
    assert_eq!(
        service["spec"]["ports"],
        json!([{ "name": "control", "port": 7443, "protocol": "TCP", "targetPort": "control" }])
    );
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
}

#[test]
fn a_courier_may_reach_its_relay_its_destinations_and_names_and_nothing_else() {
    let rules = |egress: Value| {
        let relay = witnessed(egress);
        let policy = Courier::to_witnesses(Subject::of(&relay).unwrap()).unwrap().network_policy(&owner());
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert!(policy["spec"]["ingress"].is_null(), "nobody reaches it");
        policy["spec"]["egress"].as_array().unwrap().clone()
    };
    let tcp = |port: u16| json!({ "port": port, "protocol": "TCP" });
    let dns = json!({
        "to": [{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } } }],
        "ports": [{ "port": 53, "protocol": "UDP" }, tcp(53)],
    });
    let block = |cidr: &str| json!([{ "ipBlock": { "cidr": cidr } }]);
    let direct = rules(json!({ "cidrs": ["192.0.2.0/24"] }));
    assert_eq!(direct[0]["ports"], json!([tcp(7443)]));
    assert_eq!(direct[0]["to"][0]["podSelector"]["matchLabels"]["paramant.app/relay"], "health");
    assert_eq!(direct[1], json!({ "to": block("192.0.2.0/24"), "ports": [tcp(443), tcp(8443)] }));
    assert_eq!((direct.len(), &direct[2]), (3, &dns));
    let by_address = rules(json!({ "proxy": "http://192.0.2.9:3128", "cidrs": ["192.0.2.0/24"] }));
    assert_eq!(
        by_address[1..],
        [json!({ "to": block("192.0.2.9/32"), "ports": [tcp(3128)] })],
        "and no names"
    );
    let by_name = rules(json!({ "proxy": "http://proxy.example:3128", "cidrs": ["10.0.0.0/8"] }));
    assert_eq!(by_name[1..], [json!({ "to": block("10.0.0.0/8"), "ports": [tcp(3128)] }), dns.clone()]);
    let anywhere = rules(json!({ "proxy": "http://proxy.example:3128" }));
    assert_eq!(anywhere[1..], [json!({ "ports": [tcp(3128)] }), dns]);
}

#[test]
fn only_a_relays_own_couriers_reach_its_control_port_beside_the_operator() {
    let relay = witnessed(json!({ "cidrs": ["192.0.2.0/24"] }));
    let policy = network_policy(&Subject::of(&relay).unwrap(), "paramant-system", &[]);
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    let labels =
        json!({ "app.kubernetes.io/name": "paramant-courier", "app.kubernetes.io/instance": "health" });
    let wanted = json!({ "ports": [{ "port": 7443, "protocol": "TCP" }], "from": [{ "podSelector": { "matchLabels": labels } }] });
    assert_eq!(rules[2..], [wanted]);
    assert!(policy["spec"]["egress"].is_null(), "and the relay dials nobody all the same");
    assert_eq!(
        network_policy(&Subject::of(&plain()).unwrap(), "paramant-system", &[])["spec"]["ingress"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_courier_of_webhooks_may_reach_the_listed_hosts_by_https_alone() {
    let relay = relay(json!({
        "image": "registry.example/paramant/relay:3.1.0",
        "webhooks": { "hosts": ["hooks.example", "1.1.1.1", "hooks.example"], "egress": { "cidrs": ["1.1.1.0/24"] } },
    }));
    let subject = Subject::of(&relay).unwrap();
    assert!(Courier::to_witnesses(subject).is_none());
    let courier = Courier::to_webhooks(subject).unwrap();
    assert_eq!(
        (courier.name().as_str(), courier.control_name().as_str()),
        ("health-courier-webhook", "health-control-webhook")
    );
    let contact = Contact { address: "10.96.0.7", key: "abc" };
    let intent = courier.deployment(&DIGEST.parse().unwrap(), Some(contact));
    let arguments = intent["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().clone();
    assert_eq!(arguments[1..3], [json!("--purpose"), json!("webhook")]);
    assert_eq!(
        arguments[9..],
        ["--destination", "hooks.example:443", "--destination", "1.1.1.1:443"].map(|it| json!(it))
    );
    let policy = courier.network_policy(&owner());
    let out = &policy["spec"]["egress"][1];
    assert_eq!(
        *out,
        json!({ "to": [{ "ipBlock": { "cidr": "1.1.1.0/24" } }], "ports": [{ "port": 443, "protocol": "TCP" }] })
    );
    let ingress = network_policy(&subject, "paramant-system", &[]);
    assert_eq!(
        ingress["spec"]["ingress"].as_array().unwrap().len(),
        3,
        "its control port is open to its courier"
    );
}

fn license(spec: Value) -> paramant_crds::ParamantLicenseSpec {
    serde_json::from_value(spec).unwrap()
}

fn followed(spec: &paramant_crds::ParamantLicenseSpec) -> License<'_> {
    License { spec, online: spec.online.as_ref(), ca_bundle: Some("ours"), known: true }
}

#[test]
fn a_courier_of_the_licence_exists_only_while_its_online_check_is_switched_on() {
    let relay =
        relay(json!({ "image": "registry.example/paramant/relay:3.1.0", "licenseRef": { "name": "acme" } }));
    let yaml = |subject: &Subject<'_>| -> Value {
        serde_saphyr::from_str(&relay_yaml(subject, &StaticSettings::wanted(subject))).unwrap()
    };
    let subject = Subject::of(&relay).unwrap();
    let offline = license(json!({ "secretRef": { "name": "s" } }));
    for without in [subject, subject.licensed(Some(followed(&offline)))] {
        assert!(Courier::wanted(without).is_empty());
        assert_eq!(yaml(&without)["license"], json!({ "directory": "/etc/paramant/license" }));
    }
    let online = license(json!({
        "secretRef": { "name": "s" },
        "online": {
            "endpoint": "https://authority.example:8443/v1/license/check", "interval": "1h",
            "egress": { "cidrs": ["192.0.2.0/24"] },
        },
    }));
    let older = subject.licensed(Some(License { known: false, ..followed(&online) }));
    assert!(Courier::wanted(older).is_empty(), "a release that does not know it would refuse its settings");
    assert_eq!(yaml(&older)["license"], json!({ "directory": "/etc/paramant/license" }));
    let subject = subject.licensed(Some(followed(&online)));
    let courier = Courier::to_authority(subject).unwrap();
    assert_eq!(
        (courier.name().as_str(), courier.control_name().as_str()),
        ("health-courier-license", "health-control-license")
    );
    let contact = Contact { address: "10.96.0.7", key: "abc" };
    let intent = courier.deployment(&DIGEST.parse().unwrap(), Some(contact));
    let arguments = intent["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().clone();
    assert_eq!(arguments[1..3], [json!("--purpose"), json!("license")]);
    assert_eq!(arguments[9..], [json!("--destination"), json!("authority.example:8443")]);
    assert_eq!(
        courier.network_policy(&owner())["spec"]["egress"][1],
        json!({ "to": [{ "ipBlock": { "cidr": "192.0.2.0/24" } }], "ports": [{ "port": 8443, "protocol": "TCP" }] })
    );
    assert_eq!(
        yaml(&subject)["license"]["online"],
        json!({ "endpoint": "https://authority.example:8443/v1/license/check", "interval": "1h", "caBundle": "ours", "reach": "Courier" })
    );
    let vendor = license(
        json!({ "secretRef": { "name": "s" }, "online": { "egress": { "cidrs": ["192.0.2.0/24"] } } }),
    );
    let vendor = yaml(&subject.licensed(Some(followed(&vendor))))["license"]["online"].clone();
    assert_eq!(
        vendor,
        json!({ "endpoint": "https://license.paramant.app/v1/license/check", "reach": "Courier" }),
        "the vendor is believed by the public authorities alone"
    );
    let volumes = &intent["spec"]["template"]["spec"]["volumes"];
    assert!(!volumes.to_string().to_lowercase().contains("secret"), "a courier mounts no Secret: {volumes}");
    assert_eq!(template_of(&relay, None), {
        let wishes = PodWishes {
            image: &DIGEST.parse().unwrap(),
            licence_secret: None,
            air_gap: None,
            restarted_at: None,
        };
        pod_template(&subject, wishes)
    });
}

#[test]
fn what_is_carried_in_by_hand_is_a_mounted_file_and_needs_no_courier() {
    let relay =
        relay(json!({ "image": "registry.example/paramant/relay:3.1.0", "licenseRef": { "name": "acme" } }));
    let carried = license(
        json!({ "secretRef": { "name": "s" }, "airGap": { "capabilitySetRef": { "name": "carried" } } }),
    );
    let subject = Subject::of(&relay).unwrap().licensed(Some(followed(&carried)));
    assert!(Courier::wanted(subject).is_empty());
    let read: Value =
        serde_saphyr::from_str(&relay_yaml(&subject, &StaticSettings::wanted(&subject))).unwrap();
    assert_eq!(read["license"]["airGap"], "/etc/paramant/air-gap/capabilities");
    let digest = DIGEST.parse().unwrap();
    let wishes =
        PodWishes { image: &digest, licence_secret: Some("s"), air_gap: Some("carried"), restarted_at: None };
    let template = pod_template(&subject, wishes);
    assert_eq!((licence_secret(&template), air_gap_secret(&template)), (Some("s"), Some("carried")));
    assert!(grants(&template, &subject, wishes));
    assert!(!grants(&template, &subject, PodWishes { air_gap: None, ..wishes }));
    let volumes = template["spec"]["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "air-gap").unwrap();
    assert_eq!(volume["secret"]["optional"], true, "a missing Secret stops nothing");
}
