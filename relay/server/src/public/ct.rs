//! The published JSON interface of the log (protocol section 6.3), with the names its documents and its clients use.
//!
//! Public: no key, no limit, CORS for everybody. It reaches to the durable head, not only to the published checkpoint, since
//! clients look their entry up right after an upload; so nothing here may be stored by a cache. Times are whole hours.

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use paramant_log::ReadError;
use paramant_protocol::entry::{Entry, Kind};
use paramant_protocol::moment;
use paramant_protocol::path;
use paramant_protocol::refusal::Refusal;
use paramant_protocol::transparency::{
    ConsistencyAnswer, DEFAULT_LIMIT, LogEntry, LogPage, MAX_HISTORY, MAX_LIMIT, ProofAnswer, SthAnswer,
    SthHistory,
};
use paramant_tlog::tile::WIDTH;
use paramant_tlog::{CompactRange, Hash, Tree};
use serde::Deserialize;

use super::query::Query;
use crate::app::Shared;
use crate::log_search::{Filter, SCAN};
use crate::log_service::{Head, LogService, RecordError};

/// The routes of this module.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/ct", get(log_page))
        .route("/v2/ct/log", get(log_page))
        .route("/v2/ct/proof", get(proof_by_query))
        .route("/v2/ct/proof/{index}", get(proof_by_path))
        .route("/v2/ct/{index}", get(proof_by_path))
        .route("/v2/sth", get(newest))
        .route("/v2/sth/history", get(history))
        .route("/v2/sth/consistency", get(consistency))
        .route("/v2/sth/{millis}", get(at_time))
}

