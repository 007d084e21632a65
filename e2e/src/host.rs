//! Processes of this machine, which is the test bed's node: found by their command lines, measured by `/proc`, told by signals.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::process::{self, wait_for};

/// The operator's process.
pub(crate) fn operator_pid() -> Result<String> {
    wait_for("the operator's process", Duration::from_secs(60), || {
        Ok(find(|command| command.starts_with("/paramant-operator"))
            .into_iter()
            .next()
            .context("it does not run")
            .map_err(|e| e.to_string()))
    })
}

/// The process of the operator that runs in this pod.
pub(crate) fn operator_in(pod: &str) -> Result<String> {
    let named = format!("POD_NAME={pod}");
    let runs_there = |pid: &String| {
        fs::read_to_string(format!("/proc/{pid}/environ"))
            .is_ok_and(|all| all.split('\0').any(|one| one == named))
    };
    wait_for(&format!("the operator's process in {pod}"), Duration::from_secs(60), || {
        let found = find(|command| command.starts_with("/paramant-operator"));
        Ok(found.into_iter().find(runs_there).ok_or_else(|| "it does not run".to_owned()))
    })
}

/// The process of the relay that runs in the pod with this UID: its cgroup names the pod.
pub(crate) fn relay_in(pod_uid: &str) -> Result<String> {
    let named = format!("pod{pod_uid}");
    let runs_there = |pid: &String| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|all| all.contains(&named))
    };
    find(|command| command.contains("paramant-relay"))
        .into_iter()
        .find(runs_there)
        .with_context(|| format!("found no relay process of pod {pod_uid} on this machine"))
}

/// The process of the one courier that runs.
pub(crate) fn courier() -> Result<String> {
    wait_for("the courier's process", Duration::from_secs(60), || {
        let found = find(|command| command.starts_with("/paramant-courier\0"));
        Ok(match found.as_slice() {
            [pid] => Ok(pid.clone()),
            other => Err(format!("{} couriers run", other.len())),
        })
    })
}

/// A process of the test bed's control plane, by the name it was started with.
pub(crate) fn component_pid(name: &str) -> Result<String> {
    find(|command| {
        command.split('\0').take(2).any(|word| word == name || word.ends_with(&format!("/{name}")))
    })
    .into_iter()
    .next()
    .with_context(|| format!("found no {name} on this machine"))
}

fn find(wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|pid| {
            pid.bytes().all(|byte| byte.is_ascii_digit())
                && fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|command| wanted(&command))
        })
        .collect()
}

/// Sends a signal to a process of this machine.
pub(crate) fn signal(pid: &str, name: &str) -> Result<()> {
    let mut command = Command::new("kill");
    command.args(["-s", name, pid]);
    process::run(&mut command, None, Duration::from_secs(5))?.success("kill").map(drop)
}

/// A process that stands still until this is dropped.
pub(crate) struct Frozen(String);

impl Frozen {
    /// Stops it.
    pub(crate) fn new(pid: String) -> Result<Self> {
        signal(&pid, "STOP")?;
        Ok(Frozen(pid))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal(&self.0, "CONT").ok();
    }
}

/// Memory of a process in MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: f64,
    /// Resident at most, since it started.
    pub(crate) peak: f64,
}

/// What a process takes now.
pub(crate) fn memory(pid: &str) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<f64> {
        let line =
            status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
        Ok(line.split_whitespace().nth(1).context("no value")?.parse::<f64>()? / 1024.0)
    };
    Ok(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// Processor time a process took so far, in seconds.
pub(crate) fn processor_seconds(pid: &str) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; user and system time are the 12th and 13th field behind it.
    let fields: Vec<&str> = stat.rsplit_once(')').context("no stat")?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("no times");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
