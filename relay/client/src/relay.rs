//! The HTTP interface of one relay.
//!
//! Redirects are never followed, so a key never travels to another host. Answers are read up to a bound. What a relay says in a
//! refusal is shown with control characters removed.

mod address;
mod progress;
mod uploads;

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use paramant_protocol::device::{DeviceKeys, KeysAnswer, RegisterAnswer, RegisterKeys};
use paramant_protocol::discovery::{Capabilities, Health, Identity};
use paramant_protocol::download::{
    ADMIN_TOKEN_HEADER, API_KEY_HEADER, BURNED_HEADER, PASSWORD_HEADER, StatusAnswer,
};
use paramant_protocol::id::{ApiKey, BlobHash, DeviceId};
use paramant_protocol::receipt;
use paramant_protocol::refusal::Refusal;
use paramant_protocol::upload::{UploadAnswer, UploadTerms};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

pub use address::RelayAddress;
pub use progress::{Progress, Step};
pub use uploads::Begun;

use crate::error::ClientError;
use crate::identity::RelayIdentity;
use crate::password::Password;

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// Time without a byte before an answer is given up.
const READ: Duration = Duration::from_secs(30);
/// The same where many bytes go before the answer: a chunk of 4 MiB at 14 kB/s.
const READ_AFTER_UPLOAD: Duration = Duration::from_secs(300);
/// A peer that confirms no byte for so long is gone.
const UNCONFIRMED: Duration = Duration::from_secs(30);
/// The largest JSON answer: a page of 1,000 log entries has about 300 kB.
const MAX_JSON: usize = 4 << 20;
/// The largest blob that is taken into memory.
pub const MAX_BLOB: usize = 64 << 20;

/// A relay, and the key to speak to it with.
#[derive(Clone)]
pub struct Relay {
    address: RelayAddress,
    http: reqwest::Client,
    /// For requests whose body takes its time.
    patient: reqwest::Client,
    key: Option<ApiKey>,
}

/// A downloaded blob.
pub struct Download {
    /// The bytes, whose hash the caller compares.
    pub bytes: Vec<u8>,
    /// Whether this read removed it.
    pub burned: bool,
    /// The receipt header, verbatim.
    pub receipt: Option<String>,
}

/// What an admin is answered.
pub struct AdminAnswer {
    /// The body, exactly.
    pub bytes: Vec<u8>,
    /// The schema of telemetry, where the body is a preview of it.
    pub schema: Option<String>,
}

/// The schema of a preview.
const SCHEMA_HEADER: &str = "x-paramant-telemetry-schema";

impl Relay {
    /// A relay at an address. `extra_roots` are PEM certificates to trust besides the system's.
    pub fn new(
        address: RelayAddress,
        key: Option<ApiKey>,
        extra_roots: Option<&[u8]>,
    ) -> Result<Self, ClientError> {
        let roots = extra_roots.map(reqwest::Certificate::from_pem_bundle).transpose().map_err(|error| {
            ClientError::Address(format!("the CA file holds no PEM certificates: {error}"))
        })?;
        let client = |read: Duration| {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("paramant/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT)
                .tcp_user_timeout(UNCONFIRMED)
                .read_timeout(read);
            if address.is_near() {
                builder = builder.no_proxy(); // a proxy for the internet is no way to the cluster or this machine
            }
            if let Some(roots) = &roots {
                builder = builder.tls_certs_merge(roots.clone());
            }
            builder.build().map_err(|source| ClientError::Transport { action: "set up", source })
        };
        let (http, patient) = (client(READ)?, client(READ_AFTER_UPLOAD)?);
        Ok(Self { address, http, patient, key })
    }

    /// Its address.
    pub fn address(&self) -> &RelayAddress {
        &self.address
    }

    /// What it accepts.
    pub async fn capabilities(&self) -> Result<Capabilities, ClientError> {
        self.json("ask for capabilities", self.request(Method::GET, "/v2/capabilities")).await
    }

    /// How it is.
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.json("ask for health", self.request(Method::GET, "/health")).await
    }

    /// Its identity key, consistent with itself and of the right size, but not yet compared with a pinned one.
    pub async fn identity(&self) -> Result<RelayIdentity, ClientError> {
        let action = "ask for the relay's identity";
        let answer: Identity = self.json(action, self.request(Method::GET, "/v2/pubkey")).await?;
        let contradiction =
            || ClientError::Answer { action, reason: "the key contradicts its own hash or size".into() };
        RelayIdentity::from_answer(&answer).ok_or_else(contradiction)
    }

    /// Registers a device's public keys; a repeat with the same keys is fine.
    pub async fn register(&self, keys: &DeviceKeys) -> Result<RegisterAnswer, ClientError> {
        let request = self.keyed(Method::POST, "/v2/pubkey")?.json(&RegisterKeys::of(keys));
        self.json("register the device's keys", request).await
    }

