//! The steps of the operator's machine as they are written into a relay's status.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::fixture::Fixture;

/// A watch on the step of one relay.
pub(super) struct MachineSteps {
    watch: Child,
    lines: mpsc::Receiver<String>,
}

impl MachineSteps {
    pub(super) fn watch(fixture: &Fixture<'_>, relay: &str) -> Result<Self> {
        let mut command = fixture.bed.kubectl_command();
        command.args(["-n", &fixture.namespace, "get", "prelay", relay, "--watch"]);
        command.args(["-o", "jsonpath={.status.update.step}{\"\\n\"}"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut watch = command.spawn().context("cannot watch the relay")?;
        let stdout = watch.stdout.take().context("kubectl has no output")?;
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(MachineSteps { watch, lines })
    }

    /// Sees each new step once, until the machine is at rest again; a repeated line is another change of the same status.
    pub(super) fn until_at_rest(
        &self,
        limit: Duration,
        mut see: impl FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        let began = Instant::now();
        let mut before = String::new();
        loop {
            let step = self.next(limit.saturating_sub(began.elapsed()), &before)?;
            if step == "Idle" && !before.is_empty() {
                return Ok(());
            }
            if step.is_empty() || step == "Idle" || step == before {
                continue;
            }
            see(&step)?;
            before = step;
        }
    }

    /// Waits for one step.
    pub(super) fn until(&self, wanted: &str, limit: Duration) -> Result<()> {
        let began = Instant::now();
        let mut before = String::new();
        while before != wanted {
            before = self.next(limit.saturating_sub(began.elapsed()), &before)?;
        }
        Ok(())
    }

    fn next(&self, limit: Duration, before: &str) -> Result<String> {
        let step = self.lines.recv_timeout(limit);
        step.with_context(|| format!("after the step {before:?} came no other in time"))
    }
}

impl Drop for MachineSteps {
    fn drop(&mut self) {
        self.watch.kill().ok();
        self.watch.wait().ok();
    }
}
