//! The watch streams: one per kind and scope, each with its own backoff, each feeding one local store.
//!
//! kube's `Controller` would select all triggers into one stream with one backoff, where one failing watch silences the
//! rest. Here each stream is a task of its own (`stream.rs`); its errors are counted and end there. What arrives is pruned to
//! what decisions read, stored (children as JSON, see [`crate::stores::packed`]), and turned into wakes.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher;
use kube::{Client, Resource};
use paramant_crds::{ParamantLicense, ParamantPolicy, ParamantRelay};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use self::stream::{Keep, Stream};
use crate::health::{Health, Weight};
use crate::key::Subject;
use crate::metrics::Metrics;
use crate::queue::Wake;
use crate::queue::worker::Queue;
use crate::stores::packed::Packed;
use crate::stores::{Scope, Stores};
use crate::triggers;

mod stream;

/// The API server ends a watch after this. Below the 240 s after which load balancers cut quiet connections.
const WATCH_TIMEOUT_SECONDS: u32 = 200;
/// Objects per page of a first list: bounds what is held twice while a page is decoded.
const PAGE_SIZE: u32 = 50;
/// Between two looks whether a first list is complete.
const FILLING: Duration = Duration::from_millis(100);
/// Children carry this; nothing else of these kinds is listed or kept.
const CHILDREN: &str = "app.kubernetes.io/managed-by=paramant-operator";

/// What all streams need.
#[derive(Clone)]
pub struct Watches {
    /// The client whose stamps tell stale from quiet.
    pub client: Client,
    /// Whom to wake.
    pub queue: Queue,
    /// Where errors are counted.
    pub metrics: Metrics,
    /// Where staleness is tracked and failures are reported.
    pub health: Health,
    /// How bad a failing stream is: with several scopes, one of them is only a part.
    pub weight: Weight,
}

/// The stream of HTTPRoutes of one scope; it ends when this is dropped.
pub struct Routes {
    watches: Watches,
    kind: ApiResource,
    store: Store<DynamicObject>,
    path: String,
    topic: String,
    unfilled: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Routes {
    /// The routes, once their first list is complete.
    pub async fn filled(&self) -> (ApiResource, Store<DynamicObject>) {
        while self.unfilled.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(FILLING).await;
        }
        (self.kind.clone(), self.store.clone())
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        // A stream that nobody runs is neither stale nor failing.
        self.watches.health.freshness().untrack(&self.path);
        self.watches.health.resolve(&self.topic);
    }
}

impl Watches {
    /// Starts every stream of one scope. The tasks end when `tasks` is dropped.
    pub fn start(&self, scope: &Scope, tasks: &mut JoinSet<()>) -> Stores {
        let (relays, policies, licenses) = (Writer::new(()), Writer::new(()), Writer::new(()));
        let (known_relays, known_policies, known_licenses) =
            (relays.as_reader(), policies.as_reader(), licenses.as_reader());
        let unfilled = Arc::<AtomicUsize>::default();
        let mut start = Start { watches: self, scope, tasks, unfilled: unfilled.clone() };
        let relays = start.ours(relays, move |relay: &ParamantRelay| {
            triggers::relay(relay, &known_policies.state(), &known_licenses.state())
        });
        let known = known_relays.clone();
        let policies =
            start.ours(policies, move |policy: &ParamantPolicy| triggers::policy(policy, &known.state()));
        let licenses = start.ours(licenses, move |license: &ParamantLicense| {
            triggers::license(license, &known_relays.state())
        });
        Stores {
            relays,
            policies,
            licenses,
            stateful_sets: start.children(|_| {}),
            deployments: start.children(|_| {}),
            services: start.children(|_| {}),
            service_accounts: start.children(|_| {}),
            config_maps: start.children(|_| {}),
            network_policies: start.children(|_| {}),
            ingresses: start.children(|_| {}),
            http_routes: None,
            claims: start.children(|_| {}),
            pods: start.children(prune_pod),
            unfilled,
            forbidden: Arc::default(),
        }
    }
}

