//! What account holders see of what happened: `GET /v2/audit`, `GET /v2/monitor`, `GET /v2/stream-next`, and the
//! acknowledgement `POST /v2/ack` (protocol §4.3, §4.6). Each answers for the account of the key, and no other.

use std::collections::HashMap;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use paramant_protocol::moment;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body;
use super::credentials::Key;
use super::errors::Refused;
use super::query::Query;
use crate::app::Shared;
use crate::store::audit_rows::{MAX_AUDIT, Shown};

/// Rows of the audit chain that are answered when none are asked for, as published.
const DEFAULT_ROWS: usize = 100;
/// The columns of the CSV, as published.
const COLUMNS: [&str; 6] = ["ts", "event", "hash", "bytes", "device", "chain_hash"];
/// As long as the names that uploads may carry.
const MAX_DEVICE: usize = 256;
/// Longer than any hash: what a reader acknowledges is repeated to it, so it has an end.
const MAX_ACKED: usize = 128;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/audit", get(audit))
        .route("/v2/monitor", get(monitor))
        .route("/v2/user/history", get(history))
        .route("/v2/stream-next", get(stream_next))
        .route("/v2/ack", post(ack))
        .route("/v2/ack/{hash}", post(ack_named))
}

/// What became of the account's uploads, newest first: the audit chain, read by file.
async fn history(State(app): State<Shared>, Key(who): Key) -> Result<Json<Value>, Refused> {
    if !app.plan(&who).extras {
        return Err(Refused::upgrade_required("user_history"));
    }
    let chain = app.store.views.audit(who.account, MAX_AUDIT as usize).await?;
    let mut fates: HashMap<String, &'static str> = HashMap::new();
    let mut entries = Vec::new();
    for Shown(row) in &chain.newest {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let hash = text("hash").to_owned();
        // Of the events of one file the newest comes first, and says what became of it.
        let fate = match text("event") {
            "outbound_burn" => "received",
            "outbound_view" => "viewed",
            "inbound_aborted" => "cancelled",
            "inbound" => {
                let status = fates.remove(&hash).unwrap_or("sent");
                let bytes = row.get("bytes");
                entries.push(json!({
                    "id": hash, "status": status, "time": text("ts"), "recipient_hash": null, "bytes": bytes,
                }));
                continue;
            }
            _ => continue,
        };
        fates.entry(hash).or_insert(fate);
    }
    Ok(Json(json!({ "ok": true, "count": entries.len(), "entries": entries })))
}

#[derive(Deserialize)]
struct Asked {
    limit: Option<String>,
    format: Option<String>,
}

async fn audit(
    State(app): State<Shared>,
    Key(who): Key,
    Query(Asked { limit, format }): Query<Asked>,
) -> Result<Response, Refused> {
    let limit = match limit.as_deref() {
        None | Some("") => DEFAULT_ROWS,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_AUDIT as usize).contains(limit))
            .ok_or_else(|| Refused::bad(format!("limit must be a whole number from 1 to {MAX_AUDIT}")))?,
    };
    let as_csv = match format.as_deref() {
        None | Some("" | "json") => false,
        Some("csv") => true,
        Some(_) => return Err(Refused::bad("format must be json or csv")),
    };
    let chain = app.store.views.audit(who.account, limit).await?;
    if !chain.valid {
        tracing::error!(account = %who.account, "an audit chain does not hold together: meta.db was changed from outside");
    }
    if as_csv {
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"))];
        return Ok((kind, csv(&chain.newest)).into_response());
    }
    let entries: Vec<Map<String, Value>> = chain.newest.into_iter().map(|Shown(entry)| entry).collect();
    let answer = json!({
        "ok": true,
        "count": entries.len(),
        "chain_valid": chain.valid,
        "total": chain.total,
        "entries": entries,
    });
    Ok(Json(answer).into_response())
}

/// RFC 4180, with the line ends of every other text here.
fn csv(rows: &[Shown]) -> String {
    let mut text = COLUMNS.join(",");
    text.push('\n');
    for Shown(entry) in rows {
        for (place, column) in COLUMNS.iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            match entry.get(*column) {
                None => {}
                Some(Value::String(value)) => push_quoted(&mut text, value),
                Some(value) => text.push_str(&value.to_string()),
            }
        }
        text.push('\n');
    }
    text
}

