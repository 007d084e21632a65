//! Where an auditor reads a log from: paths in, bytes out. A relay today; directories and archives can follow.

use std::future::Future;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Stop;
use super::report::{Finding, finding};
use crate::error::ClientError;
use crate::relay::Relay;

/// How long to wait before each further try when no answer came: together longer than a gateway needs to notice that a
/// pod has been replaced.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(3)];
/// The longest wait that a relay may ask for.
const LONGEST: Duration = Duration::from_secs(15);

/// Something that serves a log.
pub trait Source: Sync {
    /// The bytes at a path (from `/` on, with its query); `None` when there is nothing.
    fn get(&self, path: &str) -> impl Future<Output = Result<Option<Vec<u8>>, ClientError>> + Send;

    /// Whether the log may grow while it is read.
    fn is_live(&self) -> bool;
}

impl Source for Relay {
    async fn get(&self, path: &str) -> Result<Option<Vec<u8>>, ClientError> {
        for pause in PAUSES {
            match self.public(path).await {
                Err(error) if error.may_pass() => tokio::time::sleep(pause.max(asked_for(&error))).await,
                settled => return settled,
            }
        }
        self.public(path).await
    }

    fn is_live(&self) -> bool {
        true
    }
}

/// How long the relay asks to be left alone.
fn asked_for(error: &ClientError) -> Duration {
    match error {
        ClientError::Refused { retry_after: Some(seconds), .. } => Duration::from_secs(*seconds).min(LONGEST),
        _ => Duration::ZERO,
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
