//! The operator's own figures, on a real cluster and with the API server's audit log as witness.
//!
//! `operator-scale` runs a thousand relays on nodes that are not there ([`fleet`], [`stand_in`]); `operator-drain` and
//! `operator-failover` use a real relay. The goals are those of the design: constants here, each named once.

mod changes;
mod drain;
mod failover;
mod faults;
mod fleet;
mod log;
mod scale;
mod stand_in;

use anyhow::{Context, Result, bail};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::{Arguments, courier};
use crate::{bed::Bed, scenario::operator};

/// MiB resident with a thousand relays and their children.
const MEMORY_GOAL: f64 = 64.0;
/// Seconds from the answer to a change of a spec to the answer to the patch of the child, 99th percentile.
const CHANGE_GOAL: f64 = 2.0;
/// Seconds from the answer to a drain toggle to the first 503, 99th percentile.
const DRAIN_GOAL: f64 = 1.0;
/// Seconds from the start of the process to the end of the first pass over a thousand relays.
const START_GOAL: f64 = 60.0;
/// Seconds from the end of a killed leader to the next one.
const CRASH_GOAL: f64 = 30.0;
/// The same for a leader that was told to end.
const EXIT_GOAL: f64 = 2.0;

/// Measures what was named.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let bed = Bed::from_environment()?;
    crate::demo::install(&bed)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.name.as_str() {
        "operator-scale" => runtime.block_on(scale::run(&bed, arguments)),
        "operator-drain" => drain::run(&bed, arguments),
        "courier-memory" => courier::run(&bed, arguments),
        "operator-failover" => failover::run(&bed, arguments),
        other => bail!("no benchmark named {other}"),
    }
}

/// A client with an administrator's rights.
async fn client(bed: &Bed) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(bed.kubeconfig()).context("cannot read the kubeconfig")?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// The value at a share of sorted values: `0.99` is the smallest that 99 of 100 do not exceed.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Name and address of the operator's pods that run.
fn operator_pods(bed: &Bed) -> Result<Vec<(String, String)>> {
    let text = |pod: &serde_json::Value, pointer: &str| Some(pod.pointer(pointer)?.as_str()?.to_owned());
    let pods = operator::pods(bed)?;
    let running = pods.iter().filter(|pod| pod["status"]["phase"] == "Running");
    Ok(running.filter_map(|pod| Some((text(pod, "/metadata/name")?, text(pod, "/status/podIP")?))).collect())
}

/// One metric of the operator, summed over its labels.
fn metric(address: &str, name: &str) -> Result<Option<f64>> {
    let text = page(address, "metrics")?;
    let mut sum = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((key, value)) = line.rsplit_once(' ') else { continue };
        if key.split('{').next() == Some(name) {
            sum = Some(sum.unwrap_or(0.0) + value.parse::<f64>().unwrap_or(0.0));
        }
    }
    Ok(sum)
}

/// Waits until nothing is due, twice in a row; answers how long that took.
async fn quiet(bed: &Bed) -> Result<std::time::Duration> {
    let (began, mut calm) = (std::time::Instant::now(), 0);
    while calm < 2 {
        let address = operator_pods(bed)?.first().map(|(_, address)| address.clone()).unwrap_or_default();
        let state = page(&address, "debug/state").unwrap_or_default();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap_or_default();
        calm = if state["leader"] == true && state["queue"]["due"] == 0 { calm + 1 } else { 0 };
        if began.elapsed() > std::time::Duration::from_secs(240) {
            bail!("the operator is still busy after 4 minutes: {}", state["queue"]);
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    Ok(began.elapsed())
}

/// A page of the operator's own port.
fn page(address: &str, path: &str) -> Result<String> {
    // A client of its own thread: this is called from asynchronous code, too.
    let url = format!("http://{address}:8080/{path}");
    let asked = std::thread::spawn(move || -> Result<String> {
        Ok(crate::relay::client()?.get(url).send()?.error_for_status()?.text()?)
    });
    asked.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_percentile_of_a_hundred_is_the_slowest_but_one() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(
            (percentile(&values, 0.5), percentile(&values, 0.99), percentile(&values, 1.0)),
            (50.0, 99.0, 100.0)
        );
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
        assert_eq!(percentile(&[], 0.99), 0.0);
    }
}
