//! Registries that lie, hang, never end, send elsewhere or ask for more than they should get.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use paramant_operator::registry::LookupError;
use paramant_operator::registry::access::Access;
use paramant_operator::registry::examine::{Examine as _, RegistryExamine};
use paramant_operator::registry::lookup::{Lookup as _, RegistryLookup};
use paramant_operator_core::release::{Inspect, Release, Trust, TrustedKey, Verdict};
use serde_json::json;
use tempfile::TempDir;

use crate::image::digest_of;
use crate::server::write_config;

/// Answers as it is told, and counts how often it was asked.
struct Fake {
    host: String,
    asked: Arc<AtomicUsize>,
    _serving: tokio::task::JoinSet<()>,
}

async fn fake(answer: impl Fn(&str, &Request) -> Response + Send + Sync + 'static) -> Fake {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let (asked, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
    let counted = asked.clone();
    let router = Router::new().fallback(move |request: Request| {
        counted.fetch_add(1, Ordering::SeqCst);
        let answered = answer(request.uri().path(), &request);
        async move { answered }
    });
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
    Fake { host, asked, _serving: serving }
}

impl Fake {
    fn access(&self) -> Arc<Access> {
        Arc::new(Access::new(vec![self.host.clone()], None, None))
    }

    async fn inspect(&self, manifest: &[u8]) -> Result<(Release, Verdict), LookupError> {
        self.inspect_by(self.access(), manifest).await
    }

    async fn inspect_by(
        &self,
        access: Arc<Access>,
        manifest: &[u8],
    ) -> Result<(Release, Verdict), LookupError> {
        let pem = include_str!("../../../core/tests/signatures/release.pub").to_owned();
        let key = TrustedKey { name: "release".to_owned(), pem };
        let question = Inspect {
            repository: format!("{}/paramant/relay", self.host),
            digest: digest_of(manifest),
            trust: Trust { keys: vec![key], allow_unsigned: true, ..Trust::default() },
        };
        RegistryExamine::new(access).examine(&question).await
    }

    fn said(&self, what: &str) -> LookupError {
        LookupError::unavailable(format!("the registry {} {what}", self.host))
    }
}

fn status(code: u16) -> Response {
    StatusCode::from_u16(code).unwrap().into_response()
}

/// An image whose configuration says version 1.
const CONFIG: &[u8] = br#"{"config":{"Labels":{"org.opencontainers.image.version":"1"}}}"#;

fn manifest() -> Vec<u8> {
    let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": digest_of(CONFIG), "size": CONFIG.len() });
    json!({ "schemaVersion": 2, "config": config, "layers": [] }).to_string().into_bytes()
}

/// An honest answer, so that each test below changes one thing only.
fn honest(path: &str) -> Response {
    let manifest = manifest();
    if path.ends_with(&format!("manifests/{}", digest_of(&manifest))) {
        manifest.into_response()
    } else if path.ends_with(&format!("blobs/{}", digest_of(CONFIG))) {
        CONFIG.into_response()
    } else {
        status(404)
    }
}

/// Bytes without end.
fn endless() -> Response {
    let piece = Bytes::from_static(&[b' '; 64 * 1024]);
    let pieces = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
    Body::from_stream(pieces).into_response()
}

#[tokio::test]
async fn an_honest_one_is_believed() {
    let registry = fake(|path, _| honest(path)).await;
    let (release, verdict) = registry.inspect(&manifest()).await.unwrap();
    assert_eq!((release.version.as_deref(), verdict), (Some("1"), Verdict::Unsigned));
}

