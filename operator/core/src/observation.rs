//! Everything a decision may look at: one relay, what it refers to, its children, what it says, what its image means.
//!
//! An observation is a plain value, assembled by the controller from its local stores and from the relay's own task;
//! nothing here reaches out. What could not be seen is said to be unknown, never guessed: an empty store and an absent
//! object are different things, so the controller asks only after its stores are filled.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy, NetworkPolicyPeer};
use paramant_crds::{ParamantLicense, ParamantPolicy, ParamantRelay};
use paramant_protocol::control::{CourierPurpose, DirectivesMark, RelayState};
use serde_json::Value;

use crate::digest::Digest;
use crate::release::{Inspection, TrustedKey};

/// What is known about one relay at one moment.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The resource itself, with its last stored status.
    pub relay: Arc<ParamantRelay>,
    /// What `spec.policyRef` names.
    pub policy: Referenced<ParamantPolicy>,
    /// What `spec.licenseRef` names.
    pub license: Referenced<ParamantLicense>,
    /// The live objects made for this relay.
    pub children: Children,
    /// What the relay's process last said on its control port.
    pub report: Report,
    /// What is known about the image that was last asked for by [`crate::Decision::resolve`].
    pub resolution: Resolution,
    /// What is known about the digest that was last asked for by [`crate::Decision::inspect`].
    pub inspection: Inspection,
    /// The last child the API server refused to take, until it takes it.
    pub refused: Option<Refused>,
    /// The directives that the relay last refused, until it takes some.
    pub directives_refused: Option<DirectivesMark>,
    /// Other relays that report the same identity or log, or ask for the same log origin; in any order.
    pub rivals: Vec<Rival>,
}

/// An object named by a reference.
#[derive(Debug, Clone)]
pub enum Referenced<T> {
    /// The spec names none.
    Unreferenced,
    /// The spec names one that does not exist.
    Missing {
        /// The name it was looked for under, in the relay's own namespace.
        name: String,
    },
    /// It exists.
    Found(Arc<T>),
}

impl<T> Referenced<T> {
    /// The object, if it exists.
    pub fn found(&self) -> Option<&T> {
        match self {
            Self::Found(object) => Some(object),
            Self::Unreferenced | Self::Missing { .. } => None,
        }
    }
}

/// The live children by kind. `None` means: looked for and not there.
#[derive(Debug, Clone, Default)]
pub struct Children {
    /// `R`.
    pub stateful_set: Option<Arc<StatefulSet>>,
    /// `R`, the Service clients use.
    pub service: Option<Arc<Service>>,
    /// `R-pods`.
    pub headless: Option<Arc<Service>>,
    /// `R`.
    pub service_account: Option<Arc<ServiceAccount>>,
    /// `R-config`.
    pub config: Option<Arc<ConfigMap>>,
    /// `R-state`.
    pub state: Option<Arc<ConfigMap>>,
    /// `R`.
    pub network_policy: Option<Arc<NetworkPolicy>>,
    /// `R`, when exposed by a class.
    pub ingress: Option<Arc<Ingress>>,
    /// `R`, when exposed by a gateway; untyped, because the kind may not be installed.
    pub http_route: Option<Arc<Value>>,
    /// `data-R-0`.
    pub claim: Option<Arc<PersistentVolumeClaim>>,
    /// Pods with this relay's labels; normally `R-0` and nothing else.
    pub pods: Vec<Arc<Pod>>,
    /// Of the courier that speaks to witnesses.
    pub courier: CourierChildren,
    /// Of the courier that calls webhooks.
    pub webhook_courier: CourierChildren,
    /// Of the courier that checks in about the licence.
    pub license_courier: CourierChildren,
}

impl Children {
    /// What lives of the courier of one purpose.
    pub fn courier_for(&self, purpose: CourierPurpose) -> &CourierChildren {
        match purpose {
            CourierPurpose::Webhook => &self.webhook_courier,
            CourierPurpose::License => &self.license_courier,
            CourierPurpose::Witness | CourierPurpose::Unknown => &self.courier,
        }
    }

    /// What lives of any courier.
    pub fn couriers(&self) -> [&CourierChildren; 3] {
        [&self.courier, &self.webhook_courier, &self.license_courier]
    }
}

