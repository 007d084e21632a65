//! `log-relay`: a log of a million entries made by a real relay, out of uploads and reads, then judged by two auditors.
//!
//! Every file is sent (half of them raw, half as JSON) and read once, which makes three entries. The run counts only if
//! `paramant audit` and an outside fsck find the log whole, with as many entries of each kind as were acknowledged.

use std::{
    path::Path,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Arguments, line, process};
use crate::{relay::random_blob, scenario::auditors::ed25519};

const ENTRIES: u64 = 1_000_000;
/// What one file leaves: sent, claimed, burned.
const ENTRIES_PER_FILE: u64 = 3;
const LENGTH: usize = 200;
const IN_FLIGHT: usize = 32;
const EVERY: Duration = Duration::from_secs(30);

pub(crate) async fn run(arguments: &Arguments, directory: &Path) -> Result<()> {
    let tools = arguments.tools.as_deref().context("--tools: where judge-fsck is")?;
    let paramant = arguments.paramant.as_deref().context("--paramant: the command line to audit with")?;
    let files = arguments.entries.unwrap_or(ENTRIES).div_ceil(ENTRIES_PER_FILE);
    let relay = Arc::new(process::Relay::start(&arguments.relay, directory).await?);

    let began = Instant::now();
    transfer(&relay, files).await?;
    let took = began.elapsed().as_secs_f64();
    line::print("log-relay-files", files as f64 / took, "files sent and read, 1/s", None);
    line::print("log-relay-memory", relay.memory()?, "MiB", None);
    // The last entries are published within a second.
    tokio::time::sleep(Duration::from_secs(3)).await;

    let vkeys = relay.http.get(format!("{}/log/vkeys", relay.url)).send().await?.text().await?;
    let vkeys: Vec<String> = vkeys.lines().map(str::to_owned).collect();
    let log = format!("{}/log/", relay.url);
    let fsck =
        Command::new(tools.join("judge-fsck")).args(["-vkey", &ed25519(&vkeys)?, "-log", &log]).output();
    content("fsck", &fsck.await?)?;

    let began = Instant::now();
    let mut audit = Command::new(paramant);
    audit.args(["audit", &relay.url, "--require-pq", "--json"]);
    for key in &vkeys {
        audit.args(["--vkey", key]);
    }
    let audit = audit.output().await?;
    let took = began.elapsed().as_secs_f64();
    content("paramant audit", &audit)?;
    let report: Value = serde_json::from_slice(&audit.stdout)?;
    let size = report["head"]["size"].as_u64().with_context(|| format!("no size in {report}"))?;
    for kind in ["transfer", "transfer_claimed", "transfer_burned"] {
        let expected = format!("{files} {kind}");
        let is_there = report["checks"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|check| check["evidence"].as_str())
            .any(|evidence| evidence.split([',', ':', ';']).any(|part| part.trim() == expected));
        ensure!(
            is_there,
            "{files} files were sent and read, but the audit does not count {expected}: {report}"
        );
    }
    line::print("log-relay-entries", size as f64, "entries, found whole by paramant audit and fsck", None);
    line::print("log-relay-audit", took, "s over HTTP, tree heads included", None);
    line::print(
        "log-relay-tree-heads",
        report["timing"]["heads"].as_f64().unwrap_or_default(),
        "signed",
        None,
    );
    Ok(())
}

fn content(judge: &str, output: &Output) -> Result<()> {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "the run does not count: {judge}: {}{}",
        said(&output.stdout),
        said(&output.stderr)
    );
    Ok(())
}

/// Sends so many files and reads each.
async fn transfer(relay: &Arc<process::Relay>, files: u64) -> Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (relay, next) = (relay.clone(), next.clone());
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= files {
                    return Ok(());
                }
                one_file(&relay, number.is_multiple_of(2)).await?;
            }
        });
    }
    let told = next.clone();
    let teller = tokio::spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            eprintln!("{} of {files} files", told.load(Ordering::Relaxed).min(files));
        }
    });
    let mut outcome = Ok(());
    while let Some(worker) = workers.join_next().await {
        outcome = outcome.and(worker?);
    }
    teller.abort();
    outcome
}

async fn one_file(relay: &process::Relay, raw: bool) -> Result<()> {
    let (bytes, digest) = random_blob(LENGTH)?;
    let request = if raw {
        relay.http.put(format!("{}/v3/blobs/{digest}", relay.url)).body(bytes.clone())
    } else {
        let body = json!({ "hash": digest, "payload": STANDARD.encode(&bytes), "ttl_ms": 3_600_000 });
        relay.http.post(format!("{}/v2/inbound", relay.url)).json(&body)
    };
    let sent = request.header("X-Api-Key", &relay.key).send().await?;
    if !sent.status().is_success() {
        bail!("an upload answered {}: {}", sent.status(), sent.text().await?);
    }
    sent.bytes().await?;
    let read = relay.http.get(format!("{}/v2/outbound/{digest}", relay.url)).header("X-Api-Key", &relay.key);
    let read = read.send().await?;
    if !read.status().is_success() {
        bail!("a read answered {}: {}", read.status(), read.text().await?);
    }
    ensure!(read.bytes().await?[..] == bytes[..], "a file was read that is not the one sent");
    Ok(())
}
