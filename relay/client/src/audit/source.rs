//! Where an auditor reads a log from: paths in, bytes out. A relay ([`Relay`]), or a copy of what it serves under `/log/`
//! ([`super::Copy`]).

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use paramant_protocol::sth::SignedSth;
use paramant_protocol::transparency::TreeHeadPage;
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
/// Tree heads a request: 4.6 kB each.
pub(super) const HEADS_A_PAGE: usize = 500;

/// Some tree heads in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeadPage {
    /// How many were ever signed, where the source knows.
    pub total: Option<u64>,
    /// The heads, oldest first. None at the end.
    pub heads: Vec<SignedSth>,
}

/// Something that serves a log.
pub trait Source: Sync {
    /// The bytes at a path (from `/` on, with its query); `None` when there is nothing.
    fn get(&self, path: &str) -> impl Future<Output = Result<Option<Vec<u8>>, ClientError>> + Send;

    /// Whether the log may grow while it is read.
    fn is_live(&self) -> bool;

    /// Whether the published JSON interface is there, or only what lies under `/log/`.
    fn has_json(&self) -> bool {
        true
    }

    /// Which entries of a log of this size can be read here.
    fn span(&self, size: u64) -> Range<u64> {
        0..size
    }

    /// Tree heads from a number on. `None` where the source keeps none.
    fn heads(&self, from: u64) -> impl Future<Output = Result<Option<HeadPage>, ClientError>> + Send {
        async move { served_heads(self, from).await }
    }

    /// The last tree head of a copy; how far its heads reach is known from it before they are read.
    fn last_head(&self) -> Result<Option<SignedSth>, ClientError> {
        Ok(None)
    }

    /// Bytes of an immutable resource that were found to be right: a source that makes a copy writes them down.
    fn keep(&self, _path: &str, _bytes: &[u8]) -> Result<(), ClientError> {
        Ok(())
    }
}

/// From `/log/sth`.
async fn served_heads<S: Source + ?Sized>(source: &S, from: u64) -> Result<Option<HeadPage>, ClientError> {
    let wrong = |reason: String| ClientError::Answer { action: "read the tree heads", reason };
    let path = format!("/log/sth?from={from}&limit={HEADS_A_PAGE}");
    let Some(bytes) = source.get(&path).await? else { return Ok(None) };
    let page: TreeHeadPage =
        serde_json::from_slice(&bytes).map_err(|error| wrong(format!("{path}: {error}")))?;
    let count = page.sths.len() as u64;
    let rest = page.total.saturating_sub(from);
    if page.from != from || page.total < from || count != rest.min(HEADS_A_PAGE as u64) {
        let text = format!("{path} shows {count} tree heads from {} on, of {}", page.from, page.total);
        return Err(wrong(text));
    }
    Ok(Some(HeadPage { total: Some(page.total), heads: page.sths }))
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

/// Bytes that a log may serve. A relay of another version may ask for a key at a path it does not know; for the auditor that
/// is no more than not being there.
pub(super) async fn optional<S: Source>(source: &S, path: &str) -> Result<Option<Vec<u8>>, Stop> {
    match source.get(path).await {
        Err(ClientError::Refused { status: 401, .. }) => Ok(None),
        answer => Ok(answer?),
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
