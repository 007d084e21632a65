//! The published client and our command line exchange files both ways, through one account.

use anyhow::Result;

use super::fixture::Fixture;
use crate::{
    bed::Bed,
    demo::transfer,
    sdk::Client::{Cli, Sdk},
    steps::{Seen, seen},
};

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "interop")?;
    let relay = fixture.relay("health")?;
    let directory = tempfile::tempdir()?;
    let mut files = 0;
    for pair in [(Sdk, Sdk), (Sdk, Cli), (Cli, Sdk), (Cli, Cli)] {
        for length in [0, 1, 1024, 5_236_477] {
            transfer(bed, &relay, directory.path(), pair, length, &[])?;
            files += 1;
        }
    }
    seen((), format!("{files} files, each received once with a valid receipt"))
}
