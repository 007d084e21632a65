//! `cargo xtask bench NAME|all`: figures of a release build, each printed as one JSON line beside the machine's own baseline.

use std::path::PathBuf;

use crate::arguments::Arguments;
use crate::build::{Build, Program, RELAY};
use crate::cache::Cache;
use crate::failure::{Result, fail};
use crate::run::Run;
use crate::step::step;

/// A benchmark and the program that holds it.
struct Bench {
    name: &'static str,
    program: Program,
}

const LOG: Program = Program { package: "paramant-log", binary: "log-bench" };
const TRANSFER: Program = Program { package: "paramant-e2e", binary: "paramant-bench" };

const BENCHES: &[Bench] = &[
    Bench { name: "log-append", program: LOG },
    Bench { name: "transfer-upload", program: TRANSFER },
    Bench { name: "transfer-download", program: TRANSFER },
];

/// `cargo xtask bench NAME|all [arguments of the benchmark]`.
pub(crate) fn command(cache: &Cache, mut arguments: Arguments) -> Result<()> {
    let names = || BENCHES.iter().map(|bench| bench.name).collect::<Vec<_>>().join(", ");
    let Some(wanted) = arguments.word() else {
        return fail(format!("which benchmark? There are: {}, all", names()));
    };
    let chosen: Vec<&Bench> =
        BENCHES.iter().filter(|bench| wanted == "all" || bench.name == wanted).collect();
    if chosen.is_empty() {
        return fail(format!("there is no benchmark `{wanted}`; there are: {}, all", names()));
    }
    let folder = compile(cache, &chosen)?;
    let rest = arguments.rest();
    for bench in chosen {
        Run::new(folder.join(bench.program.binary))
            .arg(bench.name)
            .args(&rest)
            .env("PARAMANT_RELAY_BINARY", folder.join(RELAY.binary))
            .attached()?;
    }
    Ok(())
}

fn compile(cache: &Cache, chosen: &[&Bench]) -> Result<PathBuf> {
    let mut programs = vec![RELAY];
    programs.extend(chosen.iter().map(|bench| bench.program));
    step("compile the release build", |_| {
        let build = Build { release: true, version: None };
        build.programs(cache.checkout(), &cache.target(), &cache.log("compile-bench"), &programs)
    })
}
