//! HTTP over short control connections: proof and directives. Each exchange uses a connection of its own, so that an idle relay
//! costs one socket, that of its event stream ([`super::stream`]). Bodies and waits are bounded.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use paramant_protocol::control::{CONTROL_SERVER_NAME, Directives, DirectivesAnswer, Proof};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::tls;

/// A relay answers from memory; directives are synced to disk first.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// No answer is longer.
const MAX_ANSWER: usize = 256 * 1024;

/// Why an exchange failed. The sentences do not change from attempt to attempt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection could not be opened.
    #[error(transparent)]
    Dial(#[from] tls::Error),
    /// The relay broke off, or spoke no HTTP.
    #[error("the control connection broke")]
    Broken,
    /// The relay did not answer in time.
    #[error("the relay did not answer in time on its control port")]
    Timeout,
    /// The relay answered with another status than expected.
    #[error("the relay answered {found} to {what}")]
    Status {
        /// What was asked.
        what: &'static str,
        /// The status.
        found: StatusCode,
    },
    /// The body is not what the interface says.
    #[error("the relay's answer to {what} cannot be read: {why}")]
    Body {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// An open control connection.
#[derive(Debug)]
pub struct Channel {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    /// Lower-case hex SHA-256 of the relay's SubjectPublicKeyInfo.
    pub spki_sha256: String,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Channel {
    /// Speaks HTTP over an open connection.
    pub async fn open(connection: tls::Connection) -> Result<Self, Error> {
        let handshake = http1::handshake(TokioIo::new(connection.stream));
        let (sender, driver) = timeout(ANSWER_TIMEOUT, handshake)
            .await
            .map_err(|_| Error::Timeout)?
            .map_err(|_| Error::Broken)?;
        let driver = tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "control connection ended");
            }
        });
        Ok(Self { sender, driver, spki_sha256: connection.spki_sha256 })
    }

    /// Asks the relay to prove which pod it is.
    pub async fn proof(&mut self) -> Result<Proof, Error> {
        const WHAT: &str = "GET /control/v1/proof";
        let response = self.send(request(Method::GET, "/control/v1/proof", Bytes::new())).await?;
        expect_ok(WHAT, &response)?;
        read(WHAT, response).await
    }

    /// Sends directives; a refusal (409) is an answer like any other.
    pub async fn put_directives(&mut self, directives: &Directives) -> Result<DirectivesAnswer, Error> {
        const WHAT: &str = "PUT /control/v1/directives";
        let body = serde_json::to_vec(directives)
            .map_err(|error| Error::Body { what: WHAT, why: error.to_string() })?;
        let response = self.send(request(Method::PUT, "/control/v1/directives", body.into())).await?;
        if response.status() != StatusCode::CONFLICT {
            expect_ok(WHAT, &response)?;
        }
        read(WHAT, response).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        timeout(ANSWER_TIMEOUT, self.sender.send_request(request))
            .await
            .map_err(|_| Error::Timeout)?
            .map_err(|_| Error::Broken)
    }
}

fn request(method: Method, path: &'static str, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = http::Uri::from_static(path);
    let headers = request.headers_mut();
    headers.insert(header::HOST, header::HeaderValue::from_static(CONTROL_SERVER_NAME));
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    request
}

fn expect_ok(what: &'static str, response: &Response<Incoming>) -> Result<(), Error> {
    if response.status() == StatusCode::OK {
        Ok(())
    } else {
        Err(Error::Status { what, found: response.status() })
    }
}

async fn read<T: DeserializeOwned>(what: &'static str, response: Response<Incoming>) -> Result<T, Error> {
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
    let body = timeout(ANSWER_TIMEOUT, body).await.map_err(|_| Error::Timeout)?;
    let bytes = body.map_err(|error| Error::Body { what, why: error.to_string() })?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| Error::Body { what, why: error.to_string() })
}