    /// A device's registered keys, as the relay shows them.
    pub async fn keys_of(&self, device: &DeviceId) -> Result<(KeysAnswer, DeviceKeys), ClientError> {
        let action = "look up the device's keys";
        let response =
            self.send(action, self.keyed(Method::GET, &device_path("/v2/pubkey", device))?).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(ClientError::UnknownDevice(device.to_string()));
        }
        let answer: KeysAnswer = parse(action, accepted(action, response).await?).await?;
        let keys = answer.device_keys(device);
        let keys = keys.map_err(|error| ClientError::Answer { action, reason: error.to_string() })?;
        Ok((answer, keys))
    }

    /// Uploads a blob. The request body is made once and sent in pieces, which `progress` counts.
    pub async fn upload(
        &self,
        blob: &[u8],
        terms: &UploadTerms,
        progress: &Progress,
    ) -> Result<UploadAnswer, ClientError> {
        let action = "upload";
        let hash = BlobHash::of(blob);
        let request = self.keyed(Method::POST, "/v2/inbound")?;
        let body = progress::counted(upload_body(hash, blob, terms), progress.clone());
        let request = request.header("content-type", "application/json").body(body);
        let answer: UploadAnswer = self.json(action, request).await?;
        if answer.hash != hash {
            let reason = format!("it acknowledges {}, sent was {hash}", answer.hash);
            return Err(ClientError::Answer { action, reason });
        }
        Ok(answer)
    }

    /// Takes one view of a blob.
    pub async fn download(
        &self,
        hash: &BlobHash,
        password: Option<&Password>,
        progress: &Progress,
    ) -> Result<Download, ClientError> {
        let action = "download";
        let response = self.send(action, self.outbound(hash, password)?).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(ClientError::Gone(*hash));
        }
        let response = accepted(action, response).await?;
        let text = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let (burned, receipt) = (text(BURNED_HEADER).as_deref() == Some("true"), text(receipt::HEADER));
        let bytes = bounded(action, response, MAX_BLOB, progress).await?;
        Ok(Download { bytes, burned, receipt })
    }

    /// Whether a blob is there. Uses no view.
    pub async fn status(&self, hash: &BlobHash) -> Result<StatusAnswer, ClientError> {
        self.json("ask for status", self.keyed(Method::GET, &format!("/v2/status/{hash}"))?).await
    }

    /// Withdraws an upload.
    pub async fn cancel(&self, hash: &BlobHash) -> Result<(), ClientError> {
        let action = "withdraw";
        let response = self.send(action, self.keyed(Method::DELETE, &format!("/v2/inbound/{hash}"))?).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(ClientError::Gone(*hash));
        }
        accepted(action, response).await.map(drop)
    }

    /// A public resource as bytes; `None` when it is not there.
    pub async fn public(&self, path: &str) -> Result<Option<Vec<u8>>, ClientError> {
        let action = "read the log";
        let response = self.send(action, self.request(Method::GET, path)).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = accepted(action, response).await?;
        // A full bundle of the largest entries has 4 MiB and 512 bytes.
        bounded(action, response, MAX_JSON + 4096, &Progress::silent()).await.map(Some)
    }

    /// A resource of the admin: read, or posted to with a body.
    pub async fn admin(
        &self,
        token: &str,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<AdminAnswer, ClientError> {
        let action = "ask as the admin";
        let mut value = reqwest::header::HeaderValue::from_str(token)
            .map_err(|_| ClientError::Address("the admin token cannot be sent in a header".into()))?;
        value.set_sensitive(true);
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let request =
            self.request(method, path).header(ADMIN_TOKEN_HEADER, value).body(body.unwrap_or_default());
        let response = accepted(action, self.send(action, request).await?).await?;
        let schema =
            response.headers().get(SCHEMA_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(AdminAnswer { bytes: bounded(action, response, MAX_JSON, &Progress::silent()).await?, schema })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.address.url(path))
    }

    /// A read of a blob.
    fn outbound(&self, hash: &BlobHash, password: Option<&Password>) -> Result<RequestBuilder, ClientError> {
        let request = self.keyed(Method::GET, &format!("/v2/outbound/{hash}"))?;
        Ok(match password.and_then(Password::header) {
            Some(value) => request.header(PASSWORD_HEADER, value),
            None => request,
        })
    }

    fn keyed(&self, method: Method, path: &str) -> Result<RequestBuilder, ClientError> {
        self.keyed_with(&self.http, method, path)
    }

    fn keyed_with(
        &self,
        client: &reqwest::Client,
        method: Method,
        path: &str,
    ) -> Result<RequestBuilder, ClientError> {
        let missing = || ClientError::Address("an API key is needed: --key-file, or PARAMANT_API_KEY".into());
        let key = self.key.as_ref().ok_or_else(missing)?;
        let mut value = reqwest::header::HeaderValue::from_str(key.reveal())
            .map_err(|_| ClientError::Address("the API key cannot be sent in a header".into()))?;
        value.set_sensitive(true);
        Ok(client.request(method, self.address.url(path)).header(API_KEY_HEADER, value))
    }

    async fn send(&self, action: &'static str, request: RequestBuilder) -> Result<Response, ClientError> {
        request.send().await.map_err(|source| ClientError::Transport { action, source: source.without_url() })
    }

    async fn json<T: DeserializeOwned>(
        &self,
        action: &'static str,
        request: RequestBuilder,
    ) -> Result<T, ClientError> {
        let response = self.send(action, request).await?;
        parse(action, accepted(action, response).await?).await
    }
}

