//! The public listener's router: every route a client or an auditor may call, with what holds for all of them.
//!
//! Routes live in the modules below, one per subject; this file mounts them and wraps them: request id and span, metrics,
//! headers, the client's address. Reads of the log need no key and are never limited.

pub mod account_views;
pub mod actions;
pub mod admin;
mod body;
mod conditions;
pub mod credentials;
pub mod ct;
pub mod ct_pages;
pub mod dids;
pub mod discovery;
pub mod errors;
pub mod headers;
pub mod health;
pub mod keys;
pub mod license;
pub mod links;
pub mod log_archive;
pub mod log_feeds;
pub mod log_gossip;
pub mod log_heads;
pub mod log_keys;
pub mod log_receipts;
pub mod log_tiles;
mod log_witnessed;
pub mod observe;
pub mod other_relays;
pub mod pages;
mod panel;
mod plain_words;
mod query;
mod representation;
pub mod sessions;
pub mod stream;
pub mod support;
pub mod team;
pub mod transfer;
pub mod trust;
pub mod usage;
pub mod webhooks;

use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use paramant_protocol::refusal::Refusal;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

use crate::app::Shared;
use crate::listener::client_address;

/// Everything the public listener serves.
pub fn router(app: Shared) -> Router {
    let log = Router::new()
        .merge(ct::routes())
        .merge(ct_pages::routes())
        .merge(pages::routes())
        .merge(trust::routes())
        .merge(log_tiles::routes())
        .merge(log_witnessed::routes())
        .merge(log_receipts::routes())
        .merge(log_heads::routes())
        .merge(log_gossip::routes())
        .merge(log_feeds::routes())
        .merge(log_archive::routes(&app))
        .layer(compression())
        .layer(from_fn(headers::for_everybody));
    Router::new()
        .merge(log)
        .merge(transfer::routes())
        .merge(links::routes())
        .merge(sessions::routes())
        .merge(account_views::routes())
        .merge(stream::routes())
        .merge(webhooks::routes())
        .merge(keys::routes())
        .merge(dids::routes())
        .merge(admin::routes())
        .merge(license::routes())
        .merge(actions::routes())
        .merge(support::routes())
        .merge(panel::routes())
        .merge(usage::routes())
        .merge(team::routes())
        .merge(log_keys::routes())
        .merge(health::routes())
        .merge(discovery::routes())
        .merge(other_relays::routes())
        .fallback(nothing_here)
        .layer(from_fn_with_state(app.clone(), client_address::find))
        .layer(CatchPanicLayer::new())
        .layer(from_fn_with_state(app.clone(), headers::add))
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}

/// gzip for whole answers that gain from it: those marked, and JSON. At the fastest level: a bundle of 256 transfers shrinks to a
/// half either way, since two thirds of it are digits of hashes.
fn compression() -> CompressionLayer<impl Predicate> {
    let gains = |status: StatusCode, _: Version, headers: &HeaderMap, extensions: &Extensions| {
        let is_json =
            || headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == b"application/json");
        status == StatusCode::OK && (extensions.get::<representation::Compressible>().is_some() || is_json())
    };
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(SizeAbove::new(256).and(gains))
}

/// An unknown path tells a stranger nothing, not even that it is unknown (protocol section 0.3).
async fn nothing_here(State(app): State<Shared>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match credentials::known(&parts, &app).await {
        Ok(Some(_)) => {
            (StatusCode::NOT_FOUND, Json(Refusal::new("there is nothing at this path"))).into_response()
        }
        Ok(None) => {
            (StatusCode::UNAUTHORIZED, Json(Refusal::new("a valid X-Api-Key is needed here"))).into_response()
        }
        Err(refused) => refused.into_response(),
    }
}
