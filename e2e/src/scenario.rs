//! The scenarios of the cluster rung. Each makes its own namespace, leaves none behind, and says what it saw.
//!
//! A scenario that expects nothing (no write, no packet, no refusal) first plants one and sees its own detector find it.
//! Those that mostly wait run two at a time, each in a namespace of its own; those that measure, or change what all share (the operator,
//! its chart, the API server), run alone.

mod actions;
mod api_faults;
pub(crate) mod auditors;
mod bad_input;
mod ca_rotation;
mod cascade;
mod chart_removed;
mod deleted_between_steps;
mod deletion;
pub(crate) mod drain;
mod failover;
pub(crate) mod fixture;
mod full_disk;
mod gitops;
mod gitops_drain;
mod growth;
mod interop;
mod kill;
mod killed_between_steps;
pub(crate) mod license;
mod machine_steps;
mod manifests;
mod namespaced;
mod network;
mod node_drain;
mod node_lost;
mod older_crds;
pub(crate) mod operator;
mod operator_away;
mod plugin;
mod restore;
pub(crate) mod rights;
mod rules;
mod sdk_tour;
mod silence;
mod status_lost;
mod tamper;
mod template;
mod tour;
mod webhooks;
mod witnesses;

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Result, bail};

use crate::{bed::Bed, steps::Seen, steps::Steps};

type Run = fn(&Bed) -> Result<Seen<()>>;

struct Scenario {
    name: &'static str,
    shows: &'static str,
    needs: Needs,
    beside: Beside,
    run: Run,
}

/// Where a scenario can run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// On any cluster.
    Cluster,
    /// Only on the test bed: it reads the audit log, signals processes or reads volumes on this machine.
    Bed,
}

/// Whether a scenario bears another one beside it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// It keeps to its namespace, and nothing it measures suffers from a busy machine.
    Others,
    /// It measures, or changes what all share.
    Nobody,
}

/// How many run beside each other: as many as there are processors, for each is half waiting and half work.
const AT_ONCE: usize = 2;

macro_rules! scenarios {
    ($($needs:ident $beside:ident $name:literal, $shows:literal, $run:path;)*) => {
        &[$(Scenario { name: $name, shows: $shows, needs: Needs::$needs, beside: Beside::$beside, run: $run }),*]
    };
}

/// In the order they begin, first those that run beside each other: long ones first, so that none is waited for alone.
const ALL: &[Scenario] = scenarios![
    Bed Others "witnesses", "witnesses outside the cluster cosign through the courier; the relay pod originates no packet", witnesses::run;
    Cluster Others "tamper", "flipped bits in the log turn both auditors red", tamper::run;
    Bed Others "deleted-between-steps", "a relay deleted in each step of an update leaves its data alone and comes back with it", deleted_between_steps::run;
    Cluster Others "kill", "acknowledged uploads survive kill -9 of the relay's process", kill::of_process;
    Bed Others "license", "a licence from its first day to an outage of a week and back; check-ins leave through the courier alone", license::run;
    Cluster Others "interop", "the published client and our command line exchange files both ways", interop::run;
    Cluster Others "bad-input", "wrong manifests, missing Secrets and bad images become clear conditions", bad_input::run;
    Cluster Others "rules", "every CEL rule refuses one manifest and accepts its neighbour", rules::run;
    Cluster Others "template", "an evicted pod comes back with the old template while a new one waits", template::run;
    Bed Others "network", "the relay pod originates no packet", network::run;
    Bed Others "full-disk", "a volume that runs full refuses uploads, loses nothing and heals by itself", full_disk::run;
    Bed Others "kill-pod", "acknowledged uploads survive kill -9 in the pod", kill::in_pod;
    Cluster Others "restore", "the restore runbook of the documentation brings a relay back from a backup", restore::run;
    Bed Others "webhooks", "a server outside the cluster is told of uploads through the courier; the relay pod originates no packet", webhooks::run;
    Cluster Others "kubectl", "get, describe, explain, wait and patch behave as documented", gitops::run;
    Bed Others "deletion", "a deleted relay closes its log, and one made again over its volume begins another", deletion::run;
    Cluster Others "sdk", "every public method of the published client works against a relay in the cluster", sdk_tour::run;
    Cluster Others "plugin", "kubectl paramant does what it says with an admin's rights, no more than a viewer may with a viewer's", plugin::run;
    Bed Others "growth", "a volume grows beside traffic and its pod stays; retention keeps a claim or lets it go", growth::run;
    Bed Others "cascade", "deletions in any order leave nothing stuck and make nothing again", cascade::run;
    Cluster Others "gitops", "a drain toggled by hand survives Flux's take-over and Argo CD's self-heal as documented", gitops_drain::run;
    // From here each alone.
    Bed Nobody "tour", "updates, roll backs, drains and an operator upgrade under traffic lose nothing", tour::run;
    Bed Nobody "actions", "a vendor's requests, each from the authority's command to its effect, logged and published before it", actions::run;
    Cluster Nobody "drain", "drain toggles reach the relay; downloads go on", drain::run;
    Bed Nobody "killed-between-steps", "an operator killed after each step of an update does none twice and loses none", killed_between_steps::run;
    Bed Nobody "silence", "with traffic running the operator writes nothing but its Lease; swapping it restarts no relay", silence::run;
    Bed Nobody "operator-away", "kill -9 of the operator and a frozen API server heal by themselves", operator_away::run;
    Bed Nobody "api-faults", "errors, throttling, conflicts, lost watches, missing rights and silence of the API server heal by themselves", api_faults::run;
    Bed Nobody "status-lost", "status and -state are lost, also while nobody is there: both are rebuilt and nothing else changes", status_lost::run;
    Bed Nobody "node-drain", "an eviction is the relay's drain: an upload in progress is finished; the pod comes back as it was rolled", node_drain::run;
    Bed Nobody "node-lost", "a node that stops answering is named, its pod is not forced away, and all heals with it", node_lost::run;
    Bed Nobody "older-crds", "definitions of the release before are named and nothing is done by them, until the chart brings its own", older_crds::run;
    Bed Nobody "ca-rotation", "the operator's authority is replaced: no delivery fails, no relay restarts, paused ones take part", ca_rotation::run;
    Bed Nobody "failover", "a second replica takes over in time; a former leader that thaws is not listened to", failover::run;
    Cluster Nobody "manifests", "kubeconform and kube-score read what was rendered and what runs", manifests::run;
    Bed Nobody "rights", "no 403, every granted right used, no right on Secrets", rights::run;
    // After rights: one takes rights away, and while a chart goes its rights may go before its pod; those refusals count against nobody.
    Bed Nobody "namespaced", "Roles in listed namespaces alone: one without rights is named and left, the others go on", namespaced::run;
    Cluster Nobody "chart-removed", "relays outlive the chart, can be deleted without it, and are taken up again", chart_removed::run;
];

