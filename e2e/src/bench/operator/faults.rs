//! The same delay while something is broken: a fault of ten relays, of a registry, of one watch or of the API server must not
//! reach the others.
//!
//! Each fault is undone before the next begins, also when a measurement fails.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    CHANGE_GOAL, changes,
    fleet::{Fleet, name},
    metric, operator_pods, quiet,
};
use crate::{audit_log, bed::Bed, bench::line, host, scenario::rights::OPERATOR};

/// So many relays are broken; those after them are measured.
const BROKEN: usize = 10;
/// Longer than any watch of the operator.
const WATCH_LASTS: Duration = Duration::from_secs(260);
/// How long the API server stands still.
const FROZEN: Duration = Duration::from_secs(30);
/// How long the API server refuses what the operator asks.
const STORM: Duration = Duration::from_secs(20);
/// An address of the fleet's network that no pod has.
const REGISTRY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 215, 255, 2)), 5055);

pub(super) async fn run(fleet: &Fleet<'_>, bed: &Bed, log: &Path, count: usize) -> Result<()> {
    // What the operator takes without a fault, in the same minutes of the same machine.
    caught_up(fleet, bed, log, count, "without-fault").await?;
    // One that fails does not hide the others.
    let outcomes = [
        ("ten hung relays", hung_relays(fleet, log, count).await),
        ("a hung registry", hung_registry(fleet, log, count).await),
        ("a forbidden watch", forbidden_watch(fleet, bed, log, count).await),
        ("a frozen API server", frozen(fleet, bed, log, count).await),
        ("a storm of 429", storm(fleet, bed, log, count).await),
    ];
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|(fault, outcome)| Some(format!("{fault}: {:#}", outcome.as_ref().err()?)))
        .collect();
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

async fn healthy(fleet: &Fleet<'_>, log: &Path, count: usize, fault: &str) -> Result<()> {
    let delays = changes::measure(fleet, log, BROKEN, count).await?;
    line::print_at_most(&format!("operator-change-to-child-p99-{fault}"), delays.p99(), "s", CHANGE_GOAL);
    line::print(&format!("operator-change-to-child-p50-{fault}"), delays.median(), "s", None);
    Ok(())
}

/// The same after the operator has caught up with what it missed, which takes as long as is printed.
async fn caught_up(fleet: &Fleet<'_>, bed: &Bed, log: &Path, count: usize, fault: &str) -> Result<()> {
    let took = quiet(bed).await?;
    line::print(&format!("operator-caught-up-{fault}"), took.as_secs_f64(), "s", None);
    healthy(fleet, log, count, fault).await
}

/// Ten relays accept connections and never answer.
async fn hung_relays(fleet: &Fleet<'_>, log: &Path, count: usize) -> Result<()> {
    fleet.stand_in.hang((0..BROKEN).map(name));
    // Long enough for them to count as unreachable: two attempts of five seconds.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let measured = healthy(fleet, log, count, "ten-hung-relays").await;
    fleet.stand_in.hang([]);
    measured
}

/// A registry that ends with this.
struct Hanging(JoinHandle<()>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ten relays name a tag of a registry that accepts connections and never answers.
async fn hung_registry(fleet: &Fleet<'_>, log: &Path, count: usize) -> Result<()> {
    let listener =
        TcpListener::bind(REGISTRY).await.context("cannot listen where the registry should hang")?;
    let (asked, mut seen) = tokio::sync::watch::channel(0_usize);
    let _registry = Hanging(tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
            asked.send_replace(held.len());
        }
    }));
    let image = fleet.image()?.to_owned();
    for number in 0..BROKEN {
        fleet
            .merge(number, json!({ "spec": { "image": format!("{REGISTRY}/relay:slow-{number}") } }))
            .await?;
    }
    let reached = tokio::time::timeout(Duration::from_secs(30), seen.wait_for(|asked| *asked > 0)).await;
    reached.context("nobody asked the registry that hangs")??;
    let measured = healthy(fleet, log, count, "hung-registry").await;
    for number in 0..BROKEN {
        fleet.merge(number, json!({ "spec": { "image": image } })).await?;
    }
    measured
}

