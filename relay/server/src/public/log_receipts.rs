//! `/log/receipt/{id}`: the `.tlog-proof` of a transfer, for those who were given its id when they sent or read it.
//!
//! An id that nobody was given, one whose entry is not published yet and one that is no id at all get one answer, byte for byte:
//! a 404 that nothing may store, with the time after which asking again makes sense.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use paramant_log::ReadError;
use paramant_protocol::id::ReceiptId;

use super::conditions::Conditions;
use super::log_tiles::tlog_proof;
use super::representation::{Keep, Representation, TEXT, absent, unreadable};
use crate::app::Shared;
use crate::store::receipt_rows::Receipted;

/// A checkpoint is published every second while the log grows.
const RETRY: Duration = Duration::from_secs(2);

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new().route("/log/receipt/{id}", get(receipt))
}

async fn receipt(State(app): State<Shared>, Path(id): Path<String>, conditions: Conditions) -> Response {
    let Ok(id) = id.strip_suffix(".tlog-proof").unwrap_or(&id).parse::<ReceiptId>() else {
        return not_yet();
    };
    let receipted = match app.store.receipt(id).await {
        Ok(Some(receipted)) => receipted,
        Ok(None) => return not_yet(),
        Err(error) => return unreadable(&error),
    };
    match tokio::task::spawn_blocking(move || proof_of(&app, receipted)).await {
        Ok(Ok(Some(proof))) => Representation::of_text(TEXT, proof, Keep::Never).answer(&conditions),
        Ok(Ok(None)) => not_yet(),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unreadable(&"the reading task ended"),
    }
}

/// The proof, if the entry at that place is the one meant: after `log adopt` another log has the same indices.
fn proof_of(app: &Shared, receipted: Receipted) -> Result<Option<String>, ReadError> {
    let entry = app.core.log.engine().entry(receipted.log_index)?;
    if entry.is_some_and(|entry| entry.legacy_leaf == receipted.leaf.0) {
        tlog_proof(app, receipted.log_index)
    } else {
        Ok(None)
    }
}

fn not_yet() -> Response {
    let mut response = absent();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY.as_secs()));
    response
}