impl Watches {
    /// Starts the one stream that a cluster may lack or forbid.
    pub fn start_routes(&self, scope: &Scope, kind: ApiResource) -> Routes {
        let (mut tasks, unfilled) = (JoinSet::new(), Arc::<AtomicUsize>::default());
        let mut start = Start { watches: self, scope, tasks: &mut tasks, unfilled: unfilled.clone() };
        let store = start.dynamic_children(&kind);
        let path = DynamicObject::url_path(&kind, scope.namespace());
        let topic = stream::topic(&kind.kind, scope);
        Routes { watches: self.clone(), kind, store, path, topic, unfilled, _tasks: tasks }
    }
}

/// Decisions read a pod's state and which template it was made from, never what is in it.
fn prune_pod(pod: &mut Pod) {
    if let Some(spec) = &mut pod.spec {
        spec.volumes = None;
        spec.tolerations = None;
        spec.affinity = None;
        for container in &mut spec.containers {
            container.env = None;
            container.volume_mounts = None;
            container.liveness_probe = None;
            container.readiness_probe = None;
            container.startup_probe = None;
        }
    }
}

struct Start<'a> {
    watches: &'a Watches,
    scope: &'a Scope,
    tasks: &'a mut JoinSet<()>,
    unfilled: Arc<AtomicUsize>,
}

impl Start<'_> {
    /// A stream of one of our own kinds: all of them, woken at once.
    fn ours<K>(
        &mut self,
        writer: Writer<K>,
        concerned: impl Fn(&K) -> Vec<Subject> + Send + Sync + 'static,
    ) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let (api, store) = (self.api::<K>(), writer.as_reader());
        self.spawn(api, (), writer, watcher::Config::default(), Wake::Now, |_| {}, concerned);
        store
    }

    /// A stream of children: selected by label, relays woken when the children are quiet.
    fn children<K>(&mut self, prune: impl Fn(&mut K) + Send + 'static) -> Packed<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Serialize
            + DeserializeOwned
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let config = watcher::Config::default().labels(CHILDREN);
        let (api, store) = (self.api::<K>(), Packed::default());
        self.spawn(api, (), store.clone(), config, Wake::Child, prune, triggers::child);
        store
    }

    fn dynamic_children(&mut self, kind: &ApiResource) -> Store<DynamicObject> {
        let client = self.watches.client.clone();
        let api = match self.scope.namespace() {
            Some(namespace) => Api::namespaced_with(client, namespace, kind),
            None => Api::all_with(client, kind),
        };
        let (writer, config) = (Writer::new(kind.clone()), watcher::Config::default().labels(CHILDREN));
        let store = writer.as_reader();
        self.spawn(api, kind.clone(), writer, config, Wake::Child, |_| {}, triggers::child);
        store
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let client = self.watches.client.clone();
        match self.scope.namespace() {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "private; each argument is one property of one stream, spelled out where streams are listed"
    )]
    fn spawn<K>(
        &mut self,
        api: Api<K>,
        kind: K::DynamicType,
        kept: impl Keep<K> + 'static,
        config: watcher::Config,
        wake: Wake,
        prune: impl Fn(&mut K) + Send + 'static,
        concerned: impl Fn(&K) -> Vec<Subject> + Send + Sync + 'static,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        K::DynamicType: Clone + Eq + Hash + Send + Sync + Unpin,
    {
        self.watches.health.freshness().track(&K::url_path(&kind, self.scope.namespace()));
        self.unfilled.fetch_add(1, Ordering::AcqRel);
        let stream = Stream::new(
            self.watches.clone(),
            self.scope,
            K::kind(&kind).as_ref(),
            wake,
            self.unfilled.clone(),
        );
        let config = config.timeout(WATCH_TIMEOUT_SECONDS).page_size(PAGE_SIZE);
        self.tasks.spawn(stream.run(kept, api, config, prune, concerned));
    }
}
