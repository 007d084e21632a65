//! The scenarios of the cluster rung. Each makes its own namespace, leaves none behind, and says what it saw.
//!
//! A scenario that expects nothing (no write, no packet, no refusal) first plants one and sees its own detector find it.

pub(crate) mod auditors;
mod bad_input;
mod drain;
mod fixture;
mod gitops;
mod interop;
mod kill;
mod manifests;
mod network;
mod operator_away;
mod rights;
mod rules;
mod silence;
mod tamper;
mod template;

use anyhow::{Result, bail};

use crate::{bed::Bed, steps::Seen, steps::Steps};

type Run = fn(&Bed) -> Result<Seen<()>>;

struct Scenario {
    name: &'static str,
    shows: &'static str,
    run: Run,
}

macro_rules! scenarios {
    ($($name:literal, $shows:literal, $run:path;)*) => {
        &[$(Scenario { name: $name, shows: $shows, run: $run }),*]
    };
}

/// In the order they run: quick and broad first, those that disturb the cluster last.
const ALL: &[Scenario] = scenarios![
    "rules", "every CEL rule refuses one manifest and accepts its neighbour", rules::run;
    "interop", "the published client and our command line exchange files both ways", interop::run;
    "kubectl", "get, describe, explain, wait and patch behave as documented", gitops::run;
    "bad-input", "wrong manifests, missing Secrets and bad images become clear conditions", bad_input::run;
    "drain", "drain toggles reach the relay; downloads go on", drain::run;
    "template", "an evicted pod comes back with the old template while a new one waits", template::run;
    "network", "the relay pod originates no packet", network::run;
    "kill", "acknowledged uploads survive kill -9 in the pod", kill::run;
    "tamper", "flipped bits in the log turn both auditors red", tamper::run;
    "silence", "with traffic running the operator writes nothing but its Lease; swapping it restarts no relay", silence::run;
    "operator-away", "kill -9 of the operator and a frozen API server heal by themselves", operator_away::run;
    "manifests", "kubeconform and kube-score read what was rendered and what runs", manifests::run;
    "rights", "no 403, every granted right used, no right on Secrets", rights::run;
];

/// Runs all scenarios, or those named; one that fails does not hide the others.
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
