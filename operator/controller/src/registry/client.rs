//! One client of registries: GET with a limit, and the way registries ask who one is.
//!
//! Written here because a registry is a stranger to this process: the client crates read answers whole before anybody
//! can judge their length, and one relay that names a hostile registry would end the operator for all. Answers up to
//! `SMALL` are read at once; of larger ones only `LARGE_AT_ONCE` are held at any time. See adr/0052.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{HeaderMap, StatusCode, header};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Method, Response};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::credentials::{Credential, Credentials};
use super::place::Place;

/// Until a name is resolved and a connection is open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One request with all that it takes: a redirect, and a token before it is sent again.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Registries send blobs from elsewhere: once, and with a load balancer in between twice.
const REDIRECTS: usize = 5;
/// What nearly every manifest, payload and bundle fits in.
const SMALL: usize = 64 * 1024;
/// Larger answers held at one time, by all tasks together: at most 16 MiB with the largest manifests.
const LARGE_AT_ONCE: usize = 4;
/// A token of some clouds is several KiB.
const MAX_TOKEN: u64 = 64 * 1024;
/// How long a token is good for if it does not say.
const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// Tokens are for one repository each; this bounds what is kept.
const TOKENS: usize = 1024;
/// Nobody is kept away for longer, whatever a registry says.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 404.
    Missing,
    /// 401 or 403.
    Denied {
        /// Whether credentials were shown.
        with_credentials: bool,
    },
    /// 429.
    Busy {
        /// From the Retry-After header.
        after: Option<Duration>,
    },
    /// Another status.
    Status(u16),
    /// Nothing came for too long.
    Slow,
    /// No connection.
    Unreachable,
    /// A certificate of an unknown authority, for another name, or out of its time.
    Untrusted,
    /// Longer than the limit.
    TooLarge,
    /// Other bytes than the digest says.
    Lie,
    /// Not in the form the specification gives it.
    Nonsense,
}

/// An answer's bytes; large ones keep others waiting until they are dropped.
#[derive(Debug)]
pub struct Body {
    /// The bytes.
    pub bytes: BytesMut,
    _large: Option<OwnedSemaphorePermit>,
}

