//! Uploads that are cut, and what must be true of each of them afterwards.

use std::{
    fmt, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::relay::{Relay, random_blob};

/// Uploads of one round, all under way at once.
pub(super) const UPLOADS: usize = 200;

/// Small ones fit one packet, large ones are cut in the middle of their bodies.
const LENGTHS: [usize; 3] = [700, 70_000, 300_000];

/// One upload, and whether the relay said that it kept it.
pub(super) struct Attempt {
    digest: String,
    bytes: Vec<u8>,
    acknowledged: bool,
}

/// Starts the uploads and calls `kill` once `after` of them were acknowledged.
pub(super) fn interrupted(
    relay: &Relay,
    after: usize,
    kill: impl FnOnce() -> Result<()>,
) -> Result<Vec<Attempt>> {
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let uploads: Vec<_> = (0..UPLOADS)
        .map(|index| {
            let (bytes, digest) = random_blob(LENGTHS[index % LENGTHS.len()])?;
            let (relay, acknowledged) = (relay.clone(), acknowledged.clone());
            Ok(thread::spawn(move || {
                let kept = relay.upload(&bytes, &digest).is_ok_and(|(status, _)| status == 200);
                acknowledged.fetch_add(usize::from(kept), Ordering::SeqCst);
                Attempt { digest, bytes, acknowledged: kept }
            }))
        })
        .collect::<Result<_>>()?;
    while acknowledged.load(Ordering::SeqCst) < after && !uploads.iter().all(thread::JoinHandle::is_finished)
    {
        thread::sleep(Duration::from_millis(1));
    }
    kill()?;
    uploads
        .into_iter()
        .map(|upload| upload.join().map_err(|_| anyhow::anyhow!("an upload panicked")))
        .collect()
}

/// What became of the uploads of all rounds.
#[derive(Default)]
pub(super) struct Tally {
    kept: usize,
    absent: usize,
    whole: usize,
}

impl Tally {
    /// Reads every upload of one round: the acknowledged ones once, the cut ones once or never.
    pub(super) fn settle(&mut self, relay: &Relay, attempts: &[Attempt]) -> Result<()> {
        let acknowledged = attempts.iter().filter(|attempt| attempt.acknowledged).count();
        if acknowledged == 0 || acknowledged == attempts.len() {
            bail!("{acknowledged} of {} acknowledged; the kill did not fall among them", attempts.len());
        }
        for Attempt { digest, bytes, acknowledged } in attempts {
            match relay.download(digest)? {
                (200, got) if got == *bytes => {
                    let count = if *acknowledged { &mut self.kept } else { &mut self.whole };
                    *count += 1;
                    let again = relay.download(digest)?.0;
                    if again != 404 {
                        bail!("a blob that was read answers {again}, expected 404");
                    }
                }
                (404, _) if !acknowledged => self.absent += 1,
                (status, got) => bail!(
                    "a blob of {} bytes (acknowledged: {acknowledged}) answered {status} with {} bytes",
                    bytes.len(),
                    got.len()
                ),
            }
        }
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} acknowledged kept, {} cut whole, {} cut absent", self.kept, self.whole, self.absent)
    }
}

/// Payloads in a relay's data folder.
pub(super) fn payload_files(data: &Path) -> Result<usize> {
    let mut count = 0;
    for folder in fs::read_dir(data.join("blobs")).context("no folder of payloads")? {
        count += fs::read_dir(folder?.path())?.count();
    }
    Ok(count)
}

/// Whether any key slot is in use.
pub(super) fn keys_left(data: &Path) -> Result<bool> {
    Ok(fs::read(data.join("keys.slots"))?.iter().any(|byte| *byte != 0))
}
