//! What runs, and where its logs are.

use std::time::{Duration, SystemTime};

use super::daemons::NAMES;
use super::kubectl::Kubectl;
use super::layout::{Layout, NODE, REGISTRY};
use super::process::Daemon;
use super::{down, up};
use crate::cache::Cache;
use crate::failure::{Result, fail};
use crate::run::{Run, tail};

/// Prints one line per daemon, then node, registry and kubeconfig; fails when the cluster is not whole.
pub(crate) fn status(cache: &Cache, layout: &Layout) -> Result<()> {
    if !down::leftovers(layout) {
        return fail("no cluster is up; start one with `cargo xtask cluster up`");
    }
    for name in NAMES {
        match Daemon::new(layout, name).pid() {
            Some(pid) => println!("  up    {name:<24} process {pid}"),
            None => println!("  DOWN  {name:<24} {}", Daemon::new(layout, name).log.display()),
        }
    }
    let kubectl = Kubectl::new(cache, &layout.kubeconfig());
    if !up::is_up(layout, &kubectl) {
        return fail("the cluster is not whole; `cargo xtask cluster up` takes it down and starts it anew");
    }
    println!("  node       {}", kubectl.run(["get", "node", NODE, "--no-headers"]).output()?);
    println!("  registry   {REGISTRY}");
    println!("  kubeconfig {}", layout.kubeconfig().display());
    println!("  kubectl    {}", cache.bin().join("kubectl").display());
    println!("  audit log  {}", layout.audit_log().display());
    Ok(())
}

/// Prints the end of every daemon's log, or one log whole.
pub(crate) fn logs(layout: &Layout, name: Option<&str>) -> Result<()> {
    match name {
        None => {
            for name in NAMES {
                let log = Daemon::new(layout, name).log;
                println!("{name}: {}{}\n{}\n", log.display(), age(&log), tail(&log));
            }
            Ok(())
        }
        Some(wanted) => match NAMES.iter().find(|name| **name == wanted) {
            Some(name) => Run::new("cat").arg(Daemon::new(layout, name).log).attached(),
            None => fail(format!("there is no daemon {wanted}; there are: {}", NAMES.join(" "))),
        },
    }
}

fn age(log: &std::path::Path) -> String {
    let written = log.metadata().and_then(|metadata| metadata.modified()).ok();
    let age: Option<Duration> = written.and_then(|at| SystemTime::now().duration_since(at).ok());
    age.map(|age| format!(" (last line {} s ago)", age.as_secs())).unwrap_or_default()
}
