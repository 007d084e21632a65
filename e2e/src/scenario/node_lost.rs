//! A node stops answering: the relay is said to be degraded, its pod is never forced away, and all heals once the node is back.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{fixture::Fixture, rights::OPERATOR, template};
use crate::{
    audit_log,
    bed::Bed,
    host::{Frozen, component_pid},
    process::wait_for,
    steps::{Seen, seen},
};

/// The node controller's patience with a node that says nothing, twice.
const NOTICED: Duration = Duration::from_secs(120);

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let log = bed.audit_log.clone().context("this scenario reads the test bed's audit log")?;
    let fixture = Fixture::new(bed, "node-lost")?;
    let relay = fixture.relay("health")?;
    let before = template::pod(&fixture)?;
    let direct = relay.at(&address(&fixture)?);
    direct.roundtrip(1000)?;
    let mark = audit_log::mark(&log)?;

    let kubelet = Frozen::new(component_pid("kubelet")?)?;
    wait_for("the relay to be said degraded", NOTICED, || {
        Ok(match fixture.condition("health", "Degraded")? {
            Some((status, reason, message)) if status == "True" && reason == "NodeLost" => Ok(message),
            other => Err(format!("{other:?}")),
        })
    })
    .and_then(|message| {
        ensure!(message.contains("out-of-service"), "the message does not say what to do: {message}");
        Ok(())
    })?;
    // Cut off from the cluster, not dead: no Service leads to it any more, and whoever reaches it is served.
    direct.roundtrip(1000)?;
    // Somebody deletes the pod. Nobody can end it, and a second one would write the same volume.
    bed.kubectl(&["-n", &fixture.namespace, "delete", "pod", "health-0", "--wait=false"])?;
    std::thread::sleep(Duration::from_secs(15));
    ensure!(template::pod(&fixture)?.uid == before.uid, "another pod took the place of one that may run");
    let forced: Vec<String> = audit_log::since(&log, mark)?
        .into_iter()
        .filter(|it| it.user == OPERATOR && it.verb == "delete" && it.namespace == fixture.namespace)
        .map(|it| format!("{} {}/{}", it.verb, it.resource, it.name))
        .collect();
    if !forced.is_empty() {
        bail!("the operator deleted while the node was away: {forced:?}");
    }

    drop(kubelet);
    template::replaced(&fixture, &before.uid).context("once the node was back")?;
    fixture.ready("health")?;
    wait_for("the relay not to be degraded", Duration::from_secs(60), || {
        let now = fixture.condition("health", "Degraded")?;
        Ok(match &now {
            Some((status, ..)) if status == "True" => Err(format!("{now:?}")),
            _ => Ok(()),
        })
    })?;
    wait_for("the relay to serve again", Duration::from_secs(30), || {
        Ok(relay.roundtrip(1000).map_err(|error| format!("{error:#}")))
    })?;
    seen((), "said as NodeLost with what to do; the deleted pod was not forced away; healed with the node")
}

/// Where the pod itself listens.
fn address(fixture: &Fixture<'_>) -> Result<String> {
    let pod = fixture.bed.get(&fixture.namespace, "pod/health-0")?;
    let ports = pod["spec"]["containers"][0]["ports"].as_array().cloned().unwrap_or_default();
    let public = ports.iter().find(|port| port["name"] == "public").context("the pod has no public port")?;
    let address = pod["status"]["podIP"].as_str().context("the pod has no address")?;
    Ok(format!("http://{address}:{}", public["containerPort"]))
}
