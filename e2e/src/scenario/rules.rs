//! Every CEL rule against the real API server: one manifest it refuses, and its nearest neighbour it accepts.

use anyhow::{Result, bail};


use super::fixture::Fixture;
use crate::{bed::Bed, steps::Seen, steps::seen};

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "rules")?;

    let _ = &fixture;
    bail!("not written")
}
