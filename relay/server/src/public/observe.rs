//! Request id, span and metrics around every public request.
//!
//! What is recorded names a route's pattern, never a path: a path holds blob hashes and device names. No address, no key.

use std::fmt::Write as _;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use paramant_protocol::download::{ADMIN_TOKEN_HEADER, API_KEY_HEADER};
use tracing::Instrument as _;

use crate::app::Shared;

/// Where callers show who they are.
const CREDENTIALS: [&str; 4] = [API_KEY_HEADER, ADMIN_TOKEN_HEADER, "authorization", "x-did"];
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps every public route, outermost.
pub(super) async fn observe(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = known_method(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unknown".to_owned(), |p| p.as_str().to_owned());
    let credential = CREDENTIALS.iter().any(|name| request.headers().contains_key(*name));
    let id = request_id();
    let span = tracing::info_span!("request", id, method, route);
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    let took = started.elapsed();
    app.core.metrics.answered(&route, method, status, took);
    app.core.counts.answered(status, credential);
    let millis = took.as_secs_f64() * 1000.0;
    if status >= 500 && status != 503 && status != 507 {
        span.in_scope(|| tracing::error!(status, millis, "answered"));
    } else {
        span.in_scope(|| tracing::debug!(status, millis, "answered"));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Made here, never taken from the client: it goes into log lines.
fn request_id() -> String {
    let mut random = [0; 8];
    // Without randomness the id is useless for finding a line, and nothing worse.
    let _ = getrandom::fill(&mut random);
    random.iter().fold(String::with_capacity(16), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// A method is a label; a client must not be able to invent new ones.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "OTHER",
    }
}
