//! `/livez`, `/readyz`, `/metrics` on a listener of their own, so that a busy public listener cannot fail a probe.
//!
//! Ready means that reads are served. A drain does not make a relay unready: whoever waits for a file still gets it.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use crate::app::Shared;

/// Why reads are not served, if they are not.
#[derive(Debug, Clone)]
pub struct Readiness(watch::Sender<BTreeMap<&'static str, String>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::Sender::new(BTreeMap::new()))
    }
}

impl Readiness {
    /// Something keeps the relay from serving reads; `reason` is one sentence for people.
    pub fn hold(&self, what: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        self.0.send_if_modified(|reasons| reasons.insert(what, reason.clone()) != Some(reason));
    }

    /// It no longer does.
    pub fn clear(&self, what: &'static str) {
        self.0.send_if_modified(|reasons| reasons.remove(what).is_some());
    }

    /// Every reason, in a fixed order. Empty: ready.
    pub fn reasons(&self) -> Vec<String> {
        self.0.borrow().values().cloned().collect()
    }

    /// News of a change.
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<&'static str, String>> {
        self.0.subscribe()
    }
}

/// Everything the probes listener serves.
pub fn router(app: Shared) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(app)
}

async fn readyz(State(app): State<Shared>) -> Response {
    let reasons = app.core.readiness.reasons();
    if reasons.is_empty() {
        return "ok\n".into_response();
    }
    let lines: String = reasons.iter().map(|reason| format!("{reason}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

async fn metrics(State(app): State<Shared>) -> Response {
    app.core.metrics.license_ends_in(app.store.licenses.current().left);
    match app.core.metrics.render(&app.core) {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_ready_when_nothing_holds_it_back() {
        let readiness = Readiness::default();
        assert!(readiness.reasons().is_empty());
        readiness.hold("log", "the log is being read");
        readiness.hold("log", "the log is damaged");
        assert_eq!(readiness.reasons(), ["the log is damaged"]);
        readiness.clear("log");
        assert!(readiness.reasons().is_empty());
    }
}
