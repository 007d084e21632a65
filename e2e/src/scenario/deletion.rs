//! `kubectl delete prelay`: the relay ends what runs, closes its log, and leaves its data: a whole copy of the log among it.
//! Created again over the same volume it keeps what it had and begins a log that names the one before.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Result, bail};

use super::{auditors, fixture::Fixture};
use crate::{
    bed::Bed,
    process::{self, wait_for},
    steps::{Seen, seen},
};

const AUDIT: Duration = Duration::from_secs(60);

/// The kind of the entry that says that nothing follows.
const CLOSED: &[u8] = b"\"log_closed\"";
/// A kind that is there from the first boot.
const STARTED: &[u8] = b"\"relay_started\"";

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "deletion")?;
    fixture.relay("health")?.roundtrip(1000)?;
    let log = fixture.data_folder("health")?.join("log");
    if !holds(&log, STARTED)? {
        bail!(
            "{} holds no relay_started entry; looking for log_closed there would prove nothing",
            log.display()
        );
    }
    if holds(&log, CLOSED)? {
        bail!("the log is closed although the relay runs");
    }
    // As kubectl does it by default: in the background, so the object is gone before its children are.
    bed.kubectl(&["-n", &fixture.namespace, "delete", "prelay", "health", "--timeout=30s"])?;
    wait_for("the pod to be gone", Duration::from_secs(120), || {
        let left = bed.kubectl(&["-n", &fixture.namespace, "get", "pods", "-o", "name"])?;
        Ok(if left.trim().is_empty() { Ok(()) } else { Err(left) })
    })?;
    if !holds(&log, CLOSED)? {
        bail!("the relay was deleted and its log was not closed");
    }
    audited(bed, &log)?;

    let relay = fixture.relay("health")?;
    relay.roundtrip(1000)?;
    auditors::every_judge(bed, &relay.url)?;
    let mut command = Command::new(bed.binary("paramant"));
    command.args(["log", "get", "0", "--relay", &relay.url]);
    let first = process::run(&mut command, None, AUDIT)?.success("paramant log get 0")?;
    if !first.contains("log_adopted") {
        bail!("the log of the relay that came back begins with another entry than log_adopted: {first}");
    }
    let log = fixture.data_folder("health")?.join("retired-logs/0/log");
    audited(bed, &log)?;
    seen(
        (),
        "the object went at once, the log was closed; a relay made again over the volume began a log that names it",
    )
}

/// What the volume holds is a whole copy.
fn audited(bed: &Bed, log: &Path) -> Result<()> {
    let mut command = Command::new(bed.binary("paramant"));
    command.args([Path::new("audit"), log]);
    let said =
        process::run(&mut command, None, AUDIT)?.success("paramant audit of the deleted relay's log")?;
    if !said.contains("closed by entry")
        || said.lines().any(|line| line.starts_with("--") && line.contains("tree heads"))
    {
        bail!("the audit of {} misses the end or the tree heads: {said}", log.display());
    }
    Ok(())
}

/// Whether any segment of the write-ahead log holds this text.
fn holds(log: &Path, text: &[u8]) -> Result<bool> {
    for entry in fs::read_dir(log.join("wal"))? {
        let bytes = fs::read(entry?.path())?;
        if bytes.windows(text.len()).any(|window| window == text) {
            return Ok(true);
        }
    }
    Ok(false)
}
