//! A drain that a person toggled, under a pipeline that applies the manifest from Git again and again: as Flux does it, with its
//! take-over of fields that kubectl wrote, and as Argo CD's self-heal does it.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::fixture::Fixture;
use crate::{bed::Bed, demo::patch_drain, process::wait_for, steps::Seen, steps::seen};

const FLUX: &str = "kustomize-controller";

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "gitops")?;
    let manifest = fixture.manifest("health", bed.image("paramant-relay")?, "");
    flux(&fixture, &manifest)?;
    fixture.ready("health")?;
    drains(&fixture, "null")?;

    // The hazard is real: written by kubectl under its own name, the toggle is taken over and undone.
    toggle_as(&fixture, "kubectl-patch")?;
    flux(&fixture, &manifest)?;
    drains(&fixture, "null")?;
    // As the plugin and the documentation do it.
    patch_drain(bed, &fixture.namespace, "health", "true")?;
    for _ in 0..2 {
        flux(&fixture, &manifest)?;
        drains(&fixture, "true")?;
    }
    bed.wait_condition(&fixture.namespace, "prelay/health", "Drained", Duration::from_secs(60))?;
    patch_drain(bed, &fixture.namespace, "health", "null")?;
    drains(&fixture, "null")?;

    // Argo CD applies as kubectl does: what Git does not mention is nobody's difference.
    argo(&fixture, &manifest)?;
    patch_drain(bed, &fixture.namespace, "health", "true")?;
    argo(&fixture, &manifest)?;
    drains(&fixture, "true")?;
    // What Git does mention is put back.
    argo(&fixture, &fixture.manifest("health", bed.image("paramant-relay")?, "  drain: false\n"))?;
    drains(&fixture, "false")?;
    wait_for("the relay to serve", Duration::from_secs(30), || {
        let state = fixture.field("prelay/health", "/status/drain/state")?;
        Ok(if state == "Serving" { Ok(()) } else { Err(state.to_string()) })
    })?;
    seen(
        (),
        "Flux undid a drain that kubectl wrote under its own name and left the one of paramant-admin; Argo CD left it while Git said nothing of it",
    )
}

/// What Flux does: fields of managers whose name begins with `kubectl` become its own, then it applies with force.
fn flux(fixture: &Fixture<'_>, manifest: &str) -> Result<()> {
    if fixture.exists("prelay/health")? {
        take_over(fixture)?;
    }
    let apply =
        ["apply", "--server-side", "--force-conflicts", &format!("--field-manager={FLUX}"), "-f", "-"];
    fixture.bed.kubectl_raw(&apply, Some(manifest))?.success("Flux's apply").map(drop)
}

fn take_over(fixture: &Fixture<'_>) -> Result<()> {
    let get = ["-n", &fixture.namespace, "get", "prelay", "health", "--show-managed-fields", "-o", "json"];
    let object: Value = serde_json::from_str(&fixture.bed.kubectl(&get)?)?;
    let fields = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let is_kubectls = |entry: &Value| {
        entry["subresource"].is_null()
            && entry["manager"].as_str().is_some_and(|name| name.starts_with("kubectl"))
    };
    let (kubectls, mut kept): (Vec<Value>, Vec<Value>) = fields.into_iter().partition(is_kubectls);
    if kubectls.is_empty() {
        return Ok(());
    }
    let Some(own) = kept.iter_mut().find(|entry| entry["manager"] == FLUX && entry["operation"] == "Apply")
    else {
        bail!("Flux owns nothing of the relay yet: {kept:?}");
    };
    for entry in &kubectls {
        merge(&mut own["fieldsV1"], &entry["fieldsV1"]);
    }
    let version = &object["metadata"]["resourceVersion"];
    let patch = json!([
        { "op": "replace", "path": "/metadata/managedFields", "value": kept },
        { "op": "replace", "path": "/metadata/resourceVersion", "value": version },
    ])
    .to_string();
    let patch = ["-n", &fixture.namespace, "patch", "prelay", "health", "--type", "json", "-p", &patch];
    fixture.bed.kubectl(&[&patch[..], &["--field-manager", FLUX]].concat()).map(drop)
}

fn merge(into: &mut Value, from: &Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        for (key, value) in from {
            merge(into.entry(key.clone()).or_insert_with(|| json!({})), value);
        }
    }
}

fn argo(fixture: &Fixture<'_>, manifest: &str) -> Result<()> {
    let apply = ["apply", "--field-manager=argocd-controller", "-f", "-"];
    fixture.bed.kubectl_raw(&apply, Some(manifest))?.success("Argo CD's apply").map(drop)
}

fn toggle_as(fixture: &Fixture<'_>, manager: &str) -> Result<()> {
    let patch = r#"{"spec":{"drain":true}}"#;
    let patch = ["-n", &fixture.namespace, "patch", "prelay", "health", "--type", "merge", "-p", patch];
    fixture.bed.kubectl(&[&patch[..], &["--field-manager", manager]].concat())?;
    drains(fixture, "true")
}

fn drains(fixture: &Fixture<'_>, wanted: &str) -> Result<()> {
    let found = fixture.field("prelay/health", "/spec/drain")?;
    let wanted: Value = serde_json::from_str(wanted)?;
    ensure!(found == wanted, "spec.drain is {found}, expected {wanted}");
    Ok(())
}
