//! `cargo xtask generate [--check]`: files that follow from others. `crdgen` writes them, this only builds it and gives it helm.
//! The definitions and the API reference come from the Rust types, `config/` from the chart.

use std::fs;
use std::path::PathBuf;

use crate::arguments::Arguments;
use crate::build::debug_folder;
use crate::cache::Cache;
use crate::failure::{Failure, Result};
use crate::run::Run;
use crate::step::step;
use crate::tools;

/// `cargo xtask generate [--check]`.
pub(crate) fn command(cache: &Cache, mut arguments: Arguments) -> Result<()> {
    let check = arguments.flag("--check");
    arguments.end()?;
    tools::published(cache, tools::HELM)?;
    step(if check { "generated files are current" } else { "generate" }, |_| {
        if check { self::check(cache) } else { crdgen(cache)?.done() }
    })
}

/// Fails with the names of the files that are not what is generated.
pub(crate) fn check(cache: &Cache) -> Result<()> {
    crdgen(cache)?.arg("--check").done()
}

/// Writes the schemas that kubeconform needs into a folder of the cache: ours, and Kubernetes' own as its module carries them.
pub(crate) fn schemas(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.root().join("schemas");
    let _ = fs::remove_dir_all(&folder);
    let program = build(cache)?;
    Run::new(program)
        .arg("schemas")
        .arg(&folder)
        .arg("--kubernetes")
        .arg(tools::kubernetes_openapi(cache)?)
        .done()?;
    Ok(folder)
}

fn crdgen(cache: &Cache) -> Result<Run> {
    let program = build(cache)?;
    Ok(Run::new(program)
        .arg("--root")
        .arg(cache.checkout())
        .arg("--helm")
        .arg(cache.bin().join("helm"))
        .log(log(cache)))
}

fn build(cache: &Cache) -> Result<PathBuf> {
    let _ = fs::remove_file(log(cache));
    Run::new("cargo")
        .args(["build", "--locked", "--quiet", "-p", "paramant-crds", "--bin", "crdgen"])
        .env("CARGO_TARGET_DIR", cache.target())
        .dir(cache.checkout())
        .log(log(cache))
        .done()
        .map_err(|Failure(message)| Failure(format!("crdgen does not compile: {message}")))?;
    Ok(debug_folder(cache).join("crdgen"))
}

fn log(cache: &Cache) -> PathBuf {
    cache.log("generate")
}
