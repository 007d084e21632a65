//! `operator-scale`: memory, calls, silence, delays and a cold start with a thousand relays, and the same delays under faults.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    CHANGE_GOAL, MEMORY_GOAL, START_GOAL, changes, faults,
    fleet::{Fleet, NAMESPACE},
    metric, operator_pods, quiet,
};
use crate::{
    audit_log::{self, Request},
    bed::Bed,
    bench::{
        Arguments, line,
        plot::{Plot, Series},
    },
    host,
    scenario::{operator, rights::OPERATOR},
};

/// Relays unless told otherwise.
const RELAYS: u64 = 1000;
/// Changes of which the 99th percentile is taken.
const CHANGES: usize = 200;
/// Changes at the smaller sizes and under each fault.
const FEWER: usize = 60;
/// How long steady state is watched.
const WATCHED: Duration = Duration::from_secs(60);
/// After installing, until nothing is left to do: the children's last events, and the relays' first reports.
const SETTLES: Duration = Duration::from_secs(20);

/// What was seen at one size.
struct Stage {
    relays: usize,
    memory: f64,
    median: f64,
    p99: f64,
}

pub(super) async fn run(bed: &Bed, arguments: &Arguments) -> Result<()> {
    let log = bed.audit_log.clone().context("this benchmark reads the test bed's audit log")?;
    let total = usize::try_from(arguments.relays.unwrap_or(RELAYS))?;
    let client = super::client(bed).await?;
    let mut fleet = Fleet::new(bed, client).await?;
    let outcome = measure(&mut fleet, bed, &log, total, arguments).await;
    // Also after a failure: the cluster is used by others.
    let removed = fleet.remove().await;
    outcome.and(removed)
}

async fn measure(
    fleet: &mut Fleet<'_>,
    bed: &Bed,
    log: &Path,
    total: usize,
    arguments: &Arguments,
) -> Result<()> {
    // A process that has seen nothing else: what an earlier run left in its allocator is not counted.
    restart(bed, 0).await?;
    let mut stages = vec![Stage { relays: 0, memory: memory(bed)?.resident, median: 0.0, p99: 0.0 }];
    let (mut took, mut calls) = (0.0, Calls::default());
    for share in [10, 4, 2, 1] {
        let relays = total / share;
        let mark = audit_log::mark(log)?;
        took += fleet.grow_to(relays).await?.as_secs_f64();
        tokio::time::sleep(SETTLES).await;
        calls.add(&audit_log::since(log, mark)?);
        let count = if share == 1 { CHANGES } else { FEWER };
        let delays = changes::measure(fleet, log, 0, count).await?;
        let memory = memory(bed)?.resident;
        eprintln!("{relays} relays: {memory:.1} MiB, change to child {:.3} s p99", delays.p99());
        stages.push(Stage { relays, memory, median: delays.median(), p99: delays.p99() });
        if share == 1 {
            line::print_at_most("operator-change-to-child-p99", delays.p99(), "s", CHANGE_GOAL);
            line::print("operator-change-to-child-p50", delays.median(), "s", None);
            line::print("operator-change-to-child-max", delays.longest(), "s", None);
        }
    }
    let used = memory(bed)?;
    line::print_at_most("operator-memory", used.resident, "MiB", MEMORY_GOAL);
    line::print_at_most("operator-memory-peak", used.peak, "MiB", MEMORY_GOAL);
    line::print(
        "operator-memory-without-relays",
        stages.first().map_or(0.0, |stage| stage.memory),
        "MiB",
        None,
    );
    line::print("operator-install", took, "s", None);
    line::print("operator-install-writes-per-relay", calls.writes as f64 / total as f64, "", None);
    line::print("operator-install-reads-per-relay", calls.reads as f64 / total as f64, "", None);
    queue_waits(bed)?;
    silence(fleet, bed, log, total).await?;
    let start = restart(bed, total).await?;
    line::print_at_most("operator-cold-start-to-first-pass", start, "s", START_GOAL);
    quiet(bed).await?;
    let used = memory(bed)?;
    line::print_at_most("operator-memory-after-cold-start", used.resident, "MiB", MEMORY_GOAL);
    line::print_at_most("operator-memory-peak-of-cold-start", used.peak, "MiB", MEMORY_GOAL);
    if let Some(folder) = &arguments.plots {
        draw(&stages, folder)?;
    }
    if !arguments.without_faults {
        faults::run(fleet, bed, log, FEWER).await?;
    }
    Ok(())
}

/// What the operator asked of the API server.
#[derive(Default)]
struct Calls {
    writes: usize,
    reads: usize,
}

impl Calls {
    fn add(&mut self, requests: &[Request]) {
        let ours = requests.iter().filter(|request| request.user == OPERATOR && request.resource != "leases");
        for request in ours {
            if request.writes() { self.writes += 1 } else { self.reads += 1 }
        }
    }
}

