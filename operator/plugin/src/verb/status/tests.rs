#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use serde_json::{Value, json};

use super::*;
use crate::fake_api::{FakeApi, refused};

const METRICS: &str = "paramant_in_flight{kind=\"claims\"} 2\nparamant_in_flight{kind=\"unclaimed\"} 7\n\
    paramant_in_flight{kind=\"uploads\"} 3\nparamant_log_entries 12\nparamant_log_published_entries 11\n";

fn relay(name: &str) -> Value {
    json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay",
        "metadata": { "name": name, "namespace": "transfers", "uid": "u", "managedFields": [{ "manager": "x" }] },
        "spec": { "image": "r.example/relay:1", "unknownToThisRelease": { "deep": ["1", 2, null] } },
        "status": { "phase": "Ready", "message": "it serves: \"yes\"" },
    })
}

/// Two pages of relays; metrics unless `code` says otherwise.
fn api(code: u16) -> FakeApi {
    FakeApi::new(move |asked| {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        if path.ends_with("/proxy/metrics") {
            return if code == 200 { (200, METRICS.into()) } else { refused(code, path) };
        }
        let answer = match (path.ends_with("/paramantrelays"), query.contains("continue=more")) {
            (true, false) => json!({ "metadata": { "continue": "more" }, "items": [relay("health")] }),
            (true, true) => json!({ "metadata": {}, "items": [relay("legal")] }),
            _ => relay("health"),
        };
        (200, answer.to_string().into_bytes())
    })
}

async fn shown(whose: Whose<'_>, output: Output, code: u16) -> String {
    text(&api(code).cluster("transfers", false), &whose, output).await.unwrap()
}

#[tokio::test]
async fn what_is_stored_is_shown_whole_but_for_field_managers() {
    let mut stored = relay("health");
    stored["metadata"].as_object_mut().unwrap().remove("managedFields");
    let json: Value = serde_json::from_str(&shown(Whose::Of("health"), Output::Json, 200).await).unwrap();
    let yaml: Value = serde_saphyr::from_str(&shown(Whose::Of("health"), Output::Yaml, 200).await).unwrap();
    assert_eq!(json, stored);
    assert_eq!(yaml, stored);
}

#[tokio::test]
async fn lists_are_read_to_their_last_page() {
    let list: Value = serde_json::from_str(&shown(Whose::Namespace, Output::Json, 200).await).unwrap();
    assert_eq!(list["kind"], "List");
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|it| text_at(it, "/metadata/name")).collect();
    assert_eq!(names, ["health", "legal"]);
    for output in [Output::Table, Output::Wide] {
        let table = shown(Whose::Everywhere, output, 200).await;
        assert!(table.contains("health") && table.contains("legal"), "{table}");
        assert_eq!(table.contains("DIGEST"), output == Output::Wide);
    }
}

fn text_at<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap()
}

#[tokio::test]
async fn counters_are_shown_or_it_is_said_why_not() {
    let whole = shown(Whose::Of("health"), Output::Table, 200).await;
    assert!(whole.contains("In flight 3 uploads, 2 claims"), "{whole}");
    let forbidden = shown(Whose::Of("health"), Output::Table, 403).await;
    assert!(
        forbidden.contains("In flight not shown: you may not get pods/proxy in namespace transfers"),
        "{forbidden}"
    );
    let away = shown(Whose::Of("health"), Output::Table, 503).await;
    assert!(away.contains("In flight not shown: the API server answered 503"), "{away}");
    assert!(forbidden.contains("Ready") && away.contains("Ready"), "the rest is shown all the same");
}

#[tokio::test]
async fn an_empty_namespace_is_named() {
    let api = FakeApi::new(|_| (200, json!({ "items": [] }).to_string().into_bytes()));
    let cluster = api.cluster("transfers", false);
    let said = text(&cluster, &Whose::Namespace, Output::Table).await.unwrap();
    assert_eq!(said, "No relays found in namespace transfers.\n");
}
