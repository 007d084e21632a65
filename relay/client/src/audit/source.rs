//! Where an auditor reads a log from: paths in, bytes out. A relay today; directories and archives can follow.

use std::future::Future;

use serde::de::DeserializeOwned;

use super::Stop;
use super::report::{Finding, finding};
use crate::error::ClientError;
use crate::relay::Relay;

/// Something that serves a log.
pub trait Source: Sync {
    /// The bytes at a path (from `/` on, with its query); `None` when there is nothing.
    fn get(&self, path: &str) -> impl Future<Output = Result<Option<Vec<u8>>, ClientError>> + Send;

    /// Whether the log may grow while it is read.
    fn is_live(&self) -> bool;
}

impl Source for Relay {
    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, ClientError> {
        self.public(path).await
    }

    fn is_live(&self) -> bool {
        true
    }
}

/// Bytes that a log must serve.
pub(super) async fn required<S: Source>(source: &S, path: &str) -> Result<Vec<u8>, Stop> {
    Ok(source.get(path).await?.ok_or_else(|| absent(path))?)
}

/// JSON that a log must serve.
pub(super) async fn json<S: Source, T: DeserializeOwned>(source: &S, path: &str) -> Result<T, Stop> {
    let bytes = required(source, path).await?;
    Ok(parse(path, &bytes)?)
}

/// JSON that a log may serve.
pub(super) async fn json_if_there<S: Source, T: DeserializeOwned>(
    source: &S,
    path: &str,
) -> Result<Option<T>, Stop> {
    Ok(source.get(path).await?.map(|bytes| parse(path, &bytes)).transpose()?)
}

fn parse<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, Finding> {
    serde_json::from_slice(bytes)
        .map_err(|error| finding("answers", format!("{path} cannot be read: {error}")))
}

fn absent(path: &str) -> Finding {
    finding("answers", format!("{path} is not there"))
}
