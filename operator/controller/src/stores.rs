//! The local copies of what the operator watches: one set per scope, filled by [`crate::watches`], read by reconcile.
//!
//! A scope is the whole cluster or one namespace. Reading never waits; a scope whose first lists are not complete yields
//! nothing at all, because an empty store and an absent object are different things.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use kube::Resource;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::reflector::{Lookup, ObjectRef, Store};
use paramant_crds::{ParamantLicense, ParamantPolicy, ParamantRelay};
use paramant_operator_core::children::{control_name, courier_name};
use paramant_operator_core::{Children, CourierChildren};
use paramant_protocol::control::CourierPurpose;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use self::packed::Packed;
use crate::key::{RelayKey, Subject};
use crate::triggers;

pub mod packed;

/// Where a set of watches looks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Every namespace.
    Cluster,
    /// One namespace.
    Namespace(String),
}

impl Scope {
    /// One scope for the cluster, or one for each namespace listed.
    pub fn all(namespaces: &[String]) -> Vec<Self> {
        if namespaces.is_empty() {
            return vec![Self::Cluster];
        }
        namespaces.iter().cloned().map(Self::Namespace).collect()
    }

    /// The namespace, unless it is the whole cluster.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Cluster => None,
            Self::Namespace(namespace) => Some(namespace),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("the cluster"),
            Self::Namespace(namespace) => write!(f, "namespace {namespace}"),
        }
    }
}

/// The stores of one scope.
#[derive(Clone)]
pub struct Stores {
    /// Relays.
    pub relays: Store<ParamantRelay>,
    /// Policies.
    pub policies: Store<ParamantPolicy>,
    /// Licences.
    pub licenses: Store<ParamantLicense>,
    /// Children.
    pub stateful_sets: Packed<StatefulSet>,
    /// Children: couriers.
    pub deployments: Packed<Deployment>,
    /// Children: public, headless, and control where there is a courier.
    pub services: Packed<Service>,
    /// Children.
    pub service_accounts: Packed<ServiceAccount>,
    /// Children, `-config` and `-state`.
    pub config_maps: Packed<ConfigMap>,
    /// Children.
    pub network_policies: Packed<NetworkPolicy>,
    /// Children.
    pub ingresses: Packed<Ingress>,
    /// Children, and their type; absent while the cluster serves no HTTPRoute, or none that may be used here.
    pub http_routes: Option<(ApiResource, Store<DynamicObject>)>,
    /// Made by StatefulSets.
    pub claims: Packed<PersistentVolumeClaim>,
    /// Made by StatefulSets.
    pub pods: Packed<Pod>,
    /// Streams whose first list is not complete yet.
    pub unfilled: Arc<AtomicUsize>,
    /// Told when a write here was forbidden: the rights may be gone.
    pub forbidden: Arc<Notify>,
}

#[cfg(test)]
impl Stores {
    /// Filled stores that hold these and nothing else.
    pub(crate) fn holding(relays: Vec<ParamantRelay>, policies: Vec<ParamantPolicy>) -> Self {
        fn of<K: Lookup<DynamicType = ()> + Clone + 'static>(objects: Vec<K>) -> Store<K> {
            let (store, mut writer) = kube::runtime::reflector::store();
            for object in objects {
                writer.apply_watcher_event(&kube::runtime::watcher::Event::Apply(object));
            }
            store
        }
        Self {
            relays: of(relays),
            policies: of(policies),
            licenses: kube::runtime::reflector::store().0,
            stateful_sets: Packed::default(),
            deployments: Packed::default(),
            services: Packed::default(),
            service_accounts: Packed::default(),
            config_maps: Packed::default(),
            network_policies: Packed::default(),
            ingresses: Packed::default(),
            http_routes: None,
            claims: Packed::default(),
            pods: Packed::default(),
            unfilled: Arc::default(),
            forbidden: Arc::default(),
        }
    }
}

impl Stores {
    /// Whether every first list is complete.
    pub fn filled(&self) -> bool {
        self.unfilled.load(Ordering::Acquire) == 0
    }

    /// Everything whose status is written.
    pub fn subjects(&self) -> Vec<Subject> {
        let relays = self.relays.state().into_iter().filter_map(|it| triggers::key(&*it)).map(Subject::Relay);
        let policies =
            self.policies.state().into_iter().filter_map(|it| triggers::key(&*it)).map(Subject::Policy);
        let licenses =
            self.licenses.state().into_iter().filter_map(|it| triggers::key(&*it)).map(Subject::License);
        relays.chain(policies).chain(licenses).collect()
    }

    /// The children of one relay.
    pub fn children(&self, key: &RelayKey) -> Children {
        let name = key.name.as_str();
        Children {
            stateful_set: child(&self.stateful_sets, key, name),
            service: child(&self.services, key, name),
            headless: child(&self.services, key, &format!("{name}-pods")),
            service_account: child(&self.service_accounts, key, name),
            config: child(&self.config_maps, key, &format!("{name}-config")),
            state: child(&self.config_maps, key, &format!("{name}-state")),
            network_policy: child(&self.network_policies, key, name),
            ingress: child(&self.ingresses, key, name),
            http_route: self.http_routes.as_ref().and_then(|(kind, store)| {
                let route = store.get(&ObjectRef::new_with(name, kind.clone()).within(&key.namespace))?;
                serde_json::to_value(&*route).ok().map(Arc::new)
            }),
            claim: child(&self.claims, key, &format!("data-{name}-0")),
            pods: self.pods_of(key),
            courier: self.courier_of(key, CourierPurpose::Witness),
            webhook_courier: self.courier_of(key, CourierPurpose::Webhook),
            license_courier: self.courier_of(key, CourierPurpose::License),
        }
    }

