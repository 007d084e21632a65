//! What memory this process takes, and what it may take, as the kernel says.
//!
//! Read when somebody asks: three small files, no allocation that grows. A kernel that does not say gives nothing, not zero.

use std::fs;

/// Bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// Resident altogether.
    pub resident: u64,
    /// Of that, what is no file's: heap and stacks.
    pub anonymous: u64,
    /// What the control group allows, or what the machine has.
    pub limit: u64,
}

impl MemoryUse {
    /// As it is now; `None` where `/proc` says nothing.
    #[must_use]
    pub fn now() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let limit = group_limit().or_else(|| field(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal"));
        Some(Self {
            resident: field(&status, "VmRSS")?,
            anonymous: field(&status, "RssAnon")?,
            limit: limit?,
        })
    }

    /// Hundredths of the limit that are taken.
    #[must_use]
    pub fn percent(&self) -> u64 {
        self.resident.saturating_mul(100) / self.limit.max(1)
    }
}

/// The limit of this process's control group (version 2), seen from inside its container or from outside.
fn group_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    [format!("/sys/fs/cgroup{own}/memory.max"), "/sys/fs/cgroup/memory.max".to_owned()]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok())
}

/// A field of `/proc/self/status` or `/proc/meminfo`, which count in KiB.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn this_process_takes_some_memory_and_less_than_it_may() {
        let before = MemoryUse::now().unwrap();
        assert!(before.resident > 0 && before.anonymous <= before.resident, "{before:?}");
        assert!(before.percent() < 100, "{before:?}");
        let taken = vec![1u8; 64 << 20];
        let after = MemoryUse::now().unwrap();
        assert!(after.anonymous >= before.anonymous + (32 << 20), "{before:?} {after:?}");
        drop(taken);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let status = "VmHWM:\t  900 kB\nVmRSS:\t  512 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(field(status, "VmRSS"), Some(512 * 1024));
        assert_eq!(field(status, "Vm"), None);
        assert_eq!(field("VmRSS:\tmuch\n", "VmRSS"), None);
    }
}
