//! `POST /v2/ws-ticket` and the WebSocket `GET /v2/stream` (protocol §4.3): the handshake; [`crate::streams`] does the rest.
//!
//! The key is in the header `X-Api-Key`, or a ticket in `?ticket=`; never in the URL. Who shows neither gets 401 like
//! anywhere else, and no ticket is used up by a request that could not open a stream.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Query, Request, State};
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use hyper_util::rt::TokioIo;
use paramant_protocol::download::API_KEY_HEADER;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::credentials::{Anyone, Key};
use super::errors::Refused;
use crate::accounts::Principal;
use crate::app::Shared;
use crate::streams::{NoSeat, NoTicket, TICKET_LIFE};

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new().route("/v2/ws-ticket", post(ticket)).route("/v2/stream", get(stream))
}

async fn ticket(State(app): State<Shared>, Key(who): Key) -> Result<Json<Value>, Refused> {
    let issued = app.core.streams.issue_ticket(&who);
    let ticket = issued.map_err(|error| match error {
        NoTicket::TooMany => {
            Refused::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()).retry_after(TICKET_LIFE.as_secs())
        }
        NoTicket::Random => Refused::internal(error),
    })?;
    Ok(Json(json!({ "ok": true, "ticket": ticket, "expires_in": TICKET_LIFE.as_secs() })))
}

#[derive(Deserialize)]
struct Ticket {
    ticket: Option<String>,
}

async fn stream(State(app): State<Shared>, request: Request) -> Result<Response, Refused> {
    let (mut parts, body) = request.into_parts();
    let accept = handshake(&parts.headers);
    let who = caller(&app, &mut parts, accept.is_some()).await?;
    let accept = accept.ok_or_else(|| {
        Refused::new(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket: open it over HTTP/1.1, version 13")
    })?;
    let seat = app.core.streams.take_seat(&who).map_err(|full| match full {
        NoSeat::Account => Refused::new(StatusCode::TOO_MANY_REQUESTS, full.to_string()).retry_after(30),
        NoSeat::Relay => Refused::new(StatusCode::SERVICE_UNAVAILABLE, full.to_string()).retry_after(30),
    })?;
    // A key that was revoked before its seat was there was not told: it is looked at once more.
    if !app.store.accounts.is_active(&who.kid) {
        return Err(Refused::unauthorized());
    }
    let upgrade = hyper::upgrade::on(Request::from_parts(parts, body));
    let streams = app.core.streams.clone();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => streams.serve(seat, TokioIo::new(upgraded)),
            Err(error) => tracing::debug!(%error, "a stream did not come about"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// Who asks, by key, else by ticket.
async fn caller(
    app: &Shared,
    parts: &mut axum::http::request::Parts,
    may_use_ticket: bool,
) -> Result<Arc<Principal>, Refused> {
    let ticket = Query::<Ticket>::try_from_uri(&parts.uri).ok().and_then(|Query(it)| it.ticket);
    let shows_key = parts.headers.get(API_KEY_HEADER).is_some_and(|key| !key.is_empty());
    match ticket.filter(|_| !shows_key && may_use_ticket) {
        None => Key::from_request_parts(parts, app).await.map(|Key(who)| who),
        Some(ticket) => {
            Anyone::from_request_parts(parts, app).await?;
            app.core.streams.redeem_ticket(&ticket).ok_or_else(Refused::unauthorized)
        }
    }
}

/// The answer to a WebSocket's handshake, if that is what this is (RFC 6455, section 4.2.1).
fn handshake(headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name, token: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24)?;
    let asked = has(CONNECTION, "upgrade") && has(UPGRADE, "websocket") && has(SEC_WEBSOCKET_VERSION, "13");
    asked.then(|| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()).flatten()
}
