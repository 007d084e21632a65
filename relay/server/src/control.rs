//! The control listener: mutual TLS, spoken by the operator; and, on one route and by another proof, by couriers.
//!
//! The operator reads state and sets directives. It cannot reach a payload, key, label, name or audit row: nothing here touches the
//! store but for two counts. Shapes and paths are those of [`paramant_protocol::control`].

mod courier;
mod events;
mod operator;
mod state;
mod tls;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use paramant_protocol::control::{COURIER_PATH, Directives, DirectivesAnswer, Proof, RelayState};
use paramant_protocol::refusal::Refusal;

use crate::app::Shared;
use crate::directives::Refusal as NotTaken;

pub use self::state::StateReader;
pub use self::tls::{ControlTls, OperatorCa, public_tls};

/// Directives are a few hundred bytes.
const MAX_BODY: usize = 64 * 1024;

/// What the control routes share.
#[derive(Debug, Clone)]
pub struct Control {
    app: Shared,
    reader: StateReader,
}

/// Everything the control listener serves.
pub fn router(app: Shared, ca: OperatorCa) -> Router {
    let control = Control { reader: StateReader::new(app.clone(), ca), app };
    Router::new()
        .route("/control/v1/state", get(state))
        .route("/control/v1/events", get(events::stream))
        .route("/control/v1/directives", put(directives))
        .route("/control/v1/proof", get(proof))
        .fallback(nothing_here)
        // What stands above is the operator's alone.
        .layer(from_fn(courier::only_certified))
        .route(&format!("{COURIER_PATH}{{purpose}}"), get(courier::take))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(control)
}

async fn nothing_here() -> StatusCode {
    StatusCode::NOT_FOUND
}

async fn state(State(control): State<Control>) -> Json<RelayState> {
    Json(control.reader.read().await)
}

async fn directives(State(control): State<Control>, body: Bytes) -> Response {
    let directives: Directives = match serde_json::from_slice(&body) {
        Ok(directives) => directives,
        Err(error) => {
            let refusal = Refusal::new("malformed directives").detail(error.to_string());
            return (StatusCode::BAD_REQUEST, Json(refusal)).into_response();
        }
    };
    let app = control.app.clone();
    // On a thread that may block: the answer waits for the sync.
    let taken = tokio::task::spawn_blocking(move || {
        app.core.directives.take(directives, |schema| app.store.commit_schema(schema))
    })
    .await;
    let held = control.app.core.directives.mark();
    let (status, accepted, reason) = match taken {
        Ok(Ok(())) => (StatusCode::OK, true, None),
        Ok(Err(refusal @ (NotTaken::NotWritten(_) | NotTaken::NotCommitted(_)))) => {
            tracing::error!(error = %refusal, "directives were not taken");
            (StatusCode::INTERNAL_SERVER_ERROR, false, Some(refusal.to_string()))
        }
        Ok(Err(refusal)) => (StatusCode::CONFLICT, false, Some(refusal.to_string())),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, false, Some(error.to_string())),
    };
    (status, Json(DirectivesAnswer { accepted, held, reason })).into_response()
}

/// Read anew each time: the kubelet replaces the token long before it expires.
async fn proof(State(control): State<Control>) -> Response {
    let settings = control.app.core.settings.current();
    let Some(path) = settings.control.as_ref().and_then(|control| control.token_file.clone()) else {
        let refusal = Refusal::new("this relay has no token to prove itself with; set control.tokenFile");
        return (StatusCode::NOT_FOUND, Json(refusal)).into_response();
    };
    match tokio::fs::read_to_string(&path).await {
        Ok(token) => Json(Proof { token: token.trim_end().to_owned() }).into_response(),
        Err(error) => {
            tracing::error!(file = %path.display(), %error, "the token for the operator cannot be read");
            let refusal = Refusal::new("the token file cannot be read").detail(error.to_string());
            (StatusCode::SERVICE_UNAVAILABLE, Json(refusal)).into_response()
        }
    }
}
