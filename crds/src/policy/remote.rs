//! What a vendor may ask.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clause,
    span::Span,
    text::{KeyId, RequestId},
};

/// What happens to a vendor's requests. There are exactly four kinds; any other is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = clause::APPROVED_NOT_DENIED)]
pub struct RemoteActions {
    /// Issue a support key; Ask when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_key: Option<Answer>,
    /// Offer an update, which is shown and applied by nobody but `updates`; Allow when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_offer: Option<Answer>,
    /// Ask for a drain; Ask when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Answer>,
    /// Adjust the capability set; Allow when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<Answer>,
    /// Ids of requests an admin agreed to, as the relay's status shows them. A support key's may stand here or in
    /// `supportAccess.approved`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub approved: Vec<RequestId>,
    /// Ids of requests an admin refused. Wins over every `approved`; counts also while the policy is not accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub denied: Vec<RequestId>,
}

/// What happens to one kind of request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Answer {
    /// It is accepted, and logged.
    Allow,
    /// It waits for an admin.
    #[default]
    Ask,
    /// It is refused, and logged.
    Refuse,
}

/// Support keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = clause::APPROVED_NOT_REVOKED)]
pub struct SupportAccess {
    /// How long a support key may live, from 5m to 24h; 8h when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = clause::SUPPORT_RANGE)]
    pub max_duration: Option<Span>,
    /// Ids an admin agreed to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub approved: Vec<KeyId>,
    /// Ids an admin ended. A latch kept by the relay: removing the id restores nothing. Counts also while the policy is not
    /// accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub revoked: Vec<KeyId>,
}
