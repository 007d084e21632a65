//! The C2SP read interface under `/log/`: checkpoint, tiles, entry bundles, verifier keys, offline proofs.
//!
//! Public: no key, no limit, CORS for everybody. Everything stops at the last published checkpoint; beyond it the answer is a
//! 404 that nothing may store, or a cache could keep what a crash takes back. A full tile never changes and may be kept for
//! ever.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use paramant_log::ReadError;
use paramant_tlog::Tree;
use paramant_tlog::tile::{self, Resource};
use paramant_tlog::tlog_proof::TlogProof;

use crate::app::Shared;
use crate::log_service::LogService;

const FULL_TILE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// A partial tile never changes either, but a longer one replaces it soon.
const PARTIAL_TILE: HeaderValue = HeaderValue::from_static("public, max-age=60");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/log/checkpoint", get(checkpoint))
        .route("/log/tile/{*path}", get(tile))
        .route("/log/vkeys", get(vkeys))
        .route("/log/proof/{index}", get(proof))
}

async fn checkpoint(State(app): State<Shared>) -> Response {
    match app.core.log.published() {
        Some(published) => answer(TEXT, NO_STORE, app.core.witnesses.shown(&published).into_bytes()),
        None => not_yet(),
    }
}

/// One verifier key a line, in the order in which the checkpoint's lines stand.
async fn vkeys(State(app): State<Shared>) -> Response {
    let keys: String = app.core.log.verifiers().iter().map(|key| format!("{key}\n")).collect();
    answer(TEXT, NO_STORE, keys.into_bytes())
}

async fn tile(State(app): State<Shared>, uri: Uri) -> Response {
    // The path as sent: each resource has exactly one spelling, and percent-encoding is not it.
    let Some(resource) = uri.path().strip_prefix("/log/").and_then(tile::parse_path) else {
        return not_yet();
    };
    let log = app.core.log.clone();
    let read = move || match resource {
        Resource::Tile(tile, width) => (width, log.engine().tile(tile.level, tile.index, width)),
        Resource::Bundle(index, width) => (width, log.engine().entry_bundle(index, width)),
    };
    match tokio::task::spawn_blocking(read).await {
        Ok((width, Ok(Some(bytes)))) => {
            let cache = if u64::from(width) == tile::WIDTH { FULL_TILE } else { PARTIAL_TILE };
            answer(BYTES, cache, bytes)
        }
        Ok((_, Ok(None))) => not_yet(),
        Ok((_, Err(error))) => failed(&error),
        Err(_) => failed(&"the reading task ended"),
    }
}

/// A `.tlog-proof`: the entry, its path, and the published checkpoint it leads to, in one file for offline verification.
async fn proof(State(app): State<Shared>, Path(index): Path<String>) -> Response {
    let digits = index.strip_suffix(".tlog-proof").unwrap_or(&index);
    let Some(index) = digits.parse::<u64>().ok().filter(|index| index.to_string() == digits) else {
        return not_yet();
    };
    let log = app.core.log.clone();
    match tokio::task::spawn_blocking(move || tlog_proof(&log, index)).await {
        Ok(Ok(Some(proof))) => answer(TEXT, NO_STORE, proof.into_bytes()),
        Ok(Ok(None)) => not_yet(),
        Ok(Err(error)) => failed(&error),
        Err(_) => failed(&"the reading task ended"),
    }
}

/// The proof of an entry under the newest published checkpoint, if it lies there.
///
/// # Errors
/// When the disk fails. Blocks.
pub fn tlog_proof(log: &LogService, index: u64) -> Result<Option<String>, ReadError> {
    let Some(published) = log.published().filter(|published| index < published.head.size) else {
        return Ok(None);
    };
    let Some(entry) = log.engine().entry(index)? else { return Ok(None) };
    let path = log.engine().inclusion(Tree::Sha256, index, published.head.size)?;
    let checkpoint = published.note.clone();
    Ok(Some(TlogProof { extra: Some(entry.bytes), index, path, checkpoint }.to_text()))
}

fn answer(kind: HeaderValue, cache: HeaderValue, body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], body).into_response()
}

fn not_yet() -> Response {
    (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, NO_STORE)]).into_response()
}

fn failed(error: &dyn std::fmt::Display) -> Response {
    tracing::error!(%error, "the log could not be read");
    (StatusCode::INTERNAL_SERVER_ERROR, [(header::CACHE_CONTROL, NO_STORE)]).into_response()
}
