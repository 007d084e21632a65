//! `/log/feed.atom` (RFC 4287) and `/log/feed.json` (JSON Feed 1.1): the newest entries, for programs that watch.
//!
//! A feed is unauthenticated and says so; each item leads to its proof, and the JSON form carries it: entry and path in the
//! item, the one checkpoint they all lead to at the top. Only published entries, newest first, with whole hours. Made once for
//! each checkpoint, whoever asks.

use std::sync::{Arc, Mutex, PoisonError};

use askama::Template;
use axum::Router;
use axum::extract::{Extension, State};
use axum::http::HeaderValue;
use axum::response::Response;
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use paramant_log::ReadError;
use paramant_protocol::entry::Entry;
use paramant_tlog::Tree;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::conditions::Conditions;
use super::log_tiles::published_at;
use super::plain_words::{Told, told};
use super::representation::{Keep, Representation, absent, unreadable};
use crate::app::Shared;
use crate::log_service::{LogService, Published};

/// Entries in a feed.
const ENTRIES: u64 = 50;
/// A feed reader that asks more often gets nothing new to speak of.
const SHORT: Keep = Keep::Seconds(30);
const ATOM: HeaderValue = HeaderValue::from_static("application/atom+xml; charset=utf-8");
const JSON_FEED: HeaderValue = HeaderValue::from_static("application/feed+json");
const LABEL: &str = "Unauthenticated: anybody on the way can change this feed. To check an item, put together its C2SP tlog-proof: \
     the line c2sp.org/tlog-proof@v1, then extra, index and path from the item's _paramant, an empty line, and the feed's checkpoint; \
     or take it from the item's attachment.";

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/log/feed.atom", get(atom))
        .route("/log/feed.json", get(json))
        .layer(Extension(Arc::new(Newest::default())))
}

async fn atom(State(app): State<Shared>, newest: Extension<Arc<Newest>>, conditions: Conditions) -> Response {
    answer(app, newest.0, |feeds| &feeds.atom, &conditions).await
}

async fn json(State(app): State<Shared>, newest: Extension<Arc<Newest>>, conditions: Conditions) -> Response {
    answer(app, newest.0, |feeds| &feeds.json, &conditions).await
}

/// Both feeds over one checkpoint.
#[derive(Debug)]
struct Feeds {
    over: Arc<Published>,
    atom: Representation,
    json: Representation,
}

/// The feeds that were made last.
#[derive(Debug, Default)]
struct Newest(Mutex<Option<Arc<Feeds>>>);

async fn answer(
    app: Shared,
    newest: Arc<Newest>,
    which: fn(&Feeds) -> &Representation,
    conditions: &Conditions,
) -> Response {
    let Some(published) = app.core.log.published() else { return absent() };
    let base = app.core.settings.current().public_url.clone().unwrap_or_default();
    let log = app.core.log.clone();
    let made = tokio::task::spawn_blocking(move || {
        let mut newest = newest.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some(feeds) if feeds.over == published => Ok(Arc::clone(feeds)),
            _ => {
                let feeds = Arc::new(make(&log, published, &base)?);
                *newest = Some(Arc::clone(&feeds));
                Ok::<_, FeedError>(feeds)
            }
        }
    });
    match made.await {
        Ok(Ok(feeds)) => which(&feeds).answer(conditions),
        Ok(Err(error)) => unreadable(&error),
        Err(_) => unreadable(&"the reading task ended"),
    }
}

/// Why there is no feed.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error("the feed could not be written: {0}")]
    Atom(#[from] askama::Error),
    #[error("the feed could not be written: {0}")]
    Json(#[from] serde_json::Error),
}

#[derive(Template)]
#[template(path = "feed.atom.xml", escape = "html")]
struct Atom<'a> {
    origin: &'a str,
    id: String,
    base: &'a str,
    updated: String,
    entries: &'a [Item],
}

/// One entry, for both feeds.
#[derive(Debug)]
struct Item {
    index: u64,
    id: String,
    kind: String,
    title: &'static str,
    sentence: &'static str,
    hour: String,
    entry: String,
    path: Vec<String>,
}

#[derive(Serialize)]
struct JsonFeed<'a> {
    version: &'static str,
    title: String,
    home_page_url: String,
    feed_url: String,
    description: &'static str,
    language: &'static str,
    #[serde(rename = "_paramant")]
    log: JsonLog<'a>,
    items: Vec<JsonItem<'a>>,
}

