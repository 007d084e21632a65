//! What the admin may do over HTTP (protocol §1.3), and the redeeming of the set-up code.
//!
//! A key's secret is in one answer only, the one that makes it. Everything that changes something is an entry in the log.

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{delete, get, post};
use axum::{Extension, Json};
use jiff::Timestamp;
use paramant_protocol::download::API_KEY_HEADER;
use paramant_protocol::id::ApiKey;
use paramant_protocol::moment;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use super::credentials::{Admin, Anyone};
use super::errors::Refused;
use super::query::Query;
use crate::accounts::{AccountError, KeyRow, NewKey};
use crate::app::Shared;
use crate::listener::ClientAddress;
use crate::plans;
use crate::rates::Caller;
use crate::setup_code::{SecondFactor, SetupError};

/// Codes of a second factor that one address may try in a minute; it takes the admin's token to try at all. Up to six codes of a
/// million count at a time (three steps, two algorithms), so that a day of guessing finds one in about twenty-five times: log lines
/// tell of every wrong one, and the answer to them is another token.
const CODES_PER_MINUTE: u32 = 5;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/admin/keys", get(list).post(create))
        .route("/v2/admin/keys/revoke", post(revoke))
        .route("/v2/admin/keys/update-plan", post(update_plan))
        .route("/v2/admin/keys/set-product-plan", post(set_product_plan))
        .route("/v2/admin/keys/reveal/{id}", get(reveal))
        .route("/v2/admin/send-welcome", post(send_welcome))
        .route("/v2/admin/keys/{key}", delete(revoke_named))
        .route("/v2/admin/verify-mfa", post(verify_mfa))
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
    let quotas = app.core.settings.current().limits.plan_quotas;
    let keys_per_account = plans::in_force(plan.as_deref().unwrap_or_default(), quotas).keys_per_account;
    let wanted = NewKey { key, plan, label, email, account, scope, keys_per_account };
    let (key, row) = app.store.accounts.create(wanted).await?;
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
        // Signing documents is no product of this relay, and it asks nobody what for.
        "parasign": false,
        "plan_parasign": null,
        "plan_parasend": row.plan,
        "usage_purpose": null,
        "usage_purpose_at": null,
    })
}

/// One key by its public id, itself, or its account. Its secret cannot be shown: only its digest is kept.
async fn reveal(State(app): State<Shared>, _: Admin, Path(id): Path<String>) -> Result<Json<Value>, Refused> {
    let rows = app.store.accounts.list().await?;
    let kid = id.parse::<ApiKey>().ok().map(|key| key.kid());
    let named = |row: &&KeyRow| {
        row.kid == id || Some(&row.kid) == kid.as_ref() || row.account.to_string() == id && row.is_primary
    };
    rows.iter().find(named).map(shown).map(Json).ok_or_else(|| AccountError::UnknownKey.into())
}

#[derive(Deserialize)]
struct Named {
    key: Option<String>,
    kid: Option<String>,
    /// All keys of this account.
    account_id: Option<String>,
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
    match named.account_id.as_deref() {
        Some(account) => app.store.accounts.revoke_account(account).await?,
        None => app.store.accounts.revoke(named.name()?).await?,
    }
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

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    totp_code: String,
}

/// A wrong code is an answer, not an error, as published; five tries a minute from one address.
async fn verify_mfa(
    State(app): State<Shared>,
    _: Admin,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    body::Json(Code { totp_code }): body::Json<Code>,
) -> Result<Json<Value>, Refused> {
    let admitted = app.store.code_rates.admit(&Caller::at(address), CODES_PER_MINUTE);
    admitted.map_err(|_| Refused::too_many(60))?;
    let error = match app.store.admin.second_factor(&totp_code, Timestamp::now()).await? {
        SecondFactor::Right => None,
        SecondFactor::Wrong => {
            tracing::warn!("somebody with the admin token showed a wrong code of the second factor");
            Some("this code is wrong or was used before")
        }
        SecondFactor::NotSetUp => Some("no second factor is set up: redeem a set-up code first"),
    };
    Ok(Json(json!({ "ok": error.is_none(), "error": error })))
}

#[derive(Deserialize)]
struct ProductPlan {
    #[serde(default)]
    key: String,
    #[serde(default)]
    product: String,
    #[serde(default)]
    tier: String,
}

/// Transfers are the one product here, so its tier is the key's plan.
async fn set_product_plan(
    State(app): State<Shared>,
    _: Admin,
    body::Json(ProductPlan { key, product, tier }): body::Json<ProductPlan>,
) -> Result<Json<Value>, Refused> {
    if product != "parasend" {
        return Err(Refused::bad("invalid_product"));
    }
    match app.store.accounts.change_plan(&key, &tier).await {
        Err(AccountError::Invalid(_)) => Err(Refused::bad("invalid_tier")),
        done => done
            .map(|()| Json(json!({ "ok": true, "key": key, "product": product, "tier": tier })))
            .map_err(Refused::from),
    }
}

#[derive(Deserialize)]
struct Welcome {
    #[serde(default)]
    email: String,
}

/// A relay sends no mail.
async fn send_welcome(_: Admin, body::Json(Welcome { email }): body::Json<Welcome>) -> Refused {
    if email.is_empty() {
        return Refused::bad("email is required");
    }
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "this relay sends no mail; tell the user yourself")
}

/// The admin, by any of the headers that published admin tools send here (protocol C12).
struct ReloadingAdmin;

impl FromRequestParts<Shared> for ReloadingAdmin {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refused> {
        let in_key = parts.headers.get(API_KEY_HEADER).and_then(|token| token.to_str().ok());
        if in_key.is_some_and(|token| app.store.admin.is_admin(token)) {
            return Ok(Self);
        }
        match Admin::from_request_parts(parts, app).await {
            Ok(Admin) => Ok(Self),
            Err(refused) if refused.status() == StatusCode::UNAUTHORIZED => {
                Err(Refused::new(StatusCode::UNAUTHORIZED, "unauthorized"))
            }
            Err(refused) => Err(refused),
        }
    }
}

async fn reload(State(app): State<Shared>, _: ReloadingAdmin) -> Result<Json<Value>, Refused> {
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
        Err(SetupError::Unrecorded(error)) => Err(error.into()),
    }
}
