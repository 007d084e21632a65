//! Our own programs, built by Cargo: in the profile that tests share, or as a release that does not know where it was built.

use std::env;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::failure::{Failure, Result};
use crate::run::Run;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// How to build.
#[derive(Debug, Clone, Default)]
pub(crate) struct Build {
    /// Optimised, stripped, with no trace of the directory.
    pub(crate) release: bool,
    /// The version the programs show; the workspace's own when `None`.
    pub(crate) version: Option<String>,
    /// The relay as a release that does not exist, for rehearsing updates.
    pub(crate) rehearsal: bool,
    /// Variables for Cargo beside its own.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// Cargo's home, when it is not the usual one.
    pub(crate) cargo_home: Option<PathBuf>,
}

impl Build {
    /// Builds these programs from `checkout` into `target`; returns the folder that holds them.
    pub(crate) fn programs(
        &self,
        checkout: &Path,
        target: &Path,
        log: &Path,
        programs: &[Program],
    ) -> Result<PathBuf> {
        let mut cargo = Run::new("cargo")
            .args(["build", "--locked", "--target", TARGET])
            .dir(checkout)
            .env("CARGO_TARGET_DIR", target)
            .log(log);
        if self.release {
            for program in programs {
                cargo = cargo.args(["-p", program.package, program.option(), program.binary]);
            }
        } else {
            // The whole workspace, because Cargo would choose other features for a part of it and build everything twice.
            cargo = cargo.args(["--workspace", "--bins"]);
        }
        for (name, value) in self.environment {
            cargo = cargo.env(name, value);
        }
        if self.rehearsal {
            cargo = cargo.args(["--features", "paramant-relay/rehearsal"]);
        }
        if let Some(version) = &self.version {
            cargo = cargo.env("PARAMANT_VERSION", version);
        }
        if self.release {
            let home = self.cargo_home.clone().map_or_else(cargo_home, Ok)?;
            cargo = without_places(cargo.arg("--release").env("CARGO_HOME", &home), &home, checkout, target);
        }
        cargo.done()?;
        Ok(target.join(TARGET).join(if self.release { "release" } else { "debug" }))
    }
}

/// A program of the workspace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub(crate) package: &'static str,
    pub(crate) binary: &'static str,
    /// Whether Cargo knows it as an example rather than as a binary.
    pub(crate) example: bool,
}

impl Program {
    fn option(self) -> &'static str {
        if self.example { "--example" } else { "--bin" }
    }

    /// Where the program lies below the folder that `programs` returns.
    pub(crate) fn path(self, folder: &Path) -> PathBuf {
        if self.example { folder.join("examples").join(self.binary) } else { folder.join(self.binary) }
    }
}

/// A program whose package and binary have one name.
pub(crate) const fn program(name: &'static str) -> Program {
    Program { package: name, binary: name, example: false }
}

pub(crate) const OPERATOR: Program = program("paramant-operator");
pub(crate) const RELAY: Program = program("paramant-relay");
/// What the relay's program becomes in the pods of couriers: it lies beside it.
pub(crate) const COURIER: Program =
    Program { package: "paramant-relay", binary: "paramant-courier", example: false };
pub(crate) const TESTWORLD: Program = program("paramant-relay-testworld");
pub(crate) const AUTHORITY: Program = program("paramant-authority");

/// Where Cargo puts what it builds in the profile that tests share.
pub(crate) fn debug_folder(cache: &Cache) -> PathBuf {
    cache.target().join(TARGET).join("debug")
}

/// Where Cargo keeps the sources of other packages.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
        .ok_or_else(|| Failure("neither CARGO_HOME nor HOME is set".into()))
}

/// Replaces every place that the compilers would write into the programs by a fixed name.
fn without_places(cargo: Run, cargo_home: &Path, checkout: &Path, target: &Path) -> Run {
    // The last that matches wins, so the innermost comes last: a target folder may lie inside the checkout.
    let places = [(cargo_home, "/cargo"), (checkout, "/src"), (target, "/target")];
    let mut rust = vec!["-Ctarget-feature=+crt-static".to_owned()];
    let mut c = Vec::new();
    for (place, name) in places {
        rust.push(format!("--remap-path-prefix={}={name}", place.display()));
        c.push(format!("-ffile-prefix-map={}={name}", place.display()));
    }
    cargo
        // This variable replaces the flags of .cargo/config.toml, so it repeats them.
        .env("CARGO_ENCODED_RUSTFLAGS", rust.join("\u{1f}"))
        .env("CFLAGS", c.join(" "))
        .env("SOURCE_DATE_EPOCH", "0")
        .env("CARGO_INCREMENTAL", "0")
}
