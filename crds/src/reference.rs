//! How our resources point at other objects: always by name, always in the same namespace.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::text::{ObjectName, SecretKey};

/// Another object of ours in the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct NameRef {
    /// Its `metadata.name`.
    pub name: ObjectName,
}

/// A Secret in the same namespace. The operator never reads it; the pod mounts it, optionally.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct SecretRef {
    /// Its `metadata.name`.
    pub name: ObjectName,
}

/// One key of a Secret in the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct SecretKeyRef {
    /// The Secret's `metadata.name`.
    pub name: ObjectName,
    /// The key that holds the value; `token` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretKey>,
}

impl SecretKeyRef {
    /// The key in force.
    pub fn key(&self) -> &str {
        self.key.as_ref().map_or("token", SecretKey::as_str)
    }
}
