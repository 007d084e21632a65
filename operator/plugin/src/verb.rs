//! The verbs, one file for each group of them.

mod answers;
pub(crate) mod complete;
pub(crate) mod license;
pub(crate) mod report;
pub(crate) mod requests;
pub(crate) mod status;
pub(crate) mod steer;
pub(crate) mod support;
pub(crate) mod updates;
pub(crate) mod verify;

use anyhow::Context as _;
use paramant_crds::ParamantRelay;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::answers::{Answer, Section};
use crate::change::Change;
use crate::cluster::{Cluster, Place, RELAYS, Refusal, if_unchanged};
use crate::view;

/// A relay as it was read: to look at, and as it is stored.
pub(crate) struct Seen {
    /// With the fields this release knows.
    pub(crate) relay: ParamantRelay,
    /// As stored.
    pub(crate) stored: Value,
}

impl Seen {
    /// Reads a relay of the cluster's namespace.
    pub(crate) async fn read(cluster: &Cluster, name: &str) -> anyhow::Result<Self> {
        let stored = cluster.get(&Place::one(RELAYS, &cluster.namespace, name)).await?;
        Ok(Self { relay: typed(&stored)?, stored })
    }

    /// Changes what was read, and only that: somebody else's change in between is a refusal.
    pub(crate) async fn change(&self, cluster: &Cluster, change: &Change) -> anyhow::Result<()> {
        let name = self.relay.metadata.name.as_deref().unwrap_or_default();
        let patched = patch(cluster, name, &if_unchanged(&self.stored, change.patch())).await?;
        done(cluster, &typed(&patched)?, change);
        Ok(())
    }
}

/// Reads what is stored as this release knows it.
pub(crate) fn typed<T: DeserializeOwned>(stored: &Value) -> anyhow::Result<T> {
    serde_json::from_value(stored.clone())
        .context("this object holds what this release of kubectl-paramant cannot read; take a newer one")
}

pub(crate) async fn patch(cluster: &Cluster, name: &str, patch: &Value) -> Result<Value, Refusal> {
    cluster.patch(&Place::one(RELAYS, &cluster.namespace, name), patch).await
}

/// Says what a change leads to.
pub(crate) fn done(cluster: &Cluster, relay: &ParamantRelay, change: &Change) {
    let tried = if cluster.dry_run { "(dry run, nothing is kept) " } else { "" };
    println!("{tried}{}", view::after(relay, change));
}

#[cfg(test)]
mod rights;
