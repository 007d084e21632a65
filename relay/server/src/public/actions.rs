//! What the admin sees and answers of a vendor's requests. No vendor's word is shown: sentences are the relay's, words are of closed lists.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use paramant_licensing::actions::Said;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use super::credentials::Admin;
use super::errors::Refused;
use crate::actions::ActionError;
use crate::app::Shared;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/admin/actions", get(list))
        .route("/v2/admin/actions/{id}", post(answer))
        .route("/v2/admin/actions/{id}/end", post(end))
}

/// What is told to the operator, and every request with the signed document itself.
async fn list(State(app): State<Shared>, _: Admin) -> Result<Json<Value>, Refused> {
    let actions = &app.store.actions;
    let mut answer = serde_json::to_value(actions.report()).map_err(Refused::internal)?;
    let rows = actions.all().await?;
    let shown = rows.iter().filter_map(|row| {
        let mut shown = serde_json::to_value(actions.shown(row)?).ok()?;
        let fields = shown.as_object_mut()?;
        fields.insert("sha256".into(), row.hash.to_string().into());
        fields.insert("document".into(), serde_json::from_slice(&row.bytes).ok()?);
        // Opens the commitment of `remote_action_refused`, and that of a support key to its id.
        fields.insert("salt".into(), row.salt.to_string().into());
        Some(shown)
    });
    let shown: Vec<Value> = shown.collect();
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("ok".into(), true.into());
        fields.insert("requests".into(), shown.into());
    }
    Ok(Json(answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    answer: Said,
}

async fn answer(
    State(app): State<Shared>,
    _: Admin,
    Path(id): Path<String>,
    body::Json(Answer { answer }): body::Json<Answer>,
) -> Result<Response, Refused> {
    app.store.actions.answer(&id, answer).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "ok": true }))).into_response())
}

/// Revokes a support key, for good, or ends a vendor's drain.
async fn end(State(app): State<Shared>, _: Admin, Path(id): Path<String>) -> Result<Json<Value>, Refused> {
    app.store.actions.end(&id).await?;
    Ok(Json(json!({ "ok": true })))
}

impl From<ActionError> for Refused {
    fn from(error: ActionError) -> Self {
        match error {
            ActionError::Meta(error) => error.into(),
            ActionError::Log(error) => error.into(),
            ActionError::Nothing(_) => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            ActionError::NoCheckpoint => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            error => Self::internal(error),
        }
    }
}
