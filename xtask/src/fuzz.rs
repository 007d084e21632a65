//! `cargo xtask fuzz [TARGET] [--seconds N]`: the fuzz targets under libFuzzer, led by coverage, on the pinned toolchain.
//! What LLVM needs for that are ordinary compiler flags; no sanitiser is involved, since no unsafe code is written here.
//! Corpus and findings stay in the cache, so the next run goes on where this one ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::arguments::Arguments;
use crate::cache::{Cache, make_directory};
use crate::failure::{Failure, Result, fail};
use crate::run::Run;
use crate::step::step;

const PACKAGE: &str = "paramant-fuzz";
/// One minute for each target, half an hour for all.
const SECONDS: usize = 60;
/// An input that takes longer is a finding.
const SLOW_SECONDS: usize = 5;

/// Counters at every edge, the comparisons it saw, and what maps them to places: what libFuzzer reads.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// `cargo xtask fuzz`. Returns whether nothing was found.
pub(crate) fn command(cache: &Cache, mut arguments: Arguments) -> Result<bool> {
    let seconds = match arguments.option("--seconds")? {
        None => SECONDS,
        Some(text) => text.parse().map_err(|_| Failure(format!("`{text}` is not a number of seconds")))?,
    };
    let wanted = arguments.word();
    arguments.end()?;
    let folder = cache.root().join("fuzz");
    let groups = seeds(cache, &folder, wanted.as_deref())?;
    let mut found = Vec::new();
    // What needs few crates is compiled and run first; the relay itself takes minutes.
    for (feature, targets) in &groups {
        let with = if feature.is_empty() { "the formats" } else { feature };
        let program =
            step(&format!("compile the targets of {with} with counters"), |_| compile(cache, feature))?;
        for target in targets {
            let outcome = step(target, |evidence| {
                let told = long(&program, cache, &folder.join(target), target, seconds)?;
                evidence.say(told);
                Ok(())
            });
            if let Err(failure) = outcome {
                println!("{failure}");
                found.push(target.as_str());
            }
        }
    }
    if found.is_empty() {
        return Ok(true);
    }
    println!(
        "\nfound something: {}\nThe inputs are in {}/<target>/findings; put each into relay/fuzz/seeds/<target>/ with its repair.",
        found.join(", "),
        folder.display()
    );
    Ok(false)
}

/// Writes seeds and dictionaries; the targets' names by the feature that has them.
fn seeds(cache: &Cache, folder: &Path, wanted: Option<&str>) -> Result<BTreeMap<String, Vec<String>>> {
    step("write the seeds", |evidence| {
        let run = Run::new("cargo")
            .args(["run", "--locked", "--quiet", "-p", PACKAGE, "--bin", "fuzz-seeds", "--"])
            .arg(folder)
            .args(wanted)
            .dir(cache.checkout())
            .env("CARGO_TARGET_DIR", cache.target())
            .log(cache.log("fuzz-seeds"));
        let groups = grouped(&run.output()?);
        evidence.say(groups.values().flatten().map(String::as_str).collect::<Vec<_>>().join(" "));
        Ok(groups)
    })
}

/// Lines of a name, a space, and a feature or nothing.
fn grouped(lines: &str) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines.lines() {
        let (name, feature) = line.split_once(' ').unwrap_or((line, ""));
        groups.entry(feature.to_owned()).or_default().push(name.to_owned());
    }
    groups
}

fn compile(cache: &Cache, feature: &str) -> Result<PathBuf> {
    if !Run::new("c++").arg("--version").succeeds() {
        return fail("libFuzzer is C++: install a C++ compiler (apt-get install g++), then run again");
    }
    let triple = triple()?;
    // The triple is named so that build scripts and macros, which run here and now, are compiled without counters.
    let target = cache.root().join("fuzz-target");
    Run::new("cargo")
        .args(["build", "--locked", "--profile", "fuzz", "-p", PACKAGE])
        .args(["--no-default-features", "--features", &format!("libfuzzer,{feature}")])
        .args(["--bin", "fuzz-long", "--target", triple.as_str()])
        .dir(cache.checkout())
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", COVERAGE.join(" "))
        .log(cache.log("fuzz-compile"))
        .done()?;
    Ok(target.join(triple).join("fuzz/fuzz-long"))
}

fn triple() -> Result<String> {
    let told = Run::new("rustc").arg("-vV").output()?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure(format!("`rustc -vV` names no host:\n{told}")))
}

/// One target for some seconds; what libFuzzer says at the end.
fn long(program: &Path, cache: &Cache, folder: &Path, target: &str, seconds: usize) -> Result<String> {
    let (corpus, findings) = (folder.join("corpus"), folder.join("findings"));
    make_directory(&corpus)?;
    make_directory(&findings)?;
    let log = cache.log(&format!("fuzz-{target}"));
    let _ = std::fs::remove_file(&log);
    Run::new(program)
        .arg(&corpus)
        .arg(folder.join("seeds"))
        .arg(format!("-dict={}", folder.join("dictionary").display()))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={SLOW_SECONDS}"))
        .args(["-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1"])
        .env("PARAMANT_FUZZ_TARGET", target)
        .log(&log)
        .done()?;
    Ok(summary(&std::fs::read_to_string(&log).unwrap_or_default()))
}

/// `12345 inputs, 678 edges` of libFuzzer's last words.
fn summary(log: &str) -> String {
    let inputs = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units: "));
    let edges = log.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("cov: ")?;
        rest.split_whitespace().next()
    });
    format!("{} inputs, {} edges", inputs.unwrap_or("?").trim(), edges.unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_compiled_with_what_they_need_and_the_lightest_first() {
        let groups = grouped("settings server\nnote \narchive client\nvkey \n");
        let expected =
            [("", vec!["note", "vkey"]), ("client", vec!["archive"]), ("server", vec!["settings"])];
        let expected = expected
            .map(|(feature, names)| (feature.to_owned(), names.into_iter().map(str::to_owned).collect()));
        assert_eq!(groups, BTreeMap::from(expected));
    }

    #[test]
    fn the_last_words_of_a_run_are_read() {
        let log = "#2\tINITED cov: 90 ft: 91 corp: 1/1b\n#512\tDONE   cov: 120 ft: 300 corp: 20/1Kb\nstat::number_of_executed_units: 512\n";
        assert_eq!(summary(log), "512 inputs, 120 edges");
        assert_eq!(summary(""), "? inputs, ? edges");
    }
}
