//! Device keys, and whether an API key is valid (protocol §4.4, §4.6).

use axum::Json;
use axum::Router;
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use paramant_protocol::device::{FingerprintAnswer, RegisterKeys, VerifyFingerprint};
use paramant_protocol::discovery::Identity;
use paramant_protocol::moment;
use serde_json::{Value, json};

use super::body;
use super::credentials::{self, Anyone, Key};
use super::errors::Refused;
use crate::app::Shared;
use crate::invitations::{Invitation, is_invitation};
use crate::rates::Caller;
use crate::store::now_ms;

/// How often one address may ask in a minute whether a key is valid (protocol §1.8). A client asks once, when it looks for its relay.
const GUESSES_PER_MINUTE: u32 = 30;

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

/// A device's keys, for its account; or keys under the id of an invitation, for whoever knows it.
async fn register(State(app): State<Shared>, request: Request) -> Result<Response, Refused> {
    let (mut parts, body) = request.into_parts();
    let who = match Key::from_request_parts(&mut parts, &app).await {
        Ok(Key(who)) => Ok(who),
        // Whether a key is needed stands in the body; a caller over its rate is not listened to.
        Err(refused) if refused.status() == StatusCode::UNAUTHORIZED => Err(refused),
        Err(refused) => return Err(refused),
    };
    let body::Json(request) =
        body::Json::<RegisterKeys>::from_request(Request::from_parts(parts, body), &app).await?;
    if is_invitation(&request.device_id) {
        return invite(&app, request).map(IntoResponse::into_response);
    }
    let who = who?;
    let keys = request.keys().map_err(|error| Refused::bad(error.to_string()))?;
    let ecdh = request.keys.ecdh_pub.unwrap_or_default();
    Ok(Json(app.store.devices.register(who.account, keys, ecdh, app.plan(&who)).await?).into_response())
}

fn invite(app: &Shared, request: RegisterKeys) -> Result<Json<Value>, Refused> {
    let RegisterKeys { device_id, keys } = request;
    let keys = keys.offered().map_err(|error| Refused::bad(error.to_string()))?;
    let fingerprint = keys.fingerprint();
    app.store
        .invitations
        .leave(device_id, keys, now_ms())
        .map_err(|error| Refused::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).retry_after(60))?;
    Ok(Json(json!({ "ok": true, "fingerprint": fingerprint })))
}

async fn keys(
    State(app): State<Shared>,
    Path(device): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let (mut parts, _) = request.into_parts();
    if !is_well_encoded(parts.uri.path()) {
        return Err(Refused::bad("the device in the path is not percent-encoded as it should be"));
    }
    if is_invitation(&device) {
        Anyone::from_request_parts(&mut parts, &app).await?;
        return invited(&app, &device).map(IntoResponse::into_response);
    }
    let Key(who) = Key::from_request_parts(&mut parts, &app).await?;
    let keys =
        app.store.devices.keys(who.account, &device, app.plan(&who)).await?.ok_or_else(unknown_device)?;
    Ok(Json(keys).into_response())
}

fn invited(app: &Shared, device: &str) -> Result<Json<Value>, Refused> {
    let Invitation { keys, left_ms } =
        app.store.invitations.find(device, now_ms()).ok_or_else(unknown_device)?;
    let at = moment::millis(Timestamp::from_millisecond(left_ms).unwrap_or_default());
    let mut body = json!({
        "ok": true,
        "device_id": device,
        "ts": at,
        "registered_at": at,
        "fingerprint": keys.fingerprint(),
        "ct_index": null,
    });
    if let (Value::Object(body), Value::Object(keys)) = (&mut body, json!(keys)) {
        body.extend(keys);
    }
    Ok(Json(body))
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

/// 200 for good and bad keys: clients ask several relays which one knows theirs. Asked often from one address it is guessing.
async fn check_key(
    State(app): State<Shared>,
    Anyone(address): Anyone,
    request: Request,
) -> Result<Json<Value>, Refused> {
    let admitted = app.store.guess_rates.admit(&Caller::at(address), GUESSES_PER_MINUTE);
    admitted.map_err(|wait| Refused::too_many(wait.as_secs() + 1))?;
    let (parts, _) = request.into_parts();
    let plan = match credentials::principal(&parts.headers, &app) {
        Some(who) => Some(who.plan.clone()),
        None => credentials::known(&parts, &app).await.ok().flatten().map(|who| who.plan.clone()),
    };
    Ok(Json(json!({ "valid": plan.is_some(), "plan": plan })))
}

fn unknown_device() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "no keys are registered for this device")
}

/// Whether each `%` begins an encoded byte.
fn is_well_encoded(path: &str) -> bool {
    path.split('%')
        .skip(1)
        .all(|rest| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)))
}
