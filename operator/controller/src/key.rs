//! The name of a relay within the cluster, by which tasks and caches are keyed, and what the queue works on.

use std::fmt;

/// Namespace and name of a ParamantRelay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayKey {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl RelayKey {
    /// The relay `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for RelayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One object whose status this operator writes: what the queue works on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A relay, with everything that belongs to it.
    Relay(RelayKey),
    /// A policy; only its status is written.
    Policy(RelayKey),
    /// A licence; only its status is written.
    License(RelayKey),
}

impl Subject {
    /// Its namespace and name.
    pub fn key(&self) -> &RelayKey {
        match self {
            Self::Relay(key) | Self::Policy(key) | Self::License(key) => key,
        }
    }
}

impl From<RelayKey> for Subject {
    fn from(key: RelayKey) -> Self {
        Self::Relay(key)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relay(key) => write!(f, "relay {key}"),
            Self::Policy(key) => write!(f, "policy {key}"),
            Self::License(key) => write!(f, "licence {key}"),
        }
    }
}
