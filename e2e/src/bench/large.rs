//! A large file through the command line both ways, over a line that breaks in the middle of each, on a relay whose memory is limited.
//!
//! Prints rates and the relay's and the command's peak memory. As root the relay runs in a memory cgroup of 128 MiB (either version),
//! made here and removed at the end; otherwise that is said, and only the peak tells. Takes twice the file's size of disk.

mod line_that_breaks;
mod memory_limit;

use std::fs::{self, File};
use std::io::{BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use self::line_that_breaks::Line;
use self::memory_limit::MemoryLimit;
use super::{Arguments, line};
use crate::relay::Relay;
use crate::standalone::{Standalone, TOKEN};

const GIB: u64 = 1 << 30;
const MIB: f64 = 1024.0 * 1024.0;
/// What the issue allows the relay.
const LIMIT: u64 = 128 << 20;

pub(super) fn run(arguments: &Arguments, directory: &Path) -> Result<()> {
    let bytes = arguments.bytes.unwrap_or(10 * GIB);
    let paramant = arguments.paramant.as_deref().context("--paramant names the command line")?;
    let limits = format!(
        "maxBlob: {0}Gi, maxInFlight: {0}Gi, minFreeDisk: 1Gi, requestsPerMinute: 100000",
        bytes.div_ceil(GIB) + 1
    );
    let relay = Standalone::start(&arguments.relay, &directory.join("relay"), &limits)?;
    let limit = MemoryLimit::on(relay.pid(), LIMIT);
    if let Err(error) = &limit {
        println!("the relay's memory is not limited: {error:#}");
    }
    let key = Relay::with_new_key(relay.url(), TOKEN, "large")?.key;
    let source = directory.join("source");
    let sent = make(&source, bytes)?;

    let up = Line::to(relay.url(), bytes * 2 / 5)?;
    let began = Instant::now();
    let said =
        command(paramant, directory, &key, &["send", text(&source)?, "--ttl", "24h", "--relay", up.url()])?;
    told("send", bytes, began.elapsed(), up.broke())?;
    line::print("paramant send, peak", said.peak_mib, "MiB", None);
    let hash = said.json["hash"].as_str().context("no hash in what `paramant send` said")?.to_owned();
    fs::remove_file(&source)?;

    let down = Line::to(relay.url(), bytes * 3 / 5)?;
    let target = directory.join("target");
    let began = Instant::now();
    let arguments = ["receive", &hash, "--out", text(&target)?, "--sender", "large", "--relay", down.url()];
    let said = command(paramant, directory, &key, &arguments)?;
    told("receive", bytes, began.elapsed(), down.broke())?;
    line::print("paramant receive, peak", said.peak_mib, "MiB", None);
    ensure!(said.json["receipt"] == "valid", "the receipt: {}", said.json);
    ensure!(digest(&target)? == sent, "other bytes came out than went in");
    line::print_at_most("relay, peak of resident memory", peak(relay.pid())?, "MiB", LIMIT as f64 / MIB);
    if let Ok(limit) = limit {
        println!("the relay lived within its limit; the kernel reclaimed cache {} times", limit.hits());
    }
    Ok(())
}

fn told(what: &str, bytes: u64, took: Duration, broke: u64) -> Result<()> {
    ensure!(broke == 1, "the line broke {broke} times during {what}");
    line::print(
        &format!("{what}, the line broken once"),
        bytes as f64 / MIB / took.as_secs_f64(),
        "MiB/s",
        None,
    );
    Ok(())
}

/// A file that is mostly holes, with something different in each megabyte; answers its SHA-256.
fn make(path: &Path, bytes: u64) -> Result<String> {
    let file = File::create(path)?;
    file.set_len(bytes)?;
    let mut mark = [0; 4096];
    for at in (0..bytes.saturating_sub(4096)).step_by(1 << 20) {
        getrandom::fill(&mut mark).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
        file.write_all_at(&mark, at)?;
    }
    file.sync_all()?;
    digest(path)
}

fn digest(path: &Path) -> Result<String> {
    let (mut file, mut sha) = (BufReader::with_capacity(1 << 20, File::open(path)?), Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex::encode(sha.finalize()));
        }
        sha.update(&buffer[..read]);
    }
}

struct Said {
    json: serde_json::Value,
    peak_mib: f64,
}

/// Runs the command line to its end, watching its memory.
fn command(paramant: &Path, directory: &Path, key: &str, arguments: &[&str]) -> Result<Said> {
    let errors = directory.join("errors");
    let mut child = Command::new(paramant)
        .args(["--json"])
        .args(arguments)
        .args(["--device", "large"])
        .env("PARAMANT_API_KEY", key)
        .env("PARAMANT_STATE", directory.join("state"))
        .stdout(Stdio::piped())
        .stderr(File::create(&errors)?)
        .spawn()
        .with_context(|| format!("cannot start {}", paramant.display()))?;
    let mut highest = 0.0_f64;
    while child.try_wait()?.is_none() {
        highest = highest.max(peak(child.id()).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "`paramant {}` ended with {}: {}",
            arguments.join(" "),
            output.status,
            fs::read_to_string(errors)?
        );
    }
    let json = serde_json::from_slice(&output.stdout).context("`paramant` said no JSON")?;
    Ok(Said { json, peak_mib: highest })
}

/// The highest resident memory of a process so far, in MiB.
fn peak(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/status")))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no VmHWM value")?.parse()?;
    Ok(kib / 1024.0)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}
