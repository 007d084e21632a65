//! `/ct`: the newest entries, or those of a kind or a time.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use paramant_log::ReadError;
use paramant_protocol::entry::{Entry, Kind};
use serde::Deserialize;

use super::super::conditions::Conditions;
use super::super::ct::filter;
use super::super::plain_words::told;
use super::super::representation::unreadable;
use super::watched::Watched;
use super::{page as answer, readable, refusal};
use crate::app::Shared;
use crate::log_search::{self, Filter};
use crate::log_service::LogService;

/// Entries on a page.
const ENTRIES: usize = 50;

/// What a link or the form asks for; an empty field of the form asks for nothing.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    before: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
}

#[derive(Template)]
#[template(path = "newest.html")]
struct Newest {
    here: &'static str,
    problem: Option<String>,
    origin: String,
    size: u64,
    root: String,
    watched: Watched,
    filtered: bool,
    kinds: Vec<KindOption>,
    since: String,
    until: String,
    rows: Vec<Row>,
    older: Option<String>,
}

struct KindOption {
    name: &'static str,
    title: &'static str,
    selected: bool,
}

struct Row {
    index: u64,
    kind: String,
    title: &'static str,
    hour: String,
    shown: String,
    leaf: String,
}

pub(super) async fn page(
    State(app): State<Shared>,
    Query(asked): Query<Asked>,
    conditions: Conditions,
) -> Response {
    let (log, watched) = (app.core.log.clone(), Watched::of(app.core.witnesses.report()));
    match asked.understood() {
        Ok((filter, before)) => {
            let read =
                tokio::task::spawn_blocking(move || read(&log, watched, &asked, &filter, before)).await;
            match read {
                Ok(Ok(page)) => answer(&page, &conditions),
                Ok(Err(error)) => unreadable(&error),
                Err(_) => unreadable(&"the reading task ended"),
            }
        }
        Err(problem) => {
            let page = Newest { problem: Some(problem), ..Newest::empty(&log, watched, &asked) };
            refusal(StatusCode::BAD_REQUEST, &page)
        }
    }
}

impl Asked {
    fn understood(&self) -> Result<(Filter, u64), String> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        // Browsers send a local time without a zone; the page says that it is UTC.
        let hour =
            |text: &str| some(text).map(|text| if text.len() == 16 { format!("{text}:00Z") } else { text });
        let (since, until) = (hour(&self.since), hour(&self.until));
        let filter = filter(some(&self.kind).as_deref(), since.as_deref(), until.as_deref())?;
        let before = match some(&self.before) {
            Some(text) => text.parse().map_err(|_| format!("{text:?} is not the number of an entry"))?,
            None => u64::MAX,
        };
        Ok((filter, before))
    }

    /// The query for what comes before an entry.
    fn older(&self, before: u64) -> String {
        let mut query = format!("before={before}");
        for (name, value) in [("kind", &self.kind), ("since", &self.since), ("until", &self.until)] {
            // Checked before: letters, digits and what an hour is written with, none of which needs escaping.
            if !value.is_empty() {
                query.push_str(&format!("&{name}={value}"));
            }
        }
        query
    }
}

impl Newest {
    fn empty(log: &LogService, watched: Watched, asked: &Asked) -> Self {
        let head = log.published().map(|published| published.head);
        let option = |kind: &Kind| KindOption {
            name: kind.name(),
            title: told(*kind).title,
            selected: kind.name() == asked.kind,
        };
        Self {
            here: "newest",
            problem: None,
            origin: log.origin().to_owned(),
            size: head.map_or(0, |head| head.size),
            root: head.map(|head| hex::encode(head.sha256_root)).unwrap_or_default(),
            watched,
            filtered: !(asked.kind.is_empty() && asked.since.is_empty() && asked.until.is_empty()),
            kinds: Kind::ALL.iter().map(option).collect(),
            since: asked.since.clone(),
            until: asked.until.clone(),
            rows: Vec::new(),
            older: None,
        }
    }
}

fn read(
    log: &LogService,
    watched: Watched,
    asked: &Asked,
    filter: &Filter,
    before: u64,
) -> Result<Newest, ReadError> {
    let page = Newest::empty(log, watched, asked);
    let found = log_search::newest(log, filter, page.size, before, ENTRIES)?;
    let row = |(index, stored): (u64, crate::log_service::Entry)| {
        let (kind, title, hour) = match Entry::parse(&stored.bytes) {
            Ok(entry) => (entry.kind().name().to_owned(), told(entry.kind()).title, entry.hour().to_owned()),
            Err(_) => ("unknown".to_owned(), "Something that this release does not know", String::new()),
        };
        let leaf = hex::encode(stored.legacy_leaf.get(..6).unwrap_or_default());
        Row { index, kind, title, shown: readable(&hour), hour, leaf }
    };
    let older = found.before.map(|before| asked.older(before));
    Ok(Newest { rows: found.entries.into_iter().map(row).collect(), older, ..page })
}
