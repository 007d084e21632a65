//! One question over one stream: TLS where the destination has it, HTTP/1.1, a bounded answer.

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::dial::ByteStream;
use super::{Destination, OutboundError, Trust};

/// The answer's header may be so long.
const MAX_HEADER: usize = 32 * 1024;

/// What is asked: always a POST.
#[derive(Debug, Clone)]
pub struct Request {
    call: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Vec<u8>,
    max_answer: usize,
}

impl Request {
    /// A body, to the path below the destination. Of the answer only the status is read.
    pub fn new(call: impl Into<Cow<'static, str>>, body: Vec<u8>) -> Self {
        Self { call: call.into(), headers: Vec::new(), body, max_answer: 0 }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Reads a body of at most so many bytes.
    #[must_use]
    pub fn reading(mut self, max_answer: usize) -> Self {
        self.max_answer = max_answer;
        self
    }
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The content type, if it was text.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

pub(super) async fn ask(
    stream: Box<dyn ByteStream>,
    destination: &Destination,
    trust: &Trust,
    request: Request,
) -> Result<Reply, OutboundError> {
    let authority = destination.authority();
    let stream = if destination.tls() {
        let tls = trust.handshake(destination.host(), stream).await;
        tls.map_err(|error| OutboundError::Tls(authority.clone(), super::trust::sentence(&error)))?
    } else {
        stream
    };
    let http = |error: hyper::Error| OutboundError::Http(authority.clone(), innermost(&error));
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEADER).handshake(TokioIo::new(stream)).await.map_err(http)?;
    // Aborted when this exchange ends, however it ends.
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let mut question = hyper::Request::post(destination.path(&request.call))
        .header(HOST, destination.host_header())
        .header(USER_AGENT, concat!("paramant-relay/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(request.body)))
        .map_err(|error| OutboundError::Http(authority.clone(), error.to_string()))?;
    question.headers_mut().extend(request.headers);
    let answer = sender.send_request(question).await.map_err(http)?;
    let status = answer.status().as_u16();
    let content_type =
        answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if request.max_answer == 0 {
        return Ok(Reply { status, content_type, body: Vec::new() });
    }
    match Limited::new(answer.into_body(), request.max_answer).collect().await {
        Ok(body) => Ok(Reply { status, content_type, body: body.to_bytes().to_vec() }),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(OutboundError::TooLong(authority, request.max_answer))
        }
        Err(error) => Err(OutboundError::Http(authority, error.to_string())),
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
