//! `/trust`: every promise with its limits, what this relay shows of it now, and the command that checks it from outside.
//!
//! For a security reviewer who has no account. Everything here is public by itself: in the log, in `/health`, or a yes or no about
//! something that the reviewer is promised to be able to see. No name, address, licence or count of users is on it. The sentences are
//! those of `docs/trust.md`; no request counts the log anew (`tally`).

mod evidence;
mod facts;
mod promises;
mod tally;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Extension, State};
use axum::response::Response;
use axum::routing::get;

use self::evidence::{Line, Said};
use self::facts::Facts;
use self::promises::{EMBEDDED, Piece, Promise};
use self::tally::Tally;
use super::conditions::Conditions;
use super::pages::page as answer;
use super::pages::watched::Watched;
use super::representation::unreadable;
use crate::app::Shared;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/trust", get(page))
        .route("/trust/", get(page))
        .layer(Extension(Arc::new(Tally::default())))
}

#[derive(Template)]
#[template(path = "trust.html")]
struct Page {
    here: &'static str,
    facts: Facts,
    watched: Watched,
    /// The address to fill in; `None`: nobody told this relay its own.
    url: Option<String>,
    /// What stands in the commands.
    words: Vec<Piece>,
    groups: Vec<Group>,
}

struct Group {
    title: &'static str,
    promises: Vec<Shown>,
}

struct Shown {
    promise: &'static Promise,
    sentence: Vec<Piece>,
    limits: Vec<Piece>,
    check: Vec<Piece>,
    evidence: Vec<Line>,
}

async fn page(
    State(app): State<Shared>,
    Extension(tally): Extension<Arc<Tally>>,
    conditions: Conditions,
) -> Response {
    let published = app.core.log.published();
    let size = published.as_ref().map_or(0, |published| published.head.size);
    match tally.counts(&app.core, size).await {
        Ok(counts) => {
            let url = app.core.settings.current().public_url.clone();
            answer(&Page::of(Facts::of(&app, published.as_deref(), counts), &app, url), &conditions)
        }
        Err(error) => unreadable(&error),
    }
}

impl Page {
    fn of(facts: Facts, app: &Shared, url: Option<String>) -> Self {
        let pieces = |text: &str| promises::pieces(text, url.as_deref());
        let shown = |promise: &'static Promise| Shown {
            promise,
            sentence: pieces(&promise.sentence),
            limits: pieces(&promise.limits),
            check: pieces(&promise.check),
            evidence: evidence::of(&promise.id, &facts),
        };
        // Those of one group stand together.
        let groups = EMBEDDED.promises.chunk_by(|one, next| one.group == next.group).filter_map(|group| {
            let title = &group.first()?.group;
            Some(Group { title, promises: group.iter().map(shown).collect() })
        });
        let (groups, watched) = (groups.collect(), Watched::of(app.core.witnesses.report()));
        Self { here: "trust", facts, watched, words: pieces(&EMBEDDED.words), url, groups }
    }
}
