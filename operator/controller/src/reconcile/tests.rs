#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::future::BoxFuture;
use paramant_operator_core::release::{Inspect, Inspection, Release, Verdict};
use paramant_operator_core::{Children, Observation, Referenced, Refused, Report, Resolution};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::authority::Authority;
use crate::authority::leaf::Leaves;
use crate::control::token::Expected;
use crate::control::{TokenCheck, keys};
use crate::fake_api::{Asked, FakeApi, failure};
use crate::leader::election::Standing;
use crate::registry::LookupError;
use crate::registry::examine::Examine;
use crate::registry::lookup::Lookup;
use crate::stores::{Scope, Stores};

/// Neither relays nor registries are spoken to here.
struct Nobody;

impl TokenCheck for Nobody {
    fn check<'a>(&'a self, _: &'a str, _: Expected<'a>) -> BoxFuture<'a, Result<(), keys::Error>> {
        Box::pin(std::future::pending())
    }
}

impl Lookup for Nobody {
    fn digest<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<String, LookupError>> {
        Box::pin(std::future::pending())
    }
}

impl Examine for Nobody {
    fn examine<'a>(&'a self, _: &'a Inspect) -> BoxFuture<'a, Result<(Release, Verdict), LookupError>> {
        Box::pin(std::future::pending())
    }
}

fn reconciler(client: Client) -> Reconciler {
    let authority = Authority::ephemeral().unwrap();
    let context = Context {
        ca_bundle_pem: authority.bundle_pem().to_owned(),
        epoch: 1,
        operator_namespace: "paramant-system".to_owned(),
        metrics_from: Vec::new(),
        gateway_api: false,
        token_keys: None,
        release_keys: vec![paramant_operator_core::release::TrustedKey {
            name: "release".to_owned(),
            pem: "PEM".to_owned(),
        }],
        allow_unsigned_default: false,
        license_servers: Default::default(),
    };
    let (queue, metrics) = (Queue::default(), Metrics::new().unwrap());
    Reconciler::new(Parts {
        client,
        world: World::default(),
        control: ControlPlane::new(Leaves::of(authority), Arc::new(Nobody), queue.clone(), metrics.clone()),
        resolver: Resolver::new(Arc::new(Nobody), queue.clone(), metrics.clone()),
        inspector: Inspector::new(Arc::new(Nobody), queue.clone(), metrics.clone()),
        queue,
        leadership: Leadership::fixed(Standing::Leader { epoch: 1, renewed: Instant::now() }),
        metrics,
        context,
        token_keys: keys::TokenKeys::fixed("{}"),
        instance: "test".to_owned(),
    })
}

/// A new relay, of which the local stores hold no child.
fn seen() -> Observation {
    let relay = json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay",
        "metadata": { "name": "health", "namespace": "n", "uid": "u-1", "generation": 1 },
        "spec": { "image": format!("r.example/relay@sha256:{}", "a".repeat(64)) },
    });
    Observation {
        relay: Arc::new(serde_json::from_value(relay).unwrap()),
        policy: Referenced::Unreferenced,
        license: Referenced::Unreferenced,
        children: Children::default(),
        report: Report::Unknown,
        resolution: Resolution::Pending,
        inspection: Inspection::Pending,
        refused: None,
        directives_refused: None,
        rivals: Vec::new(),
    }
}

struct Acted {
    requests: Vec<String>,
    asked: Vec<Asked>,
    refused: Option<Refused>,
    succeeded: bool,
}

