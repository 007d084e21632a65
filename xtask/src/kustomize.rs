//! What kustomize makes of `config/`: the one file to install, and whether it holds the same objects as the chart.
//!
//! Two sets of objects are compared as kustomize prints them: in one order, with one way to write YAML. Labels that only helm
//! can mean (its version and who manages the object) are the chart's own and stay: `config/` is rendered from it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Result, fail};
use crate::run::Run;
use crate::step::Evidence;
use crate::{manifests, tools};

/// Written by hand; everything else of the base is generated.
const BY_HAND: &[&str] =
    &["config/kustomization.yaml", "config/operator/kustomization.yaml", "config/operator/namespace.yaml"];
const ONE_FILE: &str = "config/install.yaml";
const HEAD: &str = "# Everything that `kubectl apply -k config` applies, in one file, by `cargo xtask generate`. Do not edit.\n\
                    # kubectl apply --server-side -f config/install.yaml\n";

/// Writes the one-file install below `root`, which holds the generated parts of `config/`.
pub(crate) fn one_file(cache: &Cache, root: &Path) -> Result<()> {
    for file in BY_HAND {
        let (from, to) = (cache.checkout().join(file), root.join(file));
        fs::copy(&from, &to).doing(|| format!("copy {}", from.display()))?;
    }
    let built = build(cache, &root.join("config"))?;
    write(&root.join(ONE_FILE), &format!("{HEAD}{built}\n"))
}

/// The rung: the base, the one file and the overlay for some namespaces hold what the chart renders.
pub(crate) fn check(cache: &Cache, evidence: &Evidence) -> Result<()> {
    tools::helm(cache)?;
    let config = cache.checkout().join("config");
    let folder = cache.root().join("rendered/kustomize");
    let _ = fs::remove_dir_all(&folder);
    let chart = from_chart(cache, &folder.join("chart"), &[])?;
    same("config", &normalised(cache, &folder.join("config"), &[&config])?, &chart)?;
    same(ONE_FILE, &normalised(cache, &folder.join("one-file"), &[&config.join("install.yaml")])?, &chart)?;
    let some = ["--set", "watch.namespaces={transfers}"];
    let chart_of_some = from_chart(cache, &folder.join("chart-namespaced"), &some)?;
    let overlay = config.join("overlays/namespaced");
    let overlaid = normalised(cache, &folder.join("namespaced"), &[&overlay])?;
    same("config/overlays/namespaced", &overlaid, &chart_of_some)?;
    if overlaid.contains("kind: ClusterRole") {
        return fail("config/overlays/namespaced gives the operator a cluster-wide right");
    }
    if same("", &chart, &chart_of_some).is_ok() {
        return fail("two different sets of objects count as the same: nothing would be noticed");
    }
    evidence.say(format!("{} objects", chart.matches("\nkind: ").count()));
    Ok(())
}

/// What the chart renders, with the namespace that helm does not make.
fn from_chart(cache: &Cache, folder: &Path, arguments: &[&str]) -> Result<String> {
    make_directory(folder)?;
    let rendered = folder.join("rendered.yaml");
    // Definitions of the chart carry helm's labels and policy; those of `config/` are plain.
    let plain = manifests::render(cache, &[arguments, &["--set", "crds.install=false"]].concat())?;
    write(&rendered, &plain)?;
    let namespace = cache.checkout().join("config/operator/namespace.yaml");
    normalised(cache, folder, &[&rendered, &namespace, &cache.checkout().join("config/crd")])
}

/// Sets of objects as kustomize prints them in its legacy order.
fn normalised(cache: &Cache, folder: &Path, resources: &[&Path]) -> Result<String> {
    make_directory(folder)?;
    let mut text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nsortOptions:\n  order: legacy\nresources:\n".to_owned();
    for resource in resources {
        text.push_str(&format!("  - {}\n", relative(folder, resource)));
    }
    write(&folder.join("kustomization.yaml"), &text)?;
    build(cache, folder)
}

fn same(what: &str, found: &str, wanted: &str) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    let first = found.lines().zip(wanted.lines()).enumerate().find(|(_, (found, wanted))| found != wanted);
    let (line, (found, wanted)) = first.unwrap_or((0, ("(one of them ends earlier)", "")));
    fail(format!("{what} and the chart differ, first in line {}:\n    {found}\n    {wanted}", line + 1))
}

/// A path from one folder to another place: kustomize takes no absolute one.
fn relative(from: &Path, to: &Path) -> String {
    let up = from.components().count() - 1;
    let down = to.strip_prefix("/").unwrap_or(to);
    format!("{}{}", "../".repeat(up), down.display())
}

fn build(cache: &Cache, folder: &Path) -> Result<String> {
    Run::new(tools::published(cache, tools::KUSTOMIZE)?)
        // Files of the checkout lie outside of the folder that is built.
        .args(["build", "--load-restrictor", "LoadRestrictionsNone"])
        .arg(folder)
        .output()
}

fn write(path: &PathBuf, text: &str) -> Result<()> {
    fs::write(path, text).doing(|| format!("write {}", path.display()))
}
