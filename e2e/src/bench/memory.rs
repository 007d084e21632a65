//! `transfer-memory`: what a relay holds for each upload that is under way, however large it is, and after it is over.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::{sync::watch, task::JoinSet};

use super::{Arguments, line, process};
use crate::relay::random_blob;

const UPLOADS: usize = 64;
/// Two sizes: what an upload costs must not depend on its size.
const SENT: [usize; 2] = [1 << 20, 12 << 20];
const PIECE: usize = 64 * 1024;

pub(crate) async fn run(arguments: &Arguments, directory: &Path) -> Result<()> {
    let relay = process::Relay::start(&arguments.relay, directory).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = relay.memory()?;
    line::print_at_most("memory-idle", idle, "MiB", 64.0);
    for sent in SENT {
        let before = relay.memory()?;
        let during = under_way(&relay, sent).await?;
        let each = (during - before).max(0.0) * 1024.0 / UPLOADS as f64;
        line::print_at_most(&format!("memory-each-upload-{}MiB", sent >> 20), each, "KiB", 512.0);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    line::print("memory-after", relay.memory()?, "MiB", None);
    Ok(())
}

/// Memory in MiB while so many uploads stand still with all but their last byte sent.
async fn under_way(relay: &process::Relay, length: usize) -> Result<f64> {
    let (go_on, wait) = watch::channel(false);
    let mut uploads = JoinSet::new();
    for _ in 0..UPLOADS {
        let (bytes, digest) = random_blob(length)?;
        let bytes = Bytes::from(bytes);
        let mut wait = wait.clone();
        let pieces = futures::stream::iter((0..length - 1).step_by(PIECE).map({
            let bytes = bytes.clone();
            move |at| Ok::<_, std::io::Error>(bytes.slice(at..(at + PIECE).min(length - 1)))
        }));
        let last = bytes.slice(length - 1..);
        let body = pieces.chain(futures::stream::once(async move {
            drop(wait.wait_for(|go_on| *go_on).await);
            Ok(last)
        }));
        let put = relay.http.put(format!("{}/v3/blobs/{digest}", relay.url)).header("X-Api-Key", &relay.key);
        let put = put.header("Content-Length", length).body(reqwest::Body::wrap_stream(body)).send();
        uploads.spawn(async move { Ok::<_, reqwest::Error>(put.await?.status()) });
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let during = relay.memory()?;
    go_on.send_replace(true);
    while let Some(status) = uploads.join_next().await {
        ensure!(status?? == 200, "an upload that stood still was not kept");
    }
    Ok(during)
}
