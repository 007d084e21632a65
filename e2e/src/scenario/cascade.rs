//! Deletions in every order: in the foreground, of a namespace in the middle of things, of what a relay refers to. Nothing is
//! left stuck, nothing that goes is made again, and what retention keeps is kept.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{fixture::Fixture, rights::OPERATOR};
use crate::{audit_log, bed::Bed, process::wait_for, steps::Seen, steps::seen};

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let log = bed.audit_log.clone().context("this scenario reads the test bed's audit log")?;
    let fixture = Fixture::new(bed, "cascade")?;
    let namespace = fixture.namespace.as_str();
    bed.apply(&format!(
        "apiVersion: paramant.app/v1alpha1\nkind: ParamantPolicy\nmetadata: {{ name: production, namespace: {namespace} }}\nspec: {{ updates: {{ settle: 5s }} }}\n---\napiVersion: paramant.app/v1alpha1\nkind: ParamantLicense\nmetadata: {{ name: acme, namespace: {namespace} }}\nspec: {{ secretRef: {{ name: acme-license }} }}\n"
    ))?;
    fixture.apply("kept", "  policyRef: { name: production }\n  licenseRef: { name: acme }\n")?;
    fixture.apply("goes", "  policyRef: { name: production }\n")?;
    fixture.ready("kept")?;
    let goes = fixture.relay("goes")?;
    goes.roundtrip(1000)?;

    // What a relay refers to goes first: it serves on as it is, drains, and says what is missing.
    let pod = super::template::pod_of(&fixture, "kept")?.uid;
    bed.kubectl(&["-n", namespace, "delete", "ppol/production", "plic/acme", "secret/relay-admin"])?;
    let kept = bed.service_url(namespace, "kept")?;
    crate::demo::patch_drain(bed, namespace, "kept", "true")?;
    bed.wait_condition(namespace, "prelay/kept", "Drained", Duration::from_secs(60))?;
    crate::demo::patch_drain(bed, namespace, "kept", "null")?;
    wait_for("the relay to serve again", Duration::from_secs(30), || {
        let state = fixture.field("prelay/kept", "/status/drain/state")?;
        Ok(if state == "Serving" { Ok(()) } else { Err(state.to_string()) })
    })?;
    crate::relay::client()?.get(format!("{kept}/health")).send()?.error_for_status()?;
    let object = bed.get(namespace, "prelay/kept")?;
    let conditions = object["status"]["conditions"].to_string();
    // The policy is named once something waits for it.
    for missing in ["acme", "relay-admin"] {
        ensure!(conditions.contains(missing), "no condition names {missing}, which is missing: {conditions}");
    }
    ensure!(super::template::pod_of(&fixture, "kept")?.uid == pod, "the pod was replaced");

    // In the foreground the children go first, while the relay is still there to be reconciled.
    let mark = audit_log::mark(&log)?;
    bed.kubectl(&["-n", namespace, "delete", "prelay", "goes", "--cascade=foreground", "--timeout=120s"])?;
    ensure!(!fixture.exists("pod/goes-0")?, "the relay went before its pod");
    ensure!(fixture.exists("pvc/data-goes-0")?, "the claim went along");
    ensure!(fixture.exists("cm/goes-state")?, "the durable copy went along");
    let made: Vec<String> = audit_log::since(&log, mark)?
        .into_iter()
        .filter(|request| request.user == OPERATOR && request.namespace == namespace && request.writes())
        .filter(|request| request.name.starts_with("goes") && request.resource != "events")
        .filter(|request| request.verb == "create" || request.code == 201)
        .map(|request| format!("{} {}/{}", request.verb, request.resource, request.name))
        .collect();
    ensure!(made.is_empty(), "while the relay went the operator made {made:?}");

    // A relay deleted in each early moment of its life.
    for pause in [0, 300, 1500] {
        fixture.apply("brief", "")?;
        std::thread::sleep(Duration::from_millis(pause));
        bed.kubectl(&["-n", namespace, "delete", "prelay", "brief", "--timeout=60s"])?;
        fixture.wait_gone(&["sts/brief", "svc/brief", "svc/brief-pods", "cm/brief-config", "sa/brief"])?;
        fixture.wait_gone(&["pod/brief-0"])?;
    }

    // The whole namespace, with one relay serving and one being made.
    fixture.apply("late", "")?;
    let began = Instant::now();
    bed.kubectl(&["delete", "namespace", namespace, "--wait=false"])?;
    wait_for("the namespace to be gone", Duration::from_secs(120), || {
        let left =
            bed.kubectl(&["get", "namespace", namespace, "--ignore-not-found", "-o", "jsonpath={.status}"])?;
        Ok(if left.trim().is_empty() { Ok(()) } else { Err(left) })
    })?;
    let took = began.elapsed();
    let refused: Vec<String> = audit_log::since(&log, mark)?
        .into_iter()
        .filter(|request| request.user == OPERATOR && request.code == 403 && !request.namespace_is_going)
        .map(|request| format!("{} {}/{}", request.verb, request.resource, request.name))
        .collect();
    if !refused.is_empty() {
        bail!("the operator was refused: {refused:?}");
    }
    seen(
        (),
        format!(
            "policy, licence and Secret first; foreground; three early deletions; a namespace with two relays gone in {} s; claim and -state kept",
            took.as_secs()
        ),
    )
}
