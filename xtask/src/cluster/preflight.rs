//! Can a cluster run here? Asked before anything is touched; each refusal says what to do.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::layout::{API_PORT, BRIDGE, ETCD_PEER_PORT, ETCD_PORT, Layout};
use super::process::POLL;
use crate::cache::Cache;
use crate::failure::{Failure, Result, fail};
use crate::run::{Run, is_installed};

/// Everything that listens: API server, etcd, registry, kubelet, proxy, controller manager, scheduler.
const PORTS: &[u16] = &[API_PORT, ETCD_PORT, ETCD_PEER_PORT, 5050, 10248, 10249, 10250, 10256, 10257, 10259];

const GIB: u64 = 1 << 30;
/// Images, logs and test volumes of one run.
const SPACE_TO_RUN: u64 = 3 * GIB;
/// Go's modules and build cache for the Kubernetes program come on top the first time.
const SPACE_TO_BUILD: u64 = 5 * GIB;

/// Is this Linux, and are we root?
pub(crate) fn right_machine() -> Result<()> {
    if std::env::consts::OS != "linux" {
        return fail(format!(
            "a cluster of its own needs Linux, this is {}; use an existing one with --context NAME",
            std::env::consts::OS
        ));
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    if effective != Some("0") {
        return fail(
            "a cluster of its own needs root (network interfaces, mounts, control groups): run again as root, \
             or use an existing cluster with --context NAME",
        );
    }
    Ok(())
}

/// Is there room, and is nobody in the way? Call it once leftovers are down.
pub(crate) fn free_machine(cache: &Cache, layout: &Layout, building: bool) -> Result<()> {
    let needed = SPACE_TO_RUN + if building { SPACE_TO_BUILD } else { 0 };
    let free = free_space(cache.root())?;
    if free < needed {
        return fail(format!(
            "{} has {:.1} GiB free, {:.1} GiB are needed: make room, or set PARAMANT_CACHE to a directory on a larger disk",
            cache.root().display(),
            free as f64 / GIB as f64,
            needed as f64 / GIB as f64
        ));
    }
    if let Ok(owner) = fs::read_to_string(layout.run.join("owner")) {
        return fail(format!(
            "a cluster of another cache directory is up on this machine; take it down first: \
             PARAMANT_CACHE={} cargo xtask cluster down",
            owner.trim()
        ));
    }
    if Path::new("/sys/class/net").join(BRIDGE).exists() {
        return fail(format!(
            "a network interface {BRIDGE} exists and is not of this cache's making; remove it: ip link delete {BRIDGE}"
        ));
    }
    addresses_are_free()?;
    for port in PORTS {
        port_is_free(*port)?;
    }
    Ok(())
}

fn free_space(directory: &Path) -> Result<u64> {
    let answer = Run::new("df").args(["--block-size=1", "--output=avail"]).arg(directory).output()?;
    let free = answer.lines().last().and_then(|line| line.trim().parse().ok());
    free.ok_or_else(|| {
        Failure(format!("cannot read the free space of {} from `df`: {answer}", directory.display()))
    })
}

fn port_is_free(port: u16) -> Result<()> {
    // A daemon that was just killed may still be closing its sockets.
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpListener::bind(("0.0.0.0", port)).is_err() {
        if Instant::now() > deadline {
            return fail(format!(
                "port {port} is taken; stop what listens there, then run again. {}",
                listener(port)
            ));
        }
        sleep(POLL);
    }
    Ok(())
}

/// Who listens on a port, as far as `ss` tells.
fn listener(port: u16) -> String {
    if !is_installed("ss") {
        return String::new();
    }
    Run::new("ss").args(["-Hltnp", "sport", "=", &format!(":{port}")]).output().unwrap_or_default()
}

/// The cluster's two networks must not be in use: a route would be stolen from someone.
fn addresses_are_free() -> Result<()> {
    let routes = Run::new("ip").args(["-4", "route"]).output()?;
    match routes.lines().find(|route| route.starts_with("10.213.") || route.starts_with("10.214.")) {
        None => Ok(()),
        Some(route) => fail(format!(
            "this machine has a route into the cluster's networks 10.213.0.0/16 and 10.214.0.0/16; remove it first: {route}"
        )),
    }
}
