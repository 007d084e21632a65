//! kill -9 of the relay in its pod, in the middle of many uploads.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{auditors, fixture::Fixture, fixture::READY};
use crate::{
    bed::Bed,
    process::wait_for,
    relay::{Relay, random_blob},
    steps::{Seen, seen},
};

const UPLOADS: usize = 200;
const WRITERS: usize = 16;
const ROUNDS: usize = 2;

struct Attempt {
    digest: String,
    bytes: Vec<u8>,
    acknowledged: bool,
}

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "kill")?;
    let relay = fixture.relay("health")?;
    let (mut kept, mut cut, mut whole) = (0, 0, 0);
    for round in 0..ROUNDS {
        let share = 30 + 40 * round / ROUNDS.max(1);
        let attempts = interrupted(&fixture, &relay, UPLOADS * share / 100)?;
        fixture.ready("health")?;
        wait_for("the relay to answer again", READY, || {
            Ok(relay.public("/health").map_err(|error| format!("{error:#}")))
        })?;
        let acknowledged = attempts.iter().filter(|attempt| attempt.acknowledged).count();
        if acknowledged == 0 || acknowledged == attempts.len() {
            bail!(
                "round {round}: {acknowledged} of {} acknowledged; the kill did not fall among them",
                attempts.len()
            );
        }
        for attempt in &attempts {
            match relay.download(&attempt.digest)? {
                (200, bytes) if bytes == attempt.bytes => {
                    kept += usize::from(attempt.acknowledged);
                    whole += usize::from(!attempt.acknowledged);
                    if relay.download(&attempt.digest)?.0 != 404 {
                        bail!("round {round}: a blob was downloadable twice");
                    }
                }
                (404, _) if !attempt.acknowledged => cut += 1,
                (status, bytes) => bail!(
                    "round {round}: a blob (acknowledged: {}) answered {status} with {} bytes",
                    attempt.acknowledged,
                    bytes.len()
                ),
            }
        }
    }
    auditors::paramant_audit(bed, &relay.url)?;
    auditors::fsck(bed, &relay.url)?;
    seen(
        (),
        format!(
            "{ROUNDS} rounds: {kept} acknowledged kept, {cut} cut gone, {whole} cut whole, both auditors clean"
        ),
    )
}

/// Starts the uploads and kills the relay once `after` of them were acknowledged.
fn interrupted(fixture: &Fixture<'_>, relay: &Relay, after: usize) -> Result<Vec<Attempt>> {
    let pid = relay_pid(fixture)?;
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (relay, attempts, acknowledged) = (relay.clone(), attempts.clone(), acknowledged.clone());
            thread::spawn(move || -> Result<()> {
                for _ in 0..UPLOADS / WRITERS {
                    let (bytes, digest) = random_blob(30_000)?;
                    let ok = relay.upload(&bytes, &digest).is_ok_and(|(status, _)| status == 200);
                    if ok {
                        acknowledged.fetch_add(1, Ordering::SeqCst);
                    }
                    if let Ok(mut list) = attempts.lock() {
                        list.push(Attempt { digest, bytes, acknowledged: ok });
                    }
                }
                Ok(())
            })
        })
        .collect();
    while acknowledged.load(Ordering::SeqCst) < after && !writers.iter().all(thread::JoinHandle::is_finished)
    {
        thread::sleep(Duration::from_millis(1));
    }
    kill(&pid)?;
    for writer in writers {
        writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
    }
    let mut list = attempts.lock().map_err(|_| anyhow::anyhow!("a writer panicked"))?;
    Ok(std::mem::take(&mut *list))
}

/// The relay's process as this machine sees it: the one whose cgroup names the pod.
fn relay_pid(fixture: &Fixture<'_>) -> Result<String> {
    let uid = fixture.field("pod/health-0", "/metadata/uid")?;
    let uid = uid.as_str().context("the pod has no uid")?;
    for entry in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
        let pid = entry.file_name().to_string_lossy().into_owned();
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        if pid.bytes().all(|byte| byte.is_ascii_digit())
            && read("cgroup").contains(&format!("pod{uid}"))
            && read("cmdline").contains("paramant-relay")
        {
            return Ok(pid);
        }
    }
    bail!("found no relay process of pod {uid} on this machine")
}

fn kill(pid: &str) -> Result<()> {
    let mut command = std::process::Command::new("kill");
    command.args(["-9", pid]);
    crate::process::run(&mut command, None, Duration::from_secs(5))?.success("kill -9").map(drop)
}
