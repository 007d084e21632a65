//! What each account sent this month, for the admin (protocol section 1.3).

use std::collections::{HashMap, HashSet};

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::credentials::Admin;
use super::errors::Refused;
use crate::accounts::AccountError;
use crate::app::Shared;
use crate::plans;
use crate::store::AccountId;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new().route("/v2/admin/usage", get(usage)).route("/v2/admin/usage/{account}", get(usage_of))
}

async fn usage(State(app): State<Shared>, _: Admin) -> Result<Json<Value>, Refused> {
    usage_answer(&app, None).await
}

async fn usage_of(
    State(app): State<Shared>,
    _: Admin,
    Path(account): Path<String>,
) -> Result<Json<Value>, Refused> {
    usage_answer(&app, Some(account)).await
}

/// What each account sent this month, by its first key.
async fn usage_answer(app: &Shared, only: Option<String>) -> Result<Json<Value>, Refused> {
    let settings = app.core.settings.current();
    let month = plans::month(Timestamp::now());
    let used: HashMap<AccountId, u32> = app.store.usage(month.clone()).await?.into_iter().collect();
    let rows = app.store.accounts.list().await?;
    let mut seen = HashSet::new();
    let accounts: Vec<Value> = rows
        .iter()
        .filter(|row| only.as_ref().is_none_or(|only| row.account.to_string() == *only))
        .filter(|row| seen.insert(row.account))
        .map(|row| {
            let plan = plans::in_force(&row.plan, settings.limits.plan_quotas);
            json!({
                "account_id": row.account.to_string(),
                "api_key_prefix": row.masked,
                "plan": row.plan,
                "label": row.label,
                "email": row.email,
                "active": row.active,
                "usage": {
                    "transfers_this_month": used.get(&row.account).copied().unwrap_or_default(),
                    "signs_this_month": null,
                    "ym": month,
                    "available": true,
                },
                "limits": {
                    "transfers_month": plan.uploads_per_month,
                    "signs_month": null,
                    "file_mb": settings.limits.max_blob >> 20,
                    "devices": plan.devices,
                },
            })
        })
        .collect();
    if only.is_some() && accounts.is_empty() {
        return Err(AccountError::UnknownKey.into());
    }
    Ok(Json(json!({
        "ok": true,
        "month": month,
        "count": accounts.len(),
        "redis_available": false,
        "accounts": accounts,
    })))
}
