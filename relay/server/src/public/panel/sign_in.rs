//! Signing in and out: the token, then a code; where there is no second factor yet, it is set up in between.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use paramant_protocol::leaf::sha256;
use qrcodegen::{QrCode, QrCodeEcc};

use super::{Known, LICENSE, MAX_FORM, SIGN_IN, field, fields, own_form, see, set_cookie, show};
use crate::app::Shared;
use crate::listener::ClientAddress;
use crate::public::body::Limited;
use crate::public::credentials::Anyone;
use crate::public::errors::Refused;
use crate::rates::Caller;
use crate::setup_code::SecondFactor;

/// As for `/v2/admin/verify-mfa`, and counted with it.
const CODES_PER_MINUTE: u32 = 5;

#[derive(Template)]
#[template(path = "panel_sign_in.html")]
struct SignIn {
    here: &'static str,
    forms: String,
    problem: Option<&'static str>,
    /// No token is in use yet.
    awaits_setup: bool,
}

#[derive(Template)]
#[template(path = "panel_factor.html")]
struct Factor {
    here: &'static str,
    forms: String,
    problem: Option<&'static str>,
    enrolment: Option<Enrolment>,
}

/// A secret for an authenticator.
struct Enrolment {
    secret: String,
    uri: String,
    size: i32,
    /// The dark squares, as the path of an SVG.
    squares: String,
}

pub(super) async fn page(State(app): State<Shared>, _: Anyone) -> Response {
    sign_in(&app, StatusCode::OK, None)
}

fn sign_in(app: &Shared, status: StatusCode, problem: Option<&'static str>) -> Response {
    let awaits_setup = app.store.admin.awaits_setup();
    show(status, &SignIn { here: "", forms: String::new(), problem, awaits_setup })
}

pub(super) async fn token(
    State(app): State<Shared>,
    _: Anyone,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    headers: HeaderMap,
    body: Limited<MAX_FORM>,
) -> Result<Response, Refused> {
    if from_elsewhere(&headers) {
        return Err(Refused::new(StatusCode::FORBIDDEN, "this form was sent by another site"));
    }
    let form = fields(&body.0);
    let token = field(&form, "token").trim();
    if !app.store.admin.is_admin(token) {
        // Only wrong ones are counted: whoever shares an address with a guesser still gets in.
        let admitted = app.store.sign_in_rates.admit(&Caller::at(address), CODES_PER_MINUTE);
        return Ok(match admitted {
            Ok(()) => {
                // Told as often as tries count: nobody fills a disk with it.
                tracing::warn!("somebody showed a wrong admin token on the sign-in page");
                sign_in(&app, StatusCode::FORBIDDEN, Some("This is not the admin token."))
            }
            Err(_) => sign_in(&app, StatusCode::TOO_MANY_REQUESTS, Some(TOO_OFTEN)),
        });
    }
    let cookie = app.store.panel.begin(sha256(token.as_bytes())).map_err(Refused::internal)?;
    let mut response = see("/admin/second-factor");
    response.headers_mut().insert(header::SET_COOKIE, set_cookie(&app, &headers, &cookie)?);
    Ok(response)
}

const TOO_OFTEN: &str = "Too many tries from this address. Wait a minute, then try again.";

pub(super) async fn factor_page(State(app): State<Shared>, known: Known) -> Result<Response, Refused> {
    if known.signed.complete {
        return Ok(see(LICENSE));
    }
    factor_shown(&app, &known, StatusCode::OK, None).await
}

async fn factor_shown(
    app: &Shared,
    known: &Known,
    status: StatusCode,
    problem: Option<&'static str>,
) -> Result<Response, Refused> {
    let enrolment = match app.store.admin.has_second_factor().await? {
        true => None,
        false => Some(enrolment(app, known)?),
    };
    Ok(show(status, &Factor { here: "", forms: known.signed.forms.clone(), problem, enrolment }))
}

pub(super) async fn factor(
    State(app): State<Shared>,
    known: Known,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    headers: HeaderMap,
    body: Limited<MAX_FORM>,
) -> Result<Response, Refused> {
    let form = own_form(&known.signed, &body.0)?;
    if app.store.code_rates.admit(&Caller::at(address), CODES_PER_MINUTE).is_err() {
        return factor_shown(&app, &known, StatusCode::TOO_MANY_REQUESTS, Some(TOO_OFTEN)).await;
    }
    let (code, now) = (field(&form, "code"), Timestamp::now());
    let right = match app.store.panel.offered(&known.cookie) {
        // Whoever set it up meanwhile is the one whose code counts.
        Some(secret) if !app.store.admin.has_second_factor().await? => {
            app.store.admin.enrol(&secret, code, now).await?
        }
        _ => app.store.admin.second_factor(code, now).await? == SecondFactor::Right,
    };
    if !right {
        tracing::warn!("somebody with the admin token showed a wrong code of the second factor");
        let problem = Some("This code is wrong or was used before. Each works once, and for about a minute.");
        return factor_shown(&app, &known, StatusCode::FORBIDDEN, problem).await;
    }
    tracing::info!("an admin signed in to the pages");
    let Some(cookie) = app.store.panel.complete(&known.cookie).map_err(Refused::internal)? else {
        return Ok(see(SIGN_IN));
    };
    let mut response = see(LICENSE);
    response.headers_mut().insert(header::SET_COOKIE, set_cookie(&app, &headers, &cookie)?);
    Ok(response)
}

pub(super) async fn out(
    State(app): State<Shared>,
    known: Known,
    body: Limited<MAX_FORM>,
) -> Result<Response, Refused> {
    own_form(&known.signed, &body.0)?;
    app.store.panel.end(&known.cookie);
    let mut response = see(SIGN_IN).into_response();
    let gone = HeaderValue::from_static("paramant_admin=; Path=/admin; Max-Age=0; HttpOnly; SameSite=Strict");
    response.headers_mut().insert(header::SET_COOKIE, gone);
    Ok(response)
}

/// Browsers say which site a form came from. Programs say nothing, and have no cookies to be abused.
fn from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

fn enrolment(app: &Shared, known: &Known) -> Result<Enrolment, Refused> {
    let fresh = crate::setup_code::fresh_secret().map_err(Refused::internal)?;
    let secret = app.store.panel.offer(&known.cookie, fresh).unwrap_or_default();
    let label: String = form_urlencoded::byte_serialize(app.core.log.relay_id().as_bytes()).collect();
    let uri = format!("otpauth://totp/{label}?secret={secret}&issuer=Paramant");
    let code = QrCode::encode_text(&uri, QrCodeEcc::Medium).map_err(Refused::internal)?;
    let size = code.size();
    let dark = (0..size).flat_map(|y| (0..size).map(move |x| (x, y))).filter(|&(x, y)| code.get_module(x, y));
    // Four squares of quiet around it, as readers need.
    let squares = dark.map(|(x, y)| format!("M{},{}h1v1h-1z", x + 4, y + 4)).collect();
    Ok(Enrolment { secret: grouped(&secret), uri, size: size + 8, squares })
}

/// As people type it.
fn grouped(secret: &str) -> String {
    let letters: Vec<char> = secret.chars().collect();
    letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}