impl Acted {
    /// What the first pass over a new relay does at an API server that answers lists and patches of these.
    async fn at(
        list: impl Fn(&Asked) -> Vec<Value> + Send + Sync + 'static,
        patch: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Self {
        Self::over(seen(), json!({ "uid": "u-1" }), list, patch).await
    }

    /// What a pass over `seen` does where the relay stands with this metadata.
    async fn over(
        mut seen: Observation,
        relay: Value,
        list: impl Fn(&Asked) -> Vec<Value> + Send + Sync + 'static,
        patch: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Self {
        let api = FakeApi::new(move |asked| match asked.method.as_str() {
            "GET" => {
                let mut items = list(asked);
                items.extend(there(asked, RELAYS, "health", &relay));
                (200, json!({ "kind": "List", "metadata": {}, "items": items }))
            }
            _ => patch(asked).unwrap_or_else(|| {
                let mut object = asked.body.clone();
                object["metadata"]["resourceVersion"] = json!("1");
                (200, object)
            }),
        });
        let (inner, key) = (reconciler(api.client.clone()).inner, RelayKey::new("n", "health"));
        let asked = decide(&seen, &inner.context, Timestamp::now()).inspect.unwrap();
        seen.inspection = Inspection::Answered {
            asked,
            release: paramant_operator_core::release::Release::default(),
            signature: paramant_operator_core::release::Verdict::Verified { key: "release".to_owned() },
        };
        let decision = decide(&seen, &inner.context, Timestamp::now());
        let succeeded = inner.act(&key, &seen, &decision).await.is_ok();
        Self { requests: api.requests(), asked: api.asked(), refused: inner.refusals.of(&key), succeeded }
    }

    fn patched(&self, path: &str) -> bool {
        let wanted = format!("PATCH {path}?");
        self.requests.iter().any(|request| request.starts_with(&wanted))
    }
}

const RELAYS: &str = "/apis/paramant.app/v1alpha1/namespaces/n/paramantrelays";
const SERVICE: &str = "/api/v1/namespaces/n/services/health";
const STATE: &str = "/api/v1/namespaces/n/configmaps/health-state";

/// An object that is there already, if it is asked for.
fn there(asked: &Asked, list: &str, name: &str, metadata: &Value) -> Vec<Value> {
    let wanted = format!("{list}?&fieldSelector=metadata.name%3D{name}");
    if !asked.path.starts_with(&wanted) {
        return Vec::new();
    }
    let mut metadata = metadata.clone();
    metadata["name"] = json!(name);
    vec![json!({ "metadata": metadata })]
}

#[tokio::test]
async fn a_child_and_its_relay_are_looked_for_by_name_before_it_is_made() {
    let acted = Acted::at(|_| Vec::new(), |_| None).await;
    assert!(acted.succeeded);
    let (mut looked, mut made) = (0, 0);
    for three in acted.requests.chunks(3) {
        let [relay, list, patch] = three else { panic!("{three:?}") };
        let asked = format!("GET {RELAYS}?&fieldSelector=metadata.name%3Dhealth");
        assert!(relay.starts_with(&asked), "{relay} before {patch}");
        let (folder, name) = patch.split_once('?').unwrap().0.rsplit_once('/').unwrap();
        let folder = folder.strip_prefix("PATCH ").unwrap();
        assert!(list.starts_with(&format!("GET {folder}?")), "{list} before {patch}");
        assert!(list.contains(&format!("fieldSelector=metadata.name%3D{name}")), "{list} before {patch}");
        (looked, made) = (looked + 1, made + 1);
    }
    assert_eq!((looked, made), (7, 7), "{:#?}", acted.requests);
}

#[tokio::test]
async fn an_object_of_somebody_else_is_left_alone_and_named_and_the_others_are_made() {
    for metadata in [
        json!({}),
        json!({ "labels": { "paramant.app/relay": "another" } }),
        json!({ "ownerReferences": [{ "uid": "u-2", "apiVersion": "v1", "kind": "X", "name": "x" }] }),
        json!({
            "labels": { "paramant.app/relay": "health" },
            "ownerReferences": [{ "uid": "u-2", "apiVersion": "v1", "kind": "X", "name": "x" }],
        }),
    ] {
        let said = metadata.to_string();
        let list = move |asked: &Asked| there(asked, "/api/v1/namespaces/n/services", "health", &metadata);
        let acted = Acted::at(list, |_| None).await;
        assert!(!acted.patched(SERVICE) && !acted.succeeded, "{said}");
        let refused = acted.refused.as_ref().unwrap();
        assert_eq!((refused.kind.as_str(), refused.name.as_str()), ("Service", "health"), "{said}");
        assert!(refused.message.contains("not ours"), "{}", refused.message);
        assert!(acted.patched("/apis/apps/v1/namespaces/n/statefulsets/health"), "{said}");
    }
}

#[tokio::test]
async fn what_an_earlier_relay_of_this_name_left_is_taken_over() {
    let leftover = json!({ "labels": { "paramant.app/relay": "health" } });
    let list =
        move |asked: &Asked| there(asked, "/api/v1/namespaces/n/configmaps", "health-state", &leftover);
    let acted = Acted::at(list, |_| None).await;
    assert!(acted.succeeded && acted.patched(STATE) && acted.patched(SERVICE), "{:#?}", acted.requests);
}

#[tokio::test]
async fn a_child_that_the_watch_has_not_shown_yet_is_ours_by_its_owner() {
    let own = json!({ "ownerReferences": [{ "uid": "u-1", "apiVersion": "v1", "kind": "X", "name": "x" }] });
    let list = move |asked: &Asked| there(asked, "/api/v1/namespaces/n/services", "health", &own);
    let acted = Acted::at(list, |_| None).await;
    assert!(acted.succeeded && acted.patched(SERVICE), "{:#?}", acted.requests);
}

#[tokio::test]
async fn nothing_is_made_for_a_relay_that_is_deleted_though_the_store_does_not_show_it_yet() {
    for relay in [
        json!({ "uid": "u-1", "deletionTimestamp": "2026-05-01T10:00:00Z", "finalizers": ["foregroundDeletion"] }),
        json!({ "uid": "made-again" }),
        json!({}),
    ] {
        let acted = Acted::over(seen(), relay.clone(), |_| Vec::new(), |_| None).await;
        assert!(!acted.succeeded && acted.refused.is_none(), "{relay}");
        assert!(acted.requests.iter().all(|it| it.starts_with("GET ")), "{relay}: {:#?}", acted.requests);
    }
}

#[tokio::test]
async fn a_child_that_stands_is_changed_under_its_uid_so_that_it_is_never_made_again() {
    let mut seen = seen();
    let state = json!({ "metadata": { "name": "health-state", "uid": "c-1", "resourceVersion": "7" } });
    seen.children.state = Some(Arc::new(serde_json::from_value(state).unwrap()));
    let acted = Acted::over(seen, json!({ "uid": "u-1" }), |_| Vec::new(), |_| None).await;
    assert!(acted.succeeded, "{:#?}", acted.requests);
    let uid = |path: &str| {
        let patch = acted.asked.iter().find(|it| it.method == "PATCH" && it.path.starts_with(path)).unwrap();
        patch.body.pointer("/metadata/uid").cloned()
    };
    assert_eq!((uid(STATE), uid(SERVICE)), (Some(json!("c-1")), None));
}

#[tokio::test]
async fn a_durable_copy_that_is_refused_is_noted_and_nothing_else_is_done() {
    let quota =
        |asked: &Asked| asked.path.starts_with(STATE).then(|| failure(403, "exceeded quota: configmaps"));
    let acted = Acted::at(|_| Vec::new(), quota).await;
    let refused = acted.refused.as_ref().unwrap();
    assert_eq!((refused.kind.as_str(), refused.name.as_str()), ("ConfigMap", "health-state"));
    assert_eq!(refused.message, "exceeded quota: configmaps");
    assert!(!acted.patched(SERVICE) && !acted.succeeded);
}

#[tokio::test]
async fn an_event_says_what_kubectl_describe_shows_and_is_not_repeated() {
    let api = FakeApi::new(|asked| (201, asked.body.clone()));
    let (inner, key, seen) = (reconciler(api.client.clone()).inner, RelayKey::new("n", "health"), seen());
    let event = paramant_operator_core::Event {
        type_: paramant_operator_core::EventType::Warning,
        reason: "ImageNotFound".to_owned(),
        message: "spec.image names no image that can be had".to_owned(),
    };
    inner.announce(&key.clone().into(), &*seen.relay, std::slice::from_ref(&event)).await;
    inner.announce(&key.clone().into(), &*seen.relay, std::slice::from_ref(&event)).await;
    let asked = api.asked();
    assert_eq!(asked.len(), 1, "{asked:#?}");
    let (path, body) = (&asked[0].path, &asked[0].body);
    assert!(path.starts_with("/apis/events.k8s.io/v1/namespaces/n/events"), "{path}");
    for (pointer, wanted) in [
        ("/type", "Warning"),
        ("/reason", "ImageNotFound"),
        ("/note", "spec.image names no image that can be had"),
        ("/action", "Reconcile"),
        ("/reportingController", "paramant.app/operator"),
        ("/reportingInstance", "test"),
        ("/regarding/kind", "ParamantRelay"),
        ("/regarding/apiVersion", "paramant.app/v1alpha1"),
        ("/regarding/name", "health"),
        ("/regarding/namespace", "n"),
        ("/regarding/uid", "u-1"),
    ] {
        assert_eq!(body.pointer(pointer).and_then(Value::as_str), Some(wanted), "{pointer} in {body}");
    }
    assert!(body["eventTime"].is_string(), "{body}");
}

#[tokio::test]
async fn a_policy_that_is_not_accepted_says_so_in_an_event() {
    let policy = json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantPolicy",
        "metadata": { "name": "production", "namespace": "n", "generation": 1, "resourceVersion": "1" },
        "spec": { "drain": { "deadline": "soon" } },
    });
    let stored = policy.clone();
    let api = FakeApi::new(move |asked| match asked.path.contains("/events") {
        true => (201, asked.body.clone()),
        false => (200, stored.clone()),
    });
    let reconciler = reconciler(api.client.clone());
    let stores = Stores::holding(Vec::new(), vec![serde_json::from_value(policy).unwrap()]);
    reconciler.inner.world.add(Scope::Cluster, stores);
    reconciler.run(Subject::Policy(RelayKey::new("n", "production"))).await;
    let asked = api.asked();
    let event = &asked.iter().find(|it| it.path.contains("/events")).expect("an Event was written").body;
    assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("Contradiction")));
    assert_eq!(event["regarding"]["kind"], "ParamantPolicy");
    assert!(event["note"].as_str().unwrap().contains("no policy is in force"), "{event}");
}

