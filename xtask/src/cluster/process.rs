//! Daemons of the cluster: started in a session of their own so that they outlive this program, found again by pid files.
//! A pid file holds the process's start time too, so a number the kernel has given to someone else is never signalled.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::layout::Layout;
use crate::failure::{Doing, Failure, Result};
use crate::run::{Run, tail};

/// How often anything of the cluster is asked whether it is there yet.
pub(crate) const POLL: Duration = Duration::from_millis(100);

/// One daemon, by the name of its pid file and log.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    pub(crate) name: &'static str,
    pid_file: PathBuf,
    pub(crate) log: PathBuf,
}

impl Daemon {
    pub(crate) fn new(layout: &Layout, name: &'static str) -> Self {
        Self { name, pid_file: layout.pids().join(name), log: layout.logs.join(format!("{name}.log")) }
    }

    /// Starts the program detached from this one; what it prints goes to the daemon's log.
    pub(crate) fn start(&self, program: &Path, arguments: &[String]) -> Result<()> {
        let log = File::create(&self.log).doing(|| format!("write {}", self.log.display()))?;
        let errors = log.try_clone().doing(|| format!("write {}", self.log.display()))?;
        // A fresh child leads no process group, so setsid replaces itself by the program: its pid is the child's.
        let child = Command::new("setsid")
            .arg(program)
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .doing(|| format!("start {}", self.name))?;
        let pid = child.id();
        let started = start_time(pid).unwrap_or_default();
        fs::write(&self.pid_file, format!("{pid} {started}"))
            .doing(|| format!("write {}", self.pid_file.display()))
    }

    /// The daemon's process, if it lives.
    pub(crate) fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(&self.pid_file).ok()?;
        let (pid, started) = text.split_once(' ')?;
        let pid = pid.parse().ok()?;
        (start_time(pid)?.to_string() == started).then_some(pid)
    }

    /// Waits until `ready` says so; fails at once when the daemon has ended.
    pub(crate) fn wait(&self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if ready() {
                return Ok(());
            }
            let what = if self.pid().is_none() {
                "ended"
            } else if Instant::now() > deadline {
                "was not ready in time"
            } else {
                sleep(POLL);
                continue;
            };
            return Err(Failure(format!(
                "{} {what}; its log ends with:\n{}\nwhole log: {}",
                self.name,
                tail(&self.log),
                self.log.display()
            )));
        }
    }

    /// Asks the daemon to end, and ends it when it has not after `grace`.
    pub(crate) fn stop(&self, grace: Duration) {
        if let Some(pid) = self.pid() {
            signal("TERM", &[pid]);
            if !wait_for_end(grace, || self.pid().is_none()) {
                signal("KILL", &[pid]);
                wait_for_end(Duration::from_secs(5), || self.pid().is_none());
            }
        }
        let _ = fs::remove_file(&self.pid_file);
    }
}

/// Sends a signal to processes; one that has ended meanwhile is no fault.
pub(crate) fn signal(name: &str, pids: &[u32]) {
    if !pids.is_empty() {
        Run::new("kill").arg("-s").arg(name).args(pids.iter().map(u32::to_string)).succeeds();
    }
}

fn wait_for_end(limit: Duration, mut ended: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !ended() {
        if Instant::now() > deadline {
            return false;
        }
        sleep(POLL);
    }
    true
}

/// When a process started, in ticks since the machine did; `None` for one that has ended, reaped or not.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; fields are counted behind it: state is the first, start time the 20th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Processes whose command line `is_wanted` picks: the program's path, then its arguments.
pub(crate) fn find(is_wanted: impl Fn(&[&str]) -> bool) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            is_wanted(&line.trim_end_matches('\0').split('\0').collect::<Vec<_>>())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_live_process_has_a_start_time_and_a_dead_one_has_none() {
        assert!(start_time(std::process::id()).is_some());
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(start_time(pid), None);
    }

    #[test]
    fn an_ended_child_counts_as_ended_before_it_is_reaped() {
        let mut child = Command::new("true").spawn().unwrap();
        assert!(wait_for_end(Duration::from_secs(5), || start_time(child.id()).is_none()));
        child.wait().unwrap();
    }
}
