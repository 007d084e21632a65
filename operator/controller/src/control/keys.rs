//! The cluster's published token keys, fetched when first needed and again when a token names an unknown one.
//!
//! API servers rotate these keys rarely; a forged key id must not turn into a request per attempt, so fetches are spaced.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::token::{Expected, KeySet, Rejected, verify};
use crate::sentence;

/// At most one fetch in this time.
const FETCH_SPACING: Duration = Duration::from_secs(10);
/// One fetch may take so long.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const PATH: &str = "/openid/v1/jwks";

/// Why a token could not be accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It proves nothing.
    #[error(transparent)]
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
        let fetch = |error: &dyn std::fmt::Display| Error::Fetch(error.to_string());
        let request = http::Request::get(PATH).body(Vec::new()).map_err(|error| fetch(&error))?;
        let text = timeout(FETCH_TIMEOUT, self.client.request_text(request))
            .await
            .map_err(|_| fetch(&"no answer in time"))?
            .map_err(|error| Error::Fetch(sentence::of_kube(&error)))?;
        KeySet::parse(&text).map_err(|error| fetch(&error))
    }
}

impl std::fmt::Debug for ClusterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterKeys").finish_non_exhaustive()
    }
}
