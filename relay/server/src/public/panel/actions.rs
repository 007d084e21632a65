//! What the vendor asked: what waits first, what is in force with a button that ends it, and everything so far with its entry.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use paramant_licensing::actions::Said;
use paramant_protocol::control::{DrainSource, OfferReport, RemoteRequest, RemoteState, SupportState};

use super::license::readable;
use super::{ACTIONS, Admin, MAX_FORM, field, own_form, see, show};
use crate::app::Shared;
use crate::public::body::Limited;
use crate::public::errors::Refused;

#[derive(Template)]
#[template(path = "panel_actions.html")]
struct Page {
    here: &'static str,
    forms: String,
    problems: Vec<String>,
    waiting: Vec<Shown>,
    /// Support keys in force.
    keys: Vec<Key>,
    /// The vendor's drain, by the id of its request.
    drain: Option<String>,
    offer: Option<OfferReport>,
    past: Vec<Shown>,
    unverifiable: u64,
}

struct Shown {
    id: String,
    at: String,
    asks: String,
    role: String,
    reason: &'static str,
    ends: String,
    became: &'static str,
    entry: Option<u64>,
    covered: Option<u64>,
    document: String,
}

struct Key {
    id: String,
    role: String,
    until: String,
    uses: u64,
}

pub(super) async fn page(State(app): State<Shared>, Admin(signed): Admin) -> Result<Response, Refused> {
    let actions = &app.store.actions;
    let report = actions.report();
    let (mut waiting, mut past) = (Vec::new(), Vec::new());
    let drains = app.core.drain.report().requested_by.contains(&DrainSource::Vendor);
    for row in actions.all().await? {
        let Some(request) = actions.shown(&row) else { continue };
        let document = String::from_utf8_lossy(&row.bytes).into_owned();
        let waits = request.state == RemoteState::Waiting;
        let shown = Shown::of(request, document);
        if waits { waiting.push(shown) } else { past.push(shown) }
    }
    let drain = actions.standing_drain().await?.filter(|_| drains).map(|row| row.id);
    let keys = report.support.into_iter().filter(|key| key.state == SupportState::Active);
    let keys = keys.map(|key| Key { id: key.id, role: key.role, until: readable(key.until), uses: key.uses });
    Ok(show(
        StatusCode::OK,
        &Page {
            here: "actions",
            forms: signed.forms,
            problems: report.problems,
            waiting,
            keys: keys.collect(),
            drain,
            offer: report.offer,
            past,
            unverifiable: report.unverifiable,
        },
    ))
}

/// Approve or deny, as the button that was pressed says.
pub(super) async fn answer(
    State(app): State<Shared>,
    Admin(signed): Admin,
    body: Limited<MAX_FORM>,
) -> Result<Response, Refused> {
    let fields = own_form(&signed, &body.0)?;
    let said = match field(&fields, "answer") {
        "approve" => Said::Approve,
        "deny" => Said::Deny,
        _ => return Err(Refused::bad("answer must be approve or deny")),
    };
    app.store.actions.answer(field(&fields, "id"), said).await?;
    Ok(see(ACTIONS))
}

/// Revokes a support key, or ends a drain.
pub(super) async fn end(
    State(app): State<Shared>,
    Admin(signed): Admin,
    body: Limited<MAX_FORM>,
) -> Result<Response, Refused> {
    let fields = own_form(&signed, &body.0)?;
    app.store.actions.end(field(&fields, "id")).await?;
    Ok(see(ACTIONS))
}

impl Shown {
    fn of(request: RemoteRequest, document: String) -> Self {
        Self {
            id: request.id,
            at: readable(request.received_at),
            asks: request.asks,
            role: request.role,
            reason: reason(&request.reason),
            ends: readable(request.ends_at),
            became: match request.state {
                RemoteState::Waiting => "waits for you",
                RemoteState::Accepted => "accepted",
                RemoteState::Denied => "denied, or ended by an admin",
                RemoteState::Lapsed => "nobody answered in time",
                RemoteState::Refused | RemoteState::Unknown => "refused",
            },
            entry: request.log_index,
            covered: request.checkpoint_size,
            document,
        }
    }
}

fn reason(code: &str) -> &'static str {
    match code {
        "support_case" => "a support case",
        "maintenance" => "planned maintenance",
        "release" => "a release",
        "security" => "security",
        "contract" => "the contract",
        "legal_order" => "the vendor is compelled by law",
        _ => "",
    }
}
