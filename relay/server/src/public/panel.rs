//! The admin's pages at `/admin`: server-rendered, no script, nothing from elsewhere, every change a form of this session.
//!
//! Signing in takes the admin's token and a code of the second factor; where none is set up, it is set up first. The token never
//! becomes a cookie. Wrong codes are limited for each address, so that a stranger cannot keep the right person out.

mod actions;
mod calls;
mod license;
mod sign_in;
mod telemetry;

use askama::Template;
use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{self, HeaderMap};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::errors::Refused;
use super::pages::unkept;
use crate::app::Shared;
use crate::panel_sessions::Signed;

/// A style sheet and an icon from here, forms that go here, and nothing else; no script at all.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const COOKIE: &str = "paramant_admin";
/// Forms hold a token, a code and a digest.
const MAX_FORM: usize = 8 * 1024;

const SIGN_IN: &str = "/admin/sign-in";
const LICENSE: &str = "/admin/license";
const ACTIONS: &str = "/admin/actions";

/// The routes of this module.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/admin", get(home))
        .route(SIGN_IN, get(sign_in::page).post(sign_in::token))
        .route("/admin/second-factor", get(sign_in::factor_page).post(sign_in::factor))
        .route("/admin/sign-out", post(sign_in::out))
        .route(LICENSE, get(license::page))
        .route("/admin/license/check-in", post(license::check_in))
        .route(ACTIONS, get(actions::page))
        .route("/admin/actions/answer", post(actions::answer))
        .route("/admin/actions/end", post(actions::end))
        .route("/admin/telemetry", get(telemetry::page).post(telemetry::switch))
        .route("/admin/calls", get(calls::page))
}

async fn home(State(_): State<Shared>, _: Admin) -> Response {
    see(LICENSE)
}

/// Somebody who showed the token and the second factor.
struct Admin(Signed);

/// Somebody who showed the token.
struct Known {
    cookie: String,
    signed: Signed,
}

impl FromRequestParts<Shared> for Admin {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Response> {
        match known(&parts.headers, app) {
            Some(known) if known.signed.complete => Ok(Self(known.signed)),
            Some(_) => Err(see("/admin/second-factor")),
            None => Err(see(SIGN_IN)),
        }
    }
}

impl FromRequestParts<Shared> for Known {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Response> {
        known(&parts.headers, app).ok_or_else(|| see(SIGN_IN))
    }
}

fn known(headers: &HeaderMap, app: &Shared) -> Option<Known> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, cookie) = pairs.find(|(name, _)| *name == COOKIE)?;
    let signed = app.store.panel.of(cookie)?;
    if !app.store.admin.is_token(&signed.token) {
        app.store.panel.end(cookie);
        return None;
    }
    Some(Known { cookie: cookie.to_owned(), signed })
}

/// A cookie of a session, for this host's pages below `/admin` only.
fn set_cookie(app: &Shared, headers: &HeaderMap, cookie: &str) -> Result<HeaderValue, Refused> {
    let public = app.core.settings.current().public_url.as_ref().is_some_and(|url| url.starts_with("https:"));
    let forwarded = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let secure = if public || forwarded { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{COOKIE}={cookie}; Path=/admin; HttpOnly; SameSite=Strict{secure}"))
        .map_err(Refused::internal)
}

/// The fields of a form.
fn fields(body: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(body).into_owned().collect()
}

fn field<'f>(fields: &'f [(String, String)], name: &str) -> &'f str {
    fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
}

/// The fields of a form that a page of this session sent.
fn own_form(signed: &Signed, body: &[u8]) -> Result<Vec<(String, String)>, Refused> {
    let fields = fields(body);
    if signed.sent(field(&fields, "forms")) {
        Ok(fields)
    } else {
        Err(Refused::new(StatusCode::FORBIDDEN, "this form is not of your session: load the page again"))
    }
}

/// After a form: a page that can be loaded again.
fn see(path: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, HeaderValue::from_static(path))]).into_response()
}

fn show(status: StatusCode, page: &impl Template) -> Response {
    unkept(status, POLICY, page)
}
