//! Benchmarks of the transfer path: one run measures the relay and the bare baseline beside it, and prints JSON lines.
//!
//! `cargo xtask bench transfer-upload` and `transfer-download` run `paramant-e2e bench` of a release build. Each line is
//! `{"name","value","unit","goal","meets"}`; ratios compare figures of one run, since disks differ from minute to minute.

mod baseline;
mod download;
mod line;
mod process;
mod upload;

use std::path::PathBuf;

use anyhow::{Result, bail};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// transfer-upload or transfer-download.
    name: String,
    /// The relay to measure.
    #[arg(long, env = "PARAMANT_RELAY_BINARY")]
    relay: PathBuf,
    /// Where data goes; must not be memory.
    #[arg(long, default_value = "/var/tmp")]
    directory: PathBuf,
    /// Seconds per figure.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Measures what was named.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    line::refuse_memory(&arguments.directory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let directory = tempfile::tempdir_in(&arguments.directory)?;
    runtime.block_on(async {
        match arguments.name.as_str() {
            "transfer-upload" => upload::run(arguments, directory.path()).await,
            "transfer-download" => download::run(arguments, directory.path()).await,
            other => bail!("no benchmark named {other}; there are transfer-upload and transfer-download"),
        }
    })
}
