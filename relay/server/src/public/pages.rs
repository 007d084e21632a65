//! The log for people: `/ct`, one page for each entry, and a page that checks a receipt in the browser.
//!
//! Views, signed by nothing, over published entries only, so that everything shown has its proof. No request leaves for
//! anywhere else, nothing runs that stands in the page itself, and only the check needs a script; the policy below says so to
//! the browser. Templates are in `templates/`, what pages load in `assets/`.

mod entry;
mod newest;
pub(super) mod watched;

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use super::conditions::Conditions;
use super::errors::Refused;
use super::log_tiles::{number, vkeys_text};
use super::representation::{Keep, NO_STORE, Representation, absent, unreadable};
use crate::app::Shared;
use crate::log_service::LogService;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// Everything from here, nothing inline, no connections: a page cannot send what is checked in it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
/// Assets change with a release.
const ASSETS: Keep = Keep::Seconds(300);

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/ct", get(newest::page))
        .route("/ct/", get(newest::page))
        .route("/ct/entry/{index}", get(entry_page))
        .route("/ct/verify", get(verify))
        .route("/ct/assets/{name}", get(asset))
}

#[derive(Template)]
#[template(path = "verify.html")]
struct Verify {
    here: &'static str,
    keys: String,
}

#[derive(Template)]
#[template(path = "absent.html")]
struct Absent {
    here: &'static str,
    size: u64,
}

async fn verify(State(app): State<Shared>, conditions: Conditions) -> Response {
    page(&Verify { here: "verify", keys: vkeys_text(&app.core.log) }, &conditions)
}

async fn entry_page(
    State(app): State<Shared>,
    Path(index): Path<String>,
    conditions: Conditions,
) -> Response {
    let log = app.core.log.clone();
    let Some(index) = number(&index) else { return no_such_entry(&log) };
    let reading = {
        let log = log.clone();
        tokio::task::spawn_blocking(move || entry::read(&log, index))
    };
    match reading.await {
        Ok(Ok(Some(shown))) => page(&shown, &conditions),
        Ok(Ok(None)) => no_such_entry(&log),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unreadable(&"the reading task ended"),
    }
}

async fn asset(Path(name): Path<String>, conditions: Conditions) -> Response {
    let Some(file) = Assets::get(&name) else { return absent() };
    let kind = match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    };
    Representation::of_text(HeaderValue::from_static(kind), file.data.into_owned(), ASSETS)
        .answer(&conditions)
}

pub(super) fn page(template: &impl Template, conditions: &Conditions) -> Response {
    match template.render() {
        Ok(html) => {
            let mut response = Representation::of_text(HTML, html, Keep::Revalidate).answer(conditions);
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
            response
        }
        Err(error) => unreadable(&error),
    }
}

fn refusal(status: StatusCode, template: &impl Template) -> Response {
    unkept(status, POLICY, template)
}

/// A page that nothing may keep.
pub(super) fn unkept(status: StatusCode, policy: HeaderValue, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => {
            let headers = [
                (header::CONTENT_TYPE, HTML),
                (header::CACHE_CONTROL, NO_STORE),
                (header::CONTENT_SECURITY_POLICY, policy),
            ];
            (status, headers, html).into_response()
        }
        Err(error) => Refused::internal(error).into_response(),
    }
}

fn no_such_entry(log: &LogService) -> Response {
    let size = log.published().map_or(0, |published| published.head.size);
    refusal(StatusCode::NOT_FOUND, &Absent { here: "", size })
}

/// An hour as people read it: `2026-01-02 03:00`.
fn readable(hour: &str) -> String {
    hour.get(..16).unwrap_or(hour).replace('T', " ")
}
