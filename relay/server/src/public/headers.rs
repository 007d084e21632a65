//! Headers every public answer carries (protocol section 0.3), the answer to `OPTIONS`, and the refusal of keys in URLs.
//!
//! A route's own header always wins: the log's routes say `Access-Control-Allow-Origin: *` and set their own caching.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use paramant_protocol::refusal::Refusal;

use crate::app::Shared;

const FIXED: [(HeaderName, HeaderValue); 9] = [
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS")),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Content-Type, X-Api-Key, X-Admin-Token, X-Blob-Password, X-Paramant-Chunk-Sha256, X-Dsa-Signature, X-Capsule-Sha256, Authorization, X-DID, X-DID-Signature, X-DID-TS, X-DID-Nonce, If-None-Match, If-Modified-Since, Range, If-Range",
        ),
    ),
    (
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "X-Paramant-Receipt, X-Paramant-Log-Receipt, X-Paramant-Burned, X-Paramant-Hash, X-Paramant-Chunk-Size, Content-Range, ETag",
        ),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache, must-revalidate")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    ),
    (
        header::STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=63072000; includeSubDomains; preload"),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("permissions-policy"), HeaderValue::from_static("interest-cohort=()")),
];

/// What a page of another origin may see of the log's answers.
const READABLE: HeaderValue =
    HeaderValue::from_static("ETag, Last-Modified, Content-Range, Accept-Ranges, Retry-After");

const PRODUCT: [(HeaderName, HeaderValue); 2] = [
    (HeaderName::from_static("x-crypto-version"), HeaderValue::from_static("ML-KEM-768+AES-256-GCM")),
    (HeaderName::from_static("x-hybrid-mode"), HeaderValue::from_static("available")),
];

/// Wraps every public route.
pub(super) async fn add(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let settings = app.core.settings.current();
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin =
        settings.allowed_origins.answer(origin).and_then(|origin| HeaderValue::from_str(origin).ok());
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else if names_a_key(request.uri().query()) {
        key_in_url()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    // Where everybody may read, the answer does not vary with who asks, and caches should not think so.
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        set_absent(headers, header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        set_absent(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    for (name, value) in FIXED.into_iter().chain(PRODUCT) {
        set_absent(headers, name, value);
    }
    if let Ok(sector) = HeaderValue::from_str(&settings.sector) {
        set_absent(headers, HeaderName::from_static("x-paramant-sector"), sector);
    }
    response
}

/// For routes that anybody may read from any page; around the compression of their answers.
pub(super) async fn for_everybody(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, READABLE);
    if headers.contains_key(header::CONTENT_ENCODING) {
        weaken(headers);
    }
    // The compression layer refuses who takes neither form, over the headers of the answer that there was: a cache that kept
    // this refusal for a tile's year would give it to everybody.
    if status == StatusCode::NOT_ACCEPTABLE {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.remove(header::ETAG);
    }
    response
}

/// A compressed answer is the same content in other bytes: its tag still finds it, but nothing may be appended to it.
fn weaken(headers: &mut HeaderMap) {
    let weak = headers
        .get(header::ETAG)
        .and_then(|tag| tag.to_str().ok())
        .filter(|tag| tag.starts_with('"'))
        .and_then(|tag| HeaderValue::from_str(&format!("W/{tag}")).ok());
    if let Some(weak) = weak {
        headers.insert(header::ETAG, weak);
    }
}

fn set_absent(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    headers.entry(name).or_insert(value);
}

/// Keys in URLs end in logs and histories; the protocol refuses the parameter `k` wherever it stands.
fn names_a_key(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("k")))
}

fn key_in_url() -> Response {
    let refusal = Refusal::new("API keys are not taken from the URL; send the X-Api-Key header");
    (StatusCode::BAD_REQUEST, axum::Json(refusal)).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_parameter_k_is_found_wherever_it_stands() {
        for query in ["k=pgp_1", "a=1&k=pgp_1", "k", "k="] {
            assert!(names_a_key(Some(query)), "{query}");
        }
        for query in ["", "key=1", "a=k", "kk=1"] {
            assert!(!names_a_key(Some(query)), "{query}");
        }
        assert!(!names_a_key(None));
    }
}
