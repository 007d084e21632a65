//! The scenarios of the cluster rung. Each makes its own namespace, leaves none behind, and says what it saw.
//!
//! A scenario that expects nothing (no write, no packet, no refusal) first plants one and sees its own detector find it.

pub(crate) mod auditors;
mod bad_input;
mod chart_removed;
mod deletion;
pub(crate) mod drain;
pub(crate) mod fixture;
mod full_disk;
mod gitops;
mod interop;
mod kill;
mod manifests;
mod network;
mod operator_away;
mod restore;
pub(crate) mod rights;
mod rules;
mod sdk_tour;
mod silence;
mod tamper;
mod template;
mod webhooks;
mod witnesses;

use anyhow::{Result, bail};

use crate::{bed::Bed, steps::Seen, steps::Steps};

type Run = fn(&Bed) -> Result<Seen<()>>;

struct Scenario {
    name: &'static str,
    shows: &'static str,
    needs: Needs,
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

macro_rules! scenarios {
    ($($needs:ident $name:literal, $shows:literal, $run:path;)*) => {
        &[$(Scenario { name: $name, shows: $shows, needs: Needs::$needs, run: $run }),*]
    };
}

/// In the order they run: quick and broad first, those that disturb the cluster last.
const ALL: &[Scenario] = scenarios![
    Cluster "rules", "every CEL rule refuses one manifest and accepts its neighbour", rules::run;
    Cluster "interop", "the published client and our command line exchange files both ways", interop::run;
    Cluster "sdk", "every public method of the published client works against a relay in the cluster", sdk_tour::run;
    Cluster "kubectl", "get, describe, explain, wait and patch behave as documented", gitops::run;
    Cluster "bad-input", "wrong manifests, missing Secrets and bad images become clear conditions", bad_input::run;
    Bed "deletion", "a deleted relay closes its log, and one made again over its volume begins another", deletion::run;
    Cluster "restore", "the restore runbook of the documentation brings a relay back from a backup", restore::run;
    Cluster "drain", "drain toggles reach the relay; downloads go on", drain::run;
    Cluster "template", "an evicted pod comes back with the old template while a new one waits", template::run;
    Bed "network", "the relay pod originates no packet", network::run;
    Bed "witnesses", "witnesses outside the cluster cosign through the courier; the relay pod originates no packet", witnesses::run;
    Bed "webhooks", "a server outside the cluster is told of uploads through the courier; the relay pod originates no packet", webhooks::run;
    Cluster "kill", "acknowledged uploads survive kill -9 of the relay's process", kill::of_process;
    Bed "kill-pod", "acknowledged uploads survive kill -9 in the pod", kill::in_pod;
    Bed "full-disk", "a volume that runs full refuses uploads, loses nothing and heals by itself", full_disk::run;
    Cluster "tamper", "flipped bits in the log turn both auditors red", tamper::run;
    Bed "silence", "with traffic running the operator writes nothing but its Lease; swapping it restarts no relay", silence::run;
    Bed "operator-away", "kill -9 of the operator and a frozen API server heal by themselves", operator_away::run;
    Cluster "manifests", "kubeconform and kube-score read what was rendered and what runs", manifests::run;
    Bed "rights", "no 403, every granted right used, no right on Secrets", rights::run;
    // After rights: while a chart goes its rights may go before its pod, and the refusals count against nobody.
    Cluster "chart-removed", "relays outlive the chart, can be deleted without it, and are taken up again", chart_removed::run;
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
    let mut failed = Vec::new();
    for scenario in
        ALL.iter().filter(|scenario| names.is_empty() || names.iter().any(|name| name == scenario.name))
    {
        if scenario.needs == Needs::Bed && !bed.is_here() {
            println!(
                "  --          {}: skipped, needs the test bed rather than an existing cluster",
                scenario.name
            );
            continue;
        }
        if let Err(error) =
            steps.step(&format!("{}: {}", scenario.name, scenario.shows), || (scenario.run)(bed))
        {
            println!("       {error:#}");
            failed.push(scenario.name);
        }
    }
    println!("{}", steps.summary());
    if !failed.is_empty() {
        bail!("{} of the scenarios failed: {}", failed.len(), failed.join(", "));
    }
    Ok(())
}

/// Prints the names.
pub(crate) fn list() {
    for scenario in ALL {
        println!("{:14} {}", scenario.name, scenario.shows);
    }
}
