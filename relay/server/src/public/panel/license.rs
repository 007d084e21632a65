//! What counts, what it unlocks, when it ends, and every check-in with its exact bytes.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use paramant_licensing::online::request;
use paramant_protocol::moment;

use super::{Admin, LICENSE, MAX_FORM, own_form, see, show};
use crate::app::Shared;
use crate::public::body::Limited;
use crate::public::errors::Refused;
use crate::store::license_rows::CheckInRow;

/// Check-ins on the page; the rest is at `/v2/admin/license/history`.
const SHOWN: u32 = 20;

#[derive(Template)]
#[template(path = "panel_license.html")]
struct Page {
    here: &'static str,
    forms: String,
    tier: String,
    source: &'static str,
    users: String,
    until: Option<String>,
    grace: Option<String>,
    unlocks: Vec<String>,
    problems: Vec<String>,
    online: Option<Online>,
    next: Option<Bytes>,
    past: Vec<Past>,
}

struct Online {
    endpoint: String,
    reachable: &'static str,
    last: String,
}

/// Bytes as they leave or came.
struct Bytes {
    sha256: String,
    text: String,
}

struct Past {
    at: String,
    result: String,
    request: Bytes,
    request_index: Option<u64>,
    reply: Option<Bytes>,
    reply_index: Option<u64>,
}

pub(super) async fn page(State(app): State<Shared>, Admin(signed): Admin) -> Result<Response, Refused> {
    let (license, report) = (app.store.licenses.current(), app.store.license_report());
    let grant = license.state.grant();
    let mut unlocks = Vec::new();
    if let Some(bytes) = grant.max_blob {
        unlocks.push(format!("Files of at most {} MiB, or less if the settings say so", bytes >> 20));
    }
    if let Some(seconds) = grant.max_ttl {
        unlocks.push(format!("Files wait at most {} hours, or less if the settings say so", seconds / 3600));
    }
    if grant.signatures_required {
        unlocks.push("Files in the published format must be signed by their sender".to_owned());
    }
    unlocks.extend(license.state.capabilities().iter().map(|name| format!("Add-on: {name}")));
    let settings = app.core.settings.current();
    let check_in = report.check_in.clone().unwrap_or_default();
    let online = settings.online.as_ref().map(|online| Online {
        endpoint: online.endpoint.to_string(),
        reachable: match check_in.reachable {
            Some(true) => "answered",
            Some(false) => "not answered",
            None => "not asked yet",
        },
        last: check_in.at.map_or_else(|| "never".to_owned(), readable),
    });
    let users = match report.max_users {
        Some(most) => format!("{} of {most}", report.active_users),
        None => format!("{}, without a limit", report.active_users),
    };
    let past = app.store.check_ins.history(SHOWN).await?;
    let next = app.store.check_ins.next_request().await?.map(|frozen| Bytes::of(&frozen.bytes));
    Ok(show(
        StatusCode::OK,
        &Page {
            here: "license",
            forms: signed.forms,
            tier: report.tier,
            source: word(&license.state),
            users,
            until: report.valid_until.map(readable),
            grace: report.grace_until.map(readable),
            unlocks,
            problems: report.problems,
            online,
            next,
            past: past.iter().map(Past::of).collect(),
        },
    ))
}

pub(super) async fn check_in(
    State(app): State<Shared>,
    Admin(signed): Admin,
    body: Limited<MAX_FORM>,
) -> Result<Response, Refused> {
    own_form(&signed, &body.0)?;
    app.store.check_ins.ask_now().await?;
    Ok(see(LICENSE))
}

impl Bytes {
    fn of(bytes: &[u8]) -> Self {
        Self { sha256: request::digest(bytes), text: String::from_utf8_lossy(bytes).into_owned() }
    }
}

impl Past {
    fn of(row: &CheckInRow) -> Self {
        Self {
            at: Timestamp::from_millisecond(row.at_ms).map(readable).unwrap_or_default(),
            result: row.result.clone(),
            request: Bytes::of(&row.request),
            request_index: row.request_index,
            reply: row.reply.as_deref().map(Bytes::of),
            reply_index: row.reply_index,
        }
    }
}

/// To the second, in UTC.
pub(super) fn readable(at: Timestamp) -> String {
    moment::millis(at).get(..19).unwrap_or_default().replace('T', " ")
}

fn word(state: &paramant_licensing::State) -> &'static str {
    use paramant_licensing::State;
    match state {
        State::Offline { .. } => "a signed licence in the licence directory",
        State::Online(set) if set.by_hand => "a capability set that was carried in",
        State::Online(_) => "the online check",
        State::Grace(_) => "the last capability set, while no newer word comes",
        _ => "no licence: Community Edition",
    }
}