#[tokio::test]
async fn other_bytes_than_the_digest_says_are_a_lie() {
    let other_manifest =
        fake(|path, _| if path.contains("manifests/sha256:") { "{}".into_response() } else { honest(path) });
    let other_config =
        fake(
            |path, _| {
                if path.contains("/blobs/") { vec![b'{'; CONFIG.len()].into_response() } else { honest(path) }
            },
        );
    let longer_config =
        fake(
            |path, _| {
                if path.contains("/blobs/") { [CONFIG, b" "].concat().into_response() } else { honest(path) }
            },
        );
    for registry in [other_manifest.await, other_config.await, longer_config.await] {
        let said = registry.inspect(&manifest()).await.unwrap_err();
        assert_eq!(said, registry.said("gave other bytes than it was asked for"));
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_wherever_it_comes() {
    for place in ["manifests/sha256:", ".sig", "/referrers/"] {
        let registry = fake(move |path, _| if path.contains(place) { endless() } else { honest(path) }).await;
        let said = registry.inspect(&manifest()).await.unwrap_err();
        assert_eq!(said, registry.said("answers more than the operator takes"), "{place}");
    }
    let registry = fake(|path, _| if path.contains("/blobs/") { endless() } else { honest(path) }).await;
    let said = registry.inspect(&manifest()).await.unwrap_err();
    assert_eq!(said, registry.said("gave other bytes than it was asked for"));
    // A tag, by a registry that leaves the digest out.
    let registry =
        fake(|_, request| if request.method() == http::Method::HEAD { status(200) } else { endless() });
    let registry = registry.await;
    let looked = RegistryLookup::new(registry.access()).digest(&format!("{}/relay:1", registry.host)).await;
    assert_eq!(looked.unwrap_err(), registry.said("answers more than the operator takes"));
}

#[tokio::test]
async fn no_sense_is_said_to_be_none() {
    let nonsense = b"no manifest".to_vec();
    let registry = fake(move |_, _| nonsense.clone().into_response()).await;
    let said = registry.inspect(b"no manifest").await.unwrap_err();
    assert_eq!(said, registry.said("gave an answer that makes no sense"));
}

#[tokio::test]
async fn statuses_are_told_and_a_wish_to_be_left_alone_is_heard_within_reason() {
    let registry = fake(|_, _| status(503)).await;
    assert_eq!(registry.inspect(&manifest()).await.unwrap_err(), registry.said("answered 503"));
    for (wish, after) in [("30", Some(30)), ("999999999", Some(3600)), ("tomorrow", None)] {
        let registry =
            fake(move |_, _| (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, wish)]).into_response());
        let registry = registry.await;
        let reason = format!("the registry {} limits how often it may be asked", registry.host);
        let expected = LookupError::Unavailable { reason, after: after.map(Duration::from_secs) };
        assert_eq!(registry.inspect(&manifest()).await.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn one_that_sends_round_in_circles_is_left() {
    let registry = fake(|path, _| (StatusCode::FOUND, [(header::LOCATION, path)]).into_response()).await;
    assert_eq!(registry.inspect(&manifest()).await.unwrap_err(), registry.said("answered 302"));
    assert!(registry.asked.load(Ordering::SeqCst) < 10);
}

/// The clock leaps whenever nothing else happens, so the wait is real and short.
#[tokio::test(start_paused = true)]
async fn one_that_never_answers_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let hung = Fake { host, asked: Arc::default(), _serving: tokio::task::JoinSet::new() };
    let said = hung.inspect(&manifest()).await.unwrap_err();
    assert_eq!(said, hung.said("did not answer in time"));
    drop(listener);
}

/// Answers the way token services do, and notes what it is asked.
#[tokio::test]
async fn a_token_is_fetched_with_the_credentials_once_and_shown_to_this_registry_only() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = seen.clone();
    let registry = fake(move |path, request| {
        let shown =
            |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (shown, host) = (shown(header::AUTHORIZATION).to_owned(), shown(header::HOST));
        noted.lock().unwrap().push(format!("{} {shown}", request.uri()));
        match (path, shown.as_str()) {
            ("/token", "Basic b3BlcmF0b3I6c2VjcmV0") => {
                json!({ "token": "T", "expires_in": 300 }).to_string().into_response()
            }
            ("/token", _) => status(401),
            (path, "Bearer T") => honest(path),
            _ => {
                let challenge =
                    format!("Bearer realm=\"http://{host}/token\",service=\"s p\",scope=\"ignored\"");
                (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
            }
        }
    })
    .await;
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("config.json");
    write_config(&config, &registry.host, "operator", "secret");
    let access = Arc::new(Access::new(vec![registry.host.clone()], Some(config), None));
    registry.inspect_by(access.clone(), &manifest()).await.unwrap();
    registry.inspect_by(access, &manifest()).await.unwrap();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let tokens: Vec<_> = seen.iter().filter(|line| line.starts_with("/token")).collect();
    assert_eq!(
        tokens,
        ["/token?service=s+p&scope=repository%3Aparamant%2Frelay%3Apull Basic b3BlcmF0b3I6c2VjcmV0"]
    );
    // Only the first request came without the token.
    assert_eq!(seen.iter().filter(|line| line.ends_with(' ')).count(), 1);

    let said = registry.inspect(&manifest()).await.unwrap_err().to_string();
    assert!(said.ends_with("be read without credentials"), "{said}");
}
