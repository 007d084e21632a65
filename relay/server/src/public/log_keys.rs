//! Rotating the keys that sign checkpoints: begin, let auditors see old and new side by side, finish.
//!
//! For the admin. Both steps are entries in the log (`log_key_rotated`), and neither can be taken twice.

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::credentials::Admin;
use super::errors::Refused;
use crate::app::Shared;
use crate::log_service::{LogService, RotateError};

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/admin/log/keys", get(keys))
        .route("/v2/admin/log/rotate", post(begin))
        .route("/v2/admin/log/rotate/finish", post(finish))
}

async fn keys(State(app): State<Shared>, _: Admin) -> Json<Value> {
    Json(shown(&app.core.log))
}

async fn begin(State(app): State<Shared>, _: Admin) -> Result<Json<Value>, Refused> {
    step(&app, LogService::begin_rotation).await
}

async fn finish(State(app): State<Shared>, _: Admin) -> Result<Json<Value>, Refused> {
    step(&app, LogService::finish_rotation).await
}

async fn step(
    app: &Shared,
    step: fn(&LogService) -> Result<(), RotateError>,
) -> Result<Json<Value>, Refused> {
    let log = app.core.log.clone();
    // On a thread of its own: a caller who hangs up does not cut a step off.
    match tokio::task::spawn_blocking(move || step(&log)).await {
        Ok(Ok(())) => Ok(Json(shown(&app.core.log))),
        Ok(Err(error)) => Err(error.into()),
        Err(error) => Err(Refused::internal(error)),
    }
}

fn shown(log: &LogService) -> Value {
    let keys = log.key_records();
    let signing =
        |generation: u32| keys.iter().any(|key| key.generation == generation && key.last_size.is_none());
    let mut generations: Vec<u32> = keys.iter().map(|key| key.generation).filter(|it| signing(*it)).collect();
    generations.dedup();
    json!({ "ok": true, "overlap": generations.len() > 1, "keys": keys })
}

impl From<RotateError> for Refused {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::Overlapping | RotateError::NotBegun => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            RotateError::NotSeen => Self::new(StatusCode::CONFLICT, error.to_string()).retry_after(2),
            RotateError::Fenced(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).retry_after(10)
            }
            RotateError::Append(_) => Self::unavailable(error),
            RotateError::Key(_) | RotateError::Name(_) | RotateError::Entry(_) | RotateError::Read(_) => {
                Self::internal(error)
            }
        }
    }
}
