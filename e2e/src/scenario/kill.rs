//! kill -9 in the middle of many uploads: of the relay in its pod, and of the relay as a plain process.
//!
//! In each round 200 uploads are under way and some, but not all, were acknowledged when the relay dies. After its restart what
//! was acknowledged is there once, what was cut is whole or absent, no file and no key is left over, and both auditors are clean.

mod uploads;

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};

use super::{auditors, fixture::Fixture, fixture::READY};
use crate::host::{relay_in, signal};
use crate::{
    bed::Bed,
    process::wait_for,
    relay::Relay,
    standalone::{Standalone, TOKEN},
    steps::{Seen, seen},
};
use uploads::{Attempt, Tally, UPLOADS, interrupted};

/// Rounds in the pod: a container's restart takes seconds.
const ROUNDS_IN_POD: usize = 2;
const ROUNDS_OF_PROCESS: usize = 9;

/// All uploads are under way at once, from one address; the usual limits would refuse them.
const LIMITS: &str = "requestsPerMinute: 1000000, connectionsPerAddress: 5000";

/// Percent of the uploads that were acknowledged when the relay dies, spread from 20 to 80.
fn share(round: usize, rounds: usize) -> usize {
    20 + 60 * round / (rounds - 1).max(1)
}

pub(crate) fn in_pod(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "kill")?;
    fixture.apply("health", &format!("  limits: {{ {LIMITS} }}\n"))?;
    fixture.ready("health")?;
    let relay = fixture.connect("health")?;
    let data = fixture.data_folder("health")?;
    let mut tally = Tally::default();
    for round in 0..ROUNDS_IN_POD {
        let pid = relay_in(&super::template::pod(&fixture)?.uid)?;
        let attempts =
            interrupted(&relay, UPLOADS * share(round, ROUNDS_IN_POD) / 100, || signal(&pid, "KILL"))?;
        wait_for("the relay to answer again", READY, || {
            Ok(relay.public("/health").map_err(|error| format!("{error:#}")))
        })?;
        fixture.ready("health")?;
        settle(bed, &relay, &data, &attempts, &mut tally).with_context(|| format!("round {round}"))?;
    }
    seen((), format!("{ROUNDS_IN_POD} rounds: {tally}; no file or key left, both auditors clean"))
}

pub(crate) fn of_process(bed: &Bed) -> Result<Seen<()>> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    let limits = format!("{LIMITS}, minFreeDisk: 1Mi");
    let mut process = Standalone::start(&bed.binary("paramant-relay"), directory.path(), &limits)?;
    let mut relay = Relay::with_new_key(process.url(), TOKEN, "e2e")?;
    let mut tally = Tally::default();
    for round in 0..ROUNDS_OF_PROCESS {
        let after = UPLOADS * share(round, ROUNDS_OF_PROCESS) / 100;
        let attempts = interrupted(&relay, after, || process.kill())?;
        process.restart()?;
        process.url().clone_into(&mut relay.url);
        settle(bed, &relay, &process.data(), &attempts, &mut tally)
            .with_context(|| format!("round {round}"))?;
    }
    seen(
        (),
        format!("{ROUNDS_OF_PROCESS} rounds: {tally}; no file or key left, both auditors clean each time"),
    )
}

/// Everything is read, after which nothing of any payload may be left; and strangers are content with the log.
fn settle(bed: &Bed, relay: &Relay, data: &Path, attempts: &[Attempt], tally: &mut Tally) -> Result<()> {
    let left = || Ok::<_, anyhow::Error>((uploads::payload_files(data)?, uploads::keys_left(data)?));
    let (files, keys) = left()?;
    if files == 0 || !keys {
        bail!(
            "before anything was read: {files} files, keys: {keys}; looking for leftovers would prove nothing"
        );
    }
    tally.settle(relay, attempts)?;
    wait_for("the last payload and key to go", Duration::from_secs(10), || {
        let (files, keys) = left()?;
        Ok(if files == 0 && !keys { Ok(()) } else { Err(format!("{files} files, keys left: {keys}")) })
    })?;
    auditors::paramant_audit(bed, &relay.url)?;
    auditors::fsck(bed, &relay.url)?;
    Ok(())
}
