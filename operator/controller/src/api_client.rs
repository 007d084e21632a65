//! The client for the API server: in-cluster or kubeconfig credentials, with stamps for staleness on top.

use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};

use crate::staleness::{Freshness, StampLayer};

/// The API server is near; a connection that takes longer goes to a node that is gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a kubeconfig nor a ServiceAccount.
    #[error("no way to the API server: {0}; run in a cluster, or set KUBECONFIG")]
    Infer(#[from] kube::config::InferConfigError),
    /// The credentials cannot be used.
    #[error("the credentials for the API server cannot be used: {0}")]
    Build(#[from] kube::Error),
}

/// Makes the client; nothing is sent yet.
pub async fn connect(freshness: &Freshness) -> Result<Client, Error> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Ok(ClientBuilder::try_from(config)?.with_layer(&StampLayer(freshness.clone())).build())
}
