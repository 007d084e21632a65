//! Download links (protocol §4.2): what somebody without a key may do who was given a token.
//!
//! Opening a link never uses a view: `GET` answers a page whose button sends a `POST`, and that reads. Programs read with `POST`
//! as well, or with a `GET` that says it wants bytes and not a page, which no previewer of links does (adr/0038). A read through
//! a link is a claim like any other: logged, receipted, leased again after a cut. Tokens stand in paths, so nothing here names
//! one in a log line; the page sends no referrer.

use std::net::IpAddr;

use askama::Template;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use paramant_protocol::download::{BURNED_HEADER, PASSWORD_HEADER};
use paramant_protocol::id::DownloadToken;
use serde_json::json;

use super::credentials::Anyone;
use super::errors::Refused;
use super::pages::unkept;
use super::transfer::reading;
use crate::app::Shared;
use crate::passwords::Password;
use crate::store::blob_rows::Asked;
use crate::store::{Digest, now_ms};
use crate::transfer::{Linked, Wanted};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// A style sheet and an icon from here, a form that goes here, and nothing else; no script at all.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const FORM: &str = "application/x-www-form-urlencoded";
/// The form has one field; a password of the greatest length, every byte escaped, fits.
const MAX_FORM: usize = 4096;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/dl/{token}", get(page))
        .route("/v2/dl/{token}/info", get(info))
        .route("/v2/dl/{token}/get", get(read).post(press).head(head_never_reads))
}

#[derive(Template)]
#[template(path = "link.html")]
struct Page<'p> {
    /// What can be downloaded; `None` says why nothing can.
    offer: Option<Offer<'p>>,
    /// What went wrong, for people.
    problem: Option<&'p str>,
    /// There will perhaps be something.
    busy: bool,
}

impl<'p> Page<'p> {
    const GONE: Self = Self { offer: None, problem: Some(GONE), busy: false };

    fn of(token: &'p str, linked: &Linked, problem: Option<&'p str>) -> Self {
        let problem = problem.or((!linked.free).then_some(BUSY));
        Self { offer: offer(token, linked), problem, busy: !linked.free }
    }
}

struct Offer<'p> {
    token: &'p str,
    size: String,
    time_left: String,
    locked: bool,
    /// After this download nothing is left.
    last: bool,
}

/// What a page is about when there is nothing to download.
const GONE: &str = "This link does not work any more. The file was downloaded, its time is over, or it was taken back; or the link is not complete.";
const BUSY: &str = "The file is being downloaded at this moment. Should that break off, it can be tried again: look here in a minute.";

async fn page(State(app): State<Shared>, _: Anyone, Path(text): Path<String>) -> Result<Response, Refused> {
    let linked = match parse(&text) {
        Some(token) => find(&app, token).await?,
        None => None,
    };
    Ok(match linked {
        Some(linked) => html(StatusCode::OK, &Page::of(&text, &linked, None)),
        None => html(StatusCode::GONE, &Page::GONE),
    })
}

async fn info(State(app): State<Shared>, _: Anyone, Path(text): Path<String>) -> Result<Response, Refused> {
    let linked = match parse(&text) {
        Some(token) => find(&app, token).await?,
        None => None,
    };
    Ok(match linked {
        Some(linked) => axum::Json(json!({
            "ok": true,
            "enc_meta": linked.enc_meta,
            "file_size": linked.size,
            "ttl_left_s": linked.ttl_remaining.as_secs(),
            "used": false,
            "password_required": linked.locked,
            "in_progress": !linked.free,
        }))
        .into_response(),
        None => {
            let body = json!({ "ok": false, "error": "not found: unknown, expired, or already used" });
            (StatusCode::NOT_FOUND, axum::Json(body)).into_response()
        }
    })
}

/// A program's read, or somebody (or something) that only followed the link and is shown the page.
async fn read(
    State(app): State<Shared>,
    Anyone(address): Anyone,
    Path(text): Path<String>,
    version: Version,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let token = parse(&text).ok_or_else(gone)?;
    if !wants_bytes(&headers) {
        find(&app, token).await?.ok_or_else(gone)?;
        let told = json!({
            "error": "this would use up a view, and following a link must not: press the button on the page",
            "hint": "programs send POST, or GET with Accept: application/octet-stream",
        });
        let page = HeaderValue::from_str(&format!("/v2/dl/{text}")).map_err(Refused::internal)?;
        return Ok((StatusCode::SEE_OTHER, [(header::LOCATION, page)], axum::Json(told)).into_response());
    }
    let password = reading::in_header(&headers)?;
    take(&app, token, password, (address, version)).await
}

/// The page's button, or a program.
async fn press(
    State(app): State<Shared>,
    Anyone(address): Anyone,
    Path(text): Path<String>,
    version: Version,
    headers: HeaderMap,
    body: super::body::Limited<MAX_FORM>,
) -> Result<Response, Refused> {
    let is_form = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM))
    });
    let Some(token) = parse(&text) else {
        return if is_form { Ok(html(StatusCode::GONE, &Page::GONE)) } else { Err(gone()) };
    };
    let typed = if is_form { in_form(&body.0) } else { Ok(None) };
    let password = match (typed, reading::in_header(&headers)) {
        (Ok(Some(typed)), _) => Ok(Some(typed)),
        (Ok(None), in_header) => in_header.map_err(Refused::from),
        (Err(refused), _) => Err(refused),
    };
    let taken = match password {
        Ok(password) => take(&app, token, password, (address, version)).await,
        Err(refused) => Err(refused),
    };
    match taken {
        Err(refused) if is_form => told_on_a_page(&app, &text, token, refused).await,
        other => other,
    }
}

