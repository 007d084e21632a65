//! Programs built once from published Go modules and kept in the cache: the Kubernetes program, helm, the manifest judges,
//! the log judges. Each is keyed by what it is built from, so only a change builds it again.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Result, fail};
use crate::run::{Run, is_installed};
use crate::step::step;

/// The version the Kubernetes program reports; its module file requires the same.
const KUBERNETES: &str = "v1.34.4";

/// A program that is one published Go package.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    name: &'static str,
    package: &'static str,
    version: &'static str,
}

/// Built in the module of the Kubernetes program, whose parts it shares: two minutes less than by itself.
const HELM: &str = "helm.sh/helm/v3/cmd/helm";
/// What helm's own release sets as it links. Without it helm calls itself v3.19 and renders for Kubernetes 1.20.
const HELM_VALUES: &str = "-X helm.sh/helm/v3/internal/version.version=v3.19.5 \
    -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34 \
    -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=34";

pub(crate) const KUBECONFORM: Published = Published {
    name: "kubeconform",
    package: "github.com/yannh/kubeconform/cmd/kubeconform",
    version: "v0.7.0",
};
pub(crate) const KUBE_SCORE: Published = Published {
    name: "kube-score",
    package: "github.com/zegl/kube-score/cmd/kube-score",
    version: "v1.20.0",
};
/// The version that kubectl carries.
pub(crate) const KUSTOMIZE: Published =
    Published { name: "kustomize", package: "sigs.k8s.io/kustomize/kustomize/v5", version: "v5.7.1" };
/// A witness of the public kind; the program `judge-witness` runs it. Newer ones ask for a newer Go.
pub(crate) const LITEWITNESS: Published =
    Published { name: "litewitness", package: "filippo.io/torchwood/cmd/litewitness", version: "v0.9.0" };
/// Thousands of fake nodes and pods against a real API server, for the operator's numbers.
pub(crate) const KWOK: Published =
    Published { name: "kwok", package: "sigs.k8s.io/kwok/cmd/kwok", version: "v0.7.0" };

/// Lines that cut, delay and shred what passes.
pub(crate) const TOXIPROXY: Published = Published {
    name: "toxiproxy",
    package: "github.com/Shopify/toxiproxy/v2/cmd/server",
    version: "v2.12.0",
};

/// Signs images, and judges signatures beside the operator. Newer ones ask for a newer Go.
pub(crate) const COSIGN: Published =
    Published { name: "cosign", package: "github.com/sigstore/cosign/v2/cmd/cosign", version: "v2.6.2" };

/// Load for a log, of the makers of Tessera.
pub(crate) const HAMMER: Published = Published {
    name: "hammer",
    package: "github.com/transparency-dev/tessera/internal/hammer",
    version: "v1.0.2",
};

/// Builds everything that anything may ask for, so that a machine can be prepared ahead.
pub(crate) fn all(cache: &Cache) -> Result<()> {
    kubernetes(cache)?;
    helm(cache)?;
    for tool in [KUBECONFORM, KUSTOMIZE, KUBE_SCORE, LITEWITNESS, KWOK, TOXIPROXY, HAMMER, COSIGN] {
        published(cache, tool)?;
    }
    judges(cache)
}

/// Builds a published program unless the cache has it; returns its path.
pub(crate) fn published(cache: &Cache, tool: Published) -> Result<PathBuf> {
    let path = cache.bin().join(tool.name);
    let source = format!("{}@{}", tool.package, tool.version);
    if path.exists() && cache.is_current(tool.name, &source) {
        return Ok(path);
    }
    step(&format!("build {} {}", tool.name, tool.version), |_| {
        go()?
            .args(["install", "-trimpath", "-ldflags", "-s -w"])
            .arg(&source)
            .env("GOBIN", cache.bin())
            .log(cache.log(&format!("build-{}", tool.name)))
            .done()?;
        // Go names a program after the last part of its package that is no version.
        let is_version = |part: &&str| {
            part.strip_prefix('v').is_some_and(|number| number.chars().all(|digit| digit.is_ascii_digit()))
        };
        let last = tool.package.rsplit('/').find(|part| !is_version(part));
        let built = cache.bin().join(last.unwrap_or(tool.name));
        if built != path {
            fs::rename(&built, &path).doing(|| format!("write {}", path.display()))?;
        }
        cache.made(tool.name, &source)
    })?;
    Ok(path)
}

/// Builds helm unless the cache has it; returns its path.
pub(crate) fn helm(cache: &Cache) -> Result<PathBuf> {
    let path = cache.bin().join("helm");
    let module = kubernetes_module(cache);
    let key = format!("{HELM_VALUES}\n{}", module_key(&module)?);
    if !(path.exists() && cache.is_current("helm", &key)) {
        step("build helm", |_| {
            build(cache, "helm", &module, HELM, HELM_VALUES)?;
            cache.made("helm", &key)
        })?;
    }
    Ok(path)
}

/// Whether the Kubernetes program of this checkout is built.
pub(crate) fn kubernetes_is_current(cache: &Cache) -> Result<bool> {
    let path = cache.bin().join("kubernetes");
    Ok(path.exists() && cache.is_current("kubernetes", &module_key(&kubernetes_module(cache))?))
}

