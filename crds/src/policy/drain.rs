//! How drains run.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{clause, span::Span};

/// How drains run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = clause::SETTLE_WITHIN_DEADLINE)]
pub struct DrainPolicy {
    /// Drain every relay under this policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// How long to wait for what is in flight; 30m when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = clause::DEADLINE_RANGE)]
    pub deadline: Option<Span>,
    /// How long nothing must be in flight; 10s when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle: Option<Span>,
    /// What happens at the deadline; Wait when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_deadline: Option<OnDeadline>,
}

/// What happens when something is still in flight at the deadline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum OnDeadline {
    /// Go on waiting.
    #[default]
    Wait,
    /// Go ahead.
    Proceed,
}
