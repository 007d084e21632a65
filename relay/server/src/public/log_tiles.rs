//! The C2SP read interface under `/log/`: checkpoint, tiles, entry bundles, keys, policy, offline proofs.
//!
//! Public: no key, no limit, CORS for everybody. Everything stops at the last published checkpoint; beyond it the answer is a
//! 404 that nothing may store, or a cache could keep what a crash takes back. A full tile never changes and may be kept for
//! ever. What each path gives, and how long it keeps, is told in `docs/log-http.md`.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;
use jiff::Timestamp;
use paramant_log::ReadError;
use paramant_tlog::Tree;
use paramant_tlog::tile::{self, Resource};
use paramant_tlog::tlog_proof::TlogProof;

use super::conditions::Conditions;
use super::representation::{BYTES, Keep, Representation, TEXT, absent, unreadable};
use crate::app::Shared;
use crate::log_service::key_book::KeyRecord;
use crate::log_service::{LogService, Published};

/// A partial tile never changes either, but a longer one replaces it soon.
const PARTIAL: Keep = Keep::Seconds(60);
/// Keys change with a rotation, and then a newer checkpoint needs the newer keys: an older answer would look like a forgery.
pub(super) const KEYS: Keep = Keep::Revalidate;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/log/checkpoint", get(checkpoint))
        .route("/log/tile/{*path}", get(tile))
        .route("/log/vkeys", get(vkeys))
        .route("/log/proof/{index}", get(proof))
}

async fn checkpoint(State(app): State<Shared>, conditions: Conditions) -> Response {
    match app.core.log.published() {
        Some(published) => {
            Representation::of_text(TEXT, app.core.witnesses.shown(&published), Keep::Revalidate)
                .modified(published_at(&published))
                .answer(&conditions)
        }
        None => absent(),
    }
}

/// With `?all` also the keys that came before or will come after.
async fn vkeys(State(app): State<Shared>, uri: Uri, conditions: Conditions) -> Response {
    let all = uri.query().is_some_and(|query| query.split('&').any(|part| part == "all" || part == "all=1"));
    let log = &app.core.log;
    let text = if all { all_vkeys_text(log) } else { vkeys_text(log) };
    Representation::of_text(TEXT, text, KEYS).answer(&conditions)
}

/// Every key there was, is or is to be, each under a line that says which tree sizes it signs.
fn all_vkeys_text(log: &LogService) -> String {
    let identity = log.verifiers().pop().map(|key| format!("# identity; signs every tree\n{key}\n"));
    log.key_records().iter().map(in_its_range).chain(identity).collect()
}

fn in_its_range(key: &KeyRecord) -> String {
    let KeyRecord { vkey, first_size, last_size, .. } = key;
    let sizes = match last_size {
        Some(last) => format!("from {first_size} to {last}"),
        None => format!("from {first_size} on"),
    };
    format!("# signs trees of sizes {sizes}\n{vkey}\n")
}

async fn tile(State(app): State<Shared>, uri: Uri, conditions: Conditions) -> Response {
    // The path as sent: each resource has exactly one spelling, and percent-encoding is not it.
    let Some(resource) = uri.path().strip_prefix("/log/").and_then(tile::parse_path) else {
        return absent();
    };
    let log = app.core.log.clone();
    let read = move || match resource {
        Resource::Tile(tile, width) => log.engine().tile(tile.level, tile.index, width),
        Resource::Bundle(index, width) => log.engine().entry_bundle(index, width),
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(Some(bytes))) => representation(resource, bytes).answer(&conditions),
        Ok(Ok(None)) => absent(),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unreadable(&"the reading task ended"),
    }
}

fn representation(resource: Resource, bytes: Vec<u8>) -> Representation {
    let keep = |width: u16| if u64::from(width) == tile::WIDTH { Keep::Forever } else { PARTIAL };
    match resource {
        Resource::Tile(_, width) => Representation::of_bytes(bytes, keep(width)),
        Resource::Bundle(_, width) => Representation::of_text(BYTES, bytes, keep(width)),
    }
}

/// A `.tlog-proof`: the entry, its path, and the checkpoint it leads to, in one file for offline verification.
async fn proof(State(app): State<Shared>, Path(index): Path<String>, conditions: Conditions) -> Response {
    let digits = index.strip_suffix(".tlog-proof").unwrap_or(&index);
    let Some(index) = number(digits) else { return absent() };
    match tokio::task::spawn_blocking(move || tlog_proof(&app, index)).await {
        Ok(Ok(Some(proof))) => Representation::of_text(TEXT, proof, Keep::Revalidate).answer(&conditions),
        Ok(Ok(None)) => absent(),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unreadable(&"the reading task ended"),
    }
}

/// A number in its one spelling.
pub(super) fn number(digits: &str) -> Option<u64> {
    digits.parse::<u64>().ok().filter(|number| number.to_string() == digits)
}

/// When a checkpoint was published.
pub(super) fn published_at(published: &Published) -> Option<Timestamp> {
    Timestamp::try_from(published.at).ok()
}

/// One verifier key a line, in the order in which the checkpoint's lines stand.
pub(crate) fn vkeys_text(log: &LogService) -> String {
    log.verifiers().iter().map(|key| format!("{key}\n")).collect()
}

/// The proof of an entry under a published checkpoint, if it lies there; with the lines of witnesses where they have cosigned it.
///
/// # Errors
/// When the disk fails. Blocks.
pub fn tlog_proof(app: &Shared, index: u64) -> Result<Option<String>, ReadError> {
    let log = &app.core.log;
    let Some((size, checkpoint)) = app.core.witnesses.proving(index) else { return Ok(None) };
    let Some(entry) = log.engine().entry(index)? else { return Ok(None) };
    let path = log.engine().inclusion(Tree::Sha256, index, size)?;
    Ok(Some(TlogProof { extra: Some(entry.bytes), index, path, checkpoint }.to_text()))
}
