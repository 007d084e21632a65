//! The cluster's published token keys, fetched when first needed and again when a token names an unknown one.
//!
//! API servers rotate these keys rarely; a forged key id must not turn into a request per attempt, so fetches are spaced.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use super::token::{Expected, KeySet, Rejected, verify};
use crate::backoff::jittered;
use crate::sentence;

/// At most one fetch in this time.
const FETCH_SPACING: Duration = Duration::from_secs(10);
/// One fetch may take so long.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two reads for relays that have couriers. API servers rotate these keys by hand, days apart.
const REFRESH: Duration = Duration::from_secs(600);
const PATH: &str = "/openid/v1/jwks";

/// Why a token could not be accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It proves nothing.
    #[error("the relay's proof counts for nothing: {0}")]
    Rejected(#[from] Rejected),
    /// The keys could not be read.
    #[error("the cluster's token keys ({PATH}) cannot be read: {0}")]
    Fetch(String),
}

/// A cached key set.
pub struct ClusterKeys {
    client: Client,
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Cached {
    keys: KeySet,
    fetched: Option<Instant>,
}

impl ClusterKeys {
    /// Keys of the cluster behind `client`.
    pub fn new(client: Client) -> Self {
        Self { client, cached: Mutex::default() }
    }

    /// Checks a token, fetching keys when it names one that is not cached.
    pub async fn verify(&self, token: &str, expected: &Expected<'_>) -> Result<(), Error> {
        let mut cached = self.cached.lock().await;
        let may_fetch = cached.fetched.is_none_or(|at| at.elapsed() >= FETCH_SPACING);
        if may_fetch && !cached.keys.knows_key_of(token) {
            cached.fetched = Some(Instant::now());
            cached.keys = self.fetch().await?;
        }
        Ok(verify(token, &cached.keys, expected, Timestamp::now())?)
    }

    async fn fetch(&self) -> Result<KeySet, Error> {
        KeySet::parse(&published(&self.client).await?).map_err(|error| Error::Fetch(error.to_string()))
    }
}

/// What the cluster publishes.
async fn published(client: &Client) -> Result<String, Error> {
    let fetch = |error: &dyn std::fmt::Display| Error::Fetch(error.to_string());
    let request = http::Request::get(PATH).body(Vec::new()).map_err(|error| fetch(&error))?;
    timeout(FETCH_TIMEOUT, client.request_text(request))
        .await
        .map_err(|_| fetch(&"no answer in time"))?
        .map_err(|error| Error::Fetch(sentence::of_kube(&error)))
}

/// The keys as relays are told them, read again from time to time: a new one is published before it signs.
#[derive(Debug, Clone)]
pub struct TokenKeys(watch::Receiver<Option<Arc<str>>>);

impl TokenKeys {
    /// Begins to read them; `changed` is called at each change.
    pub fn keep_fresh(client: Client, changed: impl Fn() + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            while !sender.is_closed() {
                let wait = match published(&client).await.and_then(|text| in_one_form(&text)) {
                    Ok(keys) => {
                        if sender.borrow().as_deref() != Some(&*keys) {
                            sender.send_replace(Some(keys));
                            changed();
                        }
                        REFRESH
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the cluster's token keys are not known; couriers are told the last ones");
                        FETCH_SPACING
                    }
                };
                tokio::time::sleep(jittered(wait)).await;
            }
        });
        Self(receiver)
    }

    /// Keys that never change, for tests.
    pub fn fixed(keys: &str) -> Self {
        Self(watch::channel(Some(keys.into())).1)
    }

    /// As last read; `None` before the first time.
    pub fn current(&self) -> Option<Arc<str>> {
        self.0.borrow().clone()
    }
}

/// Sorted and without white space, so that the same keys are the same text; and they are keys.
fn in_one_form(text: &str) -> Result<Arc<str>, Error> {
    let fetch = |error: serde_json::Error| Error::Fetch(error.to_string());
    KeySet::parse(text).map_err(fetch)?;
    let value: serde_json::Value = serde_json::from_str(text).map_err(fetch)?;
    Ok(value.to_string().into())
}

impl std::fmt::Debug for ClusterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterKeys").finish_non_exhaustive()
    }
}
