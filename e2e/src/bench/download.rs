//! Downloads: each blob once, against a bare server that sends the same bytes.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use sha2::Digest as _;

use super::{Arguments, baseline, line, process};
use crate::relay::random_blob;

const LENGTH: usize = 1024 * 1024;
const BLOBS: u64 = 1500;
const IN_FLIGHT: usize = 16;

pub(crate) async fn run(arguments: &Arguments, directory: &Path) -> Result<()> {
    let limit = arguments.limit();
    line::print("fdatasync-bare", baseline::fdatasync_rate(directory, limit / 4)?, "1/s", None);
    let relay = process::Relay::start(&arguments.relay, directory).await?;
    let (bytes, _) = random_blob(LENGTH)?;
    let digests: Vec<String> = futures::stream::iter(0..BLOBS)
        .map(|number| fill(&relay, &bytes, number))
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await?;
    let bare = baseline::server(directory, Bytes::from(bytes)).await?;
    let bare = fetch(&relay.http, "", Arc::new(vec![bare; digests.len()]), LENGTH, IN_FLIGHT, limit).await?;
    let rate = fetch(&relay.http, &relay.key, Arc::new(digests), LENGTH, IN_FLIGHT, limit).await?;
    line::print("bare-get-1MiB", bare, "1/s", None);
    line::print("download-1MiB", rate, "1/s", None);
    line::print("download-1MiB-ratio", rate / bare, "ratio", Some(0.7));
    line::print("relay-memory", relay.memory()?, "MiB", None);
    Ok(())
}

/// Sends one blob and answers where it can be read. Only a counter tells it from the others.
async fn fill(relay: &process::Relay, bytes: &[u8], number: u64) -> Result<String> {
    let mut bytes = bytes.to_vec();
    bytes.splice(1..9, number.to_be_bytes());
    let digest = hex::encode(sha2::Sha256::digest(&bytes));
    let put = relay.http.put(format!("{}/v3/blobs/{digest}", relay.url)).header("X-Api-Key", &relay.key);
    let answer = put.body(bytes).send().await?;
    if !answer.status().is_success() {
        bail!("filling: a PUT answered {}: {}", answer.status(), answer.text().await?);
    }
    Ok(format!("{}/v2/outbound/{digest}", relay.url))
}

/// Reads each URL once, so many at a time, until the limit or the end; answers how many in a second.
pub(super) async fn fetch(
    http: &reqwest::Client,
    key: &str,
    urls: Arc<Vec<String>>,
    length: usize,
    in_flight: usize,
    limit: Duration,
) -> Result<f64> {
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let (http, key, urls, next) = (http.clone(), key.to_owned(), urls.clone(), next.clone());
        workers.spawn(async move {
            let mut got = 0_u64;
            while began.elapsed() < limit {
                let Some(url) = urls.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed))?) else {
                    break;
                };
                let answer = http.get(url).header("X-Api-Key", &key).send().await?;
                if !answer.status().is_success() {
                    bail!("a GET answered {}", answer.status());
                }
                if answer.bytes().await?.len() != length {
                    bail!("a download was short");
                }
                got += 1;
            }
            Ok::<u64, anyhow::Error>(got)
        });
    }
    let mut got = 0;
    while let Some(worker) = workers.join_next().await {
        got += worker??;
    }
    Ok(got as f64 / began.elapsed().as_secs_f64())
}
