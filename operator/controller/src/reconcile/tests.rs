#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::future::BoxFuture;
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
use crate::registry::{Lookup, LookupError};

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

fn reconciler(client: Client) -> Reconciler {
    let authority = Authority::ephemeral().unwrap();
    let context = Context {
        ca_bundle_pem: authority.bundle_pem().to_owned(),
        epoch: 1,
        operator_namespace: "paramant-system".to_owned(),
        gateway_api: false,
    };
    let (queue, metrics) = (Queue::default(), Metrics::new().unwrap());
    Reconciler::new(Parts {
        client,
        world: World::default(),
        control: ControlPlane::new(Leaves::of(authority), Arc::new(Nobody), queue.clone(), metrics.clone()),
        resolver: Resolver::new(Arc::new(Nobody), queue.clone(), metrics.clone()),
        queue,
        leadership: Leadership::fixed(Standing::Leader { epoch: 1, renewed: Instant::now() }),
        metrics,
        context,
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
        refused: None,
        rivals: Vec::new(),
    }
}

struct Acted {
    requests: Vec<String>,
    refused: Option<Refused>,
    succeeded: bool,
}

impl Acted {
    /// What the first pass over a new relay does at an API server that answers lists and patches of these.
    async fn at(
        list: impl Fn(&Asked) -> Vec<Value> + Send + Sync + 'static,
        patch: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Self {
        let api = FakeApi::new(move |asked| match asked.method.as_str() {
            "GET" => (200, json!({ "kind": "List", "metadata": {}, "items": list(asked) })),
            _ => patch(asked).unwrap_or_else(|| {
                let mut object = asked.body.clone();
                object["metadata"]["resourceVersion"] = json!("1");
                (200, object)
            }),
        });
        let (inner, key, seen) = (reconciler(api.client.clone()).inner, RelayKey::new("n", "health"), seen());
        let decision = decide(&seen, &inner.context, Timestamp::now());
        let succeeded = inner.act(&key, &seen, &decision).await.is_ok();
        Self { requests: api.requests(), refused: inner.refusals.of(&key), succeeded }
    }

    fn patched(&self, path: &str) -> bool {
        let wanted = format!("PATCH {path}?");
        self.requests.iter().any(|request| request.starts_with(&wanted))
    }
}

const SERVICE: &str = "/api/v1/namespaces/n/services/health";
const STATE: &str = "/api/v1/namespaces/n/configmaps/health-state";

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
