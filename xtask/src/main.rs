//! `cargo xtask …`: everything this project needs from a machine besides the toolchains, with no dependency of its own,
//! so that the first command compiles in seconds. Each module owns one noun; only `main` prints a failure and exits.

mod alerts;
mod arguments;
mod bench;
mod build;
mod cache;
mod chart;
mod cluster;
mod demo;
mod failure;
mod fuzz;
mod generate;
mod gitops;
mod images;
mod kustomize;
mod manifests;
mod packages;
mod reproduce;
mod run;
mod scenarios;
mod sdk;
mod step;
mod test;
mod test_log;
mod tools;
mod trust;

use std::process::ExitCode;

use crate::arguments::Arguments;
use crate::cache::Cache;
use crate::failure::{Result, fail};

const HELP: &str = "\
usage: cargo xtask COMMAND

  demo [--down]             a cluster, the operator, relays, verified transfers; leaves it running (--down removes it)
  test [--fast] [SCENARIO…] everything that is checked; --fast stops before the cluster, names run only those,
                            --manifests only the chart, config/, alerts and health scripts
  bench NAME|all            figures of a release build
  fuzz [TARGET] [--seconds N]
                            the fuzz targets under libFuzzer, a minute each unless N says otherwise
  generate [--check]        CRDs, samples, API reference, config/
  images [--release] [--version V] [--variants]
                            builds operator and relay images and pushes them to the cluster's registry
  reproduce [operator|relay] builds the release images twice and compares their digests
  tools                     builds every outside program that tests and demo use
  cluster up                starts a real single-node Kubernetes on this machine
  cluster down|status|logs [DAEMON]|kubeconfig|volumes N

demo, test, images and cluster up take --context NAME --registry HOST[:PORT][/PATH] to use an existing cluster.
What is built is kept in PARAMANT_CACHE, else $XDG_CACHE_HOME/paramant, else ~/.cache/paramant.
";

fn main() -> ExitCode {
    match command(Arguments::new(std::env::args().skip(1))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("\nerror: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well; what is not has been told unless it is the error.
fn command(mut arguments: Arguments) -> Result<bool> {
    let command = arguments.word().unwrap_or_else(|| "help".to_owned());
    match command.as_str() {
        "test" => return test::command(&Cache::open()?, arguments),
        "fuzz" => return fuzz::command(&Cache::open()?, arguments),
        "demo" => demo::command(&Cache::open()?, arguments),
        "bench" => bench::command(&Cache::open()?, arguments),
        "generate" => generate::command(&Cache::open()?, arguments),
        "images" => images::command(&Cache::open()?, arguments),
        "reproduce" => reproduce::command(&Cache::open()?, arguments),
        "cluster" => cluster::command(&Cache::open()?, arguments),
        "tools" => arguments.end().and_then(|()| tools::all(&Cache::open()?)),
        "help" => {
            print!("{HELP}");
            Ok(())
        }
        other => fail(format!("there is no command `{other}`\n\n{HELP}")),
    }
    .map(|()| true)
}
