//! The test bed: where the cluster, the images and the outside programs are.
//!
//! `cargo xtask` sets the variables named here. `kubectl` and `helm` run with the bed's kubeconfig and nothing else of the caller's
//! environment that could lead them to another cluster.

mod forward;

use std::{
    collections::BTreeMap, ffi::OsString, path::PathBuf, process::Command, sync::Mutex, time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{self, Output, wait_for};
use forward::Forward;

/// Everything a scenario may use.
pub(crate) struct Bed {
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    /// Outside programs: helm, kubeconform, kube-score, judge-fsck …
    pub(crate) programs: PathBuf,
    /// Our own programs: paramant, paramant-relay, kubectl-paramant.
    pub(crate) binaries: PathBuf,
    /// A Python that has the published client.
    pub(crate) sdk_python: PathBuf,
    /// Image name to `registry/name@sha256:…`.
    images: BTreeMap<String, String>,
    /// The public key with which the images are signed.
    pub(crate) release_key: PathBuf,
    /// The API server's audit log, on the test bed only.
    pub(crate) audit_log: Option<PathBuf>,
    /// The checkout.
    pub(crate) checkout: PathBuf,
    /// Ways into a cluster whose addresses this machine does not reach.
    forwards: Mutex<Vec<Forward>>,
}

impl Bed {
    /// Reads the environment that `cargo xtask` prepares.
    pub(crate) fn from_environment() -> Result<Bed> {
        let path = |name: &str| -> Result<PathBuf> {
            std::env::var_os(name).map(PathBuf::from).with_context(|| {
                format!("{name} is not set; run this through `cargo xtask demo` or `cargo xtask test`")
            })
        };
        let images =
            std::fs::read_to_string(path("PARAMANT_IMAGES")?).context("cannot read PARAMANT_IMAGES")?;
        Ok(Bed {
            kubeconfig: path("PARAMANT_KUBECONFIG")?,
            kubectl: path("PARAMANT_KUBECTL")?,
            programs: path("PARAMANT_PROGRAMS")?,
            binaries: path("PARAMANT_BINARIES")?,
            sdk_python: path("PARAMANT_SDK_PYTHON")?,
            images: serde_json::from_str(&images)
                .context("PARAMANT_IMAGES is not a JSON object of strings")?,
            release_key: path("PARAMANT_RELEASE_KEY")?,
            audit_log: std::env::var_os("PARAMANT_AUDIT_LOG").map(PathBuf::from),
            checkout: path("PARAMANT_CHECKOUT")?,
            forwards: Mutex::default(),
        })
    }

    /// A pushed image by its short name, pinned by digest.
    pub(crate) fn image(&self, name: &str) -> Result<&str> {
        self.images.get(name).map(String::as_str).with_context(|| {
            format!(
                "no image named {name} was built (there are: {:?}); run `cargo xtask images`",
                self.images.keys()
            )
        })
    }

    /// An administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// One of our own programs.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// Whether this is the test bed, whose node is this machine: its audit log, processes, volumes and addresses are at hand.
    pub(crate) fn is_here(&self) -> bool {
        self.audit_log.is_some()
    }

    /// Runs kubectl and keeps what it said, whatever its exit code.
    pub(crate) fn kubectl_raw(&self, arguments: &[&str], input: Option<&str>) -> Result<Output> {
        process::run(self.kubectl_command().args(arguments), input, Duration::from_secs(300))
    }

    /// What a shell needs so that its `kubectl` is this one, on this cluster.
    pub(crate) fn shell_environment(&self) -> Result<[(&'static str, OsString); 2]> {
        let mut path = vec![self.kubectl.parent().map(PathBuf::from).unwrap_or_default()];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        Ok([("PATH", std::env::join_paths(path)?), ("KUBECONFIG", self.kubeconfig.clone().into())])
    }

    /// kubectl, for a caller that needs its streams.
    pub(crate) fn kubectl_command(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs kubectl; an exit code other than 0 is an error that quotes it.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_raw(arguments, None)?.success(&format!("kubectl {}", arguments.join(" ")))
    }

    /// Applies a manifest.
    pub(crate) fn apply(&self, manifest: &str) -> Result<String> {
        self.kubectl_raw(&["apply", "--server-side", "--field-manager=e2e", "-f", "-"], Some(manifest))?
            .success("kubectl apply")
    }

    /// One object as JSON.
    pub(crate) fn get(&self, namespace: &str, what: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&["-n", namespace, "get", what, "-o", "json"])?)?)
    }

    /// The address of the node, where pods reach what runs on this machine.
    pub(crate) fn node_address(&self) -> Result<String> {
        let nodes = self.get("", "nodes")?;
        let addresses = nodes["items"][0]["status"]["addresses"].as_array().cloned().unwrap_or_default();
        let internal = addresses.iter().find(|address| address["type"] == "InternalIP");
        let internal = internal.and_then(|address| address["address"].as_str());
        internal.map(str::to_owned).context("the node has no InternalIP")
    }

    /// Waits until a condition of a resource is true.
    pub(crate) fn wait_condition(
        &self,
        namespace: &str,
        what: &str,
        condition: &str,
        limit: Duration,
    ) -> Result<String> {
        let timeout = format!("--timeout={}s", limit.as_secs());
        let condition = format!("--for=condition={condition}");
        self.kubectl(&["-n", namespace, "wait", &condition, what, &timeout]).with_context(|| {
            let state = self
                .kubectl(&["-n", namespace, "get", what, "-o", "jsonpath={.status.phase}: {.status.message}"])
                .unwrap_or_default();
            format!("{what} in {namespace} says “{state}”")
        })
    }

    /// Runs helm.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.programs.join("helm"));
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig);
        process::run(&mut command, None, Duration::from_secs(300))?
            .success(&format!("helm {}", arguments.join(" ")))
    }

    /// A namespace that enforces restricted pod security.
    pub(crate) fn namespace(&self, name: &str) -> Result<()> {
        self.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    pod-security.kubernetes.io/enforce: restricted\n"
        ))?;
        Ok(())
    }

    /// Deletes a namespace and waits until it is gone.
    pub(crate) fn delete_namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait=false"])?;
        wait_for(&format!("namespace {name} to be gone"), Duration::from_secs(120), || {
            let found = self.kubectl(&["get", "namespace", name, "--ignore-not-found", "-o", "name"])?;
            Ok(if found.trim().is_empty() { Ok(()) } else { Err("still there".into()) })
        })
    }

    /// The address of a Service's first port, reached from this machine.
    pub(crate) fn service_url(&self, namespace: &str, service: &str) -> Result<String> {
        let object = self.get(namespace, &format!("service/{service}"))?;
        let address = object["spec"]["clusterIP"].as_str().unwrap_or_default();
        let port = object["spec"]["ports"][0]["port"].as_u64().unwrap_or_default();
        if address.is_empty() || address == "None" || port == 0 {
            bail!("service {service} in {namespace} has no cluster address");
        }
        if !self.is_here() {
            let forward = Forward::start(self.kubectl_command(), namespace, service, port)?;
            let url = forward.url().to_owned();
            if let Ok(mut forwards) = self.forwards.lock() {
                forwards.push(forward);
            }
            return Ok(url);
        }
        Ok(format!("http://{address}:{port}"))
    }
}
