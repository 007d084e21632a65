//! `paramant`: send and receive files through a relay, verify receipts, audit a relay's log.
//!
//! Reads arguments, calls `paramant-client`, shows results. Results go to standard output (one JSON line with `--json`),
//! everything else to standard error. Exit codes are listed in `paramant --help` and live in `exit.rs`. Secrets come from
//! files or the environment, never from arguments, and are never printed.

mod arguments;
mod command;
mod exit;
mod output;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;
use crate::output::Output;

fn main() -> ExitCode {
    // Before anything can open a TLS connection. It fails only when a provider is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments = Arguments::parse();
    let output = Output::new(arguments.json);
    let result = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command::run(arguments.command, &output)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = exit::code(&error);
            output.failure(&error, code);
            ExitCode::from(code)
        }
    }
}
