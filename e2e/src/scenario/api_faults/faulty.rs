//! A line to the API server that answers some requests itself: with an error, with "come back later", or not at all.
//!
//! Everything else goes through `kubectl proxy`, which speaks for the operator's own account, so rights are enforced as ever.

use std::{
    convert::Infallible,
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::{Notify, watch};

use super::super::rights::OPERATOR;
use crate::bed::Bed;

type Body = BoxBody<Bytes, Infallible>;

/// What the API server does wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// It answers whatever fits with this code.
    Answers { code: u16, fits: fn(&Method, &str) -> bool },
    /// It takes requests and says nothing.
    Hangs,
}

/// The line.
pub(super) struct Line {
    /// Where the operator finds its API server.
    pub(super) url: String,
    state: Arc<State>,
    _runtime: tokio::runtime::Runtime,
    _proxy: Proxy,
}

struct State {
    upstream: String,
    http: reqwest::Client,
    fault: Mutex<Option<Fault>>,
    injected: AtomicUsize,
    /// Changes whenever running answers shall be cut, as by an API server that restarts.
    cut: watch::Sender<u64>,
    /// Told when one that was silent goes on: what it was asked meanwhile it answers then.
    thawed: Notify,
}

impl Line {
    pub(super) fn open(bed: &Bed) -> Result<Self> {
        let proxy = Proxy::start(bed)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let state = Arc::new(State {
            upstream: proxy.url.clone(),
            http: reqwest::Client::builder().no_proxy().build()?,
            fault: Mutex::new(None),
            injected: AtomicUsize::new(0),
            cut: watch::channel(0).0,
            thawed: Notify::new(),
        });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let url = format!("http://{}", listener.local_addr()?);
        runtime.spawn(accept(listener, state.clone()));
        Ok(Line { url, state, _runtime: runtime, _proxy: proxy })
    }

    /// From now on this goes wrong, also for watches that run.
    pub(super) fn begin(&self, fault: Fault) {
        *self.state.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        self.state.injected.store(0, Ordering::SeqCst);
        self.state.cut.send_modify(|times| *times += 1);
    }

    /// From now on all is well; answers how often the fault was met.
    pub(super) fn end(&self) -> usize {
        *self.state.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.state.thawed.notify_waiters();
        self.state.injected.swap(0, Ordering::SeqCst)
    }
}

async fn accept(listener: tokio::net::TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let state = state.clone();
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            let builder = hyper::server::conn::http1::Builder::new();
            builder.serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    // Before the look at the fault, or its end could come in between.
    let thawed = state.thawed.notified();
    let fault = *state.fault.lock().unwrap_or_else(PoisonError::into_inner);
    match fault {
        Some(Fault::Answers { code, fits }) if fits(request.method(), &path) => {
            state.injected.fetch_add(1, Ordering::SeqCst);
            refusal(code)
        }
        Some(Fault::Hangs) => {
            state.injected.fetch_add(1, Ordering::SeqCst);
            thawed.await;
            forward(state, request, &path).await.unwrap_or_else(|_| refusal(502))
        }
        _ => forward(state, request, &path).await.unwrap_or_else(|_| refusal(502)),
    }
}

/// A refusal as the API server words it.
fn refusal(code: u16) -> Response<Body> {
    let reason = match code {
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "planted by a test", "reason": reason, "code": code,
    });
    let mut response = Response::new(Full::new(Bytes::from(status.to_string())).boxed());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    if code == 429 {
        headers.insert("retry-after", hyper::header::HeaderValue::from_static("1"));
    }
    response
}

async fn forward(state: &State, request: Request<Incoming>, path: &str) -> Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let mut asked = state.http.request(head.method, format!("{}{path}", state.upstream));
    for name in ["accept", "content-type"] {
        if let Some(value) = head.headers.get(name) {
            asked = asked.header(name, value);
        }
    }
    let answer = asked.body(body.collect().await?.to_bytes()).send().await?;
    let mut response = Response::builder().status(answer.status());
    if let Some(kind) = answer.headers().get("content-type") {
        response = response.header("content-type", kind);
    }
    let stream =
        futures::stream::unfold((answer, state.cut.subscribe()), |(mut answer, mut cut)| async move {
            let chunk = tokio::select! {
                chunk = answer.chunk() => chunk.ok()??,
                _ = cut.changed() => return None,
            };
            Some((Ok::<_, Infallible>(Frame::data(chunk)), (answer, cut)))
        });
    Ok(response.body(StreamBody::new(stream).boxed())?)
}

/// `kubectl proxy` in the name of the operator's account.
struct Proxy {
    url: String,
    process: Child,
}

impl Proxy {
    fn start(bed: &Bed) -> Result<Self> {
        let mut command = bed.kubectl_command();
        command.args(["proxy", "--port=0", &format!("--as={OPERATOR}")]);
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = process.stdout.take().context("kubectl proxy has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().rsplit(' ').next().unwrap_or_default();
        let url = format!("http://{address}");
        Ok(Proxy { url, process })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
