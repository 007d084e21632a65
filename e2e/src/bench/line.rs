//! What a benchmark prints.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;

/// Prints one figure. `goal` is the least value that meets it.
pub(crate) fn print(name: &str, value: f64, unit: &str, goal: Option<f64>) {
    let value = (value * 1000.0).round() / 1000.0;
    println!(
        "{}",
        json!({ "name": name, "value": value, "unit": unit, "goal": goal, "meets": goal.map(|least| value >= least) })
    );
}

/// The same for figures that should stay below their goal.
pub(crate) fn print_at_most(name: &str, value: f64, unit: &str, goal: f64) {
    let value = (value * 1000.0).round() / 1000.0;
    println!(
        "{}",
        json!({ "name": name, "value": value, "unit": unit, "goal": goal, "meets": value <= goal })
    );
}

/// A disk benchmark on a memory file system would measure nothing.
pub(crate) fn refuse_memory(directory: &Path) -> Result<()> {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    let kind = rustix::fs::statfs(directory)?.f_type;
    if kind == TMPFS || kind == RAMFS {
        bail!("{} is in memory; name a directory on a disk with --directory", directory.display());
    }
    Ok(())
}
