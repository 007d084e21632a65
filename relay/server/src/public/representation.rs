//! A complete answer of the log: its bytes, how long it keeps, and by what it is recognised.
//!
//! Everything that a cache or a content network needs is decided here once: `ETag` (over the content), `Last-Modified`,
//! `Cache-Control`, 304, 206 and 416. What may be compressed is marked, and `headers::for_everybody` and the compression layer
//! around the log's routes act on the mark. Hash tiles are never marked: their bytes are random.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::conditions::{Conditions, Selection, Validators, http_date};

pub(super) const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// How long a client or a cache may use an answer without asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// It can never change.
    Forever,
    /// So many seconds.
    Seconds(u32),
    /// Kept, but asked about every time, which costs a 304.
    Revalidate,
    /// Not at all: it is somebody's own.
    Never,
}

impl Keep {
    pub(super) fn header(self) -> HeaderValue {
        match self {
            Self::Forever => HeaderValue::from_static("public, max-age=31536000, immutable"),
            Self::Seconds(seconds) => HeaderValue::from_str(&format!("public, max-age={seconds}"))
                .unwrap_or(HeaderValue::from_static("no-cache")),
            Self::Revalidate => HeaderValue::from_static("no-cache"),
            Self::Never => NO_STORE,
        }
    }
}

/// In a response's extensions: it gains from compression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compressible;

/// An answer in full.
#[derive(Debug, Clone)]
pub(super) struct Representation {
    kind: HeaderValue,
    keep: Keep,
    compressible: bool,
    validators: Validators,
    body: Bytes,
}

impl Representation {
    /// Bytes that are better not compressed.
    pub(super) fn of_bytes(body: impl Into<Bytes>, keep: Keep) -> Self {
        let body = body.into();
        let digest = Sha256::digest(&body);
        let etag = format!("\"{}\"", hex::encode(digest.get(..16).unwrap_or_default()));
        let validators = Validators { etag, modified: None };
        Self { kind: BYTES, keep, compressible: false, validators, body }
    }

    /// Text, or other bytes of this kind, that compress well.
    pub(super) fn of_text(kind: HeaderValue, body: impl Into<Bytes>, keep: Keep) -> Self {
        Self { kind, compressible: true, ..Self::of_bytes(body, keep) }
    }

    /// With the time of its last change.
    #[must_use]
    pub(super) fn modified(mut self, at: Option<Timestamp>) -> Self {
        self.validators.modified = at;
        self
    }

    /// What the request asks for of it.
    pub(super) fn answer(&self, conditions: &Conditions) -> Response {
        let length = self.body.len() as u64;
        let selection = conditions.select(&self.validators, length);
        let body = match selection {
            Selection::Whole => Body::from(self.body.clone()),
            Selection::Part { first, last } => Body::from(self.cut(first, last)),
            Selection::NotModified | Selection::Beyond => Body::empty(),
        };
        let mut response = head(selection, &self.validators, self.keep, length);
        let headers = response.headers_mut();
        if matches!(selection, Selection::Whole | Selection::Part { .. }) {
            headers.insert(header::CONTENT_TYPE, self.kind.clone());
        }
        if self.compressible {
            headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
            response.extensions_mut().insert(Compressible);
        }
        response.map(|_| body)
    }

    fn cut(&self, first: u64, last: u64) -> Bytes {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.body.len());
        let (first, end) = (place(first), place(last.saturating_add(1)));
        self.body.slice(first.min(end)..end)
    }
}

/// The answer that goes with a selection, without its body and kind.
pub(super) fn head(selection: Selection, validators: &Validators, keep: Keep, length: u64) -> Response {
    let status = match selection {
        Selection::NotModified => StatusCode::NOT_MODIFIED,
        Selection::Whole => StatusCode::OK,
        Selection::Part { .. } => StatusCode::PARTIAL_CONTENT,
        Selection::Beyond => StatusCode::RANGE_NOT_SATISFIABLE,
    };
    let mut headers = HeaderMap::new();
    let mut add = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    match selection {
        Selection::Part { first, last } => {
            add(header::CONTENT_RANGE, &format!("bytes {first}-{last}/{length}"))
        }
        Selection::Beyond => add(header::CONTENT_RANGE, &format!("bytes */{length}")),
        Selection::Whole | Selection::NotModified => {}
    }
    add(header::ETAG, &validators.etag);
    if let Some(date) = validators.modified.and_then(http_date) {
        add(header::LAST_MODIFIED, &date);
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // A refused range says nothing lasting about what is there.
    let keep = if selection == Selection::Beyond { Keep::Never } else { keep };
    headers.insert(header::CACHE_CONTROL, keep.header());
    (status, headers).into_response()
}

/// The one 404 of the log: not there, not yet there, or no such path. Nothing may store it.
pub(super) fn absent() -> Response {
    (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, NO_STORE)]).into_response()
}

/// The disk failed, or what it gave is damaged; the log says which.
pub(super) fn unreadable(error: &dyn std::fmt::Display) -> Response {
    tracing::error!(%error, "the log could not be read");
    (StatusCode::INTERNAL_SERVER_ERROR, [(header::CACHE_CONTROL, NO_STORE)]).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_has_another_content_has_another_tag() {
        let tag = |body: &'static str| Representation::of_bytes(body, Keep::Forever).validators.etag;
        assert_eq!(tag("a"), tag("a"));
        assert_ne!(tag("a"), tag("b"));
        assert!(tag("").starts_with('"') && tag("").ends_with('"'));
    }
}
