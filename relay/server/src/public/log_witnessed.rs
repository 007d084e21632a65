//! What witnesses add to the C2SP read interface: the newest checkpoint with a quorum, and the policy that says whose word counts.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::conditions::Conditions;
use super::log_tiles::KEYS;
use super::representation::{Keep, Representation, TEXT, absent};
use crate::app::Shared;

/// The routes of this module.
pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/log/checkpoint.witnessed", get(witnessed)).route("/log/policy", get(policy))
}

async fn witnessed(State(app): State<Shared>, conditions: Conditions) -> Response {
    match app.core.witnesses.witnessed() {
        Some(note) => Representation::of_text(TEXT, note, Keep::Revalidate).answer(&conditions),
        None => absent(),
    }
}

async fn policy(State(app): State<Shared>, conditions: Conditions) -> Response {
    Representation::of_text(TEXT, app.core.witnesses.policy(), KEYS).answer(&conditions)
}
