//! What the system says about this process.

use std::time::Duration;

/// Processor time used so far, the kernel's share included. The system counts in hundredths of a second.
pub(crate) fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc/self/stat");
    // Behind the program's name, which may hold anything: user and system time are the 12th and 13th word.
    let (_, words) = stat.rsplit_once(')').expect("a name");
    let ticks: u64 =
        words.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The most memory that was resident at once, and what of it now is anonymous, in MiB.
pub(crate) fn memory() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let figure = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    };
    (figure("VmHWM:"), figure("RssAnon:"))
}
