//! `cargo xtask generate [--check]`: files that are made from other files. The CRDs, samples and API reference come from the
//! Rust types, `config/` from the chart. Everything is made aside first; then it is either copied or compared, so a check
//! changes nothing and a failed run leaves nothing half written.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arguments::Arguments;
use crate::build::debug_folder;
use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Result, fail};
use crate::run::Run;
use crate::step::step;
use crate::tools;

/// Folders that hold generated files only: what is there and not generated any more is stale.
const WHOLE: &[&str] = &["config/crd", "charts/paramant-operator/crds"];

/// Who installs with kustomize gets what the chart's defaults render.
const RENDERED: &str = "config/default/operator.yaml";

/// `cargo xtask generate [--check]`.
pub(crate) fn command(cache: &Cache, mut arguments: Arguments) -> Result<()> {
    let check = arguments.flag("--check");
    arguments.end()?;
    tools::published(cache, tools::HELM)?;
    if check {
        step("generated files are current", |evidence| evidence_of(check_all(cache)?, evidence))
    } else {
        write_all(cache)
    }
}

fn evidence_of(count: usize, evidence: &crate::step::Evidence) -> Result<()> {
    evidence.say(format!("{count} files"));
    Ok(())
}

/// Fails with the names of the files that differ from what is generated; returns how many were compared.
pub(crate) fn check_all(cache: &Cache) -> Result<usize> {
    let staged = stage(cache)?;
    let mut wrong = Vec::new();
    for file in &staged.files {
        match fs::read(cache.checkout().join(file)) {
            Err(_) => wrong.push(format!("{} is missing", file.display())),
            Ok(committed) if fs::read(staged.root.join(file)).is_ok_and(|made| made == committed) => {}
            Ok(_) => wrong.push(format!("{} differs", file.display())),
        }
    }
    wrong.extend(
        stale(cache, &staged)?.iter().map(|file| format!("{} is not generated any more", file.display())),
    );
    if wrong.is_empty() {
        return Ok(staged.files.len());
    }
    fail(format!("run `cargo xtask generate` and commit what it changes:\n    {}", wrong.join("\n    ")))
}

fn write_all(cache: &Cache) -> Result<()> {
    step("generate", |evidence| {
        let staged = stage(cache)?;
        for file in stale(cache, &staged)? {
            let path = cache.checkout().join(&file);
            fs::remove_file(&path).doing(|| format!("delete {}", path.display()))?;
        }
        let mut changed = Vec::new();
        for file in &staged.files {
            let (from, to) = (staged.root.join(file), cache.checkout().join(file));
            let made = fs::read(&from).doing(|| format!("read {}", from.display()))?;
            if fs::read(&to).is_ok_and(|committed| committed == made) {
                continue;
            }
            if let Some(directory) = to.parent() {
                make_directory(directory)?;
            }
            fs::write(&to, made).doing(|| format!("write {}", to.display()))?;
            changed.push(file.display().to_string());
        }
        evidence.say(format!(
            "{} files, changed: {}",
            staged.files.len(),
            if changed.is_empty() { "none".into() } else { changed.join(" ") }
        ));
        Ok(())
    })
}

/// Generated files under a folder of their own, with paths relative to it.
struct Staged {
    root: PathBuf,
    files: Vec<PathBuf>,
}

fn stage(cache: &Cache) -> Result<Staged> {
    let root = cache.root().join("generated");
    let _ = fs::remove_dir_all(&root);
    make_directory(&root)?;
    let log = cache.log("generate");
    let _ = fs::remove_file(&log);
    Run::new("cargo")
        .args(["build", "--locked", "--quiet", "-p", "paramant-crds", "--bin", "crdgen"])
        .env("CARGO_TARGET_DIR", cache.target())
        .dir(cache.checkout())
        .log(&log)
        .done()?;
    Run::new(debug_folder(cache).join("crdgen")).arg(&root).dir(cache.checkout()).log(&log).done()?;
    let chart = cache.checkout().join("charts/paramant-operator");
    let rendered = Run::new(cache.bin().join("helm"))
        .args(["template", "paramant-operator"])
        .arg(&chart)
        .args(["--namespace", "paramant-system"])
        .args(values(&chart))
        .output()?;
    let path = root.join(RENDERED);
    if let Some(directory) = path.parent() {
        make_directory(directory)?;
    }
    let head = "# Rendered from charts/paramant-operator by `cargo xtask generate`; change the chart, not this file.\n";
    fs::write(&path, format!("{head}{rendered}\n")).doing(|| format!("write {}", path.display()))?;
    let mut files = Vec::new();
    collect(&root, &root, &mut files)?;
    files.sort();
    Ok(Staged { root, files })
}

/// Values that the defaults leave open, if the chart has any.
pub(crate) fn values(chart: &Path) -> Vec<String> {
    let values = chart.join("ci/config-values.yaml");
    if values.exists() { vec!["--values".into(), values.to_string_lossy().into_owned()] } else { Vec::new() }
}

fn stale(cache: &Cache, staged: &Staged) -> Result<Vec<PathBuf>> {
    let mut present = Vec::new();
    for folder in WHOLE {
        let folder = cache.checkout().join(folder);
        if folder.exists() {
            collect(cache.checkout(), &folder, &mut present)?;
        }
    }
    present.retain(|file| !staged.files.contains(file));
    Ok(present)
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).doing(|| format!("read {}", directory.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(root, &path, files)?;
        } else {
            files.push(path.strip_prefix(root).unwrap_or(&path).to_path_buf());
        }
    }
    Ok(())
}
