//! Scenarios on a cluster: the demo a newcomer runs first, and the tests that need a real Kubernetes.
//!
//! `cargo xtask demo` and `cargo xtask test` prepare a cluster, images and outside programs, and then run this program, which
//! finds them through the environment (see [`bed::Bed`]). It drives everything as its user would: kubectl, helm, the published
//! client, the `paramant` command and plain HTTP. Exit 0 means that every step was seen to hold.

mod audit_log;
mod bed;
mod bench;
mod demo;
mod host;
mod process;
mod relay;
mod scenario;
mod sdk;
mod standalone;
mod steps;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "paramant-e2e", about = "Scenarios of the Paramant operator on a real cluster")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the chart, apply the samples, send files and verify everything; leaves the relays running.
    Demo,
    /// Run the scenarios, all or those named.
    Test {
        /// Names as `list` prints them.
        names: Vec<String>,
    },
    /// Print the scenarios and what each shows.
    List,
    /// Measure the relay beside the machine's own baseline, without a cluster; or the operator on one.
    Bench(Box<bench::Arguments>),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("a TLS provider was already installed");
        return ExitCode::FAILURE;
    }
    let outcome = match arguments.command {
        Command::Demo => bed::Bed::from_environment().and_then(|bed| demo::run(&bed)),
        Command::Test { names } => bed::Bed::from_environment().and_then(|bed| scenario::run(&bed, &names)),
        Command::List => {
            scenario::list();
            Ok(())
        }
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
