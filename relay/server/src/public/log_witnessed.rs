//! What witnesses add to the C2SP read interface: the newest checkpoint with a quorum, and the policy that says whose word counts.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::app::Shared;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The routes of this module.
pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/log/checkpoint.witnessed", get(witnessed)).route("/log/policy", get(policy))
}

async fn witnessed(State(app): State<Shared>) -> Response {
    match app.core.witnesses.witnessed() {
        Some(note) => answer(note),
        None => (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, NO_STORE)]).into_response(),
    }
}

async fn policy(State(app): State<Shared>) -> Response {
    answer(app.core.witnesses.policy())
}

fn answer(text: String) -> Response {
    ([(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, NO_STORE)], text).into_response()
}