/// Runs all scenarios, or those named; one that fails does not hide the others. What needs the test bed is skipped elsewhere.
pub(crate) fn run(bed: &Bed, names: &[String]) -> Result<()> {
    for name in names {
        if !ALL.iter().any(|scenario| scenario.name == name) {
            bail!("no scenario named {name}; `paramant-e2e list` prints them");
        }
    }
    let mut steps = Steps::new();
    let before = bed.audit_log.as_deref().map(crate::audit_log::mark).transpose()?;
    rights::remember_start(before);
    steps.step("install the operator", || {
        crate::demo::install(bed)?;
        crate::steps::seen((), "")
    })?;
    let wanted =
        ALL.iter().filter(|scenario| names.is_empty() || names.iter().any(|name| name == scenario.name));
    let (runnable, skipped): (Vec<_>, Vec<_>) =
        wanted.partition(|scenario| scenario.needs == Needs::Cluster || bed.is_here());
    for scenario in skipped {
        println!(
            "  --          {}: skipped, needs the test bed rather than an existing cluster",
            scenario.name
        );
    }
    let (beside, alone): (Vec<_>, Vec<_>) =
        runnable.into_iter().partition(|scenario| scenario.beside == Beside::Others);
    let mut failed = at_once(AT_ONCE, bed, &mut steps, &beside);
    failed.extend(at_once(1, bed, &mut steps, &alone));
    println!("{}", steps.summary());
    if !failed.is_empty() {
        bail!("{} of the scenarios failed: {}", failed.len(), failed.join(", "));
    }
    Ok(())
}

/// Runs scenarios in their order, so many beside each other; answers the names of those that failed.
fn at_once(lanes: usize, bed: &Bed, steps: &mut Steps, scenarios: &[&Scenario]) -> Vec<&'static str> {
    let queue = Mutex::new(scenarios.iter());
    let lane = || {
        let (mut steps, mut failed) = (Steps::beside(lanes), Vec::new());
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(scenario) = next else { return (steps, failed) };
            let shown = format!("{}: {}", scenario.name, scenario.shows);
            if let Err(error) = steps.step(&shown, || (scenario.run)(bed)) {
                println!("       {}: {error:#}", scenario.name);
                failed.push(scenario.name);
            }
        }
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        let mut all = Vec::new();
        for (lane, number) in lanes.into_iter().zip(1..) {
            match lane.join() {
                Ok((done, failed)) => {
                    steps.take_in(&done);
                    all.extend(failed);
                }
                Err(_) => {
                    println!("       the scenarios of lane {number} ended in a panic");
                    all.push("a scenario that panicked");
                }
            }
        }
        all
    })
}

/// Prints the names.
pub(crate) fn list() {
    for scenario in ALL {
        println!("{:14} {}", scenario.name, scenario.shows);
    }
}
