//! Uploads and downloads over HTTP (protocol §4.1, §4.2): request in, [`crate::transfer`] does it, answer out.
//!
//! `POST /v2/inbound` takes the published JSON form, `PUT /v3/blobs/{sha256}` the bytes as they are. Both are read as a
//! stream with constant memory. Blobs answer GET alone: a HEAD, which link previewers and caches send, never uses a view.

mod inbound;
mod uploads;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use paramant_protocol::chunks::CHUNK_SIZE_HEADER;
use paramant_protocol::conditions::{self, Selection, Validators};
use paramant_protocol::download::{BURNED_HEADER, HASH_HEADER, LOG_RECEIPT_HEADER, StatusAnswer};
use paramant_protocol::id::ReceiptId;
use paramant_protocol::path::parse_hash;
use paramant_protocol::receipt;
use paramant_protocol::upload::{Done, UploadAnswer};
use serde::Deserialize;
use serde_json::{Value, json};

use self::inbound::RawTerms;
use super::body::{self, Stream};
use super::credentials::{Anyone, Key};
use super::errors::Refused;
use crate::accounts::Principal;
use crate::app::Shared;
use crate::drain::UploadGuard;
use crate::receipts;
use crate::store::{Digest, now_ms};
use crate::transfer::Wanted;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/inbound", post(json_upload))
        .route("/v2/inbound/{hash}", delete(cancel))
        .route("/v3/blobs/{hash}", put(raw_upload))
        .route("/v2/outbound/{hash}", get(download).head(head_never_reads))
        .route("/v2/status/{hash}", get(status))
        .route("/v2/ack", post(ack))
        .route("/v2/verify-receipt", post(verify_receipt))
        .merge(uploads::routes())
}

async fn json_upload(State(app): State<Shared>, request: Request) -> Result<Json<UploadAnswer>, Refused> {
    let (who, _upload, request) = admitted(&app, request).await?;
    inbound::from_json(&app, &who, request).await.map(Json)
}

async fn raw_upload(
    State(app): State<Shared>,
    Path(hash): Path<String>,
    Query(terms): Query<RawTerms>,
    request: Request,
) -> Result<Response, Refused> {
    let (who, _upload, request) = admitted(&app, request).await?;
    let answer = inbound::from_bytes(&app, &who, &hash, terms, request).await?;
    let header = answer.log_receipt.as_ref().map(log_receipt).transpose()?;
    Ok((header.map(|header| [header]), Json(answer)).into_response())
}

/// The id of a log receipt as a header; for raw bodies in either direction.
fn log_receipt(id: &ReceiptId) -> Result<(HeaderName, HeaderValue), Refused> {
    let value = HeaderValue::from_str(&id.to_string()).map_err(Refused::internal)?;
    Ok((HeaderName::from_static(LOG_RECEIPT_HEADER), value))
}

/// Who uploads, and the guard that a drain waits for until the answer is made. A refusal is answered after the body: a client
/// that is still sending would otherwise see a reset connection, and not why.
async fn admitted(app: &Shared, request: Request) -> Result<(Arc<Principal>, UploadGuard, Request), Refused> {
    let (mut parts, body) = request.into_parts();
    let admitted = match Key::from_request_parts(&mut parts, app).await {
        Ok(Key(who)) => app.core.drain.begin_upload().map(|guard| (who, guard)).map_err(Refused::from),
        Err(refused) => Err(refused),
    };
    match admitted {
        Ok((who, guard)) => Ok((who, guard, Request::from_parts(parts, body))),
        Err(refused) => Err(Stream::new(body, 0).refuse(refused).await),
    }
}

async fn cancel(
    State(app): State<Shared>,
    Key(who): Key,
    Path(hash): Path<String>,
) -> Result<Json<Done>, Refused> {
    let lookup = lookup(&hash)?;
    if app.store.transfers.cancel(who.account, lookup).await? {
        Ok(Json(Done { ok: true }))
    } else {
        Err(Refused::gone())
    }
}

