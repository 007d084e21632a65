//! `courier-memory`: what the courier of the online check takes, idle, after many check-ins, and after a vendor that answers without end;
//! and how long status takes to show what a check-in changed. On a cluster, with the relay of the test world in a release build.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Arguments, line};
use crate::{
    bed::Bed,
    host,
    process::wait_for,
    scenario::{
        fixture::{Fixture, READY},
        license::{self, Everything, admin_bytes, check_in, vendor::Vendor},
    },
};

/// MiB resident.
const MEMORY_GOAL: f64 = 8.0;
/// Milliseconds from a change in the relay to status.
const MIRROR_GOAL: f64 = 2_000.0;
/// Check-ins that bring an answer.
const ROUNDS: u64 = 100;
/// Check-ins that bring a gigabyte, if they were read.
const GIANTS: u64 = 20;

pub(super) fn run(bed: &Bed, arguments: &Arguments) -> Result<()> {
    let fixture = Fixture::new(bed, "bench-courier")?;
    let vendor = Vendor::install(bed)?;
    let key = vendor.sell()?;
    license::secret(&fixture, &key)?;
    let all = Everything::new(&fixture, &vendor.online())?;
    all.shown("Online", "Pro", READY)?;
    let pid = host::courier()?;
    let idle = host::memory(&pid)?;
    line::print_at_most("courier-memory-idle", idle.resident, "MiB", MEMORY_GOAL);

    let rounds = arguments.rounds.unwrap_or(ROUNDS);
    let began = Instant::now();
    for _ in 0..rounds {
        let before = admin_bytes(&fixture, &all.relay, "/v2/admin/license/request")?;
        check_in(&fixture, &all.relay)?;
        wait_for("the next request", READY, || {
            let now = admin_bytes(&fixture, &all.relay, "/v2/admin/license/request")?;
            Ok(if now == before { Err("the same request is out".to_owned()) } else { Ok(()) })
        })?;
    }
    let each = began.elapsed().as_secs_f64() * 1e3 / rounds.max(1) as f64;
    line::print("check-in-round", each, "ms", None);
    let after = host::memory(&pid)?;
    line::print_at_most("courier-memory-after-check-ins", after.resident, "MiB", MEMORY_GOAL);

    vendor.fault("giant")?;
    for _ in 0..GIANTS {
        check_in(&fixture, &all.relay)?;
        std::thread::sleep(Duration::from_millis(500));
    }
    let problem = fixture.field("prelay/health", "/status/license/checkIn/problem")?;
    let problem = problem.as_str().context("a vendor without end was no problem")?;
    anyhow::ensure!(problem.contains("more than"), "the problem is another: {problem}");
    vendor.fault("none")?;
    let worst = host::memory(&pid)?;
    line::print_at_most("courier-memory-peak", worst.peak, "MiB", MEMORY_GOAL);

    let longest = license::latency(&all, &vendor, &key)?;
    line::print_at_most("license-mirrored-in-status", longest as f64, "ms", MIRROR_GOAL);
    Ok(())
}
