//! `cargo xtask …`: everything this project needs from a machine besides the toolchains, with no dependency of its own,
//! so that the first command compiles in seconds. Each module owns one noun; only `main` prints a failure and exits.

mod arguments;
mod cache;
mod cluster;
mod failure;
mod images;
mod packages;
mod run;
mod step;
mod tools;

use std::process::ExitCode;

use crate::arguments::Arguments;
use crate::cache::Cache;
use crate::failure::{Result, fail};

const HELP: &str = "\
usage: cargo xtask COMMAND

  cluster up|down|status|logs|kubeconfig|volumes   a real Kubernetes on this machine
";

fn main() -> ExitCode {
    match command(Arguments::new(std::env::args().skip(1))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nerror: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn command(mut arguments: Arguments) -> Result<()> {
    let command = arguments.word().unwrap_or_else(|| "help".to_owned());
    match command.as_str() {
        "help" => {
            print!("{HELP}");
            Ok(())
        }
        "cluster" => cluster::command(&Cache::open()?, arguments),
        other => fail(format!("there is no command `{other}`\n\n{HELP}")),
    }
}
