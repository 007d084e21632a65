//! Names, addresses and folders of the test cluster, chosen once.
//! Everything the cluster writes lies in two folders of its own (`data` in the cache, `run` for sockets and mounts), so that
//! taking it down is deleting them.

use std::fs;
use std::path::PathBuf;

use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Result};

/// Unlikely to be a network of the machine: one bridge, pods on it, Services beside it.
pub(crate) const BRIDGE: &str = "paramant0";
/// The node's address, the API server's and the registry's.
pub(crate) const ADDRESS: &str = "10.213.0.1";
pub(crate) const PODS: &str = "10.213.0.0/16";
/// Keeps the addresses below for the node.
const FIRST_POD: &str = "10.213.1.0";
pub(crate) const SERVICES: &str = "10.214.0.0/16";
/// The kubernetes Service: always the first address of the range.
pub(crate) const API_SERVICE: &str = "10.214.0.1";
pub(crate) const NODE: &str = "paramant-node";
pub(crate) const API_PORT: u16 = 6443;
pub(crate) const ETCD_PORT: u16 = 12379;
pub(crate) const ETCD_PEER_PORT: u16 = 12380;
pub(crate) const REGISTRY: &str = "10.213.0.1:5050";
/// The nftables table that lets pods reach beyond the machine; kube-proxy has its own.
pub(crate) const TABLE: &str = "paramant-test";
/// Short, because a socket's path may not be longer than 107 bytes; in memory, because a restart of the machine clears it.
const RUN: &str = "/run/paramant-test";

/// Where things of the cluster lie.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// State, configuration, logs: gone after `down`.
    pub(crate) data: PathBuf,
    /// Sockets and mounts: gone after `down`.
    pub(crate) run: PathBuf,
    /// Pushed images: kept, so that a warm start pushes only what changed.
    pub(crate) images: PathBuf,
    /// The Kubernetes program.
    pub(crate) kubernetes: PathBuf,
    /// Held by a command that changes the cluster.
    pub(crate) lock: PathBuf,
    /// Daemons' logs: kept after `down`, overwritten by the next `up`.
    pub(crate) logs: PathBuf,
}

impl Layout {
    pub(crate) fn new(cache: &Cache) -> Self {
        Self {
            data: cache.root().join("cluster"),
            run: RUN.into(),
            images: cache.root().join("registry"),
            kubernetes: cache.bin().join("kubernetes"),
            lock: cache.root().join("cluster.lock"),
            logs: cache.root().join("cluster-logs"),
        }
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.data.join("kubeconfig")
    }

    /// Requests the API server answered, one JSON object per line.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.data.join("audit/audit.log")
    }

    pub(crate) fn pids(&self) -> PathBuf {
        self.data.join("pids")
    }

    pub(crate) fn containerd_socket(&self) -> PathBuf {
        self.run.join("containerd.sock")
    }

    /// A template with this cluster's names and folders filled in.
    pub(crate) fn fill(&self, template: &str) -> String {
        template
            .replace("{{DATA}}", &self.data.to_string_lossy())
            .replace("{{RUN}}", &self.run.to_string_lossy())
            .replace("{{IMAGES}}", &self.images.to_string_lossy())
            .replace("{{REGISTRY}}", REGISTRY)
            .replace("{{BRIDGE}}", BRIDGE)
            .replace("{{ADDRESS}}", ADDRESS)
            .replace("{{PODS}}", PODS)
            .replace("{{FIRST_POD}}", FIRST_POD)
            .replace("{{NODE}}", NODE)
    }

    /// Writes every configuration file the daemons read.
    pub(crate) fn write_configuration(&self) -> Result<()> {
        for directory in ["audit", "etcd", "kubelet", "pod-logs", "volume-plugins", "volumes", "pids"] {
            make_directory(&self.data.join(directory))?;
        }
        for directory in [&self.run, &self.images, &self.logs] {
            make_directory(directory)?;
        }
        for (path, template) in [
            ("containerd.toml", include_str!("files/containerd.toml")),
            ("cni/10-paramant.conflist", include_str!("files/cni.conflist")),
            ("kubelet.yaml", include_str!("files/kubelet.yaml")),
            ("proxy.yaml", include_str!("files/proxy.yaml")),
            ("audit.yaml", include_str!("files/audit.yaml")),
            ("registry.yml", include_str!("files/registry.yml")),
        ] {
            self.write(path, template)?;
        }
        self.write(&format!("registries/{REGISTRY}/hosts.toml"), include_str!("files/hosts.toml"))
    }

    fn write(&self, path: &str, template: &str) -> Result<()> {
        let path = self.data.join(path);
        if let Some(directory) = path.parent() {
            make_directory(directory)?;
        }
        fs::write(&path, self.fill(template)).doing(|| format!("write {}", path.display()))
    }
}