#[derive(Debug, Deserialize)]
struct PageQuery {
    #[serde(default)]
    from: u64,
    limit: Option<u64>,
    kind: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ProofQuery {
    index: Option<u64>,
    tree_size: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct HistoryQuery {
    limit: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct ConsistencyQuery {
    from: u64,
    to: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("no such entry")]
    NoEntry,
    #[error("the log has no tree head there")]
    NoTreeHead,
    #[error("{0}")]
    BadRange(String),
    #[error("the log could not be read")]
    Read(#[from] ReadError),
    #[error("the log could not be read")]
    Record(#[from] RecordError),
    #[error("the log holds an entry this release cannot read")]
    Entry(#[from] paramant_protocol::entry::EntryError),
    #[error("the log could not be read")]
    Ended(#[from] tokio::task::JoinError),
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NoEntry | Self::NoTreeHead => StatusCode::NOT_FOUND,
            Self::BadRange(_) => StatusCode::BAD_REQUEST,
            Self::Read(_) | Self::Record(_) | Self::Entry(_) | Self::Ended(_) => {
                tracing::error!(error = ?self, "the log could not be read");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, Json(Refusal::new(self.to_string()))).into_response()
    }
}

async fn log_page(
    State(app): State<Shared>,
    Query(query): Query<PageQuery>,
) -> Result<Json<LogPage>, Problem> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let filter = filter(query.kind.as_deref(), query.since.as_deref(), query.until.as_deref())
        .map_err(Problem::BadRange)?;
    let log = app.core.log.clone();
    let read = move || match filter.is_empty() {
        true => page(&log, query.from, limit).map(Json),
        false => filtered_page(&log, &filter, query.from, limit).map(Json),
    };
    tokio::task::spawn_blocking(read).await?
}

/// The entries that a query asks for: by kind, and by whole hours in the form of RFC 3339. Says what is wrong with it.
pub(super) fn filter(kind: Option<&str>, since: Option<&str>, until: Option<&str>) -> Result<Filter, String> {
    let kind = kind.map(|name| {
        let known = || Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        Kind::parse(name).ok_or_else(|| format!("there is no kind {name:?}; kinds are {}", known()))
    });
    let hour = |text: &str| {
        let at: Option<Timestamp> = text.parse().ok();
        let hour = at.filter(|at| at.as_nanosecond() % 3_600_000_000_000 == 0).map(moment::hour);
        hour.ok_or_else(|| format!("{text:?} is no whole hour; write it as 2026-01-02T03:00:00Z"))
    };
    Ok(Filter {
        kind: kind.transpose()?,
        since: since.map(hour).transpose()?,
        until: until.map(hour).transpose()?,
    })
}

async fn proof_by_path(
    State(app): State<Shared>,
    Path(index): Path<String>,
    Query(query): Query<ProofQuery>,
) -> Result<Json<ProofAnswer>, Problem> {
    let index = index.parse().map_err(|_| Problem::NoEntry)?;
    proof_of(app, index, query.tree_size).await
}

async fn proof_by_query(
    State(app): State<Shared>,
    Query(query): Query<ProofQuery>,
) -> Result<Json<ProofAnswer>, Problem> {
    let index = query.index.ok_or_else(|| Problem::BadRange("say which entry: ?index=N".to_owned()))?;
    proof_of(app, index, query.tree_size).await
}

async fn proof_of(app: Shared, index: u64, tree_size: Option<u64>) -> Result<Json<ProofAnswer>, Problem> {
    let log = app.core.log.clone();
    tokio::task::spawn_blocking(move || proof(&log, index, tree_size).map(Json)).await?
}

async fn newest(State(app): State<Shared>) -> Result<Json<SthAnswer>, Problem> {
    let sth = app.core.log.tree_heads().newest().ok_or(Problem::NoTreeHead)?;
    Ok(sth_answer(&app, (*sth).clone()))
}

async fn at_time(State(app): State<Shared>, Path(millis): Path<String>) -> Result<Json<SthAnswer>, Problem> {
    let millis: i64 = millis.parse().map_err(|_| Problem::NoTreeHead)?;
    let log = app.core.log.clone();
    let found = tokio::task::spawn_blocking(move || log.tree_heads().first_at_or_after(millis)).await??;
    Ok(sth_answer(&app, found.ok_or(Problem::NoTreeHead)?))
}

async fn history(
    State(app): State<Shared>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<SthHistory>, Problem> {
    let limit = query.limit.unwrap_or(MAX_HISTORY).min(MAX_HISTORY);
    let log = app.core.log.clone();
    let (total, sths) = tokio::task::spawn_blocking(move || {
        let total = log.tree_heads().total();
        log.tree_heads().recent(limit).map(|sths| (total, sths))
    })
    .await??;
    Ok(Json(SthHistory { ok: true, count: sths.len() as u64, total, sths }))
}

async fn consistency(
    State(app): State<Shared>,
    Query(query): Query<ConsistencyQuery>,
) -> Result<Json<ConsistencyAnswer>, Problem> {
    let log = app.core.log.clone();
    tokio::task::spawn_blocking(move || {
        let size = log.head().size;
        let (from, to) = (query.from, query.to.unwrap_or(size));
        if from > to || to > size {
            return Err(Problem::BadRange(format!(
                "the log has {size} entries; ask for 0 ≤ from ≤ to ≤ {size}"
            )));
        }
        let proof = if from == 0 || from == to {
            Vec::new()
        } else {
            log.engine().consistency(Tree::Sha3, from, to)?
        };
        Ok(Json(ConsistencyAnswer { ok: true, from, to, proof: proof.iter().map(hex::encode).collect() }))
    })
    .await?
}

fn sth_answer(app: &Shared, sth: paramant_protocol::sth::SignedSth) -> Json<SthAnswer> {
    Json(SthAnswer { ok: true, sth, pk_hash: Some(app.core.identity.fingerprint().to_owned()) })
}

fn page(log: &LogService, from: u64, limit: u64) -> Result<LogPage, Problem> {
    let head = log.head();
    // Beyond the end there is nothing, and no number to count on from.
    let from = from.min(head.size);
    let count = (head.size - from).min(limit);
    let stored = match usize::try_from(count) {
        Ok(count) if count > 0 => log.engine().entries(from, count)?,
        _ => Vec::new(),
    };
    let mut roots = RunningRoot::before(log, from, !stored.is_empty())?;
    let mut entries = Vec::with_capacity(stored.len());
    for (index, stored) in (from..).zip(stored) {
        roots.append(stored.legacy_leaf);
        entries.push(line(index, &stored, &roots)?);
    }
    Ok(page_of(head, entries, None))
}

/// As [`page`], of entries that fit, and looking at so many at most. The bound is that of [`crate::log_search`].
fn filtered_page(log: &LogService, filter: &Filter, from: u64, limit: u64) -> Result<LogPage, Problem> {
    let head = log.head();
    let (first, end) = filter.bounds(log, head.size)?;
    let mut at = from.max(first).min(end);
    let enough = at.saturating_add(SCAN).min(end);
    let mut roots = RunningRoot::before(log, at, at < enough)?;
    let mut entries: Vec<LogEntry> = Vec::new();
    while at < enough && (entries.len() as u64) < limit {
        let group = (at / WIDTH + 1) * WIDTH;
        let read = log.engine().entries(at, usize::try_from(group.min(enough) - at).unwrap_or_default())?;
        if read.is_empty() {
            break;
        }
        for stored in read {
            roots.append(stored.legacy_leaf);
            if filter.fits(&stored) {
                entries.push(line(at, &stored, &roots)?);
            }
            at += 1;
            if entries.len() as u64 == limit {
                break;
            }
        }
    }
    Ok(page_of(head, entries, (at < end).then_some(at)))
}

/// One entry of a page; `roots` has come as far as this entry.
fn line(index: u64, stored: &paramant_log::Entry, roots: &RunningRoot) -> Result<LogEntry, Problem> {
    let entry = Entry::parse(&stored.bytes)?;
    Ok(LogEntry {
        index,
        kind: Some(entry.kind().name().to_owned()),
        leaf_hash: hex::encode(stored.legacy_leaf),
        tree_hash: hex::encode(roots.root()),
        ts: entry.hour().to_owned(),
    })
}

fn page_of(head: Head, entries: Vec<LogEntry>, next_from: Option<u64>) -> LogPage {
    let root = hex::encode(head.sha3_root);
    LogPage { ok: true, size: head.size, tree_size: Some(head.size), root, entries, next_from }
}

/// The root after each of a run of entries, without reading the tree for every one.
struct RunningRoot(CompactRange);

impl RunningRoot {
    /// The path of entry `from` in the tree that ends with it holds exactly the peaks of the tree before it, smallest first.
    fn before(log: &LogService, from: u64, any: bool) -> Result<Self, Problem> {
        let mut peaks =
            if any && from > 0 { log.engine().inclusion(Tree::Sha3, from, from + 1)? } else { Vec::new() };
        peaks.reverse();
        let size = if any { from } else { 0 };
        let range = CompactRange::resume(Tree::Sha3, size, peaks)
            .map_err(|_| Problem::BadRange("the log gave a path of the wrong length".to_owned()))?;
        Ok(Self(range))
    }

    fn append(&mut self, leaf: Hash) {
        self.0.append(leaf, |_, _| {});
    }

    fn root(&self) -> Hash {
        self.0.root()
    }
}

fn proof(log: &LogService, index: u64, tree_size: Option<u64>) -> Result<ProofAnswer, Problem> {
    let size = log.head().size;
    if index >= size {
        return Err(Problem::NoEntry);
    }
    let tree_size = tree_size.unwrap_or(index + 1);
    if tree_size <= index || tree_size > size {
        return Err(Problem::BadRange(format!("tree_size must lie between {} and {size}", index + 1)));
    }
    let stored = log.engine().entry(index)?.ok_or(Problem::NoEntry)?;
    let entry = Entry::parse(&stored.bytes)?;
    let siblings = log.engine().inclusion(Tree::Sha3, index, tree_size)?;
    let root = hex::encode(log.engine().root(Tree::Sha3, tree_size)?);
    let steps = path::steps(index, tree_size, &siblings).ok_or(Problem::NoEntry)?;
    Ok(ProofAnswer {
        ok: true,
        index,
        leaf_hash: hex::encode(stored.legacy_leaf),
        tree_hash: root.clone(),
        proof: steps.clone(),
        ts: entry.hour().to_owned(),
        audit_path: Some(steps),
        root: Some(root),
        tree_size: Some(tree_size),
    })
}
