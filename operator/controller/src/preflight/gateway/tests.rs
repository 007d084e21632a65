#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::super::watch_scope;
use super::*;
use crate::fake_api::{Asked, FakeApi, failure};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::queue::worker::Queue;
use crate::staleness::Freshness;

fn watches(client: Client) -> Watches {
    Watches {
        client,
        queue: Queue::default(),
        metrics: Metrics::new().unwrap(),
        health: Health::new(Freshness::default()),
        weight: Weight::Degraded,
    }
}

/// A cluster with or without the Gateway API, where `allowed` says what a review of a right answers.
fn cluster(
    served: Arc<AtomicBool>,
    allowed: impl Fn(&Asked) -> Option<bool> + Send + Sync + 'static,
) -> FakeApi {
    FakeApi::new(move |asked| match asked.path.as_str() {
        "/apis" => {
            let version = json!({ "version": "v1", "groupVersion": "gateway.networking.k8s.io/v1" });
            let group = json!({ "name": "gateway.networking.k8s.io", "versions": [version] });
            let groups = if served.load(Ordering::SeqCst) { vec![group] } else { Vec::new() };
            (200, json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
        }
        path if path.contains("selfsubjectaccessreviews") => match allowed(asked) {
            Some(allowed) => (201, json!({ "spec": {}, "status": { "allowed": allowed } })),
            None => failure(500, "the authorizer is away"),
        },
        _ => (200, json!({ "kind": "List", "metadata": { "resourceVersion": "1" }, "items": [] })),
    })
}

fn namespace(name: &str) -> Scope {
    Scope::Namespace(name.to_owned())
}

fn in_b(asked: &Asked) -> bool {
    asked.body.pointer("/spec/resourceAttributes/namespace") == Some(&Value::from("b"))
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_in_one_namespace_takes_nothing_from_another() {
    let api = cluster(Arc::new(true.into()), |asked| Some(!in_b(asked)));
    let watches = watches(api.client.clone());
    let mut a = Gateway::new(watches.clone(), namespace("a"));
    let mut b = Gateway::new(watches.clone(), namespace("b"));
    a.first_look().await;
    b.first_look().await;
    assert!(a.routes.is_some() && b.routes.is_none());
    let reasons = watches.health.reasons();
    let said = &reasons["gateway in namespace b"];
    assert_eq!(said.weight, Weight::Degraded);
    assert!(said.sentence.contains("list httproutes.gateway.networking.k8s.io"), "{}", said.sentence);
    assert!(!reasons.contains_key("gateway in namespace a"));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_failed_is_asked_again_until_it_is_answered() {
    let asked_before = AtomicUsize::new(0);
    let api = cluster(Arc::new(true.into()), move |_| {
        (asked_before.fetch_add(1, Ordering::SeqCst) >= 12).then_some(true)
    });
    let watches = watches(api.client.clone());
    let mut gateway = Gateway::new(watches.clone(), namespace("a"));
    gateway.first_look().await;
    assert!(gateway.routes.is_some());
    assert!(watches.health.reasons().is_empty(), "{:?}", watches.health.reasons());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_api_that_comes_or_goes_is_noticed_within_minutes_without_a_restart() {
    let served = Arc::new(AtomicBool::new(false));
    let api = cluster(served.clone(), |_| Some(true));
    let (watches, world) = (watches(api.client.clone()), World::default());
    let running = tokio::spawn(watch_scope(watches.clone(), namespace("a"), world.clone()));
    let has_routes = || world.of("a").map(|stores| stores.http_routes.is_some());
    let tracked = || {
        let ages = watches.health.freshness().ages(tokio::time::Instant::now());
        ages.iter().any(|(path, _)| path.ends_with("/httproutes"))
    };
    sleep(Duration::from_secs(30)).await;
    assert_eq!((has_routes(), tracked()), (Some(false), false));
    served.store(true, Ordering::SeqCst);
    sleep(RECHECK + RECHECK / 5).await;
    assert_eq!((has_routes(), tracked()), (Some(true), true));
    served.store(false, Ordering::SeqCst);
    sleep(RECHECK + RECHECK / 5).await;
    assert_eq!((has_routes(), tracked()), (Some(false), false));
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn rights_that_go_while_a_namespace_is_watched_are_named_until_they_are_back() {
    let there = Arc::<AtomicBool>::new(true.into());
    let answer = there.clone();
    let api = cluster(Arc::default(), move |asked| Some(!in_b(asked) || answer.load(Ordering::SeqCst)));
    let (watches, world) = (watches(api.client.clone()), World::default());
    for name in ["a", "b"] {
        tokio::spawn(watch_scope(watches.clone(), namespace(name), world.clone()));
    }
    let unseen = || world.unseen(&[namespace("a"), namespace("b")]).is_empty();
    while !unseen() {
        sleep(Duration::from_millis(50)).await;
    }
    there.store(false, Ordering::SeqCst);
    for name in ["a", "b"] {
        world.of(name).unwrap().forbidden.notify_one();
    }
    sleep(Duration::from_secs(5)).await;
    let reasons = watches.health.reasons();
    assert_eq!(reasons.keys().map(String::as_str).collect::<Vec<_>>(), ["rights in namespace b"]);
    assert_eq!(reasons["rights in namespace b"].weight, Weight::Degraded);
    there.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(60)).await;
    assert!(watches.health.reasons().is_empty(), "{:?}", watches.health.reasons());
}
