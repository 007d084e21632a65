//! Request bodies: small JSON whatever its `Content-Type`, and large ones as a stream that is always read to a sensible end.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use super::errors::Refused;
use crate::app::Shared;

/// The largest JSON body of every route but the upload: device keys in hex under both names need 13 kB, receipts 25 kB.
const SMALL: usize = 256 * 1024;
/// How long, and how far beyond its limit, a refused body is read on, so that the client sees the refusal and not a reset.
const LINGER: (Duration, u64) = (Duration::from_secs(10), 64 * 1024 * 1024);

/// A small JSON body. Published clients do not all send a `Content-Type`, so none is asked for.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Refused> {
        let body = http_body_util::Limited::new(request.into_body(), SMALL).collect().await;
        let body = body
            .map_err(|_| Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or broke off"))?;
        let body = body.to_bytes();
        // An absent body is an empty object: several published calls send none.
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|error| Refused::bad(format!("the body is not what it should be: {error}")))
    }
}

/// A body of at most `MAX` bytes, whatever it is.
pub(super) struct Limited<const MAX: usize>(pub(super) Bytes);

impl<const MAX: usize> FromRequest<Shared> for Limited<MAX> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Refused> {
        let body = http_body_util::Limited::new(request.into_body(), MAX).collect().await;
        let body = body
            .map_err(|_| Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or broke off"))?;
        Ok(Self(body.to_bytes()))
    }
}

/// A body read piece by piece, at most `limit` bytes of it.
pub(super) struct Stream {
    body: Body,
    limit: u64,
    seen: u64,
}

/// Why a stream gave no more.
pub(super) enum Broken {
    /// More than the limit.
    TooLong,
    /// The client broke off, or stalled.
    Gone,
}

impl Stream {
    pub(super) fn new(body: Body, limit: u64) -> Self {
        Self { body, limit, seen: 0 }
    }

    /// How long the client says the body is.
    pub(super) fn announced(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(_)) => return Err(Broken::Gone),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.seen += data.len() as u64;
                    return if self.seen > self.limit { Err(Broken::TooLong) } else { Ok(Some(data)) };
                }
            }
        }
    }

    /// Reads on without keeping anything, then answers the refusal.
    pub(super) async fn refuse(mut self, refused: Refused) -> Refused {
        let (time, beyond) = LINGER;
        let end = self.limit.saturating_add(beyond);
        let reading = async {
            while let Some(Ok(frame)) = self.body.frame().await {
                self.seen += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.seen > end {
                    break;
                }
            }
        };
        drop(tokio::time::timeout(time, reading).await);
        refused
    }
}
