//! What the published protocol has of other relays (§4.8, §6.5) and this one leaves out: `adr/0045`.
//!
//! A relay that lists whoever signs an address of its own, and keeps whatever heads such a key signs, keeps what strangers make up;
//! and registrations would be entries of our log. What these were for is done by witnesses, and by `/log/gossip` for heads of this
//! log. Lists are empty, which is true; offers are refused before their body is read.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::credentials::Anyone;
use super::errors::Refused;
use super::query::Query;
use crate::app::Shared;

/// As published.
const LISTED: (u64, u64) = (50, 200);

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/relays", get(relays))
        .route("/v2/relays/register", post(register))
        .route("/v2/sth/ingest", post(ingest))
        .route("/v2/sth/peers", get(peers))
        .route("/v2/sth/peers/{pk_hash}", get(peer))
}

#[derive(Deserialize)]
struct Page {
    limit: Option<u64>,
    #[serde(default)]
    offset: u64,
}

async fn relays(_: Anyone, Query(Page { limit, offset }): Query<Page>) -> Json<Value> {
    let (usual, most) = LISTED;
    Json(
        json!({ "ok": true, "relays": [], "total": 0, "limit": limit.unwrap_or(usual).min(most), "offset": offset }),
    )
}

async fn register(_: Anyone) -> Refused {
    Refused::new(StatusCode::FORBIDDEN, "this relay keeps no registry of relays")
}

async fn ingest(_: Anyone) -> Refused {
    let refused =
        "this relay keeps no tree heads of other relays; POST /log/gossip judges a head of this one";
    Refused::new(StatusCode::FORBIDDEN, refused)
}

async fn peers(_: Anyone) -> Json<Value> {
    Json(json!({ "ok": true, "count": 0, "peers": [] }))
}

async fn peer(_: Anyone, Path(_): Path<String>) -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "this relay keeps no tree heads of other relays")
}