    fn courier_of(&self, key: &RelayKey, purpose: CourierPurpose) -> CourierChildren {
        let name = courier_name(&key.name, purpose);
        CourierChildren {
            deployment: child(&self.deployments, key, &name),
            control: child(&self.services, key, &control_name(&key.name, purpose)),
            service_account: child(&self.service_accounts, key, &name),
            network_policy: child(&self.network_policies, key, &name),
        }
    }

    /// The pod of a relay is `R-0`; a pod with the relay's label under another name is listed too, so that core can object.
    fn pods_of(&self, key: &RelayKey) -> Vec<Arc<Pod>> {
        let of_relay = || self.pods.of_relay(key);
        match child(&self.pods, key, &format!("{}-0", key.name)) {
            Some(pod) if self.pods.count() < MANY_PODS => {
                let others = of_relay().into_iter().filter(|other| other.metadata.name != pod.metadata.name);
                std::iter::once(pod.clone()).chain(others).collect()
            }
            Some(pod) => vec![pod],
            None => of_relay(),
        }
    }
}

/// Beyond so many pods, a relay whose own pod was found is not searched for strays: that search is linear.
const MANY_PODS: usize = 200;

/// One child by name in the relay's namespace.
fn child<K>(store: &Packed<K>, key: &RelayKey, name: &str) -> Option<Arc<K>>
where
    K: Resource + Serialize + DeserializeOwned,
{
    store.get(&key.namespace, name)
}

/// One object by name in the relay's namespace.
fn get<K>(store: &Store<K>, key: &RelayKey, name: &str) -> Option<Arc<K>>
where
    K: Lookup<DynamicType = ()> + Clone + 'static,
{
    store.get(&ObjectRef::new(name).within(&key.namespace))
}

/// All scopes of one process.
#[derive(Clone, Default)]
pub struct World(Arc<std::sync::RwLock<BTreeMap<Scope, Stores>>>);

impl World {
    /// Adds the stores of a scope, once its watches run.
    pub fn add(&self, scope: Scope, stores: Stores) {
        self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(scope, stores);
    }

    /// The stores for one namespace, if its scope is watched and filled.
    pub fn of(&self, namespace: &str) -> Option<Stores> {
        let scopes = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let stores =
            scopes.get(&Scope::Cluster).or_else(|| scopes.get(&Scope::Namespace(namespace.to_owned())))?;
        stores.filled().then(|| stores.clone())
    }

    /// Which of these scopes are not watched or not filled: nobody knows what is there.
    pub fn unseen(&self, scopes: &[Scope]) -> Vec<Scope> {
        let known = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let seen = |scope: &Scope| known.get(scope).is_some_and(Stores::filled);
        scopes.iter().filter(|scope| !seen(scope)).cloned().collect()
    }

    /// Everything whose status is written, in every filled scope.
    pub fn subjects(&self) -> Vec<Subject> {
        let scopes = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        scopes.values().filter(|stores| stores.filled()).flat_map(Stores::subjects).collect()
    }

    /// How many subjects there are, once every scope of the process is filled.
    pub fn count(&self, scopes: usize) -> Option<usize> {
        let known = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let filled: Vec<_> = known.values().filter(|stores| stores.filled()).collect();
        let sizes = filled.iter().map(|it| it.relays.len() + it.policies.len() + it.licenses.len());
        (filled.len() == scopes).then(|| sizes.sum())
    }

    /// Every relay in every filled scope.
    pub fn relays(&self) -> Vec<Arc<ParamantRelay>> {
        self.every(|stores| stores.relays.state())
    }

    /// Every policy in every filled scope.
    pub fn policies(&self) -> Vec<Arc<ParamantPolicy>> {
        self.every(|stores| stores.policies.state())
    }

    /// Every licence in every filled scope.
    pub fn licenses(&self) -> Vec<Arc<ParamantLicense>> {
        self.every(|stores| stores.licenses.state())
    }

    fn every<K>(&self, of: impl Fn(&Stores) -> Vec<Arc<K>>) -> Vec<Arc<K>> {
        let scopes = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        scopes.values().filter(|stores| stores.filled()).flat_map(of).collect()
    }
}

impl Stores {
    /// The policy or licence a relay names, from its own namespace.
    pub fn policy(&self, key: &RelayKey, name: &str) -> Option<Arc<ParamantPolicy>> {
        get(&self.policies, key, name)
    }

    /// See [`Self::policy`].
    pub fn license(&self, key: &RelayKey, name: &str) -> Option<Arc<ParamantLicense>> {
        get(&self.licenses, key, name)
    }

    /// The relay itself.
    pub fn relay(&self, key: &RelayKey) -> Option<Arc<ParamantRelay>> {
        get(&self.relays, key, &key.name)
    }
}