/// A reconciler that leads, watches one relay, and has told it something.
pub(crate) fn that_knows_one_relay() -> Reconciler {
    let reconciler = reconciler(FakeApi::new(|_| failure(500, "not asked")).client);
    let mut relay = (*seen().relay).clone();
    relay.status = Some(
        serde_json::from_value(json!({
            "observedGeneration": 1, "phase": "Updating", "update": { "step": "Draining" },
        }))
        .unwrap(),
    );
    let (inner, key) = (&reconciler.inner, RelayKey::new("n", "health"));
    inner.world.add(Scope::Cluster, Stores::holding(vec![relay], Vec::new()));
    inner.queue.wake(key.clone(), Wake::Now);
    inner.expectations.expect(&key, "Service", "health", None, Some("1".to_owned()));
    let decision = decide(&seen(), &inner.context, Timestamp::now());
    inner.control.direct(&key, decision.directives.expect("a new relay is told something"));
    inner.control.aim(&RelayKey::new("n", "going"), None);
    reconciler
}

#[tokio::test]
async fn what_is_believed_of_a_relay_can_be_read() {
    let known = serde_json::to_value(that_knows_one_relay().known()).unwrap();
    let health = &known["n/health"];
    assert_eq!((&health["generation"], &health["observedGeneration"]), (&json!(1), &json!(1)));
    assert_eq!((&health["phase"], &health["step"]), (&json!("Updating"), &json!("Draining")));
    assert_eq!(health["queue"], json!({ "running": false, "dueInSeconds": 0, "failures": 0 }));
    assert_eq!(health["unseenWrites"], json!(["Service health"]));
    assert_eq!(health["image"], "pending");
    let control = &health["control"];
    assert_eq!((&control["report"], &control["keyPinned"]), (&json!("unknown"), &json!(false)));
    assert_eq!(control["directives"]["relayUid"], "u-1");
    assert!(control.get("acknowledged").is_none(), "nothing was taken yet: {control}");
    assert_eq!(known["n/going"]["control"]["report"], "unknown", "a task whose relay is gone is shown too");
}

/// A pass over a policy whose status the API server does not take.
pub(crate) async fn one_pass_that_is_refused() {
    let api = FakeApi::new(|_| (500, failure(500, "the disk is full").1));
    let reconciler = reconciler(api.client.clone());
    let policy = json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantPolicy",
        "metadata": { "name": "production", "namespace": "n", "generation": 1, "resourceVersion": "1" },
        "spec": {},
    });
    let stores = Stores::holding(Vec::new(), vec![serde_json::from_value(policy).unwrap()]);
    reconciler.inner.world.add(Scope::Cluster, stores);
    let ended = reconciler.run(Subject::Policy(RelayKey::new("n", "production"))).await;
    assert_eq!(ended, Outcome::Failed);
    assert_eq!(api.requests().len(), 1, "{:?}", api.requests());
}
