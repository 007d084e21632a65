//! Device keys, and whether an API key is valid (protocol §4.4, §4.6).

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use paramant_protocol::device::{
    FingerprintAnswer, KeysAnswer, RegisterAnswer, RegisterKeys, VerifyFingerprint,
};
use paramant_protocol::discovery::Identity;
use serde_json::{Value, json};

use super::body;
use super::credentials::{self, Anyone, Key};
use super::errors::Refused;
use crate::app::Shared;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/pubkey", get(identity).post(register))
        .route("/v2/pubkey/verify", post(verify))
        .route("/v2/pubkey/{device}", get(keys))
        .route("/v2/fingerprint/{device}", get(fingerprint))
        .route("/v2/check-key", get(check_key))
}

/// The relay's own identity, for everybody.
async fn identity(State(app): State<Shared>, _: Anyone) -> Json<Identity> {
    Json(Identity::of(app.core.identity.public_key()))
}

async fn register(
    State(app): State<Shared>,
    Key(who): Key,
    body::Json(request): body::Json<RegisterKeys>,
) -> Result<Json<RegisterAnswer>, Refused> {
    let keys = request.keys().map_err(|error| Refused::bad(error.to_string()))?;
    let ecdh = request.ecdh_pub.unwrap_or_default();
    Ok(Json(app.store.devices.register(who.account, keys, ecdh, app.plan(&who)).await?))
}

async fn keys(
    State(app): State<Shared>,
    Key(who): Key,
    Path(device): Path<String>,
) -> Result<Json<KeysAnswer>, Refused> {
    app.store.devices.keys(who.account, &device, app.plan(&who)).await?.map(Json).ok_or_else(unknown_device)
}

async fn fingerprint(
    State(app): State<Shared>,
    Key(who): Key,
    Path(device): Path<String>,
) -> Result<Json<FingerprintAnswer>, Refused> {
    app.store
        .devices
        .fingerprint(who.account, &device, app.plan(&who))
        .await?
        .map(Json)
        .ok_or_else(unknown_device)
}

async fn verify(
    State(app): State<Shared>,
    Key(who): Key,
    body::Json(request): body::Json<VerifyFingerprint>,
) -> Result<Response, Refused> {
    let answer = app
        .store
        .devices
        .verify(who.account, &request.device_id, request.fingerprint, app.plan(&who))
        .await?;
    let answer = answer.ok_or_else(unknown_device)?;
    let status = if answer.ok { StatusCode::OK } else { StatusCode::CONFLICT };
    Ok((status, Json(answer)).into_response())
}

/// Always 200: clients ask several relays which one knows their key.
async fn check_key(State(app): State<Shared>, _: Anyone, headers: HeaderMap) -> Json<Value> {
    let plan = credentials::principal(&headers, &app).map(|who| who.plan.clone());
    Json(json!({ "valid": plan.is_some(), "plan": plan }))
}

fn unknown_device() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "no keys are registered for this device")
}
