//! What may leave this relay, and what did: destinations by purpose, and where the log says so.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::{Admin, show};
use crate::app::Shared;
use crate::public::errors::Refused;
use crate::settings::Reach;
use crate::store::call_rows::Caller;

#[derive(Template)]
#[template(path = "panel_calls.html")]
struct Page {
    here: &'static str,
    forms: String,
    purposes: Vec<Purpose>,
    /// Calls of the hour that runs, which have no entry yet.
    running: Vec<Sum>,
}

struct Purpose {
    name: &'static str,
    /// Empty: switched off, and nothing leaves.
    destinations: Vec<String>,
    way: &'static str,
}

struct Sum {
    purpose: &'static str,
    destination: String,
    count: u64,
}

pub(super) async fn page(State(app): State<Shared>, Admin(signed): Admin) -> Result<Response, Refused> {
    let settings = app.core.settings.current();
    let way = |reach: Option<Reach>| match reach {
        Some(Reach::Direct) => "this process dials",
        Some(Reach::Courier) => "through a courier; this process opens no connection",
        None => "",
    };
    let license = settings.online.as_ref();
    let witnesses = settings.witnesses.as_ref();
    let webhooks = settings.webhooks.as_ref();
    let purposes = vec![
        Purpose {
            name: "Licence check",
            destinations: license.iter().map(|it| it.endpoint.to_string()).collect(),
            way: way(license.map(|it| it.reach)),
        },
        Purpose {
            name: "Witnesses of the log",
            destinations: witnesses.iter().flat_map(|it| &it.members).map(|it| it.url.to_string()).collect(),
            way: way(witnesses.map(|it| it.reach)),
        },
        Purpose {
            name: "Webhooks of users",
            destinations: webhooks.iter().flat_map(|it| &it.hosts).map(ToString::to_string).collect(),
            way: way(webhooks.map(|it| it.reach)),
        },
    ];
    let mut running = Vec::new();
    for (purpose, caller) in [("Licence check", Caller::License), ("Webhooks of users", Caller::Webhooks)] {
        let sums = app.store.calls(caller).await?;
        running.extend(sums.into_iter().map(|sum| Sum {
            purpose,
            destination: sum.destination,
            count: sum.count,
        }));
    }
    Ok(show(StatusCode::OK, &Page { here: "calls", forms: signed.forms, purposes, running }))
}