/// The live objects of one courier.
#[derive(Debug, Clone, Default)]
pub struct CourierChildren {
    /// `R-courier-witness`.
    pub deployment: Option<Arc<Deployment>>,
    /// `R-control`.
    pub control: Option<Arc<Service>>,
    /// `R-courier-witness`.
    pub service_account: Option<Arc<ServiceAccount>>,
    /// `R-courier-witness`.
    pub network_policy: Option<Arc<NetworkPolicy>>,
}

/// What the relay's own task knows.
#[derive(Debug, Clone, Default)]
pub enum Report {
    /// No attempt has ended yet (a new leader, a new pod): what was known before stays believed.
    #[default]
    Unknown,
    /// The relay answers and proved itself.
    Reachable {
        /// The newest state it sent.
        state: Arc<RelayState>,
        /// Which pod it runs in.
        pod_uid: String,
        /// When that state arrived.
        at: Timestamp,
    },
    /// Dialling failed, or the stream broke and did not come back.
    Unreachable {
        /// Since when.
        since: Timestamp,
        /// Why, in one sentence that does not change from attempt to attempt.
        reason: String,
    },
    /// It answers with another control key than the pinned one. Nothing it says is believed.
    KeyChanged {
        /// Lower-case hex SHA-256 of the SubjectPublicKeyInfo it showed.
        found: String,
        /// Which pod showed it.
        pod_uid: String,
    },
}

/// What a registry said about an image reference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Resolution {
    /// Nothing was asked, or no answer is there yet.
    #[default]
    Pending,
    /// The reference means this digest.
    Resolved {
        /// The reference as it was asked for.
        image: String,
        /// Its digest.
        digest: Digest,
    },
    /// The registry answered that there is no such image, or the reference is malformed: only a person can help.
    Refused {
        /// The reference as it was asked for.
        image: String,
        /// The registry's answer in one sentence.
        reason: String,
    },
    /// The registry could not be asked; it is tried again.
    Unavailable {
        /// The reference as it was asked for.
        image: String,
        /// Why, in one sentence that does not change from attempt to attempt.
        reason: String,
    },
}

/// An intent that the API server answered with "no" (invalid, denied by an admission policy, over a quota), or with one failure
/// after the other. Not a conflict, and not an API server that is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The digest the refused intent was sealed with ([`crate::children::seal_of`]): another intent is another question.
    /// `None` if nothing is wrong with the intent itself: any other one for this object would fare no better.
    pub sealed: Option<String>,
    /// The API server's answer.
    pub message: String,
}

/// Another relay with which this one shares what must be its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When it was created; the older one keeps the identity.
    pub created: Timestamp,
    /// What both have.
    pub shares: Shared,
}

/// What two relays must never share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// The ML-DSA-65 identity: one data directory was copied.
    Identity,
    /// The log's origin.
    LogOrigin,
}

/// What stays the same from one decision to the next.
#[derive(Debug, Clone)]
pub struct Context {
    /// The CA certificates a relay shall accept operators from; PEM; old and new while one is replaced.
    pub ca_bundle_pem: String,
    /// The Lease's transitions: orders directives of successive leaders.
    pub epoch: u64,
    /// Where the operator runs; only from there may the control and probe ports be reached.
    pub operator_namespace: String,
    /// Who else may read a relay's metrics.
    pub metrics_from: Vec<NetworkPolicyPeer>,
    /// Whether the cluster serves `gateway.networking.k8s.io/v1` HTTPRoute.
    pub gateway_api: bool,
    /// The keys the cluster signs tokens with (JSON Web Key Set), once they are read: relays know their couriers by them.
    pub token_keys: Option<Arc<str>>,
    /// Whose signatures count where no policy names keys.
    pub release_keys: Vec<TrustedKey>,
    /// Whether an unsigned image may run where no policy says so: for clusters that only try things out.
    pub allow_unsigned_default: bool,
    /// The licence servers that a ParamantLicense may name besides the vendor's.
    pub license_servers: LicenseServers,
}

/// Licence servers of the installation, and by which authorities they are believed: neither is for whoever edits a ParamantLicense to
/// say, or its key could be sent to a host of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LicenseServers {
    /// Their URLs.
    pub endpoints: Vec<String>,
    /// PEM certificates of their authorities; absent: the public ones.
    pub ca_bundle: Option<String>,
}
