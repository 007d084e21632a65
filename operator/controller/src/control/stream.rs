//! The event stream of one relay, for as long as it lives.
//!
//! A thousand of these are open for months and say something every ten seconds, so each costs its TLS session and nothing else:
//! no task of its own, no buffer while nothing comes. A client library keeps 20 KiB for each (adr/0064). It is asked for by HTTP/1.0,
//! whose bodies end with the connection and come as they are; events end with a blank line, so a cut one is noticed.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use paramant_protocol::control::CONTROL_SERVER_NAME;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

use super::events::{Event, Parser, TooLong};
use super::exchange::{ANSWER_TIMEOUT, Error};
use super::tls;

const WHAT: &str = "GET /control/v1/events";
/// What is read at once.
const READ: usize = 4 * 1024;
/// No head of an answer is longer.
const MAX_HEAD: usize = 8 * 1024;
const MAX_HEADERS: usize = 32;

/// An open event stream. Dropping it closes the connection.
#[derive(Debug)]
pub struct Events {
    connection: Box<tls::Connection>,
    parser: Parser,
    /// Complete events, newest first.
    ready: Vec<Event>,
}

impl Events {
    /// Asks for the stream, and reads the head of the answer.
    ///
    /// # Errors
    /// When the relay does not answer in time, with another status than 200, or with what is no HTTP.
    pub async fn open(connection: tls::Connection) -> Result<Self, Error> {
        let mut events =
            Self { connection: Box::new(connection), parser: Parser::default(), ready: Vec::new() };
        timeout(ANSWER_TIMEOUT, events.ask()).await.map_err(|_| Error::Timeout)??;
        Ok(events)
    }

    async fn ask(&mut self) -> Result<(), Error> {
        let request = format!(
            "GET /control/v1/events HTTP/1.0\r\nhost: {CONTROL_SERVER_NAME}\r\naccept: text/event-stream\r\n\r\n"
        );
        let stream = &mut self.connection.stream;
        stream.write_all(request.as_bytes()).await.map_err(|_| Error::Broken)?;
        stream.flush().await.map_err(|_| Error::Broken)?;
        let mut head = Vec::new();
        let body = loop {
            self.read(|bytes| head.extend_from_slice(bytes)).await?;
            if let Some(length) = status_ok(&head)? {
                break length;
            }
        };
        self.ready = newest_first(self.parser.push(head.get(body..).unwrap_or_default()))?;
        Ok(())
    }

    /// The next event. Fails when the stream ends, or when nothing at all, not even a comment, came for `patience`.
    ///
    /// # Errors
    /// See above.
    pub async fn next(&mut self, patience: Duration) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Ok(event);
            }
            let (connection, parser) = (&mut self.connection, &mut self.parser);
            let come = poll_fn(|context| poll(connection, context, |bytes| parser.push(bytes)));
            self.ready = newest_first(timeout(patience, come).await.map_err(|_| Error::Timeout)??)?;
        }
    }

    async fn read(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), Error> {
        let connection = &mut self.connection;
        poll_fn(|context| poll(connection, context, &mut take)).await
    }
}

/// What the parser made of some bytes, newest first.
fn newest_first(events: Result<Vec<Event>, TooLong>) -> Result<Vec<Event>, Error> {
    let mut events = events.map_err(|error| Error::Body { what: WHAT, why: error.to_string() })?;
    events.reverse();
    Ok(events)
}

/// Reads into a buffer that is there only while something comes.
fn poll<T>(
    connection: &mut tls::Connection,
    context: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> T,
) -> Poll<Result<T, Error>> {
    let mut bytes = [0; READ];
    let mut buffer = ReadBuf::new(&mut bytes);
    let read = ready!(Pin::new(&mut connection.stream).poll_read(context, &mut buffer));
    Poll::Ready(match read {
        Ok(()) if !buffer.filled().is_empty() => Ok(take(buffer.filled())),
        // An end is the same as a break: a relay that lives goes on for ever.
        Ok(()) | Err(_) => Err(Error::Broken),
    })
}

/// Where the body begins, once the head is whole and says 200.
fn status_ok(head: &[u8]) -> Result<Option<usize>, Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(head).map_err(|error| Error::Body { what: WHAT, why: error.to_string() })?;
    let httparse::Status::Complete(length) = parsed else {
        return if head.len() < MAX_HEAD { Ok(None) } else { Err(Error::Broken) };
    };
    if response.headers.iter().any(|header| header.name.eq_ignore_ascii_case("transfer-encoding")) {
        let why = "an HTTP/1.0 answer has no transfer encoding".to_owned();
        return Err(Error::Body { what: WHAT, why });
    }
    match response.code.and_then(|code| StatusCode::from_u16(code).ok()) {
        Some(StatusCode::OK) => Ok(Some(length)),
        Some(found) => Err(Error::Status { what: WHAT, found }),
        None => Err(Error::Broken),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_head_is_read_whole_and_only_200_is_followed_by_events() {
        let head = "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(status_ok(&head.as_bytes()[..cut]).unwrap(), None, "{cut}");
        }
        let more = format!("{head}event: state\n");
        assert_eq!(status_ok(more.as_bytes()).unwrap(), Some(head.len()));
        for (head, says) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "503 Service Unavailable to GET /control/v1/events"),
            ("HTTP/1.1 301 Moved\r\nlocation: /\r\n\r\n", "301"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer encoding"),
            ("SSH-2.0-OpenSSH_9.2\r\n", "cannot be read"),
            ("HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "cannot be read"),
        ] {
            let error = status_ok(head.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{head:?}: {error}");
        }
        let endless = format!("HTTP/1.0 200 OK\r\nx: {}", "a".repeat(MAX_HEAD));
        assert!(matches!(status_ok(endless.as_bytes()), Err(Error::Broken)));
    }
}
