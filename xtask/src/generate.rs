//! `cargo xtask generate [--check]`: files that follow from others. `crdgen` makes the definitions and the API reference from
//! the Rust types, helm renders `config/` and the chart's snapshots, kustomize the one file to install. Everything is made aside first; then it is either copied or compared,
//! so a check changes nothing and a failed run leaves nothing half written.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arguments::Arguments;
use crate::build::debug_folder;
use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Failure, Result, fail};
use crate::run::Run;
use crate::step::{Evidence, step};
use crate::tools;
use crate::{chart, kustomize, manifests, trust};

/// Folders that hold generated files only: what lies there and is not generated any more is stale.
const WHOLE: &[&str] = &["config/crd", "charts/paramant-operator/templates/crds", chart::SNAPSHOTS];

/// Who installs with kustomize gets what the chart renders.
const RENDERED: &[(&str, &[&str])] = &[
    ("config/operator/operator.yaml", &["--set", "crds.install=false"]),
    // What an operator may do in one namespace; whoever uses it says in which.
    (
        "config/rights/rights.yaml",
        &["--set", "watch.namespaces={transfers}", "--show-only", "templates/rbac/in-scope.yaml"],
    ),
];

/// `cargo xtask generate [--check]`.
pub(crate) fn command(cache: &Cache, mut arguments: Arguments) -> Result<()> {
    let check = arguments.flag("--check");
    arguments.end()?;
    tools::helm(cache)?;
    if check {
        step("generated files are current", |evidence| self::check(cache, evidence))
    } else {
        step("generate", |evidence| write(cache, evidence))
    }
}

/// Fails with the names of the files that are not what is generated.
pub(crate) fn check(cache: &Cache, evidence: &Evidence) -> Result<()> {
    let made = Made::make(cache)?;
    let changed = made.changed(cache).map(|file| format!("{} differs or is missing", file.display()));
    let stale = made.stale(cache)?;
    let stale = stale.iter().map(|file| format!("{} is not generated any more", file.display()));
    let wrong: Vec<String> = changed.chain(stale).collect();
    if wrong.is_empty() {
        evidence.say(format!("{} files", made.files.len()));
        return Ok(());
    }
    fail(format!("run `cargo xtask generate` and commit what it changes:\n    {}", wrong.join("\n    ")))
}

fn write(cache: &Cache, evidence: &Evidence) -> Result<()> {
    let made = Made::make(cache)?;
    for file in made.stale(cache)? {
        let path = cache.checkout().join(&file);
        fs::remove_file(&path).doing(|| format!("delete {}", path.display()))?;
    }
    let changed: Vec<&PathBuf> = made.changed(cache).collect();
    for file in &changed {
        let (from, to) = (made.root.join(file), cache.checkout().join(file));
        if let Some(directory) = to.parent() {
            make_directory(directory)?;
        }
        fs::copy(&from, &to).doing(|| format!("write {}", to.display()))?;
    }
    let names: Vec<String> = changed.iter().map(|file| file.display().to_string()).collect();
    evidence.say(
        format!("{} files, {} changed {}", made.files.len(), names.len(), names.join(" "))
            .trim_end()
            .to_owned(),
    );
    Ok(())
}

/// Writes the schemas that kubeconform needs into a folder of the cache: ours, and Kubernetes' own as its module carries them.
pub(crate) fn schemas(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.root().join("schemas");
    let _ = fs::remove_dir_all(&folder);
    let program = crdgen(cache)?;
    Run::new(program)
        .arg("schemas")
        .arg(&folder)
        .arg("--kubernetes")
        .arg(tools::kubernetes_openapi(cache)?)
        .done()?;
    Ok(folder)
}

/// Freshly made files, by their paths relative to the checkout.
struct Made {
    root: PathBuf,
    files: Vec<PathBuf>,
}

impl Made {
    fn make(cache: &Cache) -> Result<Self> {
        let root = cache.root().join("generated");
        let _ = fs::remove_dir_all(&root);
        make_directory(&root)?;
        Run::new(crdgen(cache)?).arg(&root).dir(cache.checkout()).log(log(cache)).done()?;
        for (file, arguments) in RENDERED {
            let rendered = root.join(file);
            if let Some(directory) = rendered.parent() {
                make_directory(directory)?;
            }
            let head = "# Rendered from charts/paramant-operator by `cargo xtask generate`: change the chart, not this file.\n";
            let text = format!("{head}{}\n", manifests::render(cache, arguments)?);
            fs::write(&rendered, text).doing(|| format!("write {}", rendered.display()))?;
        }
        let docs = root.join("docs");
        make_directory(&docs)?;
        let page = docs.join("trust.md");
        fs::write(&page, trust::page(cache.checkout())?).doing(|| format!("write {}", page.display()))?;
        let embedded = root.join(trust::EMBEDDED);
        if let Some(directory) = embedded.parent() {
            make_directory(directory)?;
        }
        fs::write(&embedded, trust::data()).doing(|| format!("write {}", embedded.display()))?;
        chart::snapshots(cache, &root)?;
        kustomize::one_file(cache, &root)?;
        let mut files = Vec::new();
        collect(&root, &root, &mut files)?;
        files.sort();
        Ok(Self { root, files })
    }

    /// Files of the checkout that are not as they should be.
    fn changed(&self, cache: &Cache) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().filter(move |file| {
            let made = fs::read(self.root.join(file)).ok();
            made.is_none() || made != fs::read(cache.checkout().join(file)).ok()
        })
    }

    /// Files of the checkout that should not be there.
    fn stale(&self, cache: &Cache) -> Result<Vec<PathBuf>> {
        let mut present = Vec::new();
        for folder in WHOLE {
            let folder = cache.checkout().join(folder);
            if folder.exists() {
                collect(cache.checkout(), &folder, &mut present)?;
            }
        }
        present.retain(|file| !self.files.contains(file));
        Ok(present)
    }
}

fn crdgen(cache: &Cache) -> Result<PathBuf> {
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
