//! Benchmarks of the transfer path: one run measures the relay and the bare baseline beside it, and prints JSON lines.
//!
//! `cargo xtask bench transfer-upload` and `transfer-download` run this with a release build. Each line is
//! `{"name","value","unit","goal","meets"}`; ratios compare figures of one run, since disks differ from minute to minute.

#[path = "bench/baseline.rs"]
mod baseline;
#[path = "bench/download.rs"]
mod download;
#[path = "bench/line.rs"]
mod line;
#[path = "bench/process.rs"]
mod process;
#[path = "bench/upload.rs"]
mod upload;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use clap::Parser;

#[derive(Parser)]
#[command(name = "paramant-bench", about = "Benchmarks of the relay's transfer path")]
struct Arguments {
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

fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("a TLS provider was already installed");
        return ExitCode::FAILURE;
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
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
