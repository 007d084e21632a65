//! What the vendor asks: what waits first, then support keys, updates and drain, each with a button that ends it, and everything so far
//! with its entries.

mod shown;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use paramant_licensing::actions::Said;
use paramant_protocol::control::{DrainSource, OfferReport};

use self::shown::{Draining, Key, Request, Rule, rules};
use super::{ACTIONS, Admin, MAX_FORM, field, own_form, see, show};
use crate::app::Shared;
use crate::public::body::Limited;
use crate::public::errors::Refused;
use crate::store::action_rows::RequestRow;

/// Requests of the past on the page; the rest is at `/v2/admin/actions`. Each is verified anew to be shown.
const PAST: usize = 50;

#[derive(Template)]
#[template(path = "panel_actions.html")]
struct Page {
    here: &'static str,
    forms: String,
    problems: Vec<String>,
    rules: [Rule; 4],
    waiting: Vec<Request>,
    keys: Vec<Key>,
    offer: Option<OfferReport>,
    drain: Draining,
    past: Vec<Request>,
    more: bool,
    unverifiable: u64,
}

pub(super) async fn page(State(app): State<Shared>, Admin(signed): Admin) -> Result<Response, Refused> {
    let actions = &app.store.actions;
    let (report, draining) = (actions.report(), app.core.drain.report());
    let (rows, mut entries) = (actions.all().await?, actions.entries().await?);
    let by_vendor = draining.requested_by.contains(&DrainSource::Vendor);
    let standing = actions.standing_drain().await?.filter(|_| by_vendor);
    let drain = Draining::of(&draining, standing.map(|row| row.id));
    let (waiting, mut past): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.state.is_open());
    let more = past.len() > PAST;
    past.truncate(PAST);
    let mut shown = |rows: Vec<RequestRow>| -> Vec<Request> {
        let request = |row: &RequestRow| {
            let entries = entries.remove(&row.hash).unwrap_or_default();
            Some(Request::of(actions.shown(row)?, entries, &row.bytes))
        };
        rows.iter().filter_map(request).collect()
    };
    let (waiting, past) = (shown(waiting), shown(past));
    Ok(show(
        StatusCode::OK,
        &Page {
            here: "actions",
            forms: signed.forms,
            problems: report.problems,
            rules: rules(&actions.policy().answers),
            waiting,
            keys: report.support.into_iter().map(Key::of).collect(),
            offer: report.offer,
            drain,
            past,
            more,
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
