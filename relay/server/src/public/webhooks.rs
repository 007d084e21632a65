//! Webhooks of an account: `POST /v2/webhook` (protocol §4.3), and to see and remove them, which the published protocol lacks.

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, post};
use jiff::Timestamp;
use paramant_protocol::moment;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use super::credentials::Key;
use super::errors::Refused;
use crate::app::Shared;
use crate::store::HookId;
use crate::store::webhook_rows::{HookRow, Secret};
use crate::webhooks::{NotCallable, WebhookError};

/// As long as the names that uploads may carry.
const MAX_DEVICE: usize = 256;
/// Longer keys than the hash's block gain nothing.
const MAX_SECRET: usize = 256;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new().route("/v2/webhook", post(register).get(list)).route("/v2/webhook/{id}", delete(remove))
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    device_id: String,
    #[serde(default)]
    url: String,
    secret: Option<String>,
}

async fn register(
    State(app): State<Shared>,
    Key(who): Key,
    body::Json(wanted): body::Json<Wanted>,
) -> Result<Json<Value>, Refused> {
    if !app.plan(&who).extras {
        return Err(Refused::upgrade_required("webhooks"));
    }
    let Wanted { device_id, url, secret } = wanted;
    let secret = Secret(secret.unwrap_or_default().into_bytes());
    if device_id.is_empty() || device_id.chars().count() > MAX_DEVICE {
        return Err(Refused::bad(format!("device_id is required, with at most {MAX_DEVICE} characters")));
    }
    if url.is_empty() {
        return Err(Refused::bad("url is required"));
    }
    if secret.0.len() > MAX_SECRET {
        return Err(Refused::bad(format!("secret is longer than {MAX_SECRET} bytes")));
    }
    let id = app.store.webhooks.register(who.account, device_id, &url, secret).await?;
    Ok(Json(json!({ "ok": true, "id": id.to_string() })))
}

async fn list(State(app): State<Shared>, Key(who): Key) -> Result<Json<Value>, Refused> {
    let hooks = app.store.webhooks.list(who.account).await?;
    let hooks: Vec<Value> = hooks.iter().map(shown).collect();
    Ok(Json(json!({ "ok": true, "count": hooks.len(), "webhooks": hooks })))
}

/// The secret is not among it: it is never shown again.
fn shown(hook: &HookRow) -> Value {
    let at = |ms: i64| Timestamp::from_millisecond(ms).map(moment::millis).ok();
    json!({
        "id": hook.id.to_string(),
        "device_id": hook.device,
        "url": hook.url,
        "signed": hook.signed,
        "created": at(hook.created_ms),
        "waiting": hook.waiting,
        "dropped": hook.dropped,
        "failures": hook.failures,
        "last_call": hook.last.as_ref().and_then(|(ms, _)| at(*ms)),
        "last_outcome": hook.last.as_ref().map(|(_, outcome)| outcome),
    })
}

async fn remove(
    State(app): State<Shared>,
    Key(who): Key,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let removed = match HookId::parse(&id) {
        Some(id) => app.store.webhooks.remove(who.account, id).await?,
        None => false,
    };
    match removed {
        true => Ok(Json(json!({ "ok": true }))),
        false => Err(Refused::new(StatusCode::NOT_FOUND, "this account has no webhook of this id")),
    }
}

impl From<WebhookError> for Refused {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::Address(NotCallable::NotListed(_)) => {
                Self::new(StatusCode::FORBIDDEN, error.to_string())
            }
            WebhookError::Address(_) => Self::bad(error.to_string()),
            WebhookError::TooMany(limit) => {
                let body = json!({ "error": error.to_string(), "limit": limit });
                Self::with_body(StatusCode::TOO_MANY_REQUESTS, body).retry_after(3600)
            }
            WebhookError::Meta(error) => error.into(),
            WebhookError::Random(_) => Self::internal(error),
        }
    }
}
