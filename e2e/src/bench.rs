//! Benchmarks of the transfer path, of the log over HTTP, and of the operator on a cluster ([`operator`]): one run measures the relay (or the log's engine) and the bare
//! baseline beside it, and prints JSON lines.
//!
//! `cargo xtask bench NAME` runs `paramant-e2e bench NAME` of a release build. Each line is
//! `{"name","value","unit","goal","meets"}`; ratios compare figures of one run, since disks differ from minute to minute.

mod baseline;
mod claims;
mod courier;
mod download;
mod large;
mod line;
mod log_http;
mod log_relay;
mod memory;
mod operator;
mod plot;
mod process;
mod scale;
mod start;
mod upload;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// transfer-upload, transfer-raw, transfer-download, transfer-memory, transfer-claims, transfer-start, transfer-scale,
    /// transfer-large, log-http, log-relay; on a cluster operator-scale, operator-drain, operator-failover or
    /// courier-memory.
    name: String,
    /// The relay to measure.
    #[arg(long, env = "PARAMANT_RELAY_BINARY")]
    relay: PathBuf,
    /// Where data goes; must not be memory.
    #[arg(long, default_value = "/var/tmp")]
    directory: PathBuf,
    /// The command line, for log-relay and transfer-large.
    #[arg(long, env = "PARAMANT_BINARY")]
    paramant: Option<PathBuf>,
    /// Where programs built from elsewhere are, for log-http and log-relay.
    #[arg(long, env = "PARAMANT_TOOLS")]
    tools: Option<PathBuf>,
    /// Seconds per figure: 10, log-http 60.
    #[arg(long)]
    seconds: Option<u64>,
    /// Rounds of transfer-claims: 10,000; check-ins of courier-memory: 100; toggles of operator-drain: 100; ends of operator-failover: 10.
    #[arg(long)]
    rounds: Option<u64>,
    /// Entries of the log that log-relay and transfer-start make: 1,000,000.
    #[arg(long)]
    entries: Option<u64>,
    /// Bytes of the file that transfer-large sends: 10 GiB. Twice as much disk is needed.
    #[arg(long)]
    bytes: Option<u64>,
    /// A folder for the drawings of transfer-scale and operator-scale.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// Relays of operator-scale: 1,000.
    #[arg(long)]
    relays: Option<u64>,
    /// Leaves out the faults of operator-scale.
    #[arg(long)]
    without_faults: bool,
}

impl Arguments {
    /// How long a figure of the transfer path is measured.
    fn limit(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(10))
    }
}

/// Measures what was named.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.name.starts_with("operator-") || arguments.name == "courier-memory" {
        return operator::run(arguments);
    }
    line::refuse_memory(&arguments.directory)?;
    if arguments.name == "transfer-large" {
        return large::run(arguments, tempfile::tempdir_in(&arguments.directory)?.path());
    }
    if arguments.name == "transfer-start" {
        return start::run(arguments, tempfile::tempdir_in(&arguments.directory)?.path());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let directory = tempfile::tempdir_in(&arguments.directory)?;
    runtime.block_on(async {
        match arguments.name.as_str() {
            "transfer-upload" => upload::run(arguments, directory.path()).await,
            "transfer-raw" => upload::raw(arguments, directory.path()).await,
            "transfer-memory" => memory::run(arguments, directory.path()).await,
            "transfer-claims" => claims::run(arguments, directory.path()).await,
            "transfer-download" => download::run(arguments, directory.path()).await,
            "transfer-scale" => scale::run(arguments, directory.path()).await,
            "log-http" => log_http::run(arguments, directory.path()).await,
            "log-relay" => log_relay::run(arguments, directory.path()).await,
            other => bail!(
                "no benchmark named {other}; there are transfer-upload, transfer-raw, transfer-download, transfer-memory, transfer-claims, transfer-start, transfer-scale, transfer-large, log-http and log-relay"
            ),
        }
    })
}
