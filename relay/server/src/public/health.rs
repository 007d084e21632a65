//! `GET /health`: what everybody may know, and more for the admin (protocol §4.7).

mod deep;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use paramant_licensing::State as LicenseState;
use paramant_protocol::control::DrainState;
use paramant_protocol::discovery::Health;
use paramant_protocol::moment;
use serde_json::{Value, json};

use super::credentials::{self, Anyone};
use super::errors::Refused;
use crate::app::Shared;
use crate::process::MemoryUse;
use crate::settings::Payload;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/health", get(health))
        .route("/v2/health/deep", get(deep::deep))
        .route("/", get(root))
}

async fn root(State(app): State<Shared>, _: Anyone) -> Json<Value> {
    let sector = app.core.settings.current().sector.clone();
    Json(
        json!({ "ok": true, "relay": sector, "version": crate::VERSION, "status": "ok", "protocol": "ghost-pipe-v2", "docs": "https://paramant.app/docs" }),
    )
}

async fn health(State(app): State<Shared>, _: Anyone, headers: HeaderMap) -> Result<Json<Value>, Refused> {
    let license = app.store.licenses.current().state;
    let (license_expires, license_issued_to) = match &license {
        LicenseState::Offline { expires_at, issued_to, .. } => {
            (Some(expires_at.clone()), Some(issued_to.clone()))
        }
        LicenseState::Online(set) | LicenseState::Grace(set) => (Some(moment::millis(set.until)), None),
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
        && let (Some(answer), Value::Object(more)) =
            (answer.as_object_mut(), for_admin(&app, max_keys).await?)
    {
        answer.extend(more);
    }
    Ok(Json(answer))
}

/// Names as published. A slot is room for one largest blob, since this relay counts bytes and not blobs; what nobody here knows is null.
async fn for_admin(app: &Shared, key_limit: Option<u64>) -> Result<Value, Refused> {
    let (in_flight, totals) = (app.store.transfers.in_flight(), app.store.transfers.totals());
    let (held, memory) = (app.store.holdings().await?, MemoryUse::now());
    let settings = app.core.settings.current();
    let slots = |bytes: u64| bytes / settings.limits.max_blob.max(1);
    let mb = |bytes: u64| bytes.div_ceil(1 << 20);
    let in_memory = if settings.payload == Payload::Memory { in_flight.bytes } else { 0 };
    Ok(json!({
        "blobs_in_flight": in_flight.blobs,
        "blobs_uploading": in_flight.uploads,
        "bytes_in_flight": in_flight.bytes,
        "blobs_max": slots(settings.limits.max_in_flight),
        "available_slots": slots(settings.limits.max_in_flight.saturating_sub(in_flight.bytes)),
        "blob_ram_mb": mb(in_memory),
        "heap_mb": memory.map(|memory| mb(memory.anonymous)),
        "rss_mb": memory.map(|memory| mb(memory.resident)),
        "ram_limit_mb": memory.map(|memory| mb(memory.limit)),
        "ram_ok": memory.map(|memory| memory.resident < memory.limit),
        "pubkeys": held.devices,
        "webhooks": held.webhooks,
        "stats": {
            "inbound": totals.inbound,
            "outbound": totals.outbound,
            "burned": totals.burned,
            "webhooks_sent": held.calls,
            "bytes_in": totals.bytes_in,
            "bytes_out": totals.bytes_out,
        },
        "quantum_ready": true,
        "protocol": "ghost-pipe-v2",
        "encryption": "ML-KEM-768+AES-256-GCM",
        "signatures": "ML-DSA-65",
        "audit": "a hash chain for each account, durable",
        "storage": "sealed files, key slots",
        "padding": "by clients: 4 KiB, 64 KiB, 512 KiB, 5 MiB, 8 MiB",
        "jurisdiction": null,
        "key_limit": key_limit,
        "active_keys": app.store.active_users(),
    }))
}
