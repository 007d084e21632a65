//! Every status a relay had during the tour, judged by kstatus' own library against the table of the documentation.
//!
//! What a status should be is told by its phase and by why an update waits, as people read it in docs/operate.md; the library
//! looks at generation and conditions. The two must agree on each.

use std::{
    io::Read as _,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{bed::Bed, process};

/// A watch on one relay.
pub(super) struct Recorder {
    watch: Child,
    reader: thread::JoinHandle<String>,
}

impl Recorder {
    /// Begins to watch.
    pub(super) fn start(bed: &Bed, namespace: &str, relay: &str) -> Result<Self> {
        let mut command = bed.kubectl_command();
        command.args(["-n", namespace, "get", "prelay", relay, "--watch", "-o", "json"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut watch = command.spawn().context("cannot watch the relay")?;
        let mut stdout = watch.stdout.take().context("kubectl has no output")?;
        let reader = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).ok();
            text
        });
        Ok(Recorder { watch, reader })
    }

    /// Ends, and has every recorded status judged; a wrong expectation is planted first and must be refused.
    pub(super) fn judge(mut self, bed: &Bed) -> Result<String> {
        self.watch.kill().ok();
        self.watch.wait().ok();
        let text = self.reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
        let objects: Vec<Value> = serde_json::Deserializer::from_str(&text)
            .into_iter::<Value>()
            // The last one may be cut where the watch was ended.
            .map_while(std::result::Result::ok)
            .filter(|object| object["metadata"]["deletionTimestamp"].is_null())
            .collect();
        if objects.len() < 10 {
            bail!("only {} statuses were recorded", objects.len());
        }
        let file = tempfile::NamedTempFile::new()?;
        let write = |change: &dyn Fn(usize, &'static str) -> &'static str| -> Result<()> {
            let lines: Vec<String> = objects
                .iter()
                .enumerate()
                .map(|(at, object)| {
                    json!({ "expected": change(at, expected(object)), "object": object }).to_string()
                })
                .collect();
            Ok(std::fs::write(file.path(), lines.join("\n"))?)
        };
        let ask = || {
            let mut command = std::process::Command::new(bed.programs.join("judge-kstatus"));
            command.arg(file.path());
            process::run(&mut command, None, Duration::from_secs(60))
        };
        write(&|at, right| if at == objects.len() / 2 { "NotFound" } else { right })?;
        if ask()?.code == Some(0) {
            bail!("kstatus' judge accepted a planted wrong expectation");
        }
        write(&|_, right| right)?;
        Ok(ask()?.success("judge-kstatus")?.trim().to_owned())
    }
}

/// The table of docs/operate.md, by phase and by why an update waits.
fn expected(object: &Value) -> &'static str {
    let status = &object["status"];
    if status["observedGeneration"] != object["metadata"]["generation"] {
        return "InProgress";
    }
    let condition = |kind: &str| {
        let all = status["conditions"].as_array().into_iter().flatten();
        all.filter(|one| one["type"] == kind && one["status"] == "True")
            .find_map(|one| one["reason"].as_str())
    };
    match status["phase"].as_str().unwrap_or_default() {
        "Blocked" => "Failed",
        "Ready" | "Draining" | "Drained" => match condition("UpdateBlocked") {
            None
            | Some(
                "OutsideWindow" | "Excluded" | "TooLittleTimeLeft" | "FilesInMemory" | "TierUnknown"
                | "AwaitingApproval",
            ) => "Current",
            Some("ResolvingImage" | "RegistryUnavailable" | "Verifying") => "InProgress",
            Some(_) => "Failed",
        },
        _ => "InProgress",
    }
}