/// Builds the Kubernetes program unless the cache has it, and links `kubectl` to it.
pub(crate) fn kubernetes(cache: &Cache) -> Result<()> {
    if !kubernetes_is_current(cache)? {
        step(&format!("build Kubernetes {KUBERNETES} (about five minutes on two cores)"), |_| {
            build_kubernetes(cache)
        })?;
    }
    let link = cache.bin().join("kubectl");
    if !link.exists() {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink("kubernetes", &link).doing(|| format!("link {}", link.display()))?;
    }
    Ok(())
}

/// Begins to build the Kubernetes program, unless the cache has it, from what other work leaves over of the processors.
pub(crate) fn kubernetes_meanwhile(cache: &Cache) -> Option<JoinHandle<Result<()>>> {
    let cache = cache.clone();
    // Whoever needs it later meets the reason why this cannot be told now.
    let wanted = kubernetes_is_current(&cache).is_ok_and(|current| !current);
    wanted.then(|| thread::spawn(move || build_kubernetes(&cache)))
}

fn build_kubernetes(cache: &Cache) -> Result<()> {
    let module = kubernetes_module(cache);
    let key = module_key(&module)?;
    let version = format!("-X k8s.io/component-base/version.gitVersion={KUBERNETES}");
    build(cache, "kubernetes", &module, ".", &version)?;
    cache.made("kubernetes", &key)
}

/// The OpenAPI document of Kubernetes' own kinds, as the module carries it.
pub(crate) fn kubernetes_openapi(cache: &Cache) -> Result<PathBuf> {
    let module = kubernetes_module(cache);
    let log = cache.log("kubernetes-module");
    go()?.args(["mod", "download", "k8s.io/kubernetes"]).dir(&module).log(log).done()?;
    let folder = go()?.args(["list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"]).dir(&module).output()?;
    Ok(Path::new(&folder).join("api/openapi-spec/swagger.json"))
}

/// Builds the process of the sandbox image; returns its path.
pub(crate) fn pause(cache: &Cache) -> Result<PathBuf> {
    build(cache, "pause", &kubernetes_module(cache), "./pause", "")
}

/// Builds a package of a module into the cache's programs; `values` are set as it links.
fn build(cache: &Cache, name: &str, module: &Path, package: &str, values: &str) -> Result<PathBuf> {
    // Beside its place first: what runs goes on running the program it started with.
    let (fresh, path) = (cache.bin().join(format!("{name}.new")), cache.bin().join(name));
    go()?
        .args(["build", "-trimpath", "-ldflags", &format!("-s -w {values}"), "-o"])
        .arg(&fresh)
        .arg(package)
        .dir(module)
        .log(cache.log(&format!("build-{name}")))
        .done()?;
    fs::rename(&fresh, &path).doing(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// Builds the outside judges unless the cache has them: small programs around verifiers written by others.
/// Each lies beside the other tools as `judge-NAME`.
pub(crate) fn judges(cache: &Cache) -> Result<()> {
    let module = cache.checkout().join("e2e/judges");
    if !module.exists() {
        return fail(format!("{} is missing from the checkout", module.display()));
    }
    let key = module_key(&module)?;
    if cache.is_current("judges", &key) {
        return Ok(());
    }
    step("build the outside judges", |evidence| {
        let fresh = cache.root().join("judges");
        let _ = fs::remove_dir_all(&fresh);
        make_directory(&fresh)?;
        go()?
            .args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
            .arg(format!("{}/", fresh.display()))
            .arg("./...")
            .dir(&module)
            .log(cache.log("build-judges"))
            .done()?;
        let names = names_in(&fresh);
        for name in &names {
            let to = cache.bin().join(format!("judge-{}", name.trim_start_matches("judge-")));
            fs::rename(fresh.join(name), &to).doing(|| format!("write {}", to.display()))?;
        }
        evidence.say(names.join(" "));
        cache.made("judges", &key)
    })
}

fn go() -> Result<Run> {
    if !is_installed("go") {
        return fail(
            "Go is needed to build Kubernetes and the tools: install Go 1.24 or newer (https://go.dev/dl), then run again",
        );
    }
    // Beside other work it takes what that leaves over, such as the core that Cargo cannot use; alone it has everything.
    Ok(Run::new("nice")
        .args(["-n", "19", "go"])
        .env("CGO_ENABLED", "0")
        // Its compiler collects garbage less often: 17 % less time, some hundred MiB more memory.
        .env("GOGC", "400")
        .env("GOFLAGS", "-buildvcs=false")
        .without_env("GOBIN"))
}

fn kubernetes_module(cache: &Cache) -> PathBuf {
    cache.checkout().join("e2e/kubernetes")
}

/// Everything a Go module's programs are made from besides its locked dependencies: its own files and the compiler.
/// The text itself is the key, short enough to be kept whole.
fn module_key(module: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(module, &mut files)?;
    files.sort();
    let mut key = Run::new("go").args(["env", "GOVERSION"]).output().unwrap_or_default();
    for file in files {
        let content = fs::read_to_string(&file).doing(|| format!("read {}", file.display()))?;
        let name = file.strip_prefix(module).unwrap_or(&file);
        key.push_str(&format!("\n== {}\n{content}", name.display()));
    }
    Ok(key)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).doing(|| format!("read {}", directory.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, files)?;
        } else if name.ends_with(".go") && !name.ends_with("_test.go") || name == "go.mod" || name == "go.sum"
        {
            files.push(path);
        }
    }
    Ok(())
}

fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
