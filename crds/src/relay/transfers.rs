//! Who may send and read besides the holders of API keys, and how often a file is disclosed. Absent fields leave the relay's own
//! defaults in force.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::WebOrigin;

/// How files are sent and read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transfers {
    /// Whether files are taken without an API key; no when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_uploads: Option<bool>,
    /// Origins whose web pages may read answers. Absent: those of the published web clients, and of local development.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_origins: Option<Vec<WebOrigin>>,
    /// What a cut in the middle of a read means, where the sender does not say; Recoverable when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disclosure: Option<Disclosure>,
}

/// What a cut in the middle of a read means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Disclosure {
    /// The same reader may begin again, at most three times: no view is lost.
    Recoverable,
    /// The view is used: a file is disclosed once at most.
    Strict,
}