fn push_quoted(text: &mut String, value: &str) {
    if value.contains(['"', ',', '\n', '\r']) {
        text.push('"');
        text.push_str(&value.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(value);
    }
}

async fn monitor(State(app): State<Shared>, Key(who): Key) -> Result<Json<Value>, Refused> {
    let seen = app.store.views.activity(who.account).await?;
    let acked = seen.acked.min(seen.inbound);
    Ok(Json(json!({
        "ok": true,
        "plan": who.plan,
        "blobs_in_flight": seen.in_flight,
        "stats": { "inbound": seen.inbound, "burned": seen.burned, "webhooks_sent": seen.hooked },
        "delivery": {
            "total": seen.inbound,
            "acked": acked,
            "pending": seen.inbound - acked,
            "success_rate": (acked * 100).checked_div(seen.inbound).unwrap_or_default(),
            "avg_latency_ms": seen.waited_ms.checked_div(seen.read).unwrap_or_default(),
        },
    })))
}

#[derive(Deserialize)]
struct Listener {
    device: Option<String>,
}

/// Always 200 when asked properly: the published listener parses every body. Its `seq` counts by itself and says nothing.
async fn stream_next(
    State(app): State<Shared>,
    Key(who): Key,
    Query(Listener { device }): Query<Listener>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refused> {
    let named = || headers.get("x-device-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let device =
        device.filter(|device| !device.is_empty()).or_else(named).filter(|device| !device.is_empty());
    let device = device
        .ok_or_else(|| Refused::bad("say which device listens: ?device=NAME, or the header X-Device-Id"))?;
    let next = match device.chars().count() <= MAX_DEVICE {
        true => app.store.views.next_for_device(who.account, device.clone()).await?,
        // No upload has such a name.
        false => None,
    };
    Ok(Json(match next {
        None => json!({ "ok": true, "device": device, "hash": null, "available": false }),
        Some(next) => json!({
            "ok": true,
            "device": device,
            "hash": next.lookup.to_string(),
            "blob_hash": next.lookup.to_string(),
            "available": true,
            "queued_at": Timestamp::from_millisecond(next.queued_ms).map(moment::millis).ok(),
        }),
    }))
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    hash: String,
    device_id: Option<String>,
}

async fn ack(
    state: State<Shared>,
    key: Key,
    body::Json(ack): body::Json<Ack>,
) -> Result<Json<Value>, Refused> {
    acknowledge(state, key, ack).await
}

/// An old receiver script names the hash in the path.
async fn ack_named(
    state: State<Shared>,
    key: Key,
    Path(hash): Path<String>,
    body::Json(ack): body::Json<Ack>,
) -> Result<Json<Value>, Refused> {
    acknowledge(state, key, Ack { hash, ..ack }).await
}

/// A reader says it has the file. Nothing depends on it: a view is used by the read itself.
async fn acknowledge(
    State(app): State<Shared>,
    Key(who): Key,
    Ack { hash, device_id }: Ack,
) -> Result<Json<Value>, Refused> {
    if hash.is_empty() || hash.len() > MAX_ACKED {
        return Err(Refused::bad("hash is required: that of the file, 64 hex digits"));
    }
    let device = device_id.map(|device| device.chars().take(MAX_DEVICE).collect());
    app.store.views.acknowledge(who.account, hash.clone(), device).await?;
    Ok(Json(json!({ "ok": true, "hash": hash })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_would_break_a_csv_is_quoted() {
        let entry = json!({
            "ts": "2026-01-02T03:04:05.678Z", "event": "inbound", "hash": "aa...", "bytes": 5,
            "device": "a \"b\", c\r\nd", "chain_hash": "ff", "sig": "unsigned",
        });
        let Value::Object(entry) = entry else { return };
        let expected = "ts,event,hash,bytes,device,chain_hash\n\
                        2026-01-02T03:04:05.678Z,inbound,aa...,5,\"a \"\"b\"\", c\r\nd\",ff\n";
        assert_eq!(csv(&[Shown(entry)]), expected);
        let aborted = Shown(Map::from_iter([("event".to_owned(), Value::from("inbound_aborted"))]));
        assert_eq!(csv(&[aborted]).lines().nth(1), Some(",inbound_aborted,,,,"));
    }
}
