//! The feeds of the published protocol (section 6.3): `/ct/feed`, `/ct/feed.xml`.
//!
//! Views of the same entries, signed by nothing: who wants evidence takes the checkpoint and the tiles. Times are whole hours
//! and leaf hashes are shortened. Those of this relay's own, with proofs, are in `log_feeds`.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use paramant_log::ReadError;
use paramant_protocol::entry::Entry;
use paramant_protocol::sth::SignedSth;
use serde::Serialize;

use crate::app::Shared;
use crate::log_service::LogService;

/// Entries in the feed.
const ENTRIES: u64 = 50;
/// Tree heads in the RSS feed.
const TREE_HEADS: u64 = 20;

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new().route("/ct/feed", get(feed)).route("/ct/feed.xml", get(rss))
}

#[derive(Debug, Serialize)]
struct Feed {
    relay_id: String,
    sector: String,
    version: &'static str,
    tree_size: u64,
    root: String,
    entries: Vec<Item>,
}

/// One entry, in the short names of the published feed.
#[derive(Debug, Serialize)]
struct Item {
    i: u64,
    t: String,
    h: String,
    #[serde(rename = "type")]
    kind: String,
    s: String,
}

async fn feed(State(app): State<Shared>) -> Response {
    match read_feed(app).await {
        Some(feed) => Json(feed).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn rss(State(app): State<Shared>) -> Response {
    let log = app.core.log.clone();
    let Ok(Ok(heads)) = tokio::task::spawn_blocking(move || log.tree_heads().recent(TREE_HEADS)).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let kind = HeaderValue::from_static("application/rss+xml; charset=utf-8");
    let cache = HeaderValue::from_static("public, max-age=60");
    let base = app.core.settings.current().public_url.clone().unwrap_or_default();
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], render_rss(&heads, &base))
        .into_response()
}

async fn read_feed(app: Shared) -> Option<Feed> {
    let sector = app.core.settings.current().sector.clone();
    let relay_id = app.core.identity.fingerprint().to_owned();
    let log = app.core.log.clone();
    match tokio::task::spawn_blocking(move || items(&log, &sector).map(|items| (items, log.head(), sector)))
        .await
    {
        Ok(Ok((entries, head, sector))) => Some(Feed {
            relay_id,
            sector,
            version: crate::VERSION,
            tree_size: head.size,
            root: hex::encode(head.sha3_root),
            entries,
        }),
        Ok(Err(error)) => {
            tracing::error!(%error, "the log could not be read");
            None
        }
        Err(_) => None,
    }
}

fn items(log: &LogService, sector: &str) -> Result<Vec<Item>, ReadError> {
    let from = log.head().size.saturating_sub(ENTRIES);
    let stored = log.engine().entries(from, usize::try_from(ENTRIES).unwrap_or(50))?;
    let item = |(i, stored): (u64, paramant_log::Entry)| {
        let (kind, hour) = match Entry::parse(&stored.bytes) {
            Ok(entry) => (entry.kind().name().to_owned(), entry.hour().to_owned()),
            Err(_) => ("unknown".to_owned(), String::new()),
        };
        let leaf = hex::encode(stored.legacy_leaf);
        Item {
            i,
            t: hour,
            h: format!("{}...", leaf.get(..16).unwrap_or_default()),
            kind,
            s: sector.to_owned(),
        }
    };
    Ok((from..).zip(stored).map(item).collect())
}

fn render_rss(heads: &[SignedSth], base: &str) -> String {
    let mut items = String::new();
    for head in heads.iter().rev() {
        // Whole hours, as everywhere where people look; the tree head itself has the millisecond.
        let hour = head.timestamp - head.timestamp.rem_euclid(3_600_000);
        let at = Timestamp::from_millisecond(hour).unwrap_or(Timestamp::UNIX_EPOCH);
        let at = at.strftime("%a, %d %b %Y %H:%M:%S +0000");
        let guid = escape(&format!("{base}/v2/sth?ts={}", head.timestamp));
        let _ = writeln!(
            items,
            "<item><title>Tree head over {} entries</title><guid isPermaLink=\"false\">{guid}</guid><pubDate>{at}</pubDate>\
             <description>{}</description></item>",
            head.tree_size,
            escape(&head.sha3_root)
        );
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rss version=\"2.0\"><channel><title>Tree heads</title>\
         <link>{}/ct</link><description>Signed tree heads of this relay, unauthenticated here</description>\n{items}\
         </channel></rss>\n",
        escape(base)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
