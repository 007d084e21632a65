//! The transparency log's wishes: its name, its witnesses; and where webhooks may go.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clause,
    network::{CaBundle, Egress, HostName, HttpsUrl},
    text::{Label, LogOrigin, shaped_text},
};

shaped_text! {
    /// A witness's verifier key in the note format: `name+hash+base64`.
    VerifierKey, length 1..=4096, pattern "^[^\\s+]+\\+[0-9a-f]{8}\\+[A-Za-z0-9+/=]+$"
}

/// The transparency log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Log {
    /// The log's name in checkpoints. Fixed at first boot; absent: derived by the relay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<LogOrigin>,
    /// Others who watch the log grow and sign what they saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<Witnesses>,
}

/// Others who watch the log grow and sign what they saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = clause::QUORUM_REACHABLE)]
pub struct Witnesses {
    /// How many of them must have signed a checkpoint.
    #[schemars(range(min = 1, max = 16))]
    pub quorum: u32,
    /// The witnesses.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub members: Vec<Witness>,
    /// PEM certificates of the authorities that the witnesses' servers are believed by; absent: the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = clause::CA_BUNDLE_IS_PEM)]
    pub ca_bundle: Option<CaBundle>,
    /// Where the courier that speaks to them may connect to.
    pub egress: Egress,
}

/// One witness.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Witness {
    /// Its name in this list.
    pub name: Label,
    /// Its verifier key.
    pub public_key: VerifierKey,
    /// Its address.
    pub url: HttpsUrl,
}

/// Where users' webhooks may go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhooks {
    /// Hosts a webhook may name.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "set"))]
    pub hosts: Vec<HostName>,
    /// PEM certificates of the authorities that these hosts are believed by; absent: the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = clause::CA_BUNDLE_IS_PEM)]
    pub ca_bundle: Option<CaBundle>,
    /// Where the courier that delivers them may connect to.
    pub egress: Egress,
}
