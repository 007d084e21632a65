//! `/log/sth/…`: every tree head of the SHA3-256 tree that this relay ever signed, by its number from 0.
//!
//! The numbers are those that `sth_anchor` entries count, so an auditor can follow the chain over all of them. A head that was
//! shown never changes and may be kept for ever.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use paramant_protocol::refusal::Refusal;
use paramant_protocol::transparency::{DEFAULT_HEADS, MAX_HEADS, TreeHeadPage};
use serde::{Deserialize, Serialize};

use super::conditions::Conditions;
use super::log_tiles::number;
use super::query::Query;
use super::representation::{JSON, Keep, NO_STORE, Representation, absent, unreadable};
use crate::app::Shared;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new().route("/log/sth", get(page)).route("/log/sth/{number}", get(one))
}

#[derive(Debug, Deserialize)]
struct Asked {
    from: Option<String>,
    limit: Option<String>,
}

async fn one(State(app): State<Shared>, Path(asked): Path<String>, conditions: Conditions) -> Response {
    let Some(asked) = number(&asked) else { return absent() };
    let log = app.core.log.clone();
    match tokio::task::spawn_blocking(move || log.tree_heads().range(asked, 1)).await {
        Ok(Ok(heads)) => match heads.first() {
            Some(head) => json(head, Keep::Forever, &conditions),
            None => absent(),
        },
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unreadable(&"the reading task ended"),
    }
}

async fn page(State(app): State<Shared>, Query(asked): Query<Asked>, conditions: Conditions) -> Response {
    let value = |text: Option<String>, default| text.map_or(Some(default), |text| number(&text));
    let (Some(from), Some(limit)) = (value(asked.from, 0), value(asked.limit, DEFAULT_HEADS)) else {
        let refusal = Refusal::new("from and limit are whole numbers, such as /log/sth?from=0&limit=1000");
        return (StatusCode::BAD_REQUEST, [(header::CACHE_CONTROL, NO_STORE)], Json(refusal)).into_response();
    };
    let limit = limit.min(MAX_HEADS);
    let log = app.core.log.clone();
    let read = move || {
        let total = log.tree_heads().total();
        log.tree_heads().range(from, limit).map(|sths| TreeHeadPage { total, from, sths })
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(page)) => json(&page, Keep::Revalidate, &conditions),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unreadable(&"the reading task ended"),
    }
}

fn json(value: &impl Serialize, keep: Keep, conditions: &Conditions) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => Representation::of_text(JSON, text, keep).answer(conditions),
        Err(error) => unreadable(&error),
    }
}
