//! What does an image reference mean right now? One small task per relay that asked, so that a dead registry delays nobody.
//!
//! A tag is looked up once per reference: reconcile asks again only when `spec.image` changed (or after a restart, when the
//! durable copy does not answer already), and a reference that names a digest is answered without any I/O. Failures are
//! retried with backoff, refusals too but slowly, for a tag may be pushed later. Anonymous pull only, for now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use oci_client::client::{Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{ParseError, Reference};
use paramant_operator_core::decision::ImageRef;
use paramant_operator_core::digest::Digest;
use paramant_operator_core::observation::Resolution;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::backoff::{Backoff, jittered};
use crate::key::RelayKey;
use crate::metrics::Metrics;
use crate::queue::Wake;
use crate::queue::worker::Queue;

/// A HEAD request, and at worst a token request before it and a GET after it.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(20);
/// Until a name is resolved and a connection is open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The first wait after a failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest. Registries limit anonymous clients; this is twelve requests an hour.
const RETRY_MAX: Duration = Duration::from_secs(300);
/// How long a refusal is left alone.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// Why a reference has no digest. The sentences do not change from attempt to attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Only a person can help: no such image, no right to see it, no such reference.
    #[error("{0}")]
    Refused(String),
    /// It may work later.
    #[error("{0}")]
    Unavailable(String),
}

/// Asks a registry. A trait, so that tests need none.
pub trait Lookup: Send + Sync + 'static {
    /// The digest `image` stands for, as the registry writes it.
    fn digest<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<String, LookupError>>;
}

/// Asks real registries.
pub struct OciLookup(Client);

impl OciLookup {
    /// Speaks HTTPS with all registries but those listed as `host:port`.
    pub fn new(plain_http: &[String]) -> Self {
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain_http.to_vec()),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(LOOKUP_TIMEOUT),
            user_agent: "paramant-operator",
            // The image is empty: there is no certificate store in it to fall back on.
            tls_certs_only: webpki_root_certs::TLS_SERVER_ROOT_CERTS
                .iter()
                .map(|root| Certificate { encoding: CertificateEncoding::Der, data: root.to_vec() })
                .collect(),
            ..ClientConfig::default()
        };
        Self(Client::new(config))
    }
}

impl Lookup for OciLookup {
    fn digest<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<String, LookupError>> {
        Box::pin(async move {
            let reference: Reference = image.parse().map_err(|error: ParseError| {
                LookupError::Refused(format!("`{image}` is not an image reference: {error}"))
            })?;
            if let Some(digest) = reference.digest() {
                return Ok(digest.to_owned());
            }
            let answer =
                timeout(LOOKUP_TIMEOUT, self.0.fetch_manifest_digest(&reference, &RegistryAuth::Anonymous))
                    .await;
            let registry = reference.resolve_registry();
            match answer {
                Ok(Ok(digest)) => Ok(digest),
                Ok(Err(error)) => Err(classify(registry, image, &error)),
                Err(_) => {
                    Err(LookupError::Unavailable(format!("the registry {registry} did not answer in time")))
                }
            }
        })
    }
}

fn classify(registry: &str, image: &str, error: &OciDistributionError) -> LookupError {
    let missing = || LookupError::Refused(format!("the registry {registry} has no image `{image}`"));
    let denied = || {
        LookupError::Refused(format!(
            "the registry {registry} does not let `{image}` be read without credentials"
        ))
    };
    match error {
        OciDistributionError::ImageManifestNotFoundError(_) => missing(),
        OciDistributionError::ServerError { code: 404, .. } => missing(),
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
            denied()
        }
        OciDistributionError::ServerError { code, .. } => {
            LookupError::Unavailable(format!("the registry {registry} answered {code}"))
        }
        OciDistributionError::RegistryError { envelope, .. } => {
            match envelope.errors.first().map(|error| &error.code) {
                Some(
                    OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound
                    | OciErrorCode::NameInvalid
                    | OciErrorCode::TagInvalid,
                ) => missing(),
                Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => denied(),
                Some(code) => LookupError::Unavailable(format!("the registry {registry} answered {code:?}")),
                None => LookupError::Unavailable(format!(
                    "the registry {registry} answered with an error it does not explain"
                )),
            }
        }
        OciDistributionError::RequestError(error) if error.is_timeout() => {
            LookupError::Unavailable(format!("the registry {registry} did not answer in time"))
        }
        OciDistributionError::RequestError(_) => {
            LookupError::Unavailable(format!("the registry {registry} cannot be reached"))
        }
        other => {
            LookupError::Unavailable(format!("the registry {registry} gave no digest for `{image}`: {other}"))
        }
    }
}

