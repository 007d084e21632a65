//! The relay's volume.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{size::Size, text::ObjectName};

/// The volume's size when the manifest names none.
pub const DEFAULT_SIZE: &str = "10Gi";

/// The relay's volume. Class, access mode and presence are fixed; the size may grow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// 10Gi when absent. May grow where the class allows it, never shrink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The storage class; the cluster's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<ObjectName>,
    /// ReadWriteOncePod when absent: no second pod can ever write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_mode: Option<AccessMode>,
    /// Where sealed payloads wait. Disk when absent. The log is on the volume either way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// What happens to the volume when the relay is deleted. Retain when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

impl Storage {
    /// The size in force, as written.
    pub fn size_or_default(&self) -> Size {
        self.size.clone().unwrap_or_else(|| Size::from(DEFAULT_SIZE))
    }
}

/// Who may mount the volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum AccessMode {
    /// One node.
    ReadWriteOnce,
    /// One pod.
    #[default]
    ReadWriteOncePod,
}

impl AccessMode {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "ReadWriteOnce",
            Self::ReadWriteOncePod => "ReadWriteOncePod",
        }
    }
}

/// Where sealed payloads wait for their receiver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Payload {
    /// On the volume: a restart loses nothing.
    #[default]
    Disk,
    /// In memory: a restart loses what waits.
    Memory,
}

impl Payload {
    /// As the manifest and the relay's settings spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "Disk",
            Self::Memory => "Memory",
        }
    }
}

/// What happens to the volume when the relay is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Retention {
    /// It stays.
    #[default]
    Retain,
    /// It goes with the relay.
    Delete,
}
