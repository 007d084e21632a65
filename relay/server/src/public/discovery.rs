//! What a client asks before it sends anything (protocol §4.7).

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use paramant_protocol::discovery::Capabilities;
use serde_json::{Value, json};

use super::credentials::{Anyone, Key};
use crate::app::Shared;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/capabilities", get(capabilities))
        .route("/v2/auth/capabilities", get(auth_capabilities))
        .route("/v2/key-sector", get(key_sector))
}

async fn capabilities(_: Anyone) -> Json<Capabilities> {
    Json(Capabilities::ours())
}

async fn auth_capabilities(_: Anyone) -> Json<Value> {
    Json(
        json!({ "api_key": true, "user_totp": false, "user_totp_status": "not offered", "capabilities_version": 1 }),
    )
}

async fn key_sector(State(app): State<Shared>, Key(who): Key) -> Json<Value> {
    Json(
        json!({ "sector": app.core.settings.current().sector, "plan": who.plan, "team_id": who.account.to_string() }),
    )
}
