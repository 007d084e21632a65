//! The keys of one account, which published clients call a team (protocol section 4.6).
//!
//! Every key of an account sees the others, masked. Only the first key of an account may add another: whoever finds a key on a
//! device that was lost must not be able to make one that outlives its revocation.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use super::credentials::Key;
use super::errors::Refused;
use crate::accounts::NewKey;
use crate::app::Shared;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new().route("/v2/team/devices", get(devices)).route("/v2/team/add-device", post(add_device))
}

async fn devices(State(app): State<Shared>, Key(who): Key) -> Result<Json<Value>, Refused> {
    let rows = app.store.accounts.list().await?;
    let devices: Vec<Value> = rows
        .iter()
        .filter(|row| row.account == who.account)
        .map(|row| {
            json!({ "label": row.label, "plan": row.plan, "active": row.active, "key_preview": row.masked })
        })
        .collect();
    Ok(Json(json!({
        "ok": true,
        "team_id": who.account.to_string(),
        "count": devices.len(),
        "devices": devices,
    })))
}

#[derive(Deserialize)]
struct AddDevice {
    #[serde(default)]
    label: String,
}

async fn add_device(
    State(app): State<Shared>,
    Key(who): Key,
    body::Json(AddDevice { label }): body::Json<AddDevice>,
) -> Result<Json<Value>, Refused> {
    if label.is_empty() {
        return Err(Refused::bad("label is required: what the new device is called"));
    }
    if !who.is_primary {
        return Err(Refused::forbidden("only the first key of an account can add another"));
    }
    let wanted = NewKey {
        plan: Some(who.plan.clone()),
        label: Some(label),
        account: Some(who.account.to_string()),
        keys_per_account: app.plan(&who).keys_per_account,
        ..NewKey::default()
    };
    let (key, row) = app.store.accounts.create(wanted).await?;
    Ok(Json(json!({
        "ok": true,
        "key": key.reveal(),
        "label": row.label,
        "team_id": row.account.to_string(),
    })))
}
