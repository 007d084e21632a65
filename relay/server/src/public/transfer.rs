//! Uploads and downloads over HTTP (protocol §4.1, §4.2): request in, [`crate::transfer`] does it, answer out.
//!
//! `POST /v2/inbound` takes the published JSON form, `PUT /v3/blobs/{sha256}` the bytes as they are. Both are read as a
//! stream with constant memory. Blobs answer GET alone: a HEAD, which link previewers and caches send, never uses a view.

pub(crate) mod anonymous;
mod inbound;
pub(super) mod reading;
mod uploads;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use jiff::Timestamp;
use paramant_protocol::download::{LOG_RECEIPT_HEADER, StatusAnswer};
use paramant_protocol::id::ReceiptId;
use paramant_protocol::path::parse_hash;
use paramant_protocol::receipt::Receipt;
use paramant_protocol::upload::{Done, UploadAnswer};
use serde::Deserialize;
use serde_json::Value;

use self::inbound::{RawTerms, Sender};
use super::body::{self, Stream};
use super::credentials::{Anyone, Key};
use super::errors::Refused;
use super::query::Query;
use crate::accounts::Principal;
use crate::app::Shared;
use crate::drain::UploadGuard;
use crate::receipts;
use crate::store::blob_rows::Asked;
use crate::store::{Digest, now_ms};

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/inbound", post(json_upload))
        .route("/v2/anon-inbound", post(anonymous::upload))
        .route("/v2/inbound/{hash}", delete(cancel))
        .route("/v3/blobs/{hash}", put(raw_upload))
        .route("/v2/outbound/{hash}", get(download).head(head_never_reads))
        .route("/v2/status/{hash}", get(status))
        .route("/v2/verify-receipt", post(verify_receipt))
        .route("/v2/receipt/{hash}", get(receipt_again))
        .merge(uploads::routes())
}

async fn json_upload(State(app): State<Shared>, request: Request) -> Result<Json<UploadAnswer>, Refused> {
    let (who, _upload, request) = admitted(&app, request).await?;
    inbound::from_json(&app, Sender::Key(&who), request).await.map(Json)
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
    version: Version,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let asked = Asked::ByName { account: who.account, lookup: lookup(&hash)? };
    within_hour(&app, &who)?;
    let password = reading::in_header(&headers)?;
    // Wrong passwords are counted for the account, not for where it comes from.
    let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let wanted = reading::wanted(&headers, &hash);
    let claimed = reading::claim(&app, asked, password, nowhere, wanted).await?.ok_or_else(Refused::gone)?;
    reading::answer(&app, asked, claimed, &hash, version).await
}

/// Counts a download against what the plan of this key allows in an hour.
fn within_hour(app: &Shared, who: &Principal) -> Result<(), Refused> {
    let Some(limit) = app.plan(who).downloads_per_hour else { return Ok(()) };
    let admitted = app.store.hourly.admit(&who.kid, limit, Timestamp::now());
    admitted.map_err(|wait| Refused::too_many(wait.as_secs()))
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
            sig_valid: status.sig_valid,
            chunk_size: status.chunk_size,
        },
    }))
}

/// The receipt of a read by this account, whole; for who lost the header, or wants the tree head's signature with it.
async fn receipt_again(
    State(app): State<Shared>,
    Key(who): Key,
    Path(hash): Path<String>,
) -> Result<Json<Receipt>, Refused> {
    let delivery = app.store.copies.find(who.account, lookup(&hash)?).ok_or_else(Refused::gone)?;
    delivery.whole(&app.core).await.map(Json).map_err(Refused::internal)
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
