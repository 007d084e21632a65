//! Taking the cluster down, whole or what is left of it: by pid files, control groups and mounts of its own, nothing else.
//! Every part works on what it finds, so it may run after a crash at any point, and again.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::daemons::NAMES;
use super::layout::Layout;
use super::machine::{Machine, pod_processes, remove_pod_groups, unmount_below};
use super::process::{self, Daemon, POLL, signal};
use crate::failure::{Doing, Result, fail};
use crate::run::Run;

/// For daemons that hold something worth closing: containerd its mounts, the registry its uploads.
const GRACE: Duration = Duration::from_secs(3);
const KILL_LIMIT: Duration = Duration::from_secs(20);

/// Whether anything of a cluster is there.
pub(crate) fn leftovers(layout: &Layout) -> bool {
    layout.data.exists()
}

/// Takes everything down and leaves the machine as it was before `up`.
pub(crate) fn down(layout: &Layout) -> Result<()> {
    // kubelet and the controllers first: they would start anew what is ended below.
    for name in NAMES.iter().rev() {
        let grace = if matches!(*name, "containerd" | "registry") { GRACE } else { Duration::ZERO };
        Daemon::new(layout, name).stop(grace);
    }
    end_unrecorded(layout);
    end_pods(layout)?;
    clean_proxy_rules(layout);
    let mut left = unmount_below(&[&layout.data, &layout.run]);
    if !left.is_empty() {
        // Deleting folders now would delete what is mounted there.
        return fail(format!(
            "could not be undone: {}; look at what uses it with `fuser -vm`",
            left.join(", ")
        ));
    }
    left.extend(remove_pod_groups());
    left.extend(Machine::new(layout).restore());
    if !left.is_empty() {
        return fail(format!(
            "could not be undone: {}; run `cargo xtask cluster down` again",
            left.join(", ")
        ));
    }
    for folder in [&layout.run, &layout.data] {
        if folder.exists() {
            fs::remove_dir_all(folder).doing(|| format!("delete {}", folder.display()))?;
        }
    }
    Ok(())
}

/// Ends daemons whose start was cut off before their pid was written down: each is known by our files on its command line.
fn end_unrecorded(layout: &Layout) {
    let kubernetes = layout.kubernetes.to_string_lossy();
    let data = layout.data.to_string_lossy();
    let unrecorded = process::find(|words| match words {
        [program, daemon, ..] if **program == *kubernetes => NAMES.contains(daemon),
        [program, first, rest @ ..]
            if program.ends_with("containerd") || program.ends_with("docker-registry") =>
        {
            first.contains(&*data) || rest.iter().any(|word| word.contains(&*data))
        }
        _ => false,
    });
    signal("KILL", &unrecorded);
}

/// Ends the pods' processes and the shims above them.
fn end_pods(layout: &Layout) -> Result<()> {
    let deadline = Instant::now() + KILL_LIMIT;
    let socket = layout.containerd_socket();
    let socket = socket.to_string_lossy();
    loop {
        // A shim is known by the containerd it answers to, so another containerd's are never touched.
        let mut processes = process::find(|words| match words {
            [program, rest @ ..] => program.ends_with("containerd-shim-runc-v2") && rest.contains(&&*socket),
            [] => false,
        });
        processes.extend(pod_processes());
        if processes.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let pids: Vec<String> = processes.iter().map(u32::to_string).collect();
            return fail(format!("processes of pods do not end: {}", pids.join(" ")));
        }
        signal("KILL", &processes);
        sleep(POLL);
    }
}

/// kube-proxy knows best what it wrote; asked only when it wrote something, for asking loads kernel modules.
fn clean_proxy_rules(layout: &Layout) {
    if layout.kubernetes.exists() && Run::new("nft").args(["list", "table", "ip", "kube-proxy"]).succeeds() {
        Run::new(&layout.kubernetes).args(["kube-proxy", "--cleanup"]).succeeds();
    }
}
