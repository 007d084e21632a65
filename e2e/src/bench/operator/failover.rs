//! `operator-failover`: from the end of a leader to the next one's Lease, and to its first write.
//!
//! Three ends: killed (its pod's next container takes over at once, or the other pod does), hung (nothing answers, so the Lease has
//! to run out; the stale leader then wakes up and must write nothing), and told to end. Times are the Lease's own `acquireTime`
//! and the audit log's.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;

use super::{CRASH_GOAL, EXIT_GOAL};
use crate::{
    audit_log,
    bed::Bed,
    bench::{Arguments, line},
    demo::{SYSTEM, patch_drain},
    host,
    process::wait_for,
    scenario::{fixture::Fixture, rights::OPERATOR},
};

/// Ends of each kind.
const ROUNDS: u64 = 10;
/// A hung leader costs half a minute each.
const HUNG_ROUNDS: u64 = 3;
/// After both run: the follower's stores are filled, the leader's first pass is over.
const SETTLES: Duration = Duration::from_secs(4);
/// Twice the goal.
const WITHIN: Duration = Duration::from_secs(60);
/// How long a stale leader is watched after it woke up; its own watch over the Lease ends it earlier.
const WATCHED: Duration = Duration::from_secs(20);

pub(super) fn run(bed: &Bed, arguments: &Arguments) -> Result<()> {
    let log = bed.audit_log.clone().context("this benchmark reads the test bed's audit log")?;
    let fixture = Fixture::new(bed, "bench-failover")?;
    fixture.relay("health")?;
    let outcome = measure(bed, &fixture, &log, arguments.rounds.unwrap_or(ROUNDS));
    let back = crate::scenario::operator::scale(bed, 1);
    outcome.and(back)
}

fn measure(bed: &Bed, fixture: &Fixture<'_>, log: &Path, rounds: u64) -> Result<()> {
    let mut killed = Ends::default();
    for _ in 0..rounds {
        let leader = leader_of_two(bed)?;
        let pid = host::operator_in(&leader.pod)?;
        let at = Timestamp::now();
        host::signal(&pid, "KILL")?;
        killed.note(successor(bed, fixture, log, &leader, at)?);
    }
    killed.print("killed", CRASH_GOAL);
    let mut hung = Ends::default();
    for _ in 0..rounds.min(HUNG_ROUNDS) {
        let leader = leader_of_two(bed)?;
        let pid = host::operator_in(&leader.pod)?;
        let at = Timestamp::now();
        let stopped = host::Frozen::new(pid.clone())?;
        hung.note(successor(bed, fixture, log, &leader, at)?);
        // What the stale leader must not undo.
        patch_drain(bed, &fixture.namespace, "health", "true")?;
        drained(bed, fixture)?;
        let woken = Timestamp::now();
        let address = leader.address.clone();
        drop(stopped);
        stale_is_silent(bed, fixture, log, &address, woken)?;
        patch_drain(bed, &fixture.namespace, "health", "null")?;
    }
    hung.print("hung", CRASH_GOAL);
    let mut told = Ends::default();
    for _ in 0..rounds {
        let leader = leader_of_two(bed)?;
        let at = Timestamp::now();
        bed.kubectl(&["-n", SYSTEM, "delete", "pod", &leader.pod, "--wait=false"])?;
        told.note(successor(bed, fixture, log, &leader, at)?);
    }
    told.print("told-to-end", EXIT_GOAL);
    Ok(())
}

/// Who leads.
struct Leader {
    holder: String,
    pod: String,
    address: String,
}

/// The next leader: when it took over, and when it first wrote, in seconds after the end of the one before.
struct Successor {
    took_over: f64,
    wrote: f64,
}

#[derive(Default)]
struct Ends(Vec<Successor>);

impl Ends {
    fn note(&mut self, successor: Successor) {
        self.0.push(successor);
    }

    fn print(&self, end: &str, goal: f64) {
        let longest = |value: fn(&Successor) -> f64| self.0.iter().map(value).fold(0.0, f64::max);
        line::print_at_most(&format!("operator-takeover-max-{end}"), longest(|it| it.took_over), "s", goal);
        line::print(&format!("operator-first-write-max-{end}"), longest(|it| it.wrote), "s", None);
    }
}

