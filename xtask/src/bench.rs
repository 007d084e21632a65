//! `cargo xtask bench NAME|all`: figures of a release build, each printed as one JSON line beside the machine's own baseline.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::arguments::Arguments;
use crate::build::{Build, Program, RELAY, program};
use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Result, fail};
use crate::images::Beside;
use crate::run::Run;
use crate::scenarios::{self, For};
use crate::step::step;
use crate::{cluster, tools};

/// A benchmark, the program that holds it, and what that program is told besides.
struct Bench {
    name: &'static str,
    program: Program,
    /// The option that names the folder to measure in.
    folder: &'static str,
    /// What comes first on its command line.
    arguments: &'static [&'static str],
}

const LOG: Program = Program { package: "paramant-log", binary: "log_bench", example: true };
const CHECK_IN: Program = Program { package: "paramant-licensing", binary: "check_in_bench", example: true };
const AUDIT: Program = Program { package: "paramant-client", binary: "audit_bench", example: true };
const TRANSFER: Program = program("paramant-e2e");

const CLI: Program = program("paramant");

/// Needs programs from elsewhere: a load and an outside judge.
const LOG_HTTP: &str = "log-http";
/// Needs an outside judge and the command line. Takes too long to be one of `all`.
const LOG_RELAY: &str = "log-relay";

/// Draws what it measured. Takes too long to be one of `all`.
const SCALE: &str = "transfer-scale";

/// Needs the command line, and twice 10 GiB of disk: none of `all`.
const LARGE: &str = "transfer-large";

/// A thousand relays are made, measured under each fault, and taken down well within this.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// Of what carries check-ins.
const COURIER: &str = "courier-memory";

/// On the cluster: none of `all`.
const ON_CLUSTER: &[&str] = &["operator-scale", "operator-drain", "operator-failover", COURIER];

/// A benchmark of the log's engine.
const fn log(name: &'static str, arguments: &'static [&'static str]) -> Bench {
    Bench { name, program: LOG, folder: "--dir", arguments }
}

/// A benchmark of a whole relay.
const fn transfer(name: &'static str, arguments: &'static [&'static str]) -> Bench {
    Bench { name, program: TRANSFER, folder: "--directory", arguments }
}

const BENCHES: &[Bench] = &[
    log("log-append", &["log-append"]),
    log("log-latency", &["log-latency"]),
    log("log-proof", &["log-proof"]),
    log("log-restart", &["log-restart"]),
    Bench { name: "check-in", program: CHECK_IN, folder: "--dir", arguments: &[] },
    Bench { name: "log-audit", program: AUDIT, folder: "--dir", arguments: &[] },
    transfer(LOG_HTTP, &["bench", LOG_HTTP]),
    transfer(LOG_RELAY, &["bench", LOG_RELAY]),
    transfer("transfer-upload", &["bench", "transfer-upload"]),
    transfer("transfer-raw", &["bench", "transfer-raw"]),
    transfer("transfer-download", &["bench", "transfer-download"]),
    transfer("transfer-memory", &["bench", "transfer-memory"]),
    transfer("transfer-claims", &["bench", "transfer-claims"]),
    transfer("transfer-start", &["bench", "transfer-start"]),
    transfer(SCALE, &["bench", SCALE]),
    transfer(LARGE, &["bench", LARGE]),
];

/// `cargo xtask bench NAME|all [arguments of the benchmark]`.
pub(crate) fn command(cache: &Cache, mut arguments: Arguments) -> Result<()> {
    let names = || {
        let all = BENCHES.iter().map(|bench| bench.name).chain(ON_CLUSTER.iter().copied());
        all.collect::<Vec<_>>().join(", ")
    };
    let Some(wanted) = arguments.word() else {
        return fail(format!("which benchmark? There are: {}, all", names()));
    };
    if ON_CLUSTER.contains(&wanted.as_str()) {
        return on_cluster(cache, &wanted, arguments);
    }
    let chosen: Vec<&Bench> = BENCHES
        .iter()
        .filter(|bench| {
            if wanted == "all" {
                ![LOG_RELAY, SCALE, LARGE].contains(&bench.name)
            } else {
                bench.name == wanted
            }
        })
        .collect();
    if chosen.is_empty() {
        return fail(format!("there is no benchmark `{wanted}`; there are: {}, all", names()));
    }
    if chosen.iter().any(|bench| bench.name == LOG_HTTP) {
        tools::published(cache, tools::HAMMER)?;
    }
    if chosen.iter().any(|bench| [LOG_HTTP, LOG_RELAY].contains(&bench.name)) {
        tools::judges(cache)?;
    }
    let folder = compile(cache, &chosen)?;
    // On the disk of the cache: the benchmarks refuse to measure memory.
    let data = cache.root().join("bench");
    let rest = arguments.rest();
    for bench in chosen {
        let _ = fs::remove_dir_all(&data);
        make_directory(&data)?;
        println!("{}", bench.name);
        Run::new(bench.program.path(&folder))
            .args(bench.arguments)
            .arg(bench.folder)
            .arg(&data)
            .args(&rest)
            .env("PARAMANT_RELAY_BINARY", RELAY.path(&folder))
            .env("PARAMANT_BINARY", CLI.path(&folder))
            .env("PARAMANT_TOOLS", cache.bin())
            .attached()?;
    }
    fs::remove_dir_all(&data).doing(|| format!("delete {}", data.display()))
}

/// On our own cluster, whose processes and audit log are at hand. `--dev` measures a development build, for work on the benchmark itself.
fn on_cluster(cache: &Cache, name: &str, mut arguments: Arguments) -> Result<()> {
    let release = !arguments.flag("--dev");
    let choice = cluster::choose(&mut arguments)?;
    if !choice.is_own() {
        return fail(format!("{name} looks into the machine of our own cluster: leave out --context"));
    }
    let beside = if name == COURIER { Beside::Licensing } else { Beside::Nothing };
    let ready = scenarios::prepare(cache, choice, For::Bench { release, beside })?;
    println!("{name}");
    ready
        .scenarios(cache, Some(LIMIT))
        .args(["bench", name])
        .args(arguments.rest())
        .env("PARAMANT_RELAY_BINARY", RELAY.path(ready.programs()))
        .attached()
}

fn compile(cache: &Cache, chosen: &[&Bench]) -> Result<PathBuf> {
    let mut programs = vec![RELAY];
    if chosen.iter().any(|bench| [LOG_RELAY, LARGE].contains(&bench.name)) {
        programs.push(CLI);
    }
    programs.extend(chosen.iter().map(|bench| bench.program));
    step("compile the release build", |_| {
        let build = Build { release: true, ..Build::default() };
        build.programs(cache.checkout(), &cache.target(), &cache.log("compile-bench"), &programs)
    })
}
