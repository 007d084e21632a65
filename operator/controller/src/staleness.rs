//! When did each watch last hear from the API server?
//!
//! kube's watcher swallows bookmarks and ordinary stream ends, so from the outside a quiet watch and a dead one look alike.
//! This layer sits in the client, below the watcher, and stamps every answer and every body frame of the collections that
//! [`Freshness::track`] was told about. A healthy watch is stamped about once a minute (bookmarks) and at least once per
//! watch timeout. It reads nothing of what passes through and never delays it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Method, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tower::{Layer, Service};

/// A watch that was silent for longer is stale: the watch timeout (200 s), its slack (5 s), the longest backoff between two
/// attempts (30 s, with jitter doubled), and one minute to spare.
pub const STALE_AFTER: Duration = Duration::from_secs(330);
/// The API server counts as answering when any other call succeeded this recently. The leader's Lease is renewed, and the
/// follower's read, far more often.
pub const ANSWERING_WITHIN: Duration = Duration::from_secs(30);

/// The stamps of one process.
#[derive(Debug, Clone)]
pub struct Freshness(Arc<Mutex<Stamps>>);

#[derive(Debug)]
struct Stamps {
    watches: BTreeMap<String, Instant>,
    other_success: Option<Instant>,
}

impl Default for Freshness {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Stamps { watches: BTreeMap::new(), other_success: None })))
    }
}

impl Freshness {
    /// Expects answers about the collection at `path` from now on.
    pub fn track(&self, path: &str) {
        self.lock().watches.insert(path.to_owned(), Instant::now());
    }

    /// Expects nothing about it any more.
    pub fn untrack(&self, path: &str) {
        self.lock().watches.remove(path);
    }

    /// The collections that were silent for longer than [`STALE_AFTER`], with their age.
    pub fn stale(&self, now: Instant) -> Vec<(String, Duration)> {
        self.ages(now).into_iter().filter(|(_, age)| *age > STALE_AFTER).collect()
    }

    /// The age of the newest stamp of each tracked collection.
    pub fn ages(&self, now: Instant) -> Vec<(String, Duration)> {
        let stamps = self.lock();
        stamps.watches.iter().map(|(path, at)| (path.clone(), now.saturating_duration_since(*at))).collect()
    }

    /// Whether other calls succeed, so that a stale watch is our fault and not an outage.
    pub fn api_answers(&self, now: Instant) -> bool {
        self.lock().other_success.is_some_and(|at| now.saturating_duration_since(at) <= ANSWERING_WITHIN)
    }

    /// Stamps a tracked collection; says whether it is one.
    fn stamp(&self, path: &str) -> bool {
        match self.lock().watches.get_mut(path) {
            Some(at) => {
                *at = Instant::now();
                true
            }
            None => false,
        }
    }

    fn other_call_succeeded(&self) {
        self.lock().other_success = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Stamps> {
        // Stamps are plain values: a panic elsewhere cannot leave them half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the stamps into a client's stack.
#[derive(Debug, Clone)]
pub struct StampLayer(pub Freshness);

impl<S> Layer<S> for StampLayer {
    type Service = Stamp<S>;

    fn layer(&self, inner: S) -> Stamp<S> {
        Stamp { inner, freshness: self.0.clone() }
    }
}

/// The service made by [`StampLayer`].
#[derive(Debug, Clone)]
pub struct Stamp<S> {
    inner: S,
    freshness: Freshness,
}

impl<S, Q, B> Service<Request<Q>> for Stamp<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<Stamped<B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let collection = collection(request.method(), request.uri()).map(str::to_owned);
        let freshness = self.freshness.clone();
        self.inner
            .call(request)
            .map(move |answer| {
                let response = answer?;
                // Any answer proves the watch alive, a refusal too: missing rights are reported elsewhere and no restart cures them.
                let tracked = collection.filter(|path| freshness.stamp(path));
                if tracked.is_none() && response.status().is_success() {
                    freshness.other_call_succeeded();
                }
                Ok(response.map(|body| Stamped { body, watch: tracked.map(|path| (freshness, path)) }))
            })
            .boxed()
    }
}

/// The collection a watch, or the list before it, reads. A look for one object by its name says nothing about a watch.
fn collection<'u>(method: &Method, uri: &'u Uri) -> Option<&'u str> {
    let by_field = uri.query().is_some_and(|query| query.contains("fieldSelector="));
    (method == Method::GET && !by_field).then(|| uri.path())
}

/// A response body whose frames are stamped when they belong to a tracked collection.
#[derive(Debug)]
pub struct Stamped<B> {
    body: B,
    watch: Option<(Freshness, String)>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Stamped<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let (Some(Ok(_)), Some((freshness, path))) = (&frame, &self.watch) {
            freshness.stamp(path);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
