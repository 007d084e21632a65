//! Steady state is silence, and swapping the operator restarts no relay.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{fixture::Fixture, rights::OPERATOR};
use crate::{
    audit_log, bed::Bed, demo::patch_drain, process::wait_for, relay::Relay, steps::Seen, steps::seen,
};

const RELAYS: usize = 20;
const WATCHED: Duration = Duration::from_secs(120);

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let log = bed.audit_log.clone().context("this scenario reads the test bed's audit log")?;
    let fixture = Fixture::new(bed, "silence")?;
    bed.apply(&format!(
        "apiVersion: paramant.app/v1alpha1\nkind: ParamantPolicy\nmetadata: {{ name: production, namespace: {0} }}\nspec: {{ updates: {{ mode: Manual }} }}\n---\napiVersion: paramant.app/v1alpha1\nkind: ParamantLicense\nmetadata: {{ name: acme, namespace: {0} }}\nspec: {{ secretRef: {{ name: acme-license }} }}\n",
        fixture.namespace
    ))?;
    for index in 0..RELAYS - 1 {
        let more = match index {
            0 => "  policyRef: { name: production }\n",
            1 => "  licenseRef: { name: acme }\n",
            _ => "",
        };
        fixture.apply(&name(index), more)?;
    }
    let image = bed.image("paramant-relay")?.to_owned();
    let registry = image.split('/').next().unwrap_or_default();
    bed.apply(&fixture.manifest(&name(RELAYS - 1), &format!("{registry}/paramant-relay:no-such-tag"), ""))?;
    let mut relays = Vec::new();
    for index in 0..RELAYS - 1 {
        fixture.ready(&name(index))?;
        relays.push(fixture.connect(&name(index))?);
    }

    // The detector sees a write when there is one: a drain toggle changes status.
    let mark = audit_log::mark(&log)?;
    patch_drain(bed, &fixture.namespace, &name(0), "true")?;
    wait_for("the planted write to be seen", Duration::from_secs(30), || {
        let found = writes(&log, mark)?;
        Ok(if found.is_empty() { Err("no write by the operator".into()) } else { Ok(()) })
    })?;
    patch_drain(bed, &fixture.namespace, &name(0), "null")?;
    thread::sleep(Duration::from_secs(30));

    let traffic = Traffic::start(relays);
    let before = pods(bed, &fixture.namespace)?;
    let mark = audit_log::mark(&log)?;
    thread::sleep(WATCHED);
    let written = writes(&log, mark)?;
    if !written.is_empty() {
        bail!("in steady state the operator wrote: {written:?}");
    }

    // A second operator image, with another version and environment, under the same traffic.
    swap(bed, "paramant-operator-next")?;
    thread::sleep(Duration::from_secs(30));
    swap(bed, "paramant-operator")?;
    thread::sleep(Duration::from_secs(15));
    let after = pods(bed, &fixture.namespace)?;
    if before != after {
        bail!("swapping the operator changed pods:\nbefore {before:?}\nafter  {after:?}");
    }
    let transfers = traffic.stop()?;
    seen(
        (),
        format!(
            "{RELAYS} relays, {} s, {transfers} transfers: 0 writes but the Lease; two swaps changed no pod",
            WATCHED.as_secs()
        ),
    )
}

fn name(index: usize) -> String {
    format!("relay-{index}")
}

/// What the operator wrote since the mark, its Lease apart.
fn writes(log: &std::path::Path, mark: u64) -> Result<Vec<String>> {
    Ok(audit_log::since(log, mark)?
        .into_iter()
        .filter(|request| request.user == OPERATOR && request.writes())
        .filter(|request| request.resource != "leases" && request.group != "authorization.k8s.io")
        .map(|request| format!("{} {}/{} {}", request.verb, request.resource, request.name, request.code))
        .collect())
}

/// UID, restart count and template hash of every pod, and of every StatefulSet's template.
fn pods(bed: &Bed, namespace: &str) -> Result<BTreeMap<String, (String, u64, String)>> {
    let list: Value =
        serde_json::from_str(&bed.kubectl(&["-n", namespace, "get", "pods,statefulsets", "-o", "json"])?)?;
    let mut found = BTreeMap::new();
    for item in list["items"].as_array().into_iter().flatten() {
        let kind = item["kind"].as_str().unwrap_or_default();
        let name = item["metadata"]["name"].as_str().unwrap_or_default();
        let uid = item["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let restarts = item["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default();
        let hash = match kind {
            "Pod" => item["metadata"]["labels"]["controller-revision-hash"].to_string(),
            _ => item["spec"]["template"].to_string(),
        };
        found.insert(format!("{kind}/{name}"), (uid, restarts, hash));
    }
    Ok(found)
}

/// Runs the operator from another image, with one more environment variable, and waits for it.
fn swap(bed: &Bed, image: &str) -> Result<()> {
    let system = crate::demo::SYSTEM;
    let set = format!("*={}", bed.image(image)?);
    bed.kubectl(&["-n", system, "set", "env", "deployment/paramant-operator", &format!("E2E_SWAP={image}")])?;
    bed.kubectl(&["-n", system, "set", "image", "deployment/paramant-operator", &set])?;
    bed.kubectl(&["-n", system, "rollout", "status", "deployment/paramant-operator", "--timeout=120s"])?;
    Ok(())
}

/// One transfer after the other on every relay, until told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    worker: thread::JoinHandle<Result<()>>,
}

impl Traffic {
    fn start(relays: Vec<Relay>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicUsize::new(0));
        let (told, count) = (stop.clone(), done.clone());
        let worker = thread::spawn(move || {
            while !told.load(Ordering::SeqCst) {
                for relay in &relays {
                    relay.roundtrip(2000).with_context(|| format!("traffic on {}", relay.url))?;
                    count.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(50));
                }
            }
            Ok(())
        });
        Traffic { stop, done, worker }
    }

    fn stop(self) -> Result<usize> {
        self.stop.store(true, Ordering::SeqCst);
        self.worker.join().map_err(|_| anyhow::anyhow!("the traffic thread panicked"))??;
        Ok(self.done.load(Ordering::SeqCst))
    }
}
