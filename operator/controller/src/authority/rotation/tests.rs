#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::authority::leaf::Leaves;
use crate::control::token::Expected;
use crate::control::{TokenCheck, keys};
use crate::fake_api::{FakeApi, failure};
use crate::leader::election::Standing;
use crate::staleness::Freshness;

struct Nobody;

impl TokenCheck for Nobody {
    fn check<'a>(&'a self, _: &'a str, _: Expected<'a>) -> BoxFuture<'a, Result<(), keys::Error>> {
        Box::pin(std::future::pending())
    }
}

/// The Secret, and an operator that cares for it.
struct Bench {
    secret: Arc<Mutex<Value>>,
    rotation: Rotation,
    in_use: watch::Receiver<Authority>,
}

/// Answers reads, and merge patches on the version that is there.
fn api(secret: Arc<Mutex<Value>>) -> FakeApi {
    FakeApi::new(move |asked| {
        let mut secret = secret.lock().unwrap();
        if secret.is_null() {
            let (code, mut status) = failure(404, "not found");
            status["reason"] = json!("NotFound");
            return (code, status);
        }
        if asked.method == "PATCH" {
            if asked.body["metadata"]["resourceVersion"] != secret["metadata"]["resourceVersion"] {
                return failure(409, "the object has been modified");
            }
            for (key, value) in asked.body["data"].as_object().unwrap() {
                let data = secret["data"].as_object_mut().unwrap();
                match value {
                    Value::Null => drop(data.remove(key)),
                    value => drop(data.insert(key.clone(), value.clone())),
                }
            }
            let version: u32 = secret["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            secret["metadata"]["resourceVersion"] = json!((version + 1).to_string());
        }
        (200, secret.clone())
    })
}

fn secret() -> Value {
    let metadata = json!({ "name": SECRET, "namespace": "home", "resourceVersion": "1", "annotations": {} });
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {} })
}

impl Bench {
    async fn new() -> Self {
        let secret = Arc::new(Mutex::new(secret()));
        let secrets: Api<Secret> = Api::namespaced(api(secret.clone()).client, "home");
        let authority = Authority::load_or_create(&secrets, "test").await.unwrap();
        let (sender, in_use) = watch::channel(authority);
        let (queue, metrics) = (Queue::default(), Metrics::new().unwrap());
        let leaves = Leaves::following(in_use.clone());
        let rotation = Rotation {
            secrets,
            field_manager: "test",
            in_use: sender,
            leadership: Leadership::fixed(Standing::Leader { epoch: 1, renewed: Instant::now() }),
            world: World::default(),
            scopes: Vec::new(),
            control: ControlPlane::new(leaves, Arc::new(Nobody), queue.clone(), metrics.clone()),
            queue,
            health: Health::new(Freshness::default()),
            metrics,
        };
        Self { secret, rotation, in_use }
    }

    async fn look(&self) -> Result<Duration, Error> {
        self.rotation.look(&mut Unheard::default()).await
    }

    fn keys(&self) -> Vec<String> {
        self.secret.lock().unwrap()["data"].as_object().unwrap().keys().cloned().collect()
    }

    fn published(&self) -> usize {
        self.in_use.borrow().bundle_pem().matches("BEGIN CERTIFICATE").count()
    }
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_written_and_a_wish_publishes_another_one_beside() {
    let bench = Bench::new().await;
    let before = bench.secret.lock().unwrap().clone();
    assert_eq!(bench.look().await.unwrap(), AT_REST);
    assert_eq!(*bench.secret.lock().unwrap(), before);

    bench.secret.lock().unwrap()["metadata"]["annotations"]["paramant.app/rotate-ca"] = json!("monday");
    let first = bench.in_use.borrow().clone();
    assert_eq!(bench.look().await.unwrap(), UNDER_WAY);
    assert_eq!(bench.published(), 2);
    assert!(bench.in_use.borrow().signs_as(&first));
    let after = bench.secret.lock().unwrap().clone();
    bench.look().await.unwrap();
    assert_eq!(
        *bench.secret.lock().unwrap(),
        after,
        "the same wish is granted once, and the overlap takes its time"
    );
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_emptied_damaged_or_gone_takes_nothing_from_who_runs() {
    let bench = Bench::new().await;
    let (good, first) = (bench.secret.lock().unwrap().clone(), bench.in_use.borrow().clone());
    bench.secret.lock().unwrap()["data"] = json!({});
    bench.look().await.unwrap();
    assert_eq!(bench.keys(), ["tls.crt", "tls.key"]);
    assert_eq!(bench.secret.lock().unwrap()["data"], good["data"], "put back from memory");

    bench.secret.lock().unwrap()["data"]["tls.key"] = json!("eA==");
    assert!(matches!(bench.look().await, Err(Error::Unusable { key: "tls.key", .. })));
    *bench.secret.lock().unwrap() = Value::Null;
    assert!(matches!(bench.look().await, Err(Error::NoSecret)));
    assert!(bench.in_use.borrow().signs_as(&first));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_writes_nothing() {
    let mut bench = Bench::new().await;
    bench.rotation.leadership = Leadership::fixed(Standing::Follower);
    bench.secret.lock().unwrap()["metadata"]["annotations"]["paramant.app/rotate-ca"] = json!("monday");
    let before = bench.secret.lock().unwrap().clone();
    bench.look().await.unwrap();
    assert_eq!(*bench.secret.lock().unwrap(), before);
    assert_eq!(bench.published(), 1);
}
