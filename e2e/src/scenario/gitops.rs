//! What a person and a pipeline do with kubectl: apply, get, describe, explain, wait, patch.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::fixture::Fixture;
use crate::{bed::Bed, demo::patch_drain, process::wait_for, steps::Seen, steps::seen};

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "kubectl")?;
    let namespace = fixture.namespace.clone();
    fixture.relay("health")?;

    let table = bed.kubectl(&["-n", &namespace, "get", "prelay", "health"])?;
    for column in ["READY", "PHASE", "VERSION", "UPDATE", "DRAIN", "TIER", "AGE"] {
        expect(&table, column, "kubectl get prelay")?;
    }
    expect(&table, "Community", "kubectl get prelay")?;
    let wide = bed.kubectl(&["-n", &namespace, "get", "prelay", "health", "-o", "wide"])?;
    for column in ["DIGEST", "NEXT-WINDOW", "REASON"] {
        expect(&wide, column, "kubectl get prelay -o wide")?;
    }
    let described = bed.kubectl(&["-n", &namespace, "describe", "prelay", "health"])?;
    expect(&described, "Conditions:", "kubectl describe")?;
    let (_, events) = described.split_once("Events:").context("kubectl describe shows no Events")?;
    // Type, reason, age, who, and a sentence, one line each.
    if !events.lines().any(|line| line.contains("Serving") && line.contains("paramant.app/operator")) {
        bail!("kubectl describe shows no Event of the operator:\n{described}");
    }
    let explained = bed.kubectl(&["explain", "prelay.spec.drain"])?;
    expect(&explained, "DESCRIPTION", "kubectl explain")?;
    bed.kubectl(&["get", "paramant", "-A"])?;

    patch_drain(bed, &namespace, "health", "true")?;
    bed.wait_condition(&namespace, "prelay/health", "Drained", Duration::from_secs(60))?;
    let drained = bed.get(&namespace, "prelay/health")?;
    if drained["status"]["drain"]["requestedBy"] != serde_json::json!(["Spec"]) {
        bail!("status.drain says {}", drained["status"]["drain"]);
    }
    for (kind, wanted) in
        [("Ready", "True"), ("Drained", "True"), ("Reconciling", "False"), ("Stalled", "False")]
    {
        match fixture.condition("health", kind)? {
            Some((status, _, _)) if status == wanted => {}
            other => bail!("while drained, condition {kind} is {other:?}, expected {wanted}"),
        }
    }
    if drained["status"]["observedGeneration"] != drained["metadata"]["generation"] {
        bail!("observedGeneration is behind");
    }
    patch_drain(bed, &namespace, "health", "null")?;

    // What a pipeline applies again must change nothing: the server stores no default into spec.
    let image = bed.image("paramant-relay")?.to_owned();
    let manifest = fixture.manifest("health", &image, "");
    let diff =
        bed.kubectl_raw(&["diff", "--server-side", "--field-manager=e2e", "-f", "-"], Some(&manifest))?;
    if diff.code != Some(0) && !diff.stdout.trim().is_empty() {
        bail!("applying the same manifest again would change:\n{}", diff.stdout);
    }
    let planted = bed.kubectl_raw(
        &["diff", "--server-side", "--field-manager=e2e", "-f", "-"],
        Some(&fixture.manifest("health", &image, "  sector: planted\n")),
    )?;
    if planted.code != Some(1) {
        bail!(
            "a planted difference was not seen; kubectl diff ended with {:?}: {}",
            planted.code,
            planted.stderr
        );
    }
    exposure(&fixture)?;
    seen((), "columns, events, conditions and explain read well; a second apply changes nothing")
}

/// An Ingress comes, changes and goes with `spec.expose`.
fn exposure(fixture: &Fixture<'_>) -> Result<()> {
    let patch = |value: &str| {
        let patch = format!("{{\"spec\":{{\"expose\":{value}}}}}");
        let arguments =
            ["-n", &fixture.namespace, "patch", "prelay", "health", "--type", "merge", "-p", &patch];
        fixture.bed.kubectl(&arguments)
    };
    let host = |wanted: Option<&str>| {
        wait_for(&format!("an Ingress for {wanted:?}"), Duration::from_secs(30), || {
            let path = "jsonpath={.items[*].spec.rules[*].host}";
            let found = fixture.bed.kubectl(&["-n", &fixture.namespace, "get", "ingress", "-o", path])?;
            Ok(if found == wanted.unwrap_or_default() { Ok(()) } else { Err(format!("found “{found}”")) })
        })
    };
    patch(r#"{"host":"one.example","ingressClassName":"none"}"#)?;
    host(Some("one.example"))?;
    patch(r#"{"host":"two.example"}"#)?;
    host(Some("two.example"))?;
    patch("null")?;
    host(None)
}

fn expect(text: &str, needle: &str, from: &str) -> Result<()> {
    if !text.contains(needle) {
        bail!("{from} does not show “{needle}”:\n{text}");
    }
    Ok(())
}
