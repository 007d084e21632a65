//! Whose signatures an image needs.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clause,
    text::{Label, shaped_text},
};

shaped_text! {
    /// A public key in PEM.
    PublicKeyPem, length 1..=4096, pattern "^[^\\x00]+$"
}

/// Whose signatures an image needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = clause::UNSIGNED_OR_ATTESTED)]
pub struct Verification {
    /// Keys, any of which must have signed. Absent: the release key that is compiled in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub keys: Vec<VerificationKey>,
    /// Whether an image without a signature may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_unsigned: Option<bool>,
    /// How many independent attestations of the build are needed; 0 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 16))]
    pub min_attestations: Option<u32>,
}

/// A key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct VerificationKey {
    /// Its name, shown in status.
    pub name: Label,
    /// The public key in PEM.
    #[x_kube(validation = clause::KEY_IS_PUBLIC_PEM)]
    pub pem: PublicKeyPem,
}
