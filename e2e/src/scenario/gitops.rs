//! What a person and a pipeline do with kubectl: apply, get, describe, explain, wait, patch.

use std::time::Duration;

use anyhow::{Result, bail};

use super::fixture::Fixture;
use crate::{bed::Bed, demo::patch_drain, steps::Seen, steps::seen};

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
    expect(&described, "Events:", "kubectl describe")?;
    if described.contains("Events:                    <none>") {
        bail!("kubectl describe shows no Event:\n{described}");
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
    seen((), "columns, events, conditions and explain read well; a second apply changes nothing")
}

fn expect(text: &str, needle: &str, from: &str) -> Result<()> {
    if !text.contains(needle) {
        bail!("{from} does not show “{needle}”:\n{text}");
    }
    Ok(())
}
