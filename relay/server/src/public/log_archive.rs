//! `/log/archive`: what archives there are, and each as a zip, in whole or in part.
//!
//! A zip is read from the log while it is sent, one chunk at a time on a blocking thread, so memory is constant however slow
//! the client is. So many are sent at once, and so many to one address; over that, and while a large archive is summed for the
//! first time, the answer is 503 with the time to wait.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use futures::{Stream, stream};
use paramant_protocol::refusal::Refusal;
use paramant_protocol::transparency::{ArchiveIndex, ArchiveLine};
use tokio_util::sync::CancellationToken;

use super::conditions::{Conditions, Selection, Validators};
use super::log_tiles::number;
use super::representation::{JSON, Keep, NO_STORE, Representation, absent, head, unreadable};
use crate::app::Shared;
use crate::archive::{ArchiveError, Archives, Asked, Cursor};
use crate::listener::ClientAddress;
use crate::listener::caps::{Caps, Seat};

/// Zips on their way at once: each reads the disk as fast as its client takes it.
const AT_ONCE: usize = 16;
/// Of those, to one address.
const PER_ADDRESS: u32 = 4;
/// When to ask again.
const RETRY_SECONDS: u64 = 5;
/// How long the last archive may be kept: as long as it stays what it is.
const OPEN: Keep = Keep::Seconds(60);

/// What these routes share.
#[derive(Clone)]
struct Sender {
    archives: Arc<Archives>,
    seats: Arc<Caps>,
}

/// The routes of this module.
pub fn routes(app: &Shared) -> Router<Shared> {
    let archives = Arc::new(Archives::new(app.core.log.clone(), app.core.witnesses.clone(), &app.core.data));
    let seats = Arc::new(Caps::new(Arc::new(|| AT_ONCE), Arc::new(|_| Some(PER_ADDRESS))));
    Router::new()
        .route("/log/archive", get(index))
        .route("/log/archive/{name}", get(archive))
        .layer(Extension(Sender { archives, seats }))
}

async fn index(Extension(sender): Extension<Sender>, conditions: Conditions) -> Response {
    let (spans, size) = sender.archives.spans();
    let line = |span: crate::archive::Span| ArchiveLine {
        number: span.number,
        first: span.first,
        entries: span.end(size) - span.first,
        complete: span.is_complete(size),
        path: format!("archive/{}.zip", span.number),
    };
    let index = ArchiveIndex { archives: spans.into_iter().map(line).collect() };
    match serde_json::to_vec(&index) {
        Ok(text) => Representation::of_text(JSON, text, Keep::Revalidate).answer(&conditions),
        Err(error) => unreadable(&error),
    }
}

async fn archive(
    State(app): State<Shared>,
    Extension(sender): Extension<Sender>,
    address: Option<Extension<ClientAddress>>,
    Path(name): Path<String>,
    conditions: Conditions,
) -> Response {
    let Some(number) = name.strip_suffix(".zip").and_then(number) else { return absent() };
    let address = address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.0.0);
    let Some(seat) = sender.seats.take(address) else {
        return wait("too many archives are being sent; wait until one has ended");
    };
    let plan = match sender.archives.plan(number, conditions.continued()).await {
        Ok(Asked::Ready(plan)) => plan,
        Ok(Asked::Absent) => return absent(),
        Ok(Asked::NotYet) => return wait("this archive is being read for the first time; ask again"),
        Err(error) => return failed(&sender.archives, number, &error),
    };
    let validators = Validators { etag: plan.etag.clone(), modified: None };
    let length = plan.length;
    let selection = conditions.select(&validators, length);
    let keep = if plan.is_complete() { Keep::Forever } else { OPEN };
    let mut response = head(selection, &validators, keep, length);
    let (first, last) = match selection {
        Selection::Whole => (0, length.saturating_sub(1)),
        Selection::Part { first, last } => (first, last),
        Selection::NotModified | Selection::Beyond => return response,
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(last - first + 1));
    let name = format!("attachment; filename=\"paramant-log-{number}.zip\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    if conditions.head {
        return response;
    }
    let sending = Sending {
        number,
        cursor: sender.archives.read(plan, first, last),
        archives: sender.archives,
        closing: app.core.closing.clone(),
        _seat: seat,
    };
    response.map(|_| Body::from_stream(sending.chunks()))
}

/// A zip on its way.
struct Sending {
    number: u64,
    cursor: Cursor,
    archives: Arc<Archives>,
    closing: CancellationToken,
    _seat: Seat,
}

impl Sending {
    /// Ends with an error, which the client sees as a broken connection, when the log gives other bytes than announced.
    fn chunks(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::unfold(Some(self), |sending| async move {
            let mut sending = sending?;
            if sending.closing.is_cancelled() {
                return Some((Err(io::ErrorKind::ConnectionAborted.into()), None));
            }
            let reading = tokio::task::spawn_blocking(move || (sending.cursor.next_chunk(), sending)).await;
            match reading {
                Ok((Ok(Some(chunk)), sending)) => Some((Ok(chunk), Some(sending))),
                Ok((Ok(None), _)) => None,
                Ok((Err(error), sending)) => {
                    let _logged = failed(&sending.archives, sending.number, &error);
                    Some((Err(io::Error::other(error)), None))
                }
                Err(error) => Some((Err(io::Error::other(error)), None)),
            }
        })
    }
}

fn failed(archives: &Archives, number: u64, error: &ArchiveError) -> Response {
    if matches!(error, ArchiveError::Changed(_)) {
        archives.forget(number);
    }
    unreadable(error)
}

fn wait(why: &str) -> Response {
    let headers =
        [(header::RETRY_AFTER, HeaderValue::from(RETRY_SECONDS)), (header::CACHE_CONTROL, NO_STORE)];
    (StatusCode::SERVICE_UNAVAILABLE, headers, Json(Refusal::new(why))).into_response()
}