/// Nothing is written while every relay reports changing counters and a growing log. The detector is first shown a write.
async fn silence(fleet: &Fleet<'_>, bed: &Bed, log: &Path, total: usize) -> Result<()> {
    let mark = audit_log::mark(log)?;
    fleet.touch(0, "planted").await?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while written(log, mark)?.is_empty() {
        if Instant::now() > deadline {
            bail!("the planted write was not seen in the audit log");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    fleet.stand_in.traffic(true);
    // A first round of reports, in which each relay is heard once.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let pid = host::operator_pid()?;
    let (mark, reports, time) =
        (audit_log::mark(log)?, fleet.stand_in.reports(), host::processor_seconds(&pid)?);
    tokio::time::sleep(WATCHED).await;
    let found = written(log, mark)?;
    let (reports, time) = (fleet.stand_in.reports() - reports, host::processor_seconds(&pid)? - time);
    fleet.stand_in.traffic(false);
    if (reports as usize) < total {
        bail!("{reports} reports in {} s from {total} relays: there was no traffic", WATCHED.as_secs());
    }
    for one in found.iter().take(10) {
        eprintln!("written in steady state: {one}");
    }
    line::print_at_most("operator-writes-in-steady-state", found.len() as f64, "", 0.0);
    line::print("operator-reports-in-steady-state", reports as f64 / WATCHED.as_secs_f64(), "1/s", None);
    line::print("operator-processor-in-steady-state", time / WATCHED.as_secs_f64() * 100.0, "% of one", None);
    line::print("operator-memory-in-steady-state", memory(bed)?.resident, "MiB", None);
    Ok(())
}

/// What the operator wrote since the mark, its Lease apart.
fn written(log: &Path, mark: u64) -> Result<Vec<String>> {
    let requests = audit_log::since(log, mark)?;
    let ours = requests.iter().filter(|request| request.user == OPERATOR && request.writes());
    let ours = ours.filter(|request| request.resource != "leases" && request.group != "authorization.k8s.io");
    Ok(ours.map(|it| format!("{} {}/{} {}", it.verb, it.resource, it.name, it.code)).collect())
}

fn memory(_bed: &Bed) -> Result<host::Memory> {
    host::memory(&host::operator_pid()?)
}

/// A new process, the Lease released by the old one; answers how long its first pass took, once it is over.
async fn restart(bed: &Bed, relays: usize) -> Result<f64> {
    operator::scale(bed, 0)?;
    operator::scale(bed, 1)?;
    if relays == 0 {
        return Ok(0.0);
    }
    let deadline = Instant::now() + Duration::from_secs(240);
    loop {
        let pods = operator_pods(bed)?;
        let address = pods.first().map(|(_, address)| address.clone()).unwrap_or_default();
        match metric(&address, "paramant_operator_first_pass_seconds") {
            Ok(Some(seconds)) if seconds > 0.0 => return Ok(seconds),
            _ if Instant::now() > deadline => {
                bail!("the first pass over {NAMESPACE} was not over in 4 minutes")
            }
            _ => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

/// How long objects waited for their turn since the process started, the installation included.
fn queue_waits(bed: &Bed) -> Result<()> {
    let pods = operator_pods(bed)?;
    let (_, address) = pods.first().context("no operator runs")?;
    let text = super::page(address, "metrics")?;
    let all = metric(address, "paramant_operator_queue_wait_seconds_count")?.unwrap_or(0.0);
    // The smallest bound below which 99 of 100 lie; the last one is no number.
    let bound = text.lines().find_map(|line| {
        let rest = line.strip_prefix("paramant_operator_queue_wait_seconds_bucket{le=\"")?;
        let (bound, count) = rest.split_once("\"} ")?;
        (count.parse::<f64>().ok()? >= all * 0.99).then(|| bound.parse::<f64>().ok()).flatten()
    });
    line::print("operator-passes", all, "", None);
    if let Some(bound) = bound {
        line::print("operator-queue-wait-p99-below", bound, "s", None);
    }
    Ok(())
}

fn draw(stages: &[Stage], folder: &PathBuf) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let series = |name: &str, value: fn(&Stage) -> f64| Series {
        name: name.to_owned(),
        points: stages.iter().map(|stage| (stage.relays as f64, value(stage))).collect(),
    };
    let memory = Plot {
        title: "Memory of the operator by relays".to_owned(),
        across: "relays, each with its children".to_owned(),
        up: "MiB resident".to_owned(),
        series: vec![series("operator", |stage| stage.memory), series("goal", |_| MEMORY_GOAL)],
    };
    memory.draw(&folder.join("operator-memory.svg"))?;
    let delays = Plot {
        title: "From a change of a spec to the patch of the child".to_owned(),
        across: "relays".to_owned(),
        up: "milliseconds".to_owned(),
        series: vec![
            series("median", |stage| stage.median * 1000.0),
            series("99th percentile", |stage| stage.p99 * 1000.0),
        ],
    };
    delays.draw(&folder.join("operator-delay.svg"))
}