/// Waits until two operators are ready, one of them leads, and nothing is left to do.
fn leader_of_two(bed: &Bed) -> Result<Leader> {
    crate::scenario::operator::scale(bed, 2)?;
    let leader = wait_for("a leader", WITHIN, || {
        let holder = holder(bed)?;
        let pods = super::operator_pods(bed)?;
        let found = pods.into_iter().find(|(pod, _)| holder.starts_with(&format!("{pod}_")));
        Ok(found
            .map(|(pod, address)| Leader { holder: holder.clone(), pod, address })
            .ok_or_else(|| format!("held by “{holder}”")))
    })?;
    std::thread::sleep(SETTLES);
    if holder(bed)? != leader.holder {
        bail!("the leader changed by itself");
    }
    Ok(leader)
}

fn holder(bed: &Bed) -> Result<String> {
    bed.kubectl(&["-n", SYSTEM, "get", "lease", "paramant-operator", "-o", "jsonpath={.spec.holderIdentity}"])
}

/// Gives the next leader something to write, and waits for it.
fn successor(
    bed: &Bed,
    fixture: &Fixture<'_>,
    log: &Path,
    old: &Leader,
    ended: Timestamp,
) -> Result<Successor> {
    let mark = audit_log::mark(log)?;
    let patch = format!("{{\"spec\":{{\"service\":{{\"annotations\":{{\"bench\":\"{ended}\"}}}}}}}}");
    bed.kubectl(&["-n", &fixture.namespace, "patch", "prelay", "health", "--type=merge", "-p", &patch])?;
    let acquired: Timestamp = wait_for("the next leader", WITHIN, || {
        let lease = bed.get(SYSTEM, "lease/paramant-operator")?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let acquired = lease["spec"]["acquireTime"].as_str().and_then(|text| text.parse().ok());
        let next = !holder.is_empty() && holder != old.holder;
        Ok(acquired.filter(|_| next).ok_or_else(|| format!("held by “{holder}”")))
    })?;
    let wrote = wait_for("the next leader's first write", WITHIN, || {
        let requests = audit_log::since(log, mark)?;
        let ours = requests.iter().filter(|it| it.user == OPERATOR && it.resource == "services");
        Ok(ours
            .filter(|it| it.writes() && it.code < 300)
            .map(|it| it.at)
            .min()
            .ok_or_else(|| "none".to_owned()))
    })?;
    let after = |at: Timestamp| at.duration_since(ended).as_secs_f64();
    Ok(Successor { took_over: after(acquired), wrote: after(wrote) })
}

fn drained(bed: &Bed, fixture: &Fixture<'_>) -> Result<()> {
    wait_for("the relay to drain", WITHIN, || {
        let relay = bed.get(&fixture.namespace, "prelay/health")?;
        let state = relay["status"]["drain"]["state"].as_str().unwrap_or_default();
        Ok(if matches!(state, "Draining" | "Drained") { Ok(()) } else { Err(format!("it is {state}")) })
    })
}

/// A leader that was hung while another took over writes nothing and lifts no drain; its process ends.
fn stale_is_silent(
    bed: &Bed,
    fixture: &Fixture<'_>,
    log: &Path,
    address: &str,
    woken: Timestamp,
) -> Result<()> {
    // The log from a little before is enough: lines carry their times.
    let mark = audit_log::mark(log)?;
    let began = Instant::now();
    while began.elapsed() < WATCHED {
        drained(bed, fixture)?;
        std::thread::sleep(Duration::from_millis(500));
    }
    let leader = holder(bed)?;
    let requests = audit_log::since(log, mark)?;
    let stale = requests.iter().filter(|it| it.user == OPERATOR && it.source == address && it.at >= woken);
    let wrote: Vec<String> = stale
        .filter(|it| {
            it.writes() && it.resource != "leases" && it.group != "authorization.k8s.io" && it.code < 300
        })
        .map(|it| format!("{} {}/{}", it.verb, it.resource, it.name))
        .collect();
    if !wrote.is_empty() {
        bail!("a stale leader wrote beside {leader}: {wrote:?}");
    }
    Ok(())
}
