#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use serde_json::json;

use super::*;

fn redactor() -> Redactor {
    Redactor::new().unwrap()
}

#[test]
fn what_helps_stays_readable() {
    let redactor = redactor();
    for line in [
        "2026-01-02T03:04:05Z INFO drained: nothing is in flight uploads=0 claims=2",
        "pod paramant-operator-7c9d8b6f5-abcde restarted, exit code 70",
        "image registry.example/paramant/relay@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "uid 3f2b8c1e-0a9d-4f6e-8b7a-1c2d3e4f5a6b resourceVersion 123456",
        "spec.admin.tokenSecretRef: the Secret health-admin is missing, tokenSecretRef.name: health-admin",
        "listening on 0.0.0.0:3000, probes on 127.0.0.1:9090 and [::1]:9090",
        "the log is at http://health.transfers.svc:80/log/checkpoint",
        "automountServiceAccountToken: false",
        "{\"secretName\":\"acme-license\",\"optional\":true}",
        "{\"target\":\"paramant_relay::log_service::guard\",\"at\":\"std::fmt::d::e::a1\"}",
        "digest sha256:2222222222222222222222222222222222222222222222222222222222222222",
        "v1.33.1+k3s1 linux/amd64 sessionAffinity: None",
    ] {
        assert_eq!(redactor.text(line), line);
    }
}

#[test]
fn equal_values_have_equal_marks_in_one_bundle_and_others_in_the_next() {
    let (one, other) = (redactor(), redactor());
    let line = "10.1.2.3 told bob@example.org";
    assert_eq!(one.text(line), one.text(line));
    assert_ne!(one.text(line), other.text(line));
    assert_ne!(one.text("10.1.2.3"), one.text("10.1.2.4"));
    assert!(one.text(line).starts_with("[address ") && one.text(line).contains("[mail "));
}

#[test]
fn addresses_are_found_in_the_company_they_keep() {
    let redactor = redactor();
    for (line, address) in [
        ("from fd00:10::5: refused", "fd00:10::5"),
        ("peer=[2001:db8::1]:443", "2001:db8::1"),
        ("at ::ffff:10.0.0.9,", "10.0.0.9"),
        ("10.0.0.9:3000", "10.0.0.9"),
        ("cidr 10.42.0.0/16", "10.42.0.0"),
        ("{\"podIP\":\"10.42.0.17\"}", "10.42.0.17"),
        ("addr:2001:db8:0:0:0:0:0:7", "2001:db8:0:0:0:0:0:7"),
    ] {
        let shown = redactor.text(line);
        assert!(!shown.contains(address) && shown.contains("[address "), "{line}: {shown}");
    }
    assert_eq!(redactor.text("at 12:30:45 and aa:bb"), "at 12:30:45 and aa:bb");
}

#[test]
fn of_a_url_scheme_and_host_stay() {
    let redactor = redactor();
    let shown = redactor.text("POST https://bob:hunter2@hooks.acme.example:8443/in/T0KEN?sig=abc#x failed");
    assert!(shown.contains("hooks.acme.example:8443/[path ") && shown.ends_with("failed"), "{shown}");
    for part in ["bob", "hunter2", "T0KEN", "sig", "abc"] {
        assert!(!shown.contains(part), "{shown}");
    }
    assert!(!redactor.text("http://health.transfers.svc/x?k=12345").contains("12345"));
}

#[test]
fn quotes_and_names_around_a_secret_stay_and_nothing_of_it() {
    let redactor = redactor();
    for line in [
        "password=correcthorse next=1",
        "password: correct horse battery staple",
        "{\"password\":\"correct horse\",\"next\":1}",
        "{\\\"password\\\":\\\"correct horse\\\",\\\"next\\\":1}",
        "{\"webhook_secret\": \"correct \\\"horse\"}",
        "DB_PASSWORD='correct horse'",
        "X-Admin-Token: correct horse",
        "cookie: a=correct; b=horse",
        "Authorization: Custom correct horse",
        "admin token => correcthorse",
    ] {
        let shown = redactor.text(line);
        assert!(!shown.contains("correct") && !shown.contains("horse"), "{line}: {shown}");
        assert!(shown.contains('['), "{shown}");
    }
    assert!(redactor.text("{\"password\":\"a b\",\"next\":1}").ends_with(",\"next\":1}"));
}

#[test]
fn of_pem_only_what_is_public_leaves_a_digest() {
    let redactor = redactor();
    let shown = redactor.text("a\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nb");
    assert_eq!(shown, "a\n[private key]\nb");
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
    assert!(redactor.text(certificate).starts_with("[certificate "));
    assert_eq!(redactor.text(certificate), self::redactor().text(certificate), "public, so comparable");
    assert_eq!(redactor.text("-----BEGIN EC PRIVATE KEY-----\nMIIE cut off"), "[private key]");
}

#[test]
fn an_object_keeps_its_shape() {
    let redactor = redactor();
    let root = "ab".repeat(32);
    let object = json!({
        "kind": "Pod",
        "metadata": {
            "name": "health-0", "managedFields": [{}],
            "annotations": { "paramant.app/paused": "true", "team": "phone 12345", "kubectl.kubernetes.io/last-applied-configuration": "{}" },
        },
        "spec": { "containers": [{
            "name": "relay", "image": "r.example/relay:1", "args": ["--data", "/data", "--admin-token", "swordfish"],
            "env": [{ "name": "MODE", "value": "swordfish" }, { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
        }], "automountServiceAccountToken": false },
        "status": { "log": { "root": root, "origin": format!("paramant-relay/{root}"), "size": 7 }, "password": 123456 },
    });
    let shown = redactor.object(&object);
    assert_eq!(shown["metadata"]["managedFields"], json!(null));
    assert_eq!(shown["metadata"]["annotations"]["paramant.app/paused"], "true");
    assert_eq!(shown["status"]["log"], object["status"]["log"], "published anyway");
    assert_eq!(shown["spec"]["automountServiceAccountToken"], false);
    assert_eq!(shown["spec"]["containers"][0]["image"], "r.example/relay:1");
    assert_eq!(shown["spec"]["containers"][0]["args"][1], "/data");
    assert_eq!(shown["spec"]["containers"][0]["env"][1], object["spec"]["containers"][0]["env"][1]);
    let text = shown.to_string();
    for gone in ["swordfish", "12345", "123456"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
}

#[test]
fn a_secret_that_should_never_be_there_loses_its_data() {
    let secret = json!({ "kind": "Secret", "data": { "token": "c3dvcmQ=" }, "stringData": { "a": "sword" } });
    let shown = redactor().object(&secret).to_string();
    assert!(!shown.contains("c3dvcmQ") && !shown.contains("sword"), "{shown}");
}

#[test]
fn what_a_configmap_holds_as_json_is_read_as_json() {
    let root = "cd".repeat(32);
    let state = json!({ "kind": "ConfigMap", "data": {
        "log": json!({ "size": 7, "root": root }).to_string(),
        "template": json!({ "env": [{ "name": "A", "value": "canary" }] }).to_string(),
        "controlKey": root,
        "relay.yaml": "password: canary\nlisten: 0.0.0.0:3000\n",
    }, "binaryData": { "x": "c3dvcmQ=" } });
    let shown = redactor().object(&state);
    assert!(shown["data"]["log"].as_str().unwrap().contains(&root));
    assert_eq!(shown["data"]["controlKey"], json!(root));
    assert!(shown["data"]["relay.yaml"].as_str().unwrap().contains("listen: 0.0.0.0:3000"));
    assert!(!shown.to_string().contains("canary") && !shown.to_string().contains("c3dv"), "{shown}");
}