/// Asks registries.
pub struct Client {
    http: reqwest::Client,
    plain_http: Vec<String>,
    credentials: Credentials,
    tokens: Mutex<HashMap<Place, (Credential, Instant)>>,
    large: Arc<Semaphore>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Client {
    /// Speaks HTTPS with all registries but those listed, and believes the public authorities and these.
    pub fn new(
        plain_http: Vec<String>,
        authorities: &[Vec<u8>],
        credentials: Credentials,
    ) -> Result<Self, reqwest::Error> {
        let public = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|root| root.as_ref());
        // The image is empty: there is no certificate store in it to fall back on.
        let roots: Vec<Certificate> = public
            .chain(authorities.iter().map(Vec::as_slice))
            .map(Certificate::from_der)
            .collect::<Result<_, _>>()?;
        let http = reqwest::Client::builder()
            .tls_certs_only(roots)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("paramant-operator/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::custom(follow))
            .build()?;
        let (tokens, large) = (Mutex::default(), Arc::new(Semaphore::new(LARGE_AT_ONCE)));
        Ok(Self { http, plain_http, credentials, tokens, large })
    }

    /// What lies at a path below the repository, at most `limit` bytes.
    pub async fn get(
        &self,
        place: &Place,
        path: &str,
        accept: &'static str,
        limit: u64,
    ) -> Result<Body, Fault> {
        let whole = async {
            let response = self.ask(Method::GET, place, path, accept).await?;
            self.read(response, limit).await
        };
        timeout(REQUEST_TIMEOUT, whole).await.map_err(|_| Fault::Slow)?
    }

    /// The headers of what lies at a path below the repository.
    pub async fn head(&self, place: &Place, path: &str, accept: &'static str) -> Result<HeaderMap, Fault> {
        let whole = self.ask(Method::HEAD, place, path, accept);
        let response = timeout(REQUEST_TIMEOUT, whole).await.map_err(|_| Fault::Slow)??;
        Ok(response.headers().clone())
    }

    async fn ask(
        &self,
        method: Method,
        place: &Place,
        path: &str,
        accept: &'static str,
    ) -> Result<Response, Fault> {
        let scheme = if self.plain_http.contains(&place.registry) { "http" } else { "https" };
        let url = format!("{scheme}://{}/v2/{}/{path}", place.host(), place.repository);
        let known = self.token(place);
        let mut response = self.send(method.clone(), &url, accept, known.as_ref()).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(credential) = self.introduce(place, response.headers()).await?
        {
            response = self.send(method, &url, accept, Some(&credential)).await?;
        }
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND => Err(Fault::Missing),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.lock().remove(place);
                Err(Fault::Denied { with_credentials: self.credentials.of(&place.registry).is_some() })
            }
            StatusCode::TOO_MANY_REQUESTS => Err(Fault::Busy { after: retry_after(response.headers()) }),
            status => Err(Fault::Status(status.as_u16())),
        }
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        accept: &'static str,
        credential: Option<&Credential>,
    ) -> Result<Response, Fault> {
        let request = self.http.request(method, url).header(header::ACCEPT, accept);
        let request = match credential {
            None => request,
            Some(Credential::Basic { user, password }) => request.basic_auth(user, Some(password)),
            Some(Credential::Bearer(token)) => request.bearer_auth(token),
        };
        request.send().await.map_err(|error| fault(&error))
    }

    /// What to show to a registry that asks who we are: nothing, the credentials themselves, or a token it sends us for.
    async fn introduce(&self, place: &Place, asked: &HeaderMap) -> Result<Option<Credential>, Fault> {
        let mine = self.credentials.of(&place.registry);
        let denied = Fault::Denied { with_credentials: mine.is_some() };
        for value in asked.get_all(header::WWW_AUTHENTICATE) {
            let Some(challenges) =
                value.to_str().ok().and_then(|text| http_auth::parse_challenges(text).ok())
            else {
                continue;
            };
            for challenge in challenges {
                let parameter = |name: &str| {
                    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    return mine.cloned().map(Some).ok_or(denied);
                }
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let realm = parameter("realm").ok_or(Fault::Nonsense)?;
                    let service = parameter("service");
                    return self.fetch_token(place, &realm, service.as_deref(), mine).await.map(Some);
                }
            }
        }
        Err(denied)
    }

    async fn fetch_token(
        &self,
        place: &Place,
        realm: &str,
        service: Option<&str>,
        mine: Option<&Credential>,
    ) -> Result<Credential, Fault> {
        let mut url = reqwest::Url::parse(realm).map_err(|_| Fault::Nonsense)?;
        // Credentials do not leave TLS because a registry says so.
        if url.scheme() != "https" && !self.plain_http.contains(&place.registry) {
            return Err(Fault::Nonsense);
        }
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", &format!("repository:{}:pull", place.repository));
        let response = self.send(Method::GET, url.as_str(), "application/json", mine).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                return Err(Fault::Denied { with_credentials: mine.is_some() });
            }
            StatusCode::TOO_MANY_REQUESTS => {
                return Err(Fault::Busy { after: retry_after(response.headers()) });
            }
            status => return Err(Fault::Status(status.as_u16())),
        }
        let body = self.read(response, MAX_TOKEN).await?;
        let answer: TokenAnswer = serde_json::from_slice(&body.bytes).map_err(|_| Fault::Nonsense)?;
        let token = answer.token.or(answer.access_token).ok_or(Fault::Nonsense)?;
        let life = answer.expires_in.map_or(TOKEN_LIFE, Duration::from_secs).min(RETRY_AFTER_MAX);
        let credential = Credential::Bearer(token);
        let mut tokens = self.lock();
        let now = Instant::now();
        if tokens.len() >= TOKENS {
            tokens.retain(|_, (_, until)| *until > now);
        }
        if tokens.len() < TOKENS {
            // A tenth earlier than it ends, for the way.
            tokens.insert(place.clone(), (credential.clone(), now + life.mul_f64(0.9)));
        }
        Ok(credential)
    }

    /// What was shown to this repository last, while it is good.
    fn token(&self, place: &Place) -> Option<Credential> {
        let tokens = self.lock();
        let (token, until) = tokens.get(place)?;
        (*until > Instant::now()).then(|| token.clone())
    }

    async fn read(&self, mut response: Response, limit: u64) -> Result<Body, Fault> {
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(Fault::TooLarge);
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (mut bytes, mut large) = (BytesMut::new(), None);
        while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
            let length = bytes.len().saturating_add(chunk.len());
            if length > limit {
                return Err(Fault::TooLarge);
            }
            if length > SMALL && large.is_none() {
                large = Arc::clone(&self.large).acquire_owned().await.ok();
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Body { bytes, _large: large })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Place, (Credential, Instant)>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A few hops, never from HTTPS to HTTP. Credentials are dropped by the client when the host changes.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let downgrade = attempt.url().scheme() != "https"
        && attempt.previous().last().is_some_and(|previous| previous.scheme() == "https");
    if downgrade || attempt.previous().len() > REDIRECTS { attempt.stop() } else { attempt.follow() }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

fn fault(error: &reqwest::Error) -> Fault {
    if error.is_timeout() {
        return Fault::Slow;
    }
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(_)) => Fault::Untrusted,
        _ => Fault::Unreachable,
    }
}

/// An I/O error is not the source of what it was made of, and they come inside each other.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref::<rustls::Error>() {
        return Some(found);
    }
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => tls_error(inner),
        None => tls_error(error.source()?),
    }
}
