//! What the cluster changes on the machine outside its own folders, and how each change is undone.
//! `Machine::remember` writes down what was there before anything is touched; `restore` needs nothing but those notes,
//! so it works after a crash at any point and may be run twice.

use std::fs;
use std::path::{Path, PathBuf};

use super::layout::{ADDRESS, BRIDGE, Layout, PODS, TABLE};
use crate::failure::{Doing, Result, fail};
use crate::run::Run;

/// Kernel settings that kubelet, the network plugins or kube-proxy set.
const SETTINGS: &[&str] = &[
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/bridge/bridge-nf-call-iptables",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Folders that the daemons make at places fixed in their code.
const FOLDERS: &[&str] = &[
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
    "/run/containerd",
    "/etc/cni",
];

/// The machine as it was before `up`.
#[derive(Debug)]
pub(crate) struct Machine {
    notes: PathBuf,
}

impl Machine {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self { notes: layout.data.join("machine-before") }
    }

    /// Writes down what `restore` will need. Notes of an earlier run that was never undone stay as they are.
    pub(crate) fn remember(&self) -> Result<()> {
        if self.notes.exists() {
            return Ok(());
        }
        let mut notes = String::new();
        for setting in SETTINGS {
            if let Ok(value) = fs::read_to_string(Path::new("/proc/sys").join(setting)) {
                notes.push_str(&format!("setting {setting} {}\n", value.trim()));
            }
        }
        for folder in FOLDERS.iter().filter(|folder| !Path::new(folder).exists()) {
            notes.push_str(&format!("absent {folder}\n"));
        }
        fs::write(&self.notes, notes).doing(|| format!("write {}", self.notes.display()))
    }

    /// The bridge with the node's address, forwarding, and a way out for pods.
    pub(crate) fn connect(&self) -> Result<()> {
        if !Path::new("/proc/sys/net/bridge").exists() {
            Run::new("modprobe").arg("br_netfilter").succeeds();
        }
        ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        ip(&["address", "add", &format!("{ADDRESS}/16"), "dev", BRIDGE])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        set("net/ipv4/ip_forward", "1")?;
        // Pods reach each other through Services on one bridge: answers must pass the translation again.
        if set("net/bridge/bridge-nf-call-iptables", "1").is_err() {
            return fail(
                "the kernel lacks br_netfilter (no /proc/sys/net/bridge); load it with `modprobe br_netfilter`, then run again",
            );
        }
        let table = format!(
            "table ip {TABLE} {{ chain postrouting {{ type nat hook postrouting priority srcnat; \
             ip saddr {PODS} ip daddr != {PODS} oifname != \"{BRIDGE}\" masquerade; }}; }}\n"
        );
        Run::new("nft").args(["-f", "-"]).input(table).done()
    }

    /// Undoes everything above that is still there. Goes on past what fails; returns what is left.
    pub(crate) fn restore(&self) -> Vec<String> {
        let mut left = Vec::new();
        for port in entries(&Path::new("/sys/class/net").join(BRIDGE).join("brif")) {
            Run::new("ip").args(["link", "delete"]).arg(file_name(&port)).succeeds();
        }
        if Path::new("/sys/class/net").join(BRIDGE).exists() && ip(&["link", "delete", BRIDGE]).is_err() {
            left.push(format!("network interface {BRIDGE}"));
        }
        for table in [format!("ip {TABLE}"), "ip kube-proxy".to_owned(), "ip6 kube-proxy".to_owned()] {
            let table: Vec<&str> = table.split(' ').collect();
            if Run::new("nft").args(["list", "table"]).args(&table).succeeds()
                && !Run::new("nft").args(["delete", "table"]).args(&table).succeeds()
            {
                left.push(format!("nftables table {}", table.join(" ")));
            }
        }
        for note in fs::read_to_string(&self.notes).unwrap_or_default().lines() {
            match note.split(' ').collect::<Vec<_>>()[..] {
                ["setting", setting, value] if set(setting, value).is_err() => {
                    left.push(format!("kernel setting {setting}, which was {value}"));
                }
                ["absent", folder] if Path::new(folder).exists() && fs::remove_dir_all(folder).is_err() => {
                    left.push(format!("folder {folder}"));
                }
                _ => {}
            }
        }
        left
    }
}

/// Processes in the pods' control groups.
pub(crate) fn pod_processes() -> Vec<u32> {
    pod_groups()
        .iter()
        .filter_map(|group| fs::read_to_string(group.join("cgroup.procs")).ok())
        .flat_map(|pids| pids.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

/// Removes the pods' control groups; they must be empty. Returns those that stay.
pub(crate) fn remove_pod_groups() -> Vec<String> {
    pod_groups()
        .iter()
        .filter(|group| fs::remove_dir(group).is_err() && group.exists())
        .map(|group| format!("control group {}", group.display()))
        .collect()
}

/// Control groups of pods in both versions of the hierarchy, inner ones first.
fn pod_groups() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let mut found = Vec::new();
    collect_groups(&root.join("kubepods"), &mut found);
    for controller in entries(root).iter().filter(|path| path.is_dir() && !path.is_symlink()) {
        collect_groups(&controller.join("kubepods"), &mut found);
    }
    found
}

fn collect_groups(group: &Path, found: &mut Vec<PathBuf>) {
    if group.is_dir() {
        entries(group).iter().filter(|path| path.is_dir()).for_each(|child| collect_groups(child, found));
        found.push(group.to_path_buf());
    }
}

/// Unmounts everything below these folders. Returns what stays mounted.
pub(crate) fn unmount_below(folders: &[&Path]) -> Vec<String> {
    // A later mount may lie inside an earlier one or on top of it: last first, until none is left or none gives way.
    let mut before = usize::MAX;
    loop {
        let mounted = mounts_below(folders);
        if mounted.is_empty() || mounted.len() >= before {
            return mounted.iter().map(|path| format!("mount {}", path.display())).collect();
        }
        before = mounted.len();
        for mount in mounted.iter().rev() {
            if !Run::new("umount").arg(mount).succeeds() {
                Run::new("umount").arg("--lazy").arg(mount).succeeds();
            }
        }
    }
}

fn mounts_below(folders: &[&Path]) -> Vec<PathBuf> {
    fs::read_to_string("/proc/self/mounts")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .filter(|path| folders.iter().any(|folder| path.starts_with(folder)))
        .collect()
}

fn set(setting: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(setting);
    if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value).doing(|| format!("set {setting} to {value}"))
}

fn ip(arguments: &[&str]) -> Result<()> {
    Run::new("ip").args(arguments).done()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).map(|all| all.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
