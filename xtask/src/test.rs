//! `cargo xtask test [--fast]`: every rung of the ladder, from formatting to scenarios on a real cluster.
//! A rung that fails does not hide the others; the cluster rung runs last and is skipped by `--fast`.

use std::fs;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::cache::Cache;
use crate::cluster::{self, Choice};
use crate::failure::{Failure, Result, fail};
use crate::run::Run;
use crate::step::{Evidence, step};
use crate::test_log::{self, Counted};
use crate::{
    alerts, chart, generate, gitops, kustomize, manifests, packages, reproduce, scenarios, sdk, tools,
};

/// Packages that may not be compiled, however they come in.
const FORBIDDEN: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls"];

/// A package that is compiled, to see that the question above can be answered with yes.
const PRESENT: &str = "aws-lc-rs";

/// Free volumes before the scenarios start: the largest asks for twenty at once.
const VOLUMES: usize = 60;

/// Far above what the scenarios take together; one that hangs must not hang whoever waits for the result.
const LIMIT: Duration = Duration::from_secs(45 * 60);

const CARGO_DENY: &str = "0.20.2";

/// `cargo xtask test [--fast|--manifests] [--context NAME] [SCENARIO…]`. Returns whether all passed; what failed has been told.
pub(crate) fn command(cache: &Cache, mut arguments: Arguments) -> Result<bool> {
    let started = Instant::now();
    let only_manifests = arguments.flag("--manifests");
    let fast = arguments.flag("--fast") || only_manifests;
    let choice = cluster::choose(&mut arguments)?;
    let scenarios = arguments.words()?;
    let mut ladder = Ladder { cache, passed: 0, failed: Vec::new() };
    println!("Testing (cache: {})", cache.root().display());
    // Who names scenarios works on them and wants nothing else.
    if scenarios.is_empty() {
        let kubernetes = if fast || !choice.is_own() { None } else { tools::kubernetes_meanwhile(cache) };
        if !only_manifests {
            ladder.source();
        }
        if let Some(building) = kubernetes {
            ladder.rung("Kubernetes, built beside the checks above", |_, _| {
                building.join().unwrap_or_else(|_| fail("the thread that builds it panicked"))
            });
        }
        ladder.manifests();
        if !fast {
            ladder.rung("two builds of the relay are one image", |ladder, evidence| {
                reproduce::two_builds_of_the_relay_are_one_image(ladder.cache, evidence)
            });
        }
    }
    if !fast {
        ladder.cluster(choice, &scenarios);
    }
    let (passed, failed) = (ladder.passed, ladder.failed.len());
    println!("\nafter {:.0} s", started.elapsed().as_secs_f64());
    // Once more: whoever reads only the end of a long output still learns what failed, and why.
    for (rung, why) in &ladder.failed {
        println!("\nfailed: {rung}\n{why}");
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

struct Ladder<'a> {
    cache: &'a Cache,
    passed: usize,
    failed: Vec<(String, String)>,
}

impl Ladder<'_> {
    fn rung(&mut self, name: &str, check: impl FnOnce(&Self, &Evidence) -> Result<()>) {
        match step(name, |evidence| check(self, evidence)) {
            Ok(()) => self.passed += 1,
            Err(failure) => self.lost(name, &failure),
        }
    }

    fn source(&mut self) {
        self.rung("formatting", |ladder, _| ladder.cargo("formatting", &["fmt", "--all", "--check"]).done());
        self.rung("clippy", |ladder, _| {
            ladder
                .cargo(
                    "clippy",
                    &[
                        "clippy",
                        "--workspace",
                        "--all-targets",
                        "--locked",
                        "--quiet",
                        "--",
                        "-D",
                        "warnings",
                    ],
                )
                .done()
        });
        let mut python = None;
        self.rung("what the tests need", |ladder, _| {
            tools::judges(ladder.cache)?;
            tools::published(ladder.cache, tools::LITEWITNESS)?;
            tools::published(ladder.cache, tools::TOXIPROXY)?;
            tools::published(ladder.cache, tools::COSIGN)?;
            python = Some(sdk::python(ladder.cache)?);
            match packages::ensure_for_tests(ladder.cache) {
                // A test that lacks its program says so; only CI may not do without.
                Err(_) if std::env::var("CI").as_deref() != Ok("true") => Ok(()),
                installed => installed,
            }
        });
        self.rung("tests of the workspace", |ladder, evidence| {
            let mut tests = ladder
                .cargo("tests", &["test", "--workspace", "--locked", "--no-fail-fast"])
                .env("PARAMANT_JUDGES", ladder.cache.bin());
            if let Some(python) = &python {
                tests = tests.env("PARAMANT_SDK_PYTHON", python);
            }
            ladder.tested("tests", tests, evidence)
        });
        self.rung("pages in a browser", |ladder, evidence| {
            let driver = packages::browser(ladder.cache)?;
            let tests = [
                "test",
                "--locked",
                "-p",
                "paramant-relay",
                "--test",
                "it",
                "--",
                "browser::",
                "panel::a_browser",
            ];
            let tests = ladder.cargo("browser", &tests).env("PARAMANT_CHROMEDRIVER", driver);
            ladder.tested("browser", tests, evidence)
        });
        self.rung("documentation", |ladder, _| {
            ladder
                .cargo("documentation", &["doc", "--workspace", "--no-deps", "--locked", "--quiet"])
                .env("RUSTDOCFLAGS", "-D warnings")
                .done()
        });
        self.rung("dependencies: bans, licences, sources", |ladder, _| {
            cargo_deny(ladder.cache)?;
            Run::new(ladder.cache.bin().join("cargo-deny"))
                .args(["--workspace", "check", "bans", "licenses", "sources"])
                .dir(ladder.cache.checkout())
                .log(ladder.fresh_log("cargo-deny"))
                .done()
        });
        self.rung("no ring, no OpenSSL compiled", |ladder, evidence| {
            if !ladder.is_compiled(PRESENT)? {
                return fail(format!(
                    "`cargo tree` does not find {PRESENT}, which is compiled: it would find nothing else"
                ));
            }
            for package in FORBIDDEN {
                if ladder.is_compiled(package)? {
                    return fail(format!(
                        "{package} is compiled; see `cargo tree --locked -i {package} -e all`"
                    ));
                }
            }
            evidence.say(FORBIDDEN.join(", "));
            Ok(())
        });
    }

    fn manifests(&mut self) {
        self.rung("generated files are current", |ladder, evidence| {
            tools::helm(ladder.cache)?;
            generate::check(ladder.cache, evidence)
        });
        self.rung("the specification's vectors are current", |ladder, evidence| {
            tools::judges(ladder.cache)?;
            let vectors = ladder.cache.checkout().join("docs/spec/vectors");
            let told = Run::new(ladder.cache.bin().join("judge-vectors"))
                .arg("-dir")
                .arg(vectors)
                .arg("-check")
                .output()?;
            evidence.say(told.trim_start_matches("vectors: ok: ").to_owned());
            Ok(())
        });
        self.rung("chart: values that are right and wrong", |ladder, evidence| {
            chart::check(ladder.cache, evidence)
        });
        self.rung("kustomize", |ladder, evidence| kustomize::check(ladder.cache, evidence));
        self.rung("alerts and dashboard", |ladder, evidence| alerts::check(ladder.cache, evidence));
        self.rung("health for Argo CD", |ladder, evidence| gitops::check(ladder.cache, evidence));
        self.rung("helm lint", |ladder, _| manifests::lint(ladder.cache));
        self.rung("kubeconform", |ladder, evidence| manifests::conform(ladder.cache, evidence));
    }

    fn cluster(&mut self, choice: Choice, names: &[String]) {
        // No line of its own: each part of it prints one.
        let ready = match scenarios::prepare(self.cache, choice, scenarios::For::Tests) {
            Ok(ready) => ready,
            Err(failure) => return self.lost("preparing the cluster", &failure),
        };
        if let Err(failure) = ready.cluster().ensure_volumes(self.cache, VOLUMES) {
            return self.lost("volumes", &failure);
        }
        println!("Scenarios");
        match ready.scenarios(self.cache, Some(LIMIT)).arg("test").args(names).attached() {
            Ok(()) => self.passed += 1,
            Err(failure) => {
                self.lost("scenarios", &failure);
                if let Ok(folder) = ready.cluster().collect(self.cache) {
                    println!("what the cluster said: {}", folder.display());
                }
            }
        }
    }

    fn lost(&mut self, rung: &str, failure: &Failure) {
        println!("{failure}\n");
        self.failed.push((rung.to_owned(), failure.to_string()));
    }

    /// Runs tests that write to this log: says how many ran, and of the failed ones what they said.
    fn tested(&self, log: &str, tests: Run, evidence: &Evidence) -> Result<()> {
        let outcome = tests.done();
        let path = self.cache.log(log);
        let printed = fs::read_to_string(&path).unwrap_or_default();
        evidence.say(Counted::from(&printed).to_string());
        let said = test_log::failures(&printed);
        if outcome.is_err() && !said.is_empty() {
            return fail(format!("{said}whole output: {}", path.display()));
        }
        outcome
    }

    fn cargo(&self, log: &str, arguments: &[&str]) -> Run {
        Run::new("cargo")
            .args(arguments)
            .dir(self.cache.checkout())
            .env("CARGO_TARGET_DIR", self.cache.target())
            .log(self.fresh_log(log))
    }

    fn fresh_log(&self, name: &str) -> std::path::PathBuf {
        let log = self.cache.log(name);
        let _ = fs::remove_file(&log);
        log
    }

    fn is_compiled(&self, package: &str) -> Result<bool> {
        let tree = Run::new("cargo")
            .args([
                "tree",
                "--locked",
                "--quiet",
                "-i",
                package,
                "--target",
                "x86_64-unknown-linux-gnu",
                "-e",
                "all",
            ])
            .dir(self.cache.checkout())
            .output();
        match tree {
            Ok(users) => Ok(!users.is_empty()),
            // Not even in the lock file.
            Err(Failure(message)) if message.contains("did not match any packages") => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

fn cargo_deny(cache: &Cache) -> Result<()> {
    if cache.bin().join("cargo-deny").exists() && cache.is_current("cargo-deny", CARGO_DENY) {
        return Ok(());
    }
    Run::new("cargo")
        .args(["install", "cargo-deny", "--locked", "--version", CARGO_DENY, "--root"])
        .arg(cache.root())
        // Not for the workspace's target, whose flags would build it otherwise than it is tested.
        .arg("--target-dir")
        .arg(cache.root().join("cargo-deny"))
        // It runs for seconds: what counts is how long it takes to build (six minutes of two cores with its own settings).
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .dir(cache.root())
        .log(cache.log("build-cargo-deny"))
        .done()?;
    cache.made("cargo-deny", CARGO_DENY)
}
