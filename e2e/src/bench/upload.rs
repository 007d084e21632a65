//! Uploads: `transfer-upload`, many small ones against the bare durable step; `transfer-raw`, large ones against a bare server
//! that hashes and syncs.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::json;

use super::{Arguments, baseline, line, process};
use crate::relay::random_blob;

pub(super) const SMALL: usize = 4096;
const LARGE: usize = 5 * 1024 * 1024;
const IN_FLIGHT: usize = 16;
const LARGE_IN_FLIGHT: usize = 4;

pub(crate) async fn run(arguments: &Arguments, directory: &Path) -> Result<()> {
    let limit = arguments.limit();
    line::print("fdatasync-bare", baseline::fdatasync_rate(directory, limit / 4)?, "1/s", None);
    let relay = Arc::new(process::Relay::start(&arguments.relay, directory).await?);
    line::print_at_most("relay-memory-idle", relay.memory()?, "MiB", 64.0);

    let bare = baseline::durable_files(directory, SMALL, IN_FLIGHT, limit)?;
    let rate = small(&relay, IN_FLIGHT, limit).await?.rate;
    line::print("durable-file-bare-16", bare, "1/s", None);
    line::print("upload-4KiB-16", rate, "1/s", None);
    line::print("upload-4KiB-ratio", rate / bare, "ratio", Some(0.35));
    line::print("relay-memory-after-small", relay.memory()?, "MiB", None);

    Ok(())
}

/// Large uploads, raw.
pub(crate) async fn raw(arguments: &Arguments, directory: &Path) -> Result<()> {
    let limit = arguments.limit();
    let relay = process::Relay::start(&arguments.relay, directory).await?;
    let bodies: Arc<Vec<(Bytes, String)>> = Arc::new(
        (0..64)
            .map(|_| random_blob(LARGE).map(|(bytes, digest)| (Bytes::from(bytes), digest)))
            .collect::<Result<_>>()?,
    );
    let url = baseline::server(directory, Bytes::new()).await?;
    let bare = large(&relay.http, &url, "", &bodies, limit).await?;
    let rate = large(&relay.http, &format!("{}/v3/blobs", relay.url), &relay.key, &bodies, limit).await?;
    line::print("bare-put-5MiB", bare, "1/s", None);
    line::print("upload-raw-5MiB", rate, "1/s", None);
    line::print("upload-raw-5MiB-ratio", rate / bare, "ratio", Some(0.6));
    line::print("relay-memory-after-large", relay.memory()?, "MiB", None);
    Ok(())
}

/// What uploads came to.
pub(super) struct Sent {
    /// In a second.
    pub(super) rate: f64,
    /// Where each can be read.
    pub(super) urls: Vec<String>,
}

/// Uploads files of [`SMALL`] bytes, so many at a time.
pub(super) async fn small(relay: &Arc<process::Relay>, in_flight: usize, limit: Duration) -> Result<Sent> {
    let began = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let relay = relay.clone();
        workers.spawn(async move {
            let mut urls = Vec::new();
            while began.elapsed() < limit {
                let (bytes, digest) = random_blob(SMALL)?;
                let body = json!({ "hash": digest, "payload": STANDARD.encode(&bytes), "ttl_ms": 3_600_000 });
                let answer = relay
                    .http
                    .post(format!("{}/v2/inbound", relay.url))
                    .header("X-Api-Key", &relay.key)
                    .json(&body)
                    .send()
                    .await?;
                if answer.status() != 200 {
                    bail!("an upload answered {}: {}", answer.status(), answer.text().await?);
                }
                answer.bytes().await?;
                urls.push(format!("{}/v2/outbound/{digest}", relay.url));
            }
            Ok(urls)
        });
    }
    let mut urls = Vec::new();
    while let Some(worker) = workers.join_next().await {
        urls.extend(worker??);
    }
    Ok(Sent { rate: urls.len() as f64 / began.elapsed().as_secs_f64(), urls })
}

/// PUTs each body once, so that no upload is a repetition; stops at the limit or when all are sent.
async fn large(
    http: &reqwest::Client,
    base: &str,
    key: &str,
    bodies: &Arc<Vec<(Bytes, String)>>,
    limit: Duration,
) -> Result<f64> {
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..LARGE_IN_FLIGHT {
        let (http, base, key, bodies, next) =
            (http.clone(), base.to_owned(), key.to_owned(), bodies.clone(), next.clone());
        workers.spawn(async move {
            let mut sent = 0_u64;
            while began.elapsed() < limit {
                let index = usize::try_from(next.fetch_add(1, Ordering::Relaxed))?;
                let Some((bytes, digest)) = bodies.get(index) else { break };
                let answer = http
                    .put(format!("{base}/{digest}"))
                    .header("X-Api-Key", &key)
                    .body(bytes.clone())
                    .send()
                    .await?;
                if !answer.status().is_success() {
                    bail!("a PUT answered {}: {}", answer.status(), answer.text().await?);
                }
                answer.bytes().await?;
                sent += 1;
            }
            Ok::<u64, anyhow::Error>(sent)
        });
    }
    let mut sent = 0;
    while let Some(worker) = workers.join_next().await {
        sent += worker??;
    }
    Ok(sent as f64 / began.elapsed().as_secs_f64())
}
