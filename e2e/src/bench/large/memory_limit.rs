//! A memory cgroup around one process, of version 2 or 1, whichever the machine has.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(super) struct MemoryLimit {
    group: PathBuf,
    hits: &'static str,
    pid: u32,
}

impl MemoryLimit {
    /// Moves the process into a group of this size. Needs root.
    pub(super) fn on(pid: u32, bytes: u64) -> Result<Self> {
        let (root, limit, hits) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            ("/sys/fs/cgroup", "memory.max", "memory.events")
        } else {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.failcnt")
        };
        let group = Path::new(root).join(format!("paramant-large-{pid}"));
        fs::create_dir(&group).with_context(|| format!("cannot make {}", group.display()))?;
        let this = Self { group, hits, pid };
        fs::write(this.group.join(limit), bytes.to_string())
            .with_context(|| format!("cannot write {limit}"))?;
        fs::write(this.group.join("cgroup.procs"), pid.to_string()).context("cannot move the process")?;
        Ok(this)
    }

    /// How often the limit was met, as the kernel tells it.
    pub(super) fn hits(&self) -> String {
        let text = fs::read_to_string(self.group.join(self.hits)).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // A group is removed only when nobody is in it; the process may be gone already.
        if let Some(root) = self.group.parent() {
            let _ = fs::write(root.join("cgroup.procs"), self.pid.to_string());
        }
        let _ = fs::remove_dir(&self.group);
    }
}
