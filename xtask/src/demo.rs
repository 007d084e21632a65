//! `cargo xtask demo`: from whatever the machine has to relays that serve, verified by programs we did not write.

use std::time::Instant;

use crate::arguments::Arguments;
use crate::cache::Cache;
use crate::failure::Result;
use crate::{cluster, scenarios};

/// `cargo xtask demo [--down] [--context NAME]`.
pub(crate) fn command(cache: &Cache, mut arguments: Arguments) -> Result<()> {
    if arguments.flag("--down") {
        arguments.end()?;
        return cluster::take_down(cache);
    }
    let choice = cluster::choose(&mut arguments)?;
    arguments.end()?;
    let started = Instant::now();
    println!("Preparing (cache: {})", cache.root().display());
    let ready = scenarios::prepare(cache, choice, scenarios::For::Demo)?;
    println!("Ready after {:.0} s", started.elapsed().as_secs_f64());
    ready.scenarios(cache, None).arg("demo").attached()
}
