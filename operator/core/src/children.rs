//! The objects made for one relay, one file for each kind, as complete intents for server-side apply.
//!
//! An intent holds only fields this operator owns, and no value the API server would drop or rewrite. Each is sealed with
//! the digest of itself, so that dropping a field is seen as a difference ([`crate::covers()`]). All but `<relay>-state`
//! have the relay as controlling owner; there is no finalizer. Pure; called by [`crate::decide`].

mod claim;
mod config;
mod courier;
mod exposure;
mod network_policy;
mod pod_template;
mod service_account;
mod services;
mod settings;
mod state;
mod stateful_set;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use paramant_crds::license::Online;
use paramant_crds::{ParamantLicenseSpec, ParamantRelay, ParamantRelaySpec};
use serde::Serialize;
use serde_json::{Map, Value};

pub use self::claim::claim;
pub use self::config::{CA_KEY, RELAY_KEY, config};
pub use self::courier::{
    COURIER_NAME, Contact, Courier, PURPOSE_LABEL, control_name, courier_name, deployment_as_owner,
};
pub use self::exposure::{HTTP_ROUTE_API_VERSION, http_route, ingress};
pub use self::network_policy::network_policy;
pub use self::pod_template::{
    PodWishes, admin_secret, air_gap_secret, grants, image_digest, licence_secret, pod_template,
    restarted_at, static_settings,
};
pub use self::service_account::service_account;
pub use self::services::{headless, service};
pub use self::settings::{StaticSettings, endpoint, relay_yaml};
pub use self::state::state;
pub use self::stateful_set::stateful_set;
pub(crate) use self::stateful_set::{live_template, resolved_image, taken_offer};
use crate::digest::Digest;

/// Who owns the fields this operator sets.
pub const FIELD_MANAGER: &str = "paramant-operator";
/// The digest of an intent, on the object made from it.
pub const INTENT_ANNOTATION: &str = "paramant.app/intent";
/// On all children: the relay they belong to. Watches select by it.
pub const RELAY_LABEL: &str = "paramant.app/relay";
/// What `app.kubernetes.io/name` says on all children.
pub const APP_NAME: &str = "paramant-relay";

/// Clients; plain HTTP.
pub const PUBLIC_PORT: i32 = 3000;
/// The operator, by mutual TLS; couriers, by their tokens.
pub const CONTROL_PORT: i32 = 7443;
/// The kubelet and metrics.
pub const PROBES_PORT: i32 = 9090;

/// The relay whose children are rendered.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// `metadata.name`.
    pub name: &'a str,
    /// `metadata.namespace`.
    pub namespace: &'a str,
    /// `metadata.uid`.
    pub uid: &'a str,
    /// The wishes.
    pub spec: &'a ParamantRelaySpec,
    /// What `licenseRef` names, if it is there and may be followed.
    pub license: Option<License<'a>>,
}

/// A licence that may be followed.
#[derive(Debug, Clone, Copy)]
pub struct License<'a> {
    /// Its wishes.
    pub spec: &'a ParamantLicenseSpec,
    /// The online check, if the release that runs knows it: an older one would refuse its settings.
    pub online: Option<&'a Online>,
    /// By which authorities its server is believed; absent: the public ones.
    pub ca_bundle: Option<&'a str>,
    /// Whether the release that runs knows the fields of the online check, telemetry and air gap.
    pub known: bool,
}

impl<'a> Subject<'a> {
    /// `None` for an object no API server returns: without name, namespace or UID.
    pub fn of(relay: &'a ParamantRelay) -> Option<Self> {
        Some(Self {
            name: relay.metadata.name.as_deref()?,
            namespace: relay.metadata.namespace.as_deref()?,
            uid: relay.metadata.uid.as_deref()?,
            spec: &relay.spec,
            license: None,
        })
    }

    /// With the licence that its reference names.
    #[must_use]
    pub fn licensed(self, license: Option<License<'a>>) -> Self {
        Self { license, ..self }
    }

    /// `R-pods`: the headless Service.
    pub fn headless_name(&self) -> String {
        format!("{}-pods", self.name)
    }

    /// `R-config`: settings and the operator's CA.
    pub fn config_name(&self) -> String {
        format!("{}-config", self.name)
    }

    /// `R-state`: what must outlive status.
    pub fn state_name(&self) -> String {
        format!("{}-state", self.name)
    }

    /// `R-0`: the one pod.
    pub fn pod_name(&self) -> String {
        format!("{}-0", self.name)
    }

    /// `data-R-0`: the claim of the one pod.
    pub fn claim_name(&self) -> String {
        format!("data-{}-0", self.name)
    }

    /// What a StatefulSet and Services select pods by; never changes.
    pub fn selector(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name", APP_NAME),
            ("app.kubernetes.io/instance", self.name),
            (RELAY_LABEL, self.name),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
    }

    /// What all children carry.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.insert("app.kubernetes.io/managed-by".into(), FIELD_MANAGER.into());
        labels
    }

    /// The relay as controlling owner. `blockOwnerDeletion` is why the operator may `update` the relay's `finalizers`:
    /// a foreground deletion then waits for the pod, and the relay hears that it is being deleted.
    pub fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: format!("{}/{}", paramant_crds::GROUP, paramant_crds::VERSION),
            kind: "ParamantRelay".into(),
            name: self.name.to_owned(),
            uid: self.uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    fn metadata(&self, name: impl Into<String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.into()),
            namespace: Some(self.namespace.to_owned()),
            labels: Some(self.labels()),
            owner_references: Some(vec![self.owner()]),
            ..ObjectMeta::default()
        }
    }
}

/// Writes the digest of an intent into its own annotations. The digest is over everything but itself.
pub fn seal(mut intent: Value) -> Value {
    let digest = Digest::of_json(&intent);
    if let Some(metadata) = intent.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(INTENT_ANNOTATION.into(), digest.hex().into());
        }
    }
    intent
}

/// The digest a live object was sealed with.
pub fn sealed_as(annotations: Option<&BTreeMap<String, String>>) -> Option<&str> {
    annotations?.get(INTENT_ANNOTATION).map(String::as_str)
}

/// The digest an intent was sealed with.
pub fn seal_of(intent: &Value) -> Option<&str> {
    intent.get("metadata")?.get("annotations")?.get(INTENT_ANNOTATION)?.as_str()
}

/// Kubernetes' own types always become JSON; `Null` cannot happen, and would be covered by everything if it did.
fn to_value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests;
