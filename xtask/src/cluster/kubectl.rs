//! kubectl against one cluster: ours, or an existing one.

use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::run::Run;

/// A program and the kubeconfig it is pointed at.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    discovery: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(cache: &Cache, kubeconfig: &Path) -> Self {
        Self {
            program: cache.bin().join("kubectl"),
            kubeconfig: kubeconfig.to_path_buf(),
            discovery: cache.root().join("kubectl"),
        }
    }

    /// kubectl with these arguments, ready to run.
    pub(crate) fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Run {
        Run::new(&self.program)
            .env("KUBECONFIG", &self.kubeconfig)
            .arg("--cache-dir")
            .arg(&self.discovery)
            .args(arguments)
    }

    /// Server-side apply of manifests given as text.
    pub(crate) fn apply(&self, manifests: impl Into<String>) -> Run {
        self.run(["apply", "--server-side", "--force-conflicts", "-f", "-"]).input(manifests)
    }
}