/// The right to watch one kind is taken away; the watch that is open ends by itself and is refused when it begins again.
async fn forbidden_watch(fleet: &Fleet<'_>, bed: &Bed, log: &Path, count: usize) -> Result<()> {
    let rules = bed.kubectl(&["get", "clusterrole", ROLE, "-o", "jsonpath={.rules}"])?;
    let mut without: serde_json::Value = serde_json::from_str(&rules)?;
    for rule in without.as_array_mut().into_iter().flatten() {
        let ingresses = rule["resources"].as_array().is_some_and(|all| all.contains(&json!("ingresses")));
        if ingresses && let Some(verbs) = rule["verbs"].as_array_mut() {
            verbs.retain(|verb| verb != "watch" && verb != "list");
        }
    }
    let set = |rules: &str| {
        let patch = format!("{{\"rules\":{rules}}}");
        bed.kubectl(&["patch", "clusterrole", ROLE, "--type=merge", "-p", &patch])
    };
    let mark = audit_log::mark(log)?;
    set(&without.to_string())?;
    let measured = async {
        let (_, address) = operator_pods(bed)?.into_iter().next().context("no operator runs")?;
        // The planted fault is seen: a watch is refused.
        let deadline = Instant::now() + WATCH_LASTS;
        let refused = |log: &Path| -> Result<bool> {
            let requests = audit_log::since(log, mark)?;
            Ok(requests.iter().any(|it| it.user == OPERATOR && it.resource == "ingresses" && it.code == 403))
        };
        while !refused(log)? {
            anyhow::ensure!(
                Instant::now() < deadline,
                "no watch of Ingresses was refused within {WATCH_LASTS:?}"
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let errors = metric(&address, "paramant_operator_watch_errors_total")?.unwrap_or(0.0);
        line::print("operator-watch-errors-while-forbidden", errors, "", None);
        healthy(fleet, log, count, "one-forbidden-watch").await
    }
    .await;
    set(&rules)?;
    measured
}

/// The chart's role for the kinds the operator watches.
const ROLE: &str = "paramant-operator-relays";

/// The API server stands still for half a minute, then goes on.
async fn frozen(fleet: &Fleet<'_>, bed: &Bed, log: &Path, count: usize) -> Result<()> {
    let stopped = host::Frozen::new(host::component_pid("kube-apiserver")?)?;
    tokio::time::sleep(FROZEN).await;
    drop(stopped);
    let began = Instant::now();
    // The operator lets its Lease go while nobody answers and is started anew: until then nothing is patched.
    changes::measure(fleet, log, BROKEN, 1).await.context("after the API server stood still")?;
    line::print("operator-back-after-frozen-api-server", began.elapsed().as_secs_f64(), "s", None);
    caught_up(fleet, bed, log, count, "after-frozen-api-server").await
}

/// The API server answers everything the operator asks, its Lease apart, with 429 for a while.
async fn storm(fleet: &Fleet<'_>, bed: &Bed, log: &Path, count: usize) -> Result<()> {
    let mark = audit_log::mark(log)?;
    bed.apply(STORM_MANIFEST)?;
    let outcome = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        // Changes in the storm, which are carried out after it.
        for number in BROKEN..(2 * BROKEN).min(fleet.len()) {
            fleet.touch(number, "storm").await?;
        }
        tokio::time::sleep(STORM).await;
        let requests = audit_log::since(log, mark)?;
        let refused = requests.iter().filter(|it| it.user == OPERATOR && it.code == 429).count();
        let others = requests.iter().filter(|it| it.user == OPERATOR && it.code != 429);
        let others: Vec<String> =
            others.map(|it| format!("{} {} {}", it.verb, it.resource, it.code)).take(10).collect();
        anyhow::ensure!(refused > 0, "no request of the operator was answered with 429, but: {others:?}");
        line::print("operator-requests-refused-in-storm", refused as f64 / STORM.as_secs_f64(), "1/s", None);
        Ok(())
    }
    .await;
    bed.kubectl(&["delete", "flowschema,prioritylevelconfiguration", "-l", "paramant.app/bench=storm"])?;
    outcome?;
    let began = Instant::now();
    changes::measure(fleet, log, BROKEN, 1).await.context("after the storm")?;
    line::print("operator-back-after-storm", began.elapsed().as_secs_f64(), "s", None);
    caught_up(fleet, bed, log, count, "after-storm").await
}

/// No seat for the operator's account and no queue to wait in.
const STORM_MANIFEST: &str = r#"
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: { name: paramant-bench-storm, labels: { paramant.app/bench: storm } }
spec:
  type: Limited
  limited: { nominalConcurrencyShares: 0, lendablePercent: 0, borrowingLimitPercent: 0, limitResponse: { type: Reject } }
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: { name: paramant-bench-storm, labels: { paramant.app/bench: storm } }
spec:
  matchingPrecedence: 2
  priorityLevelConfiguration: { name: paramant-bench-storm }
  rules:
    - subjects: [ { kind: ServiceAccount, serviceAccount: { name: paramant-operator, namespace: paramant-system } } ]
      resourceRules:
        - { verbs: ["*"], apiGroups: ["", "apps", "networking.k8s.io", "paramant.app", "events.k8s.io"], resources: ["*"], namespaces: ["*"], clusterScope: true }
"#;
