//! PSS sessions over HTTP (protocol §4.5): request in, [`crate::sessions`] does it, answer out.

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use paramant_protocol::moment;
use paramant_protocol::named_keys::NamedKeys;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use super::credentials::{Anyone, Key};
use super::errors::Refused;
use crate::app::Shared;
use crate::sessions::{Seen, SessionError, SessionId, lifetime};
use crate::store::now_ms;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/session/create", post(create))
        .route("/v2/session/join", post(join))
        .route("/v2/session/{id}/pubkey", get(pubkey))
        .route("/v2/session/{id}/status", get(status))
}

#[derive(Deserialize)]
struct Create {
    #[serde(default)]
    commitment: String,
    #[serde(default)]
    ttl_ms: Option<u64>,
}

async fn create(
    State(app): State<Shared>,
    Key(who): Key,
    body::Json(request): body::Json<Create>,
) -> Result<Json<Value>, Refused> {
    let mut commitment = [0; 32];
    hex::decode_to_slice(&request.commitment, &mut commitment).map_err(|_| {
        Refused::bad("commitment must be the SHA-256 or SHA3-256 of the shared secret, as 64 hex digits")
    })?;
    let ttl = lifetime(request.ttl_ms);
    let id = SessionId::random().map_err(Refused::internal)?;
    let expires_ms = app.store.sessions.open(id, who.account, commitment, ttl, now_ms())?;
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    Ok(Json(json!({ "ok": true, "session_id": id.to_string(), "expires_ms": expires_ms, "ttl_ms": ttl_ms })))
}

#[derive(Deserialize)]
struct Join {
    #[serde(default)]
    session_id: String,
    #[serde(default)]
    pss: String,
    #[serde(flatten)]
    keys: NamedKeys,
}

async fn join(
    State(app): State<Shared>,
    _: Anyone,
    body::Json(request): body::Json<Join>,
) -> Result<Json<Value>, Refused> {
    if request.session_id.is_empty() || request.pss.is_empty() {
        return Err(Refused::bad("session_id and pss are required"));
    }
    let keys = request.keys.offered().map_err(|error| Refused::bad(error.to_string()))?;
    let id = SessionId::parse(&request.session_id).ok_or(SessionError::Unknown)?;
    let joined_ms = app.store.sessions.join(id, &request.pss, keys, now_ms())?;
    Ok(Json(json!({ "ok": true, "session_id": id.to_string(), "joined_at": moment_of(joined_ms) })))
}

async fn pubkey(
    State(app): State<Shared>,
    Key(who): Key,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let id = SessionId::parse(&id).ok_or(SessionError::Unknown)?;
    let Seen { joined, expires_ms } = app.store.sessions.see(id, who.account, now_ms())?;
    let Some(joined) = joined else {
        let body = json!({ "ok": false, "joined": false, "message": "nobody has joined yet; ask again" });
        return Ok((StatusCode::ACCEPTED, Json(body)).into_response());
    };
    let mut body =
        json!({ "ok": true, "joined": true, "joined_at": moment_of(joined.at_ms), "expires_ms": expires_ms });
    if let (Value::Object(body), Value::Object(keys)) = (&mut body, json!(joined.keys)) {
        body.extend(keys);
    }
    Ok(Json(body).into_response())
}

async fn status(
    State(app): State<Shared>,
    Key(who): Key,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let id = SessionId::parse(&id).ok_or(SessionError::Unknown)?;
    let Seen { joined, expires_ms } = app.store.sessions.see(id, who.account, now_ms())?;
    Ok(Json(json!({ "ok": true, "joined": joined.is_some(), "expires_ms": expires_ms })))
}

fn moment_of(ms: i64) -> String {
    moment::millis(Timestamp::from_millisecond(ms).unwrap_or_default())
}

impl From<SessionError> for Refused {
    fn from(error: SessionError) -> Self {
        let (status, wait) = match error {
            SessionError::TooMany => (StatusCode::TOO_MANY_REQUESTS, Some(60)),
            SessionError::Full => (StatusCode::SERVICE_UNAVAILABLE, Some(60)),
            SessionError::Unknown => (StatusCode::NOT_FOUND, None),
            SessionError::NotYours | SessionError::WrongSecret => (StatusCode::FORBIDDEN, None),
            SessionError::Expired => (StatusCode::GONE, None),
            SessionError::Taken => (StatusCode::CONFLICT, None),
            SessionError::Locked => (StatusCode::TOO_MANY_REQUESTS, Some(3600)),
        };
        let refused = Self::new(status, error.to_string());
        match wait {
            Some(seconds) => refused.retry_after(seconds),
            None => refused,
        }
    }
}
