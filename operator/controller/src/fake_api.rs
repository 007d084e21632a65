//! An API server in a closure, for tests: each request is noted, then answered at once.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `GET`, `PATCH`, …
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// What was sent; null if nothing.
    pub(crate) body: Value,
}

/// The API server.
pub(crate) struct FakeApi {
    /// Speaks to it.
    pub(crate) client: Client,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeApi {
    /// Answers with a status code and a document.
    pub(crate) fn new(answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let (asked, answer) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(answer));
        let noted = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (noted, answer) = (noted.clone(), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let asked = Asked {
                    method: head.method.to_string(),
                    path: head.uri.to_string(),
                    body: serde_json::from_slice(&body).unwrap_or_default(),
                };
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
                if asked.path.contains("watch=true") {
                    // Nothing ever happens.
                    return std::future::pending().await;
                }
                let (code, document) = answer(&asked);
                let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
                *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
                Ok::<_, Infallible>(response)
            }
        });
        Self { client: Client::new(service, "default"), asked }
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `METHOD path` of every request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect()
    }
}

/// A refusal as the API server words it.
pub(crate) fn failure(code: u16, message: &str) -> (u16, Value) {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code });
    (code, status)
}
