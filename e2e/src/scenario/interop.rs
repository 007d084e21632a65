//! The published client and our command line exchange files both ways, through one account; every judge then accepts the log.
//! In the cluster, and with the relay as a plain process.

use anyhow::Result;

use super::{auditors, fixture::Fixture};
use crate::{
    bed::Bed,
    demo::transfer,
    relay::Relay,
    sdk::Client::{Cli, Sdk},
    standalone::{Standalone, TOKEN},
    steps::{Seen, seen},
};

const LENGTHS: [usize; 4] = [0, 1, 1024, 5_236_477];

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "interop")?;
    let relay = fixture.relay("health")?;
    let mut files = 0;
    for pair in [(Sdk, Sdk), (Sdk, Cli), (Cli, Sdk), (Cli, Cli)] {
        files += exchange(bed, &relay, pair)?;
    }
    auditors::every_judge(bed, &relay.url)?;

    let directory = tempfile::tempdir_in("/var/tmp")?;
    let process = Standalone::start(
        &bed.binary("paramant-relay"),
        directory.path(),
        "maxBlob: 16Mi, minFreeDisk: 1Mi",
    )?;
    let relay = Relay::with_new_key(process.url(), TOKEN, "e2e")?;
    files += exchange(bed, &relay, (Sdk, Sdk))?;
    auditors::every_judge(bed, &relay.url)?;
    seen((), format!("{files} files, each received once with a valid receipt; five judges accept both logs"))
}

fn exchange(bed: &Bed, relay: &Relay, pair: (crate::sdk::Client, crate::sdk::Client)) -> Result<usize> {
    let directory = tempfile::tempdir()?;
    for length in LENGTHS {
        transfer(bed, relay, directory.path(), pair, length, &[])?;
    }
    Ok(LENGTHS.len())
}
