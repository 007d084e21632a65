//! Bringing the cluster up: from an empty machine to a Ready node, each step waiting for its own evidence.

use std::fs;

use super::daemons::{Daemons, NAMES};
use super::kubectl::Kubectl;
use super::layout::{ADDRESS, API_PORT, API_SERVICE, Layout, NODE, REGISTRY};
use super::machine::Machine;
use super::process::Daemon;
use super::{down, pause, preflight, volumes};
use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Result};
use crate::run::Run;
use crate::step::step;
use crate::{packages, tools};

/// Enough for the scenarios without asking for more.
const VOLUMES: usize = 100;

/// Brings the cluster up unless it is; the caller holds the lock.
pub(crate) fn up(cache: &Cache, layout: &Layout) -> Result<()> {
    preflight::right_machine()?;
    let kubectl = Kubectl::new(cache, &layout.kubeconfig());
    if is_up(layout, &kubectl) {
        return step("cluster", |evidence| {
            evidence.say(format!("is up already, kubeconfig {}", layout.kubeconfig().display()));
            Ok(())
        });
    }
    if down::leftovers(layout) {
        step("take down the leftovers of an earlier run", |_| down::down(layout))?;
    }
    preflight::free_machine(cache, layout, !tools::kubernetes_is_current(cache)?)?;
    packages::ensure(cache)?;
    tools::kubernetes(cache)?;
    match start(cache, layout, &kubectl) {
        Ok(()) => Ok(()),
        Err(failure) => {
            // Half a cluster helps nobody, its logs do: they stay.
            let _ = step("take down what had started", |_| down::down(layout));
            Err(failure)
        }
    }
}

/// Whether every daemon lives and the API server answers.
pub(crate) fn is_up(layout: &Layout, kubectl: &Kubectl) -> bool {
    NAMES.iter().all(|name| Daemon::new(layout, name).pid().is_some())
        && kubectl.run(["get", "--raw=/readyz"]).succeeds()
}

fn start(cache: &Cache, layout: &Layout, kubectl: &Kubectl) -> Result<()> {
    let daemons = Daemons { layout, kubectl };
    step("network, keys and configuration", |evidence| {
        make_directory(&layout.data)?;
        let machine = Machine::new(layout);
        machine.remember()?;
        layout.write_configuration()?;
        let owner = layout.run.join("owner");
        fs::write(&owner, cache.root().to_string_lossy().as_bytes())
            .doing(|| format!("write {}", owner.display()))?;
        machine.connect()?;
        keys(layout)?;
        evidence.say(format!("node address {ADDRESS}"));
        Ok(())
    })?;
    step("etcd", |_| daemons.etcd())?;
    step("API server", |evidence| {
        daemons.api_server()?;
        evidence.say(
            kubectl
                .run(["version", "-o", "jsonpath={.serverVersion.gitVersion}"])
                .output()
                .unwrap_or_default(),
        );
        Ok(())
    })?;
    step("registry, containerd, controllers, scheduler", |evidence| {
        daemons.registry()?;
        daemons.containerd()?;
        daemons.controller_manager()?;
        daemons.scheduler()?;
        evidence.say(REGISTRY);
        Ok(())
    })?;
    step("sandbox image", |evidence| pause::ensure(cache, evidence))?;
    step("kubelet", |evidence| {
        daemons.kubelet()?;
        evidence.say(format!("node {NODE} is Ready"));
        Ok(())
    })?;
    step("kube-proxy", |evidence| {
        daemons.proxy()?;
        evidence.say(format!("the kubernetes Service answers at {API_SERVICE}"));
        Ok(())
    })?;
    step("storage", |evidence| {
        kubectl.apply(layout.fill(include_str!("files/storage.yaml"))).done()?;
        let count = volumes::ensure(layout, kubectl, VOLUMES)?;
        evidence.say(format!("{count} volumes of class paramant-local"));
        Ok(())
    })
}

fn keys(layout: &Layout) -> Result<()> {
    let pki = layout.data.join("pki");
    Run::new(&layout.kubernetes)
        .args(["certs", "--address", ADDRESS, "--service", API_SERVICE, "--node", NODE])
        .arg(format!("--server=https://{ADDRESS}:{API_PORT}"))
        .arg("--dir")
        .arg(&pki)
        .done()?;
    let (from, to) = (pki.join("admin.kubeconfig"), layout.kubeconfig());
    fs::copy(&from, &to).doing(|| format!("write {}", to.display()))?;
    Ok(())
}
