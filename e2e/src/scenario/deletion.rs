//! `kubectl delete prelay`: the relay ends what runs, closes its log, and leaves its data.

use std::{fs, path::Path, time::Duration};

use anyhow::{Result, bail};

use super::fixture::Fixture;
use crate::{bed::Bed, process::wait_for, steps::Seen, steps::seen};

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
    seen((), "the object went at once, the log was closed, the volume stays")
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
