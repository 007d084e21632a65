//! DIDs over HTTP (protocol §8): register, resolve, list, revoke.
//!
//! A registration proves no possession of its key; the relay says what was registered and no more. Attestations, with which
//! upstream checks nothing, are not taken (adr/0039).

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use paramant_protocol::device::RegisterKeys;
use paramant_protocol::did::Did;
use paramant_protocol::id::DeviceId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use super::credentials::{Anyone, Key};
use super::errors::Refused;
use crate::accounts::Principal;
use crate::app::Shared;
use crate::devices::DeviceError;
use crate::dids::{DidError, Registered};

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/did/register", post(register))
        .route("/v2/did/revoke", post(revoke_named))
        .route("/v2/did", get(list))
        .route("/v2/did/{did}", get(resolve).delete(revoke))
}

async fn register(
    State(app): State<Shared>,
    Key(who): Key,
    body::Json(request): body::Json<RegisterKeys>,
) -> Result<Json<Value>, Refused> {
    let device: DeviceId =
        request.device_id.parse().map_err(|error| Refused::bad(format!("device_id: {error}")))?;
    let kem = request.keys.kem().map_err(|error| Refused::bad(error.to_string()))?;
    let public_key = request
        .keys
        .ecdh()
        .or(kem)
        .map(str::to_owned)
        .ok_or_else(|| Refused::bad("ecdh_pub (an ECDSA P-256 key, as hex) or kem_pub is required"))?;
    if kem.is_some() {
        device_keys(&app, &who, &request).await?;
    }
    let did = app.store.dids.register(&who, device.to_string(), public_key).await?;
    Ok(Json(json!({
        "ok": true,
        "did": did.did.to_string(),
        "document": document(&app, &did),
        "ct_index": did.log_index,
        "ct_salt": did.salt.to_string(),
    })))
}

/// The device's keys go into the directory too, as published clients expect; but those that are there stay.
async fn device_keys(app: &Shared, who: &Principal, request: &RegisterKeys) -> Result<(), Refused> {
    // The DID's own key is no legacy anchor of the device: it is kept only where no keys are registered yet.
    let keys = request.keys().map_err(|error| Refused::bad(error.to_string()))?;
    let same = |text: Option<&String>, key: &[u8]| text.is_some_and(|text| *text == hex::encode(key));
    let held =
        app.store.devices.keys(who.account, keys.device.as_str(), app.plan(who)).await?.map(|held| held.keys);
    match held {
        Some(held) => {
            let same =
                same(held.kem_pub.as_ref(), &keys.kem_pub) && same(held.sig_pub.as_ref(), &keys.sig_pub);
            if same { Ok(()) } else { Err(DeviceError::Taken.into()) }
        }
        None => {
            let ecdh = request.keys.ecdh_pub.clone().unwrap_or_default();
            app.store.devices.register(who.account, keys, ecdh, app.plan(who)).await?;
            Ok(())
        }
    }
}

async fn resolve(
    State(app): State<Shared>,
    _: Anyone,
    Path(text): Path<String>,
) -> Result<Response, Refused> {
    let found = match text.parse::<Did>() {
        Ok(did) => app.store.dids.find(did).await?,
        Err(_) => None,
    };
    let found = found.ok_or_else(unknown)?;
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/did+json"))];
    Ok((kind, document(&app, &found).to_string()).into_response())
}

async fn list(State(app): State<Shared>, Key(who): Key) -> Result<Json<Value>, Refused> {
    let dids = app.store.dids.of(who.account).await?;
    let dids: Vec<_> = dids
        .iter()
        .map(|did| json!({ "did": did.did.to_string(), "device": did.device, "ts": did.created() }))
        .collect();
    Ok(Json(json!({ "ok": true, "count": dids.len(), "dids": dids })))
}

#[derive(Deserialize)]
struct Revoke {
    #[serde(default)]
    did: String,
}

async fn revoke_named(
    State(app): State<Shared>,
    Key(who): Key,
    body::Json(request): body::Json<Revoke>,
) -> Result<Json<Value>, Refused> {
    take_back(&app, &who, &request.did).await
}

async fn revoke(
    State(app): State<Shared>,
    Key(who): Key,
    Path(text): Path<String>,
) -> Result<Json<Value>, Refused> {
    take_back(&app, &who, &text).await
}

async fn take_back(app: &Shared, who: &Principal, text: &str) -> Result<Json<Value>, Refused> {
    let did: Did = text.parse().map_err(|_| unknown())?;
    let revoked = app.store.dids.revoke(who.account, did).await?.ok_or_else(unknown)?;
    Ok(Json(json!({ "ok": true, "did": did.to_string(), "revoked_at": revoked.revoked_at() })))
}

fn document(app: &Shared, found: &Registered) -> Value {
    let settings = app.core.settings.current();
    let endpoint = settings.public_url.as_deref().unwrap_or_default();
    let (created, revoked) = (found.created(), found.revoked_at());
    found.did.document(&found.device, &found.public_key, &created, endpoint, revoked.as_deref())
}

fn unknown() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "no such DID is registered here")
}

impl From<DidError> for Refused {
    fn from(error: DidError) -> Self {
        let text = error.to_string();
        match error {
            DidError::NotHex => Self::bad(text),
            DidError::Taken => Self::new(StatusCode::CONFLICT, text),
            DidError::TooMany { .. } => Self::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(3600),
            DidError::Unrecorded(error) => error.into(),
        }
    }
}
