//! The API server, asked as the user of the kubeconfig. Nothing is asked that `kubectl` could not ask with the same rights.
//!
//! Objects travel as JSON, so that what is shown is what is stored, also when a newer server stores more than this release
//! knows. Each request has a limit in time and in length.

mod place;
mod refusal;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

pub(crate) use self::place::{
    CLAIMS, CONFIG_MAPS, DEPLOYMENTS, EVENTS, Kind, LICENSES, NETWORK_POLICIES, PODS, POLICIES, Place,
    RELAYS, Right, SERVICE_ACCOUNTS, SERVICES, STATEFUL_SETS,
};
pub(crate) use self::refusal::Refusal;

/// Who owns what is changed here. GitOps tools take over fields of managers whose name begins with `kubectl`.
pub(crate) const FIELD_MANAGER: &str = "paramant-admin";
/// A person waits; the API server itself gives up on most requests after a minute.
const PATIENCE: Duration = Duration::from_secs(30);
/// What lies behind a proxy may be cut off by a NetworkPolicy, which drops silently.
const PROXY_PATIENCE: Duration = Duration::from_secs(8);
/// No answer that is asked for comes near it: 500 relays of 64 KiB each.
const LONGEST: usize = 32 * 1024 * 1024;
/// As kubectl asks for lists.
const PAGE: &str = "500";

/// An API server and a namespace.
pub(crate) struct Cluster {
    client: Client,
    /// The namespace of the command line, or of the context.
    pub(crate) namespace: String,
    /// Ask the server to check changes and keep none.
    pub(crate) dry_run: bool,
}

impl Cluster {
    /// Speaks through this client.
    pub(crate) fn new(client: Client, namespace: String, dry_run: bool) -> Self {
        Self { client, namespace, dry_run }
    }

    /// One object.
    pub(crate) async fn get(&self, place: &Place) -> Result<Value, Refusal> {
        read(place, &self.bytes(place).await?)
    }

    /// Whatever is there, as it is.
    pub(crate) async fn bytes(&self, place: &Place) -> Result<Bytes, Refusal> {
        let request = Request::get(place.url()).body(Body::empty());
        self.ask(place, place.read(), request).await
    }

    /// All objects of a list, page by page.
    pub(crate) async fn list(&self, place: &Place) -> Result<Vec<Value>, Refusal> {
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let mut page = place.clone().with("limit", PAGE);
            if !next.is_empty() {
                page = page.with("continue", next);
            }
            let mut list = self.get(&page).await?;
            if let Some(Value::Array(found)) = list.get_mut("items").map(Value::take) {
                items.extend(found);
            }
            next = text(&list, "/metadata/continue").to_owned();
            if next.is_empty() {
                return Ok(items);
            }
        }
    }

    /// Changes an object by a merge patch and answers what it became. With the version that was seen in
    /// `metadata.resourceVersion` of the patch, somebody else's change in between is a refusal.
    pub(crate) async fn patch(&self, place: &Place, patch: &Value) -> Result<Value, Refusal> {
        let mut target = place.clone().with("fieldManager", FIELD_MANAGER);
        if self.dry_run {
            target = target.with("dryRun", "All");
        }
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(target.url())
            .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
            .body(Body::from(patch.to_string().into_bytes()));
        read(place, &self.ask(place, place.change(), request).await?)
    }

    /// What the API server says of itself; takes no right that anybody lacks.
    pub(crate) async fn version(&self) -> Result<Value, kube::Error> {
        let request = Request::get("/version").body(Vec::new()).map_err(kube::Error::HttpError)?;
        self.client.request(request).await
    }

    async fn ask(
        &self,
        place: &Place,
        right: Right,
        request: http::Result<Request<Body>>,
    ) -> Result<Bytes, Refusal> {
        let request = request.map_err(|error| Refusal::Unreached(kube::Error::HttpError(error)))?;
        let patience = if place.is_proxied() { PROXY_PATIENCE } else { PATIENCE };
        let asked = async {
            let response = self.client.send(request).await.map_err(Refusal::Unreached)?;
            let code = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let body = body.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
                true => Refusal::TooLong { place: Box::new(place.clone()), limit: LONGEST },
                false => Refusal::Unreadable { place: Box::new(place.clone()), why: error.to_string() },
            })?;
            let body = body.to_bytes();
            if code.is_success() { Ok(body) } else { Err(Refusal::of(code.as_u16(), &body, place, right)) }
        };
        let late = Refusal::Late { place: Box::new(place.clone()), seconds: patience.as_secs() };
        tokio::time::timeout(patience, asked).await.unwrap_or(Err(late))
    }
}

fn read(place: &Place, body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::Unreadable { place: Box::new(place.clone()), why: error.to_string() })
}

/// The text at a JSON pointer; empty where there is none.
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A patch that holds only for the version that was seen.
pub(crate) fn if_unchanged(seen: &Value, mut patch: Value) -> Value {
    let version = json!(text(seen, "/metadata/resourceVersion"));
    if let Some(fields) = patch.as_object_mut() {
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("resourceVersion".to_owned(), version);
        }
    }
    patch
}
