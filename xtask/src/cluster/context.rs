//! An existing cluster in place of our own: any context of the caller's kubeconfig, with a registry its nodes can pull from.

use std::fs;
use std::path::PathBuf;

use super::kubectl::Kubectl;
use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Result, fail};
use crate::run::Run;
use crate::step::step;
use crate::tools;

/// The context's name and where images are pushed for it.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// As in `kubectl config get-contexts`.
    pub(crate) name: String,
    /// `HOST[:PORT][/PATH]`, reachable from here, from the nodes (which pull) and from pods (the operator asks it what a tag means).
    pub(crate) registry: String,
}

impl Context {
    /// Reads the registry from the argument or from `PARAMANT_REGISTRY`.
    pub(crate) fn new(name: String, registry: Option<String>) -> Result<Self> {
        match registry.or_else(|| std::env::var("PARAMANT_REGISTRY").ok()).filter(|value| !value.is_empty()) {
            Some(registry) => Ok(Self { name, registry: registry.trim_end_matches('/').to_owned() }),
            None => fail(format!(
                "--context {name} needs a registry that this machine can push to and that nodes and pods can reach: \
                 --registry HOST[:PORT][/PATH] or PARAMANT_REGISTRY"
            )),
        }
    }

    /// A kubeconfig that holds this one context only; fails unless its API server answers.
    pub(crate) fn connect(&self, cache: &Cache) -> Result<PathBuf> {
        tools::kubernetes(cache)?;
        step(&format!("existing cluster {}", self.name), |evidence| {
            let path = self.kubeconfig(cache);
            let config = Run::new(cache.bin().join("kubectl"))
                .args(["config", "view", "--raw", "--minify", "--flatten", "--context", &self.name])
                .output()?;
            fs::write(&path, config).doing(|| format!("write {}", path.display()))?;
            let kubectl = Kubectl::new(cache, &path);
            let version = kubectl.run(["get", "--raw", "/version"]).output()?;
            let version = version.lines().find_map(|line| line.trim().strip_prefix("\"gitVersion\": \""));
            evidence.say(version.unwrap_or_default().trim_end_matches(['"', ',']));
            Ok(path)
        })
    }

    /// As image tools have it: a registry on this machine speaks plain HTTP, any other TLS.
    pub(crate) fn plain_http(&self) -> bool {
        let host = self.registry.split(['/', ':']).next().unwrap_or_default();
        host == "localhost" || host.starts_with("127.")
    }

    fn kubeconfig(&self, cache: &Cache) -> PathBuf {
        let directory = cache.root().join("contexts");
        // A folder that cannot be made shows as a file that cannot be written.
        let _ = make_directory(&directory);
        directory.join(format!("{}.kubeconfig", self.name.replace(['/', ':'], "-")))
    }
}