#[derive(Serialize)]
struct JsonLog<'a> {
    about: &'static str,
    origin: &'a str,
    checkpoint: &'a str,
}

#[derive(Serialize)]
struct JsonItem<'a> {
    id: &'a str,
    url: String,
    title: String,
    content_text: &'a str,
    date_published: &'a str,
    tags: [&'a str; 1],
    attachments: [JsonAttachment; 1],
    #[serde(rename = "_paramant")]
    proof: JsonProof<'a>,
}

#[derive(Serialize)]
struct JsonAttachment {
    url: String,
    mime_type: &'static str,
    title: &'static str,
}

#[derive(Serialize)]
struct JsonProof<'a> {
    index: u64,
    kind: &'a str,
    /// The entry's bytes, base64.
    extra: &'a str,
    /// The audit path in the SHA-256 tree, bottom up, base64.
    path: &'a [String],
}

fn make(log: &LogService, published: Arc<Published>, base: &str) -> Result<Feeds, FeedError> {
    let items = items(log, published.head.size)?;
    let modified = published_at(&published);
    let newest = items.first().map_or_else(|| hour(modified), |item| item.hour.clone());
    let origin = log.origin();
    let atom =
        Atom { origin, id: name(&[origin.as_bytes()]), base, updated: newest, entries: &items }.render()?;
    let json = serde_json::to_vec(&json_feed(origin, &published.note, base, &items))?;
    let feed = |kind, text: Vec<u8>| Representation::of_text(kind, text, SHORT).modified(modified);
    Ok(Feeds { atom: feed(ATOM, atom.into_bytes()), json: feed(JSON_FEED, json), over: published })
}

fn items(log: &LogService, size: u64) -> Result<Vec<Item>, ReadError> {
    let from = size.saturating_sub(ENTRIES);
    let stored = log.engine().entries(from, usize::try_from(size - from).unwrap_or_default())?;
    let mut items = Vec::with_capacity(stored.len());
    for (index, stored) in (from..).zip(stored) {
        let path = log.engine().inclusion(Tree::Sha256, index, size)?;
        let unknown = Told { title: "Entry of a kind this release does not know", sentence: "" };
        let (kind, Told { title, sentence }, hour) = match Entry::parse(&stored.bytes) {
            Ok(entry) => (entry.kind().name().to_owned(), told(entry.kind()), entry.hour().to_owned()),
            Err(_) => ("unknown".to_owned(), unknown, hour(None)),
        };
        items.push(Item {
            index,
            id: name(&[log.origin().as_bytes(), b"\n", index.to_string().as_bytes(), b"\n", &stored.bytes]),
            kind,
            title,
            sentence,
            hour,
            entry: BASE64_STANDARD.encode(&stored.bytes),
            path: path.iter().map(|hash| BASE64_STANDARD.encode(hash)).collect(),
        });
    }
    items.reverse();
    Ok(items)
}

fn json_feed<'a>(origin: &'a str, checkpoint: &'a str, base: &str, items: &'a [Item]) -> JsonFeed<'a> {
    let item = |item: &'a Item| JsonItem {
        id: &item.id,
        url: format!("{base}/ct/entry/{}", item.index),
        title: format!("Entry {}: {}", item.index, item.title),
        content_text: if item.sentence.is_empty() { item.title } else { item.sentence },
        date_published: &item.hour,
        tags: [&item.kind],
        attachments: [JsonAttachment {
            url: format!("{base}/log/proof/{}", item.index),
            mime_type: "text/plain",
            title: "proof (C2SP tlog-proof)",
        }],
        proof: JsonProof { index: item.index, kind: &item.kind, extra: &item.entry, path: &item.path },
    };
    JsonFeed {
        version: "https://jsonfeed.org/version/1.1",
        title: format!("Transparency log {origin}"),
        home_page_url: format!("{base}/ct"),
        feed_url: format!("{base}/log/feed.json"),
        description: "Unauthenticated: the newest entries of a relay's public log.",
        language: "en",
        log: JsonLog { about: LABEL, origin, checkpoint },
        items: items.iter().map(item).collect(),
    }
}

/// A name for what these bytes say, wherever the feed is served (RFC 6920).
fn name(parts: &[&[u8]]) -> String {
    format!("ni:///sha-256;{}", BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(parts.concat())))
}

fn hour(at: Option<Timestamp>) -> String {
    paramant_protocol::moment::hour(at.unwrap_or(Timestamp::UNIX_EPOCH))
}
