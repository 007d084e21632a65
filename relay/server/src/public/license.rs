//! What the admin sees and does about the licence: its state, what is sent, what was sent, and the switch of telemetry.
//!
//! Bytes are shown exactly as they leave. They hold the licence key, which the admin put there; nobody else gets here.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use paramant_licensing::online::request;
use paramant_licensing::online::telemetry::SCHEMA;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use super::credentials::Admin;
use super::errors::Refused;
use super::query::Query;
use crate::app::Shared;
use crate::license::check_in::CheckInError;
use crate::license::check_in::telemetry::{Consent, TelemetryError, digest};
use crate::store::Digest;
use crate::store::license_rows::CheckInRow;

/// SHA-256 of the bytes in an answer.
const SHA256: HeaderName = HeaderName::from_static("x-paramant-sha256");
/// The schema of the telemetry in them.
const TELEMETRY_SCHEMA: HeaderName = HeaderName::from_static("x-paramant-telemetry-schema");
/// Check-ins shown at once.
const MOST: u32 = 400;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/admin/license", get(license))
        .route("/v2/admin/license/check-in", post(check_in))
        .route("/v2/admin/license/request", get(next_request))
        .route("/v2/admin/license/history", get(history))
        .route("/v2/admin/license/reset-clock", post(reset_clock))
        .route("/v2/admin/telemetry", get(telemetry).post(switch))
        .route("/v2/admin/telemetry/preview", get(preview))
}

async fn license(State(app): State<Shared>, _: Admin) -> Result<Json<Value>, Refused> {
    let license = app.store.licenses.current();
    let mut answer = serde_json::to_value(app.store.license_report()).map_err(Refused::internal)?;
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("ok".into(), true.into());
        fields.insert("endsWithinDays".into(), json!(license.warning));
        fields.insert("judgedAt".into(), json!(app.store.licenses.now().at()));
    }
    Ok(Json(answer))
}

/// Asks now; the answer is seen in `GET /v2/admin/license` when it has come.
async fn check_in(State(app): State<Shared>, _: Admin) -> Result<Response, Refused> {
    let settings = app.core.settings.current();
    if settings.online.is_none() && settings.air_gap.is_none() {
        return Err(Refused::new(
            StatusCode::CONFLICT,
            "the online check is not switched on: nobody is asked",
        ));
    }
    app.store.check_ins.ask_now().await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "ok": true }))).into_response())
}

/// The exact bytes that leave next, or that somebody carries to the authority.
async fn next_request(State(app): State<Shared>, _: Admin) -> Result<Response, Refused> {
    let frozen = app.store.check_ins.next_request().await?;
    let frozen = frozen.ok_or_else(|| {
        Refused::new(
            StatusCode::NOT_FOUND,
            "there is no request: switch license.online or license.airGap on, and put a key for it into the licence directory",
        )
    })?;
    Ok(bytes(frozen.bytes, None))
}

#[derive(Deserialize)]
struct HowMany {
    limit: Option<u32>,
}

async fn history(
    State(app): State<Shared>,
    _: Admin,
    Query(HowMany { limit }): Query<HowMany>,
) -> Result<Json<Value>, Refused> {
    let rows = app.store.check_ins.history(limit.unwrap_or(20).min(MOST)).await?;
    Ok(Json(json!({ "ok": true, "check_ins": rows.iter().map(shown).collect::<Vec<_>>() })))
}

/// With the salts, by which an auditor opens the commitments in the log.
fn shown(row: &CheckInRow) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    json!({
        "at": Timestamp::from_millisecond(row.at_ms).ok(),
        "result": row.result,
        "request": text(&row.request),
        "request_sha256": request::digest(&row.request),
        "request_salt": row.request_salt.to_string(),
        "request_index": row.request_index,
        "reply": row.reply.as_deref().map(text),
        "reply_sha256": row.reply.as_deref().map(request::digest),
        "reply_salt": row.reply_salt.map(|salt| salt.to_string()),
        "reply_index": row.reply_index,
    })
}

/// For relays that nobody answers: the floor goes back to what is certain without this machine's clock.
async fn reset_clock(State(app): State<Shared>, _: Admin) -> Result<Json<Value>, Refused> {
    let floor = app.store.check_ins.reset_clock().await?;
    Ok(Json(json!({ "ok": true, "floor": floor })))
}

async fn telemetry(State(app): State<Shared>, _: Admin) -> Json<Value> {
    Json(json!({ "ok": true, "enabled": app.store.check_ins.sends_telemetry(), "schema": SCHEMA }))
}

async fn preview(State(app): State<Shared>, _: Admin) -> Result<Response, Refused> {
    Ok(bytes(app.store.check_ins.preview().await?, Some(SCHEMA)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Switch {
    enabled: bool,
    schema: Option<u32>,
    preview_sha256: Option<String>,
}

async fn switch(
    State(app): State<Shared>,
    _: Admin,
    body::Json(Switch { enabled, schema, preview_sha256 }): body::Json<Switch>,
) -> Result<Json<Value>, Refused> {
    let consent = match (enabled, schema, preview_sha256.as_deref().map(Digest::parse)) {
        (false, ..) => None,
        (true, Some(schema), Some(Some(preview))) => Some(Consent { schema, preview }),
        (true, ..) => {
            return Err(Refused::bad(
                "consent names the schema and the SHA-256 of a preview: GET /v2/admin/telemetry/preview shows both",
            ));
        }
    };
    app.store.check_ins.switch_telemetry(consent).await?;
    Ok(Json(json!({ "ok": true, "enabled": app.store.check_ins.sends_telemetry(), "schema": SCHEMA })))
}

fn bytes(bytes: Vec<u8>, schema: Option<u32>) -> Response {
    let sha256 = HeaderValue::from_str(&digest(&bytes));
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(sha256) = sha256 {
        headers.insert(SHA256, sha256);
    }
    if let Some(schema) = schema {
        headers.insert(TELEMETRY_SCHEMA, schema.into());
    }
    response
}

impl From<CheckInError> for Refused {
    fn from(error: CheckInError) -> Self {
        match error {
            CheckInError::Meta(error) => error.into(),
            CheckInError::Log(error) => error.into(),
            error => Self::internal(error),
        }
    }
}

impl From<TelemetryError> for Refused {
    fn from(error: TelemetryError) -> Self {
        match error {
            TelemetryError::Step(error) => error.into(),
            error => Self::new(StatusCode::CONFLICT, error.to_string()),
        }
    }
}
