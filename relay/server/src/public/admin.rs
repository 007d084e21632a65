//! What the admin may do over HTTP (protocol §1.3), and the redeeming of the set-up code.
//!
//! A key's secret is in one answer only, the one that makes it. Everything that changes something is an entry in the log.

use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use jiff::Timestamp;
use paramant_protocol::moment;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use super::credentials::{Admin, Anyone};
use super::errors::Refused;
use crate::accounts::{KeyRow, NewKey};
use crate::app::Shared;
use crate::setup_code::SetupError;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/admin/keys", get(list).post(create))
        .route("/v2/admin/keys/revoke", post(revoke))
        .route("/v2/admin/keys/update-plan", post(update_plan))
        .route("/v2/admin/keys/{key}", delete(revoke_named))
        .route("/v2/reload-users", post(reload))
        .route("/v3/setup", post(set_up))
}

#[derive(Deserialize)]
struct Create {
    key: Option<String>,
    plan: Option<String>,
    label: Option<String>,
    email: Option<String>,
    account_id: Option<String>,
    scope: Option<String>,
}

async fn create(
    State(app): State<Shared>,
    _: Admin,
    body::Json(wanted): body::Json<Create>,
) -> Result<Json<Value>, Refused> {
    let Create { key, plan, label, email, account_id: account, scope } = wanted;
    let (key, row) = app.store.accounts.create(NewKey { key, plan, label, email, account, scope }).await?;
    Ok(Json(json!({
        "ok": true,
        "key": key.reveal(),
        "kid": row.kid,
        "account_id": row.account.to_string(),
        "plan": row.plan,
        "label": row.label,
    })))
}

#[derive(Deserialize)]
struct Reveal {
    reveal: Option<String>,
}

/// Keys are masked whatever was asked: only their digests are kept.
async fn list(
    State(app): State<Shared>,
    _: Admin,
    Query(Reveal { reveal }): Query<Reveal>,
) -> Result<Json<Value>, Refused> {
    let rows = app.store.accounts.list().await?;
    let report = app.store.license_report();
    let license = app.store.licenses.current().state;
    let mut answer = json!({
        "ok": true,
        "count": rows.len(),
        "masked": true,
        "keys": rows.iter().map(shown).collect::<Vec<_>>(),
        "license": {
            "edition": license.edition(),
            "active_keys": report.active_users,
            "key_limit": report.max_users,
            "license_expires": report.valid_until,
        },
    });
    if reveal.is_some()
        && let Some(fields) = answer.as_object_mut()
    {
        fields.insert("hint".into(), "keys are stored as digests and cannot be shown again".into());
    }
    Ok(Json(answer))
}

fn shown(row: &KeyRow) -> Value {
    let created = Timestamp::from_millisecond(row.created_ms).map(moment::millis).ok();
    json!({
        "key": row.masked,
        "key_masked": row.masked,
        "kid": row.kid,
        "plan": row.plan,
        "label": row.label,
        "email": row.email,
        "active": row.active,
        "over_limit": false,
        "account_id": row.account.to_string(),
        "is_primary": row.is_primary,
        "scope": row.scope,
        "created": created,
    })
}

#[derive(Deserialize)]
struct Named {
    key: Option<String>,
    kid: Option<String>,
    plan: Option<String>,
}

impl Named {
    fn name(&self) -> Result<&str, Refused> {
        self.key.as_deref().or(self.kid.as_deref()).ok_or_else(|| Refused::bad("key or kid is required"))
    }
}

async fn revoke(
    State(app): State<Shared>,
    _: Admin,
    body::Json(named): body::Json<Named>,
) -> Result<Json<Value>, Refused> {
    app.store.accounts.revoke(named.name()?).await?;
    Ok(Json(json!({ "ok": true })))
}

async fn revoke_named(
    State(app): State<Shared>,
    _: Admin,
    Path(key): Path<String>,
) -> Result<Json<Value>, Refused> {
    app.store.accounts.revoke(&key).await?;
    Ok(Json(json!({ "ok": true })))
}

async fn update_plan(
    State(app): State<Shared>,
    _: Admin,
    body::Json(named): body::Json<Named>,
) -> Result<Json<Value>, Refused> {
    let plan = named.plan.as_deref().ok_or_else(|| Refused::bad("invalid_params"))?;
    app.store.accounts.change_plan(named.name()?, plan).await?;
    Ok(Json(json!({ "ok": true, "key": named.name()?, "plan": plan })))
}

async fn reload(State(app): State<Shared>, _: Admin) -> Result<Json<Value>, Refused> {
    let (loaded, prev) = app.store.accounts.refresh().await?;
    Ok(Json(json!({ "ok": true, "loaded": loaded, "prev": prev })))
}

#[derive(Deserialize)]
struct SetUp {
    #[serde(default)]
    code: String,
}

async fn set_up(
    State(app): State<Shared>,
    _: Anyone,
    body::Json(SetUp { code }): body::Json<SetUp>,
) -> Result<Json<Value>, Refused> {
    match app.store.admin.redeem(&code).await {
        Ok(given) => Ok(Json(json!({ "ok": true, "token": given.token, "totp_secret": given.totp_secret }))),
        Err(SetupError::Refused) => Err(Refused::new(StatusCode::FORBIDDEN, SetupError::Refused.to_string())),
        Err(SetupError::Meta(error)) => Err(error.into()),
        Err(SetupError::Log(error)) => Err(error.into()),
        Err(error @ SetupError::Entry(_)) => Err(Refused::internal(error)),
    }
}