async fn head_never_reads() -> Response {
    let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, "a link is read with POST or GET");
    ([(header::ALLOW, "GET, POST")], refused).into_response()
}

/// Leases a view and sends it.
async fn take(
    app: &Shared,
    token: DownloadToken,
    password: Option<Password>,
    (address, version): (IpAddr, Version),
) -> Result<Response, Refused> {
    let asked = Asked::ByLink(Digest(token.digest()));
    let Some(claimed) = reading::claim(app, asked, password, address, |_| Wanted::Whole).await? else {
        return Err(if find(app, token).await?.is_some() { busy() } else { gone() });
    };
    let name = claimed.blob.lookup.to_string();
    let burned = HeaderValue::from_static(if claimed.last { "true" } else { "false" });
    let mut response = reading::answer(app, asked, claimed, &name, version).await?;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    // The real name is encrypted, and a name from strangers would be one more thing to get wrong.
    let attachment = HeaderValue::from_static("attachment; filename=\"download.bin\"");
    headers.insert(header::CONTENT_DISPOSITION, attachment);
    // As published, beside the names that all downloads have.
    headers.insert(HeaderName::from_static("x-burned"), burned);
    if let Ok(hash) = HeaderValue::from_str(&name) {
        headers.insert(HeaderName::from_static("x-hash"), hash);
    }
    debug_assert!(headers.contains_key(BURNED_HEADER));
    Ok(response)
}

/// The refusal of a press, on the page it came from, with its status and its headers.
async fn told_on_a_page(
    app: &Shared,
    text: &str,
    token: DownloadToken,
    refused: Refused,
) -> Result<Response, Refused> {
    let status = refused.status();
    let problem = match status {
        StatusCode::UNAUTHORIZED => "This file asks for a password.",
        StatusCode::FORBIDDEN => "The password is wrong. The file is still there.",
        StatusCode::BAD_REQUEST => "This cannot be a password: it is too long.",
        StatusCode::TOO_MANY_REQUESTS => {
            "Too many passwords were tried. The file is still there; wait a quarter of an hour and try again."
        }
        StatusCode::CONFLICT => BUSY,
        StatusCode::GONE => GONE,
        _ => "The relay cannot do this now. The file is still there; try again in a moment.",
    };
    let page = match find(app, token).await? {
        Some(linked) => html(status, &Page::of(text, &linked, Some(problem))),
        None => html(status, &Page::GONE),
    };
    let mut response = refused.into_response();
    let (parts, body) = page.into_parts();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().extend(parts.headers);
    *response.body_mut() = body;
    Ok(response)
}

/// Whether a GET says that it wants the bytes: by what it accepts, by a password, or because a page's script sent it. Browsers
/// that follow a link, and programs that look what is behind one, say none of this.
fn wants_bytes(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let accepted = text(header::ACCEPT);
    let kind = |range: &str| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    accepted.split(',').any(|range| kind(range) == "application/octet-stream")
        || headers.contains_key(PASSWORD_HEADER)
        || matches!(text(HeaderName::from_static("sec-fetch-mode")), "cors" | "same-origin")
}

fn in_form(body: &Bytes) -> Result<Option<Password>, Refused> {
    let typed = form_urlencoded::parse(body).find(|(name, _)| name == "password").map(|(_, typed)| typed);
    let typed = typed.filter(|typed| !typed.is_empty());
    Ok(typed.map(|typed| Password::new(typed.as_bytes())).transpose()?)
}

fn parse(text: &str) -> Option<DownloadToken> {
    text.parse().ok()
}

async fn find(app: &Shared, token: DownloadToken) -> Result<Option<Linked>, Refused> {
    Ok(app.store.transfers.linked(Digest(token.digest()), now_ms()).await?)
}

fn offer<'p>(token: &'p str, linked: &Linked) -> Option<Offer<'p>> {
    linked.free.then(|| Offer {
        token,
        size: size(linked.size),
        time_left: time_left(linked.ttl_remaining.as_secs()),
        locked: linked.locked,
        last: linked.views_left <= 1,
    })
}

/// For people: three digits at most.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") };
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for next in units {
        if amount < 1000.0 {
            break;
        }
        amount /= 1024.0;
        unit = next;
    }
    if amount < 10.0 { format!("{amount:.1} {unit}") } else { format!("{amount:.0} {unit}") }
}

fn time_left(seconds: u64) -> String {
    let of = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match seconds {
        0..60 => "less than a minute".to_owned(),
        60..7200 => of(seconds / 60, "minute"),
        7200..172_800 => of(seconds / 3600, "hour"),
        _ => of(seconds / 86_400, "day"),
    }
}

/// 410 for whatever is not there: unknown, expired, used, taken back.
fn gone() -> Refused {
    Refused::new(StatusCode::GONE, "gone: unknown, expired, or already used")
}

fn busy() -> Refused {
    let text = "the file is being read; if that breaks off, the same reader may go on";
    Refused::new(StatusCode::CONFLICT, text).retry_after(5)
}

fn html(status: StatusCode, page: &Page<'_>) -> Response {
    unkept(status, POLICY, page)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
