//! An API server in a closure, for tests: each request is noted, then answered at once. What a person does through the
//! command line runs against it whole, from the arguments to the bytes of the patch.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use clap::Parser as _;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::cli::Cli;
use crate::cluster::Cluster;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `GET` or `PATCH`.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// What was sent; null if nothing.
    pub(crate) body: Value,
}

/// The API server.
pub(crate) struct FakeApi {
    client: Client,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeApi {
    /// Answers with a status code and bytes.
    pub(crate) fn new(answer: impl Fn(&Asked) -> (u16, Vec<u8>) + Send + Sync + 'static) -> Self {
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
                let (code, bytes) = answer(&asked);
                let mut response = Response::new(Full::new(Bytes::from(bytes)));
                *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
                Ok::<_, Infallible>(response)
            }
        });
        Self { client: Client::new(service, "transfers"), asked }
    }

    /// One that holds these objects by their path, and keeps what is patched to itself.
    pub(crate) fn holding(objects: Vec<(&'static str, Value)>) -> Self {
        Self::new(move |asked| {
            let path = asked.path.split('?').next().unwrap_or_default();
            match objects.iter().find(|(known, _)| *known == path) {
                Some((_, object)) => (200, object.to_string().into_bytes()),
                None => refused(404, path),
            }
        })
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The changes that were asked for.
    pub(crate) fn patches(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.method == "PATCH").collect()
    }

    /// Runs a command line in the namespace `transfers`.
    pub(crate) async fn run(&self, line: &str) -> anyhow::Result<std::process::ExitCode> {
        let cli = Cli::try_parse_from(line.split(' '))?;
        let namespace = cli.global.namespace.clone().unwrap_or_else(|| "transfers".to_owned());
        let cluster = self.cluster(&namespace, cli.global.dry_run.is_some());
        crate::run(&cluster, &cli).await
    }

    /// A way to it.
    pub(crate) fn cluster(&self, namespace: &str, dry_run: bool) -> Cluster {
        Cluster::new(self.client.clone(), namespace.to_owned(), dry_run)
    }
}

/// A refusal as the API server words it.
pub(crate) fn refused(code: u16, path: &str) -> (u16, Vec<u8>) {
    let name = path.rsplit('/').next().unwrap_or_default();
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": format!("{code} about {name}"), "details": { "name": name },
    });
    (code, status.to_string().into_bytes())
}
