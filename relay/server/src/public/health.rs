//! `GET /health`: what everybody may know, and more for the admin (protocol §4.7).

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use paramant_licensing::State as LicenseState;
use paramant_protocol::control::DrainState;
use paramant_protocol::discovery::Health;
use serde_json::{Value, json};

use super::credentials::{self, Anyone};
use super::errors::Refused;
use crate::app::Shared;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new().route("/health", get(health)).route("/v2/health/deep", get(deep)).route("/", get(root))
}

async fn root(State(app): State<Shared>, _: Anyone) -> Json<Value> {
    let sector = app.core.settings.current().sector.clone();
    Json(
        json!({ "ok": true, "relay": sector, "version": crate::VERSION, "status": "ok", "protocol": "ghost-pipe-v2", "docs": "https://paramant.app/docs" }),
    )
}

/// How each part is. For people and their monitors; a cluster asks `/readyz` on the probes' port.
async fn deep(State(app): State<Shared>, _: Anyone) -> Json<Value> {
    let settings = app.core.settings.current();
    let held = app.core.readiness.reasons();
    let drained = app.core.drain.report().state != DrainState::Serving;
    let room = app.store.free_bytes().is_some_and(|free| free >= settings.limits.min_free_disk);
    let says =
        |name: &str, status: &str, detail: &str| json!({ "name": name, "status": status, "detail": detail });
    let checks = [
        match (held.first(), drained) {
            (Some(reason), _) => says("relay", "red", reason),
            (None, true) => says("relay", "yellow", "new uploads are refused: the relay is drained"),
            (None, false) => says("relay", "green", "serving"),
        },
        says("crypto", "green", "ML-KEM-768, ML-DSA-65"),
        match room {
            true => says("disk", "green", "there is room for uploads"),
            false => says("disk", "red", "uploads are refused: too little of the volume is free"),
        },
        match app.core.settings.file_refused() {
            true => says("settings", "yellow", "the settings file is refused; older settings are in force"),
            false => says("settings", "green", "the settings file is in force"),
        },
    ];
    let worst =
        ["red", "yellow"].into_iter().find(|color| checks.iter().any(|check| check["status"] == **color));
    Json(json!({
        "overall": worst.unwrap_or("green"),
        "version": crate::VERSION,
        "sector": settings.sector,
        "checks": checks,
    }))
}

async fn health(State(app): State<Shared>, _: Anyone, headers: HeaderMap) -> Result<Json<Value>, Refused> {
    let license = app.store.licenses.current().state;
    let (license_expires, license_issued_to) = match &license {
        LicenseState::Offline { expires_at, issued_to, .. } => {
            (Some(expires_at.clone()), Some(issued_to.clone()))
        }
        _ => (None, None),
    };
    let max_keys = license.cap().limit();
    let health = Health {
        ok: true,
        version: crate::VERSION.into(),
        sector: app.core.settings.current().sector.clone(),
        edition: license.edition().into(),
        max_keys,
        license_expires,
        license_issued_to,
        draining: app.core.drain.report().state != DrainState::Serving,
    };
    let mut answer = serde_json::to_value(health).map_err(Refused::internal)?;
    if credentials::is_admin(&headers, &app)
        && let (Some(answer), Value::Object(more)) = (answer.as_object_mut(), for_admin(&app, max_keys))
    {
        answer.extend(more);
    }
    Ok(Json(answer))
}

/// Names as published where this relay has the thing; what it has not (slots of memory, for one) is left out.
fn for_admin(app: &Shared, key_limit: Option<u64>) -> Value {
    let in_flight = app.store.transfers.in_flight();
    let totals = app.store.transfers.totals();
    json!({
        "blobs_in_flight": in_flight.blobs,
        "blobs_uploading": in_flight.uploads,
        "bytes_in_flight": in_flight.bytes,
        "stats": {
            "inbound": totals.inbound,
            "outbound": totals.outbound,
            "burned": totals.burned,
            "webhooks_sent": 0,
            "bytes_in": totals.bytes_in,
            "bytes_out": totals.bytes_out,
        },
        "quantum_ready": true,
        "protocol": "ghost-pipe-v2",
        "encryption": "ML-KEM-768+AES-256-GCM",
        "signatures": "ML-DSA-65",
        "storage": "sealed files, key slots",
        "key_limit": key_limit,
        "active_keys": app.store.active_users(),
    })
}
