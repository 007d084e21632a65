//! `GET /control/v1/courier/{purpose}`: a courier hands over its connection, and with it a way out.
//!
//! It proves itself by a bound ServiceAccount token, checked against the keys and the account that the operator named in its
//! directives. It needs no client certificate, and this is the only route that can be had without one. What it offers is a byte
//! tunnel to the destinations it was started for; it learns nothing, and can ask for nothing.

use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};
use jiff::Timestamp;
use paramant_protocol::bound_token::{Expected, KeySet, verify};
use paramant_protocol::control::{CONTROL_AUDIENCE, CourierPurpose, CouriersDirective, TUNNEL_PROTOCOL};
use paramant_protocol::refusal::Refusal;

use super::Control;
use crate::listener::ClientCertificate;

/// Refuses every other route to whoever showed no certificate.
pub(super) async fn only_certified(request: Request, next: Next) -> Response {
    if request.extensions().get::<ClientCertificate>().is_some() {
        return next.run(request).await;
    }
    refused(StatusCode::UNAUTHORIZED, "only the operator's certificate opens this route")
}

pub(super) async fn take(
    State(control): State<Control>,
    Path(purpose): Path<String>,
    mut request: Request,
) -> Response {
    let couriers = control.app.core.directives.held().and_then(|held| held.couriers);
    let purpose = match admitted(couriers.as_ref(), &purpose, request.headers(), Timestamp::now()) {
        Ok(purpose) => purpose,
        Err(reason) => {
            tracing::warn!(reason, "a courier was not admitted");
            return refused(StatusCode::FORBIDDEN, &reason);
        }
    };
    let asks = request.headers().get(UPGRADE).is_some_and(|it| it.as_bytes() == TUNNEL_PROTOCOL.as_bytes());
    if !asks {
        return refused(
            StatusCode::UPGRADE_REQUIRED,
            "a courier upgrades its connection to paramant-tunnel/1",
        );
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let sessions = control.app.core.couriers.clone();
    tokio::spawn(async move {
        let served = match upgrade.await {
            Ok(upgraded) => sessions.serve(purpose, upgraded).await,
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a courier's connection broke");
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(TUNNEL_PROTOCOL));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response
}

/// The purpose, if this is the courier the operator named for it.
fn admitted(
    couriers: Option<&CouriersDirective>,
    purpose: &str,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<CourierPurpose, String> {
    let couriers = couriers.ok_or("the operator has named no courier")?;
    let of_purpose = |it: &&paramant_protocol::control::AdmittedCourier| {
        it.purpose != CourierPurpose::Unknown && it.purpose.as_str() == purpose
    };
    let courier = couriers
        .admitted
        .iter()
        .find(of_purpose)
        .ok_or("the operator has named no courier for this purpose")?;
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let token = token.ok_or("a courier shows its token as Authorization: Bearer")?;
    let keys = KeySet::parse(&couriers.token_keys).map_err(|_| "the cluster's token keys cannot be read")?;
    let expected = Expected {
        audience: CONTROL_AUDIENCE,
        namespace: &courier.namespace,
        service_account: &courier.service_account,
        pod_uid: None,
    };
    verify(token, &keys, &expected, now).map_err(|rejected| rejected.to_string())?;
    Ok(courier.purpose)
}

fn refused(status: StatusCode, why: &str) -> Response {
    let mut response = (status, Json(Refusal::new(why.to_owned()))).into_response();
    // Whoever is not let in keeps no seat.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