async fn download(
    State(app): State<Shared>,
    Key(who): Key,
    Path(hash): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let lookup = lookup(&hash)?;
    let etag = format!("\"{hash}\"");
    let wanted = wanted(&headers, etag.clone());
    let claimed = app.store.transfers.claim(who.account, lookup, wanted).await?.ok_or_else(Refused::gone)?;
    // Should this fail, the claim drops before its first byte: the view can be leased again, as often as it takes.
    let receipt = receipts::for_read(&app.core, &claimed).await.map_err(Refused::internal)?;
    let receipt = HeaderValue::from_str(&receipt).map_err(Refused::internal)?;
    let (range, size) = (claimed.range.clone(), claimed.blob.size);
    app.core.metrics.sent(range.end - range.start);
    let text = |text: &str| HeaderValue::from_str(text).map_err(Refused::internal);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start)),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::ETAG, text(&etag)?),
        (
            HeaderName::from_static(BURNED_HEADER),
            HeaderValue::from_static(if claimed.last { "true" } else { "false" }),
        ),
        (HeaderName::from_static(HASH_HEADER), text(&hash)?),
        (HeaderName::from_static(receipt::HEADER), receipt),
        log_receipt(&claimed.receipt)?,
    ];
    let mut response = (headers, Body::new(claimed.body)).into_response();
    if let Some(chunk_size) = claimed.blob.chunk_size {
        response
            .headers_mut()
            .insert(HeaderName::from_static(CHUNK_SIZE_HEADER), HeaderValue::from(chunk_size));
    }
    if range != (0..size) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let part = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
        response.headers_mut().insert(header::CONTENT_RANGE, text(&part)?);
    }
    Ok(response)
}

/// What `Range` and `If-Range` ask for. Other conditions mean nothing here: a blob is never in a cache.
fn wanted(headers: &HeaderMap, etag: String) -> impl Fn(u64) -> Wanted + Send + Sync + use<> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let mut conditions = conditions::Conditions::new(false);
    conditions.range(text(header::RANGE), text(header::IF_RANGE));
    let validators = Validators { etag, modified: None };
    move |size| match conditions.select(&validators, size) {
        Selection::Part { first, last } => Wanted::Part { first, last },
        Selection::Beyond => Wanted::Beyond,
        Selection::Whole | Selection::NotModified => Wanted::Whole,
    }
}

async fn head_never_reads() -> Response {
    let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "a blob is read with GET, once");
    ([(header::ALLOW, "GET")], refused).into_response()
}

async fn status(
    State(app): State<Shared>,
    Key(who): Key,
    Path(hash): Path<String>,
) -> Result<Json<StatusAnswer>, Refused> {
    let status = app.store.transfers.status(who.account, lookup(&hash)?, now_ms()).await?;
    Ok(Json(match status {
        None => StatusAnswer::GONE,
        Some(status) => StatusAnswer {
            available: true,
            bytes: Some(status.size),
            ttl_remaining_ms: u64::try_from(status.ttl_remaining.as_millis()).ok(),
            sig_valid: Some(status.sig_valid),
            chunk_size: status.chunk_size,
        },
    }))
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    hash: String,
}

/// A reader says it has the file. Nothing depends on it: a view is used by the read itself.
async fn ack(_: Key, body: body::Json<Ack>) -> Result<Json<Value>, Refused> {
    if body.0.hash.is_empty() {
        Err(Refused::bad("hash is required"))
    } else {
        Ok(Json(json!({ "ok": true, "hash": body.0.hash })))
    }
}

#[derive(Deserialize)]
struct VerifyReceipt {
    #[serde(default)]
    receipt: Value,
}

async fn verify_receipt(
    State(app): State<Shared>,
    _: Anyone,
    body: body::Json<VerifyReceipt>,
) -> Result<Json<Value>, Refused> {
    receipts::verdict(&app.core, body.0.receipt).map(Json).map_err(|error| Refused::bad(error.to_string()))
}

/// What a path names. A text that is no hash names nothing, and looks like anything else that is not there.
fn lookup(hash: &str) -> Result<Digest, Refused> {
    parse_hash(hash).map(Digest).ok_or_else(Refused::gone)
}
