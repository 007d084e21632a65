//! A relay started for one test, and the few things every test does with it.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use paramant_relay::app::OpenError;
use paramant_relay::data_dir::DataDirError;
use paramant_relay::process::{Options, Running, StartError};
use paramant_relay::settings::{Settings, SettingsHandle};
use paramant_relay::world::World;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub const ADMIN: &str = "the admin token of a test";

/// Waits until something holds that comes by itself, however busy the machine is.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(60), "waited a minute until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A relay that runs in this process.
pub struct Relay {
    pub running: Running,
    pub url: String,
    pub http: Client,
    pub dir: TempDir,
}

/// A client with one API key.
#[derive(Clone)]
pub struct User {
    pub url: String,
    pub http: Client,
    pub key: String,
    pub account: String,
}

impl Relay {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::over(TempDir::new().unwrap(), change).await
    }

    /// A relay over a directory that may hold what another left.
    pub async fn over(dir: TempDir, change: impl FnOnce(&mut Settings)) -> Self {
        Self::in_world(World::default(), dir, change).await
    }

    /// With other pinned keys, or another clock.
    pub async fn in_world(world: World, dir: TempDir, change: impl FnOnce(&mut Settings)) -> Self {
        // Whichever test comes first installs it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut settings = settings(dir.path());
        change(&mut settings);
        let options = || Options {
            data: dir.path().join("data"),
            settings: SettingsHandle::fixed(settings.clone()),
            public_tls: None,
            world: world.clone(),
        };
        let mut started = Running::start(options()).await;
        for _ in 0..1200 {
            // The relay before may still be closing its last connections, which hold the directory.
            let Err(StartError::Open(OpenError::Data(DataDirError::Locked(_)))) = started else { break };
            tokio::time::sleep(Duration::from_millis(50)).await;
            started = Running::start(options()).await;
        }
        let running = started.unwrap();
        let url = format!("http://{}", running.addresses.public);
        Self { running, url, http: Client::new(), dir }
    }

    /// Ends the relay in order; its directory stays.
    pub async fn stop(self) -> TempDir {
        self.running.close().await;
        self.dir
    }

    pub fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).header("X-Admin-Token", ADMIN)
    }

    pub async fn user(&self) -> User {
        self.user_with(json!({})).await
    }

    pub async fn user_with(&self, body: Value) -> User {
        let made = self.admin(Method::POST, "/v2/admin/keys").body(body.to_string()).send().await.unwrap();
        assert_eq!(made.status(), StatusCode::OK);
        let made: Value = made.json().await.unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        User { url: self.url.clone(), http: self.http.clone(), key: text("key"), account: text("account_id") }
    }

    pub fn payload_files(&self) -> usize {
        payload_files(self.dir.path())
    }

    /// Waits until nothing of any payload is left on disk: files and keys.
    pub async fn all_burned(&self) {
        let burned = async || self.payload_files() == 0 && !keys_left(self.dir.path());
        until("all payloads and keys are gone", burned).await;
    }
}

impl User {
    /// A new account on a relay whose admin token is [`ADMIN`].
    pub async fn new(url: &str) -> Self {
        let made = Client::new().post(format!("{url}/v2/admin/keys")).header("X-Admin-Token", ADMIN);
        let made: Value = made.send().await.unwrap().json().await.unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Self { url: url.to_owned(), http: Client::new(), key: text("key"), account: text("account_id") }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).header("X-Api-Key", &self.key)
    }

    /// Uploads as the SDKs do.
    pub async fn upload(&self, payload: &[u8], more: Value) -> Response {
        self.post_inbound(&inbound(&hash(payload), payload, more)).await
    }

    pub async fn post_inbound(&self, body: &Value) -> Response {
        self.request(Method::POST, "/v2/inbound").body(body.to_string()).send().await.unwrap()
    }

    pub async fn upload_raw(&self, payload: Vec<u8>, query: &str) -> Response {
        let path = format!("/v3/blobs/{}{query}", hash(&payload));
        self.request(Method::PUT, &path).body(payload).send().await.unwrap()
    }

    pub async fn download(&self, hash: &str) -> Response {
        self.request(Method::GET, &format!("/v2/outbound/{hash}")).send().await.unwrap()
    }

    pub async fn available(&self, hash: &str) -> bool {
        let answer = self.request(Method::GET, &format!("/v2/status/{hash}")).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["available"].as_bool().unwrap()
    }
}

/// Status, headers and body of an answer, apart from what differs each time: when it was made, and its own number.
pub async fn everything_said(answer: Response) -> (StatusCode, Vec<(String, Vec<u8>)>, Vec<u8>) {
    let headers =
        answer.headers().iter().filter(|(name, _)| !matches!(name.as_str(), "date" | "x-request-id"));
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    (answer.status(), headers, answer.bytes().await.unwrap().to_vec())
}

pub fn settings(dir: &Path) -> Settings {
    let token = dir.join("admin-token");
    std::fs::write(&token, ADMIN).unwrap();
    let mut settings = Settings::default();
    settings.listen.public.set_port(0);
    settings.listen.probes.set_port(0);
    settings.admin_token_file = Some(token);
    settings.limits.requests_per_minute = 1_000_000;
    settings.limits.connections_per_address = 10_000;
    settings.limits.min_free_disk = 0;
    settings
}

pub fn hash(payload: &[u8]) -> String {
    hex::encode(Sha256::digest(payload))
}

pub fn inbound(hash: &str, payload: &[u8], more: Value) -> Value {
    let mut body = json!({ "hash": hash, "payload": BASE64_STANDARD.encode(payload) });
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    body
}

/// Bytes that look like nothing, different for each seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next).take(len.div_ceil(8)).flatten().collect();
    bytes.truncate(len);
    bytes
}

pub fn payload_files(dir: &Path) -> usize {
    let blobs = dir.join("data/blobs");
    std::fs::read_dir(blobs).unwrap().map(|ab| std::fs::read_dir(ab.unwrap().path()).unwrap().count()).sum()
}

pub fn keys_left(dir: &Path) -> bool {
    std::fs::read(dir.join("data/keys.slots")).unwrap().iter().any(|byte| *byte != 0)
}
