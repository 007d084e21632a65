//! The cluster's daemons with their arguments, in the order in which they start.

use std::path::PathBuf;
use std::time::Duration;

use super::kubectl::Kubectl;
use super::layout::{
    ADDRESS, API_PORT, API_SERVICE, ETCD_PEER_PORT, ETCD_PORT, Layout, NODE, REGISTRY, SERVICES,
};
use super::probe::{answers, connects};
use super::process::Daemon;
use crate::failure::{Failure, Result};
use crate::run::find_program;

/// Far above what each needs (the API server takes four seconds on two idle cores), for a machine that is busy building.
const START: Duration = Duration::from_secs(120);

/// Every daemon by the name of its pid file, in the order in which they start.
pub(crate) const NAMES: &[&str] = &[
    "etcd",
    "kube-apiserver",
    "registry",
    "containerd",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
];

/// Starts daemons and waits for them.
#[derive(Debug)]
pub(crate) struct Daemons<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) kubectl: &'a Kubectl,
}

impl Daemons<'_> {
    pub(crate) fn etcd(&self) -> Result<()> {
        let client = format!("http://127.0.0.1:{ETCD_PORT}");
        let peer = format!("http://127.0.0.1:{ETCD_PEER_PORT}");
        let etcd = self.start(
            "etcd",
            &[
                "--name=test".into(),
                format!("--data-dir={}", self.data("etcd")),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=test={peer}"),
                "--quota-backend-bytes=4294967296".into(),
                // It is a test: what a power cut would lose is lost with the cluster anyway.
                "--unsafe-no-fsync".into(),
                "--log-level=warn".into(),
            ],
        )?;
        etcd.wait(START, || answers(&format!("127.0.0.1:{ETCD_PORT}"), "/health"))
    }

    pub(crate) fn api_server(&self) -> Result<()> {
        let api = self.start(
            "kube-apiserver",
            &[
                format!("--etcd-servers=http://127.0.0.1:{ETCD_PORT}"),
                // Pods reach it through its Service, so it must have an address that is routed from pods.
                format!("--advertise-address={ADDRESS}"),
                format!("--bind-address={ADDRESS}"),
                format!("--secure-port={API_PORT}"),
                format!("--service-cluster-ip-range={SERVICES}"),
                // Rights are really enforced.
                "--authorization-mode=Node,RBAC".into(),
                "--enable-admission-plugins=NodeRestriction".into(),
                format!("--client-ca-file={}", self.pki("ca.crt")),
                format!("--tls-cert-file={}", self.pki("apiserver.crt")),
                format!("--tls-private-key-file={}", self.pki("apiserver.key")),
                // exec, logs and port-forward: the node has no name that resolves.
                "--kubelet-preferred-address-types=InternalIP".into(),
                format!("--kubelet-certificate-authority={}", self.pki("ca.crt")),
                format!("--kubelet-client-certificate={}", self.pki("apiserver-kubelet-client.crt")),
                format!("--kubelet-client-key={}", self.pki("apiserver-kubelet-client.key")),
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
                format!("--service-account-key-file={}", self.pki("service-account.pub")),
                format!("--service-account-signing-key-file={}", self.pki("service-account.key")),
                format!("--requestheader-client-ca-file={}", self.pki("front-proxy-ca.crt")),
                "--requestheader-allowed-names=front-proxy-client".into(),
                "--requestheader-username-headers=X-Remote-User".into(),
                "--requestheader-group-headers=X-Remote-Group".into(),
                "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
                format!("--proxy-client-cert-file={}", self.pki("front-proxy-client.crt")),
                format!("--proxy-client-key-file={}", self.pki("front-proxy-client.key")),
                format!("--audit-policy-file={}", self.data("audit.yaml")),
                format!("--audit-log-path={}", self.layout.audit_log().display()),
                // Tests read the log from an offset: a rotation would hide what they look for.
                "--audit-log-maxsize=2048".into(),
                "--profiling=false".into(),
            ],
        )?;
        api.wait(START, || self.kubectl.run(["get", "--raw=/readyz"]).succeeds())
    }

    pub(crate) fn registry(&self) -> Result<()> {
        let program = installed("docker-registry")?;
        let registry = Daemon::new(self.layout, "registry");
        registry.start(&program, &["serve".into(), self.data("registry.yml")])?;
        registry.wait(START, || answers(REGISTRY, "/v2/"))
    }

    pub(crate) fn containerd(&self) -> Result<()> {
        let program = installed("containerd")?;
        let containerd = Daemon::new(self.layout, "containerd");
        containerd.start(&program, &[format!("--config={}", self.data("containerd.toml"))])?;
        let socket = self.layout.containerd_socket();
        containerd.wait(START, || std::os::unix::net::UnixStream::connect(&socket).is_ok())
    }

    pub(crate) fn controller_manager(&self) -> Result<()> {
        let kubeconfig = self.pki("controller-manager.kubeconfig");
        let manager = self.start(
            "kube-controller-manager",
            &[
                format!("--kubeconfig={kubeconfig}"),
                format!("--authentication-kubeconfig={kubeconfig}"),
                format!("--authorization-kubeconfig={kubeconfig}"),
                "--bind-address=127.0.0.1".into(),
                "--leader-elect=false".into(),
                "--use-service-account-credentials=true".into(),
                format!("--service-account-private-key-file={}", self.pki("service-account.key")),
                format!("--root-ca-file={}", self.pki("ca.crt")),
                format!("--cluster-signing-cert-file={}", self.pki("ca.crt")),
                format!("--cluster-signing-key-file={}", self.pki("ca.key")),
                "--kube-api-qps=100".into(),
                "--kube-api-burst=200".into(),
            ],
        )?;
        manager.wait(START, || connects("127.0.0.1:10257"))
    }

    pub(crate) fn scheduler(&self) -> Result<()> {
        let kubeconfig = self.pki("scheduler.kubeconfig");
        let scheduler = self.start(
            "kube-scheduler",
            &[
                format!("--kubeconfig={kubeconfig}"),
                format!("--authentication-kubeconfig={kubeconfig}"),
                format!("--authorization-kubeconfig={kubeconfig}"),
                "--bind-address=127.0.0.1".into(),
                "--leader-elect=false".into(),
            ],
        )?;
        scheduler.wait(START, || connects("127.0.0.1:10259"))
    }

    pub(crate) fn kubelet(&self) -> Result<()> {
        let kubelet = self.start(
            "kubelet",
            &[
                format!("--config={}", self.data("kubelet.yaml")),
                format!("--kubeconfig={}", self.pki("kubelet.kubeconfig")),
                format!("--root-dir={}", self.data("kubelet")),
                format!("--cert-dir={}", self.data("kubelet/pki")),
                format!("--hostname-override={NODE}"),
                format!("--node-ip={ADDRESS}"),
            ],
        )?;
        kubelet.wait(START, || {
            let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
            self.kubectl.run(["get", "node", NODE, "-o", ready]).output().is_ok_and(|status| status == "True")
        })
    }

    pub(crate) fn proxy(&self) -> Result<()> {
        let proxy = self.start("kube-proxy", &[format!("--config={}", self.data("proxy.yaml"))])?;
        // Its first rule is the way to the API server itself.
        proxy.wait(START, || connects(&format!("{API_SERVICE}:443")))
    }

    fn start(&self, name: &'static str, arguments: &[String]) -> Result<Daemon> {
        let daemon = Daemon::new(self.layout, name);
        let mut all = vec![name.to_owned()];
        all.extend_from_slice(arguments);
        daemon.start(&self.layout.kubernetes, &all)?;
        Ok(daemon)
    }

    fn data(&self, path: &str) -> String {
        self.layout.data.join(path).to_string_lossy().into_owned()
    }

    fn pki(&self, file: &str) -> String {
        self.data(&format!("pki/{file}"))
    }
}

fn installed(program: &str) -> Result<PathBuf> {
    find_program(program).ok_or_else(|| Failure(format!("{program} is not installed, though its package is")))
}
