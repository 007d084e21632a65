//! `operator-drain`: from the answer to a drain toggle to the first refused upload of a real relay.

use anyhow::Result;

use super::{DRAIN_GOAL, percentile};
use crate::{
    bed::Bed,
    bench::{Arguments, line},
    scenario::drain,
};

pub(super) fn run(bed: &Bed, arguments: &Arguments) -> Result<()> {
    let toggles = arguments.rounds.map_or(Ok(drain::TOGGLES), usize::try_from)?;
    let delays: Vec<f64> =
        drain::toggle(bed, "bench-drain", toggles)?.iter().map(std::time::Duration::as_secs_f64).collect();
    line::print_at_most("operator-drain-p99", percentile(&delays, 0.99), "s", DRAIN_GOAL);
    line::print("operator-drain-p50", percentile(&delays, 0.5), "s", None);
    line::print("operator-drain-max", percentile(&delays, 1.0), "s", None);
    Ok(())
}