/// The path of a device's resource, percent-encoded.
fn device_path(base: &str, device: &DeviceId) -> String {
    let mut path = format!("{base}/");
    for byte in device.as_str().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

/// The body, with the payload encoded straight into it.
fn upload_body(hash: BlobHash, blob: &[u8], terms: &UploadTerms) -> Bytes {
    let terms = serde_json::to_string(terms).unwrap_or_default(); // total: strings, integers, booleans
    let terms = terms.strip_prefix('{').and_then(|terms| terms.strip_suffix('}')).unwrap_or_default();
    let comma = if terms.is_empty() { "" } else { "," };
    let mut body = String::with_capacity(blob.len().div_ceil(3) * 4 + terms.len() + 128);
    body.push_str(&format!("{{\"hash\":\"{hash}\",{terms}{comma}\"payload\":\""));
    BASE64_STANDARD.encode_string(blob, &mut body);
    body.push_str("\"}");
    body.into()
}

async fn accepted(action: &'static str, response: Response) -> Result<Response, ClientError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after =
        response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let body = bounded(action, response, 64 << 10, &Progress::silent()).await.unwrap_or_default();
    let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
    let parts = [Some(refusal.error), refusal.detail, refusal.hint]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty());
    let said: Vec<String> = parts.collect();
    let reason = if said.is_empty() {
        status.canonical_reason().unwrap_or("no reason given").to_owned()
    } else {
        said.join("; ")
    };
    let reason = reason.chars().filter(|character| !character.is_control()).take(400).collect();
    Err(ClientError::Refused { action, status: status.as_u16(), reason, retry_after })
}

async fn parse<T: DeserializeOwned>(action: &'static str, response: Response) -> Result<T, ClientError> {
    let body = bounded(action, response, MAX_JSON, &Progress::silent()).await?;
    serde_json::from_slice(&body).map_err(|error| ClientError::Answer { action, reason: error.to_string() })
}

async fn bounded(
    action: &'static str,
    mut response: Response,
    most: usize,
    progress: &Progress,
) -> Result<Vec<u8>, ClientError> {
    let too_long = || ClientError::Answer { action, reason: format!("it has more than {most} bytes") };
    let announced = response.content_length();
    let announced = announced.map_or(Ok(0), |length| usize::try_from(length).map_err(|_| too_long()))?;
    if announced > most {
        return Err(too_long());
    }
    progress.begin(announced as u64);
    let mut body = Vec::with_capacity(announced);
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|source| ClientError::Transport { action, source: source.without_url() })?
    {
        if body.len() + chunk.len() > most {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
        progress.count(chunk.len() as u64);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use paramant_protocol::upload::{UploadMeta, UploadRequest};

    #[test]
    fn the_body_made_by_hand_is_the_published_one() {
        let full = UploadTerms {
            ttl_ms: Some(1000),
            max_views: Some(1),
            meta: Some(UploadMeta { device_id: Some("a\"b}".parse().unwrap()), ..Default::default() }),
            ..Default::default()
        };
        for terms in [UploadTerms::default(), full] {
            let body = upload_body(BlobHash::of(b"abc"), b"abc", &terms);
            let read: UploadRequest = serde_json::from_slice(&body).unwrap();
            let expected = UploadRequest { hash: BlobHash::of(b"abc"), payload: "YWJj".into(), terms };
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn a_device_s_name_is_one_path_segment() {
        let path = |name: &str| device_path("/v2/pubkey", &name.parse().unwrap());
        assert_eq!(path("phone-001"), "/v2/pubkey/phone-001");
        assert_eq!(path("a/b?c#d%é"), "/v2/pubkey/a%2Fb%3Fc%23d%25%C3%A9");
        assert_eq!(path(".."), "/v2/pubkey/%2E%2E");
    }
}