/// The lookups of all relays.
#[derive(Clone)]
pub struct Resolver {
    lookup: Arc<dyn Lookup>,
    queue: Queue,
    metrics: Metrics,
    entries: Arc<Mutex<BTreeMap<RelayKey, Entry>>>,
}

struct Entry {
    image: String,
    resolution: Arc<Mutex<Resolution>>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Resolver {
    /// Nothing was asked yet.
    pub fn new(lookup: Arc<dyn Lookup>, queue: Queue, metrics: Metrics) -> Self {
        Self { lookup, queue, metrics, entries: Arc::default() }
    }

    /// Asks what `image` means for one relay. Asking again for the same image does nothing.
    pub fn want(&self, key: &RelayKey, image: &ImageRef) {
        let mut entries = self.lock();
        if entries.get(key).is_some_and(|entry| entry.image == image.0) {
            return;
        }
        let image = image.0.clone();
        let resolution: Arc<Mutex<Resolution>> = Arc::default();
        let named = image.rsplit_once('@').and_then(|(_, digest)| digest.parse::<Digest>().ok());
        let task = match named {
            Some(digest) => {
                store(&resolution, Resolution::Resolved { image: image.clone(), digest });
                self.queue.wake(key.clone(), Wake::Now);
                None
            }
            None => Some(tokio::spawn(self.clone().resolve(key.clone(), image.clone(), resolution.clone()))),
        };
        entries.insert(key.clone(), Entry { image, resolution, task });
    }

    /// What is known for one relay.
    pub fn resolution(&self, key: &RelayKey) -> Resolution {
        let entries = self.lock();
        let known = entries
            .get(key)
            .map(|entry| entry.resolution.lock().unwrap_or_else(PoisonError::into_inner).clone());
        known.unwrap_or_default()
    }

    /// Ends a relay's lookup.
    pub fn forget(&self, key: &RelayKey) {
        self.lock().remove(key);
    }

    async fn resolve(self, key: RelayKey, image: String, resolution: Arc<Mutex<Resolution>>) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            let span = tracing::info_span!("registry", relay = %key, image, outcome = tracing::field::Empty);
            let answer = self.lookup.digest(&image).instrument(span.clone()).await.and_then(|digest| {
                digest.parse::<Digest>().map_err(|error| {
                    LookupError::Unavailable(format!(
                        "the registry's answer for `{image}` cannot be used: {error}"
                    ))
                })
            });
            let (next, label, wait) = match answer {
                Ok(digest) => (Resolution::Resolved { image: image.clone(), digest }, "resolved", None),
                Err(LookupError::Refused(reason)) => (
                    Resolution::Refused { image: image.clone(), reason },
                    "refused",
                    Some(jittered(AFTER_REFUSAL)),
                ),
                Err(LookupError::Unavailable(reason)) => (
                    Resolution::Unavailable { image: image.clone(), reason },
                    "unavailable",
                    Some(backoff.next_delay()),
                ),
            };
            span.record("outcome", label);
            self.metrics.image_lookups.with_label_values(&[label]).inc();
            if store(&resolution, next) {
                self.queue.wake(key.clone(), Wake::Now);
            }
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RelayKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores what is known; says whether it is news.
fn store(resolution: &Mutex<Resolution>, next: Resolution) -> bool {
    let mut known = resolution.lock().unwrap_or_else(PoisonError::into_inner);
    let news = *known != next;
    *known = next;
    news
}

#[cfg(test)]
mod tests;
