//! What a vendor sees with a support key: diagnostics, by GET alone. Nothing here reads a user, a key, a file, a name or an audit row.
//!
//! The secret comes in `X-Support-Key`. Each use is counted before it is answered, and answers that run on end with the key.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::Stream;
use serde_json::{Value, json};

use super::credentials::{Anyone, admit};
use super::errors::Refused;
use crate::actions::support::Session;
use crate::app::Shared;
use crate::process::MemoryUse;
use crate::rates::Caller;

const SUPPORT_KEY: &str = "x-support-key";
/// How often a watcher is told.
const EVERY: Duration = Duration::from_secs(1);
/// What a support key opens.
const OPENS: [&str; 7] = [
    "/v2/support/health",
    "/v2/support/metrics",
    "/v2/support/capabilities",
    "/v2/support/checkpoint",
    "/v2/support/license",
    "/v2/support/drain",
    "/v2/support/watch",
];

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/support", get(index))
        .route("/v2/support/health", get(health))
        .route("/v2/support/metrics", get(metrics))
        .route("/v2/support/capabilities", get(capabilities))
        .route("/v2/support/checkpoint", get(checkpoint))
        .route("/v2/support/license", get(license))
        .route("/v2/support/drain", get(drain))
        .route("/v2/support/watch", get(watch))
}

/// A request with a support key that is in force; its use is counted.
struct Support(Session);

impl FromRequestParts<Shared> for Support {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refused> {
        let secret = parts.headers.get(SUPPORT_KEY).and_then(|value| value.to_str().ok());
        let Some(session) = secret.and_then(|secret| app.store.actions.holder(secret)) else {
            Anyone::from_request_parts(parts, app).await?;
            return Err(Refused::new(
                StatusCode::UNAUTHORIZED,
                "a support key of this relay that is in force is needed here",
            ));
        };
        admit(app, Caller::Key(session.id.clone()))?;
        app.store.actions.used(&session, &format!("{} {}", parts.method, parts.uri.path())).await?;
        Ok(Self(session))
    }
}

async fn index(Support(session): Support) -> Json<Value> {
    Json(json!({ "ok": true, "id": session.id, "until": session.until, "opens": OPENS }))
}

async fn health(State(app): State<Shared>, _: Support) -> Json<Value> {
    let (reasons, memory) = (app.core.readiness.reasons(), MemoryUse::now());
    Json(json!({
        "ok": reasons.is_empty(),
        "not_ready": reasons,
        "version": crate::VERSION,
        "started_at": app.core.started_at,
        "memory": memory.map(|memory| json!({ "resident": memory.resident, "limit": memory.limit })),
        "free_bytes": app.store.free_bytes(),
        "data": app.store.data_report(),
    }))
}

async fn metrics(State(app): State<Shared>, _: Support) -> Result<Response, Refused> {
    let text = app.core.metrics.render(&app.core).map_err(Refused::internal)?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"))], text)
        .into_response())
}

async fn capabilities(State(app): State<Shared>, _: Support) -> Json<Value> {
    let license = app.store.license_report();
    Json(json!({
        "ok": true,
        "tier": license.tier,
        "capabilities": license.capabilities,
        "max_users": license.max_users,
        "max_blob": app.max_blob(),
        "max_ttl_seconds": app.max_ttl().as_secs(),
    }))
}

async fn checkpoint(State(app): State<Shared>, _: Support) -> Result<String, Refused> {
    let published = app.core.log.published();
    let none = || Refused::new(StatusCode::NOT_FOUND, "the log has no checkpoint yet");
    published.map(|published| published.note.clone()).ok_or_else(none)
}

async fn license(State(app): State<Shared>, _: Support) -> Json<Value> {
    let license = app.store.license_report();
    Json(json!({
        "ok": true,
        "tier": license.tier,
        "source": license.source,
        "valid_until": license.valid_until,
        "grace_until": license.grace_until,
        "problems": license.problems,
        "check_in": license.check_in.map(|it| json!({ "at": it.at, "reachable": it.reachable, "problem": it.problem })),
    }))
}

async fn drain(State(app): State<Shared>, _: Support) -> Json<Value> {
    Json(json!({ "ok": true, "drain": app.core.drain.report() }))
}

/// Readiness and drain, once a second, until the key ends.
async fn watch(
    State(app): State<Shared>,
    Support(session): Support,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let (closing, first) = (app.core.closing.clone(), true);
    Sse::new(futures::stream::unfold(
        (app, session, closing, first),
        |(app, session, closing, first)| async move {
            if !first {
                tokio::select! {
                    () = closing.cancelled() => return None,
                    () = session.ended.cancelled() => return None,
                    () = tokio::time::sleep_until(session.deadline.into()) => return None,
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
            let seen = json!({ "not_ready": app.core.readiness.reasons(), "drain": app.core.drain.report() });
            let event = Event::default().event("state").data(seen.to_string());
            Some((Ok(event), (app, session, closing, false)))
        },
    ))
}
