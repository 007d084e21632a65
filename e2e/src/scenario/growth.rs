//! `storage.size` grows while the relay serves: the claim, then its StatefulSet made again around the same pod. And what
//! `storage.retention` keeps or lets go.
//!
//! The test bed has no resizer, so this plays one: it makes the volume larger and says so in the claim's status.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use super::fixture::Fixture;
use crate::{bed::Bed, process::wait_for, relay::random_blob, steps::Seen, steps::seen};

const CLASS: &str = "e2e-grows";
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let folder = tempfile::tempdir_in("/var/tmp")?;
    let fixture = Fixture::new(bed, "growth")?;
    offer(bed, folder.path())?;
    let outcome = grow(&fixture).and_then(|()| retention(&fixture));
    // The pod holds the folder until it is gone.
    bed.delete_namespace(&fixture.namespace)?;
    bed.kubectl(&["delete", "pv,storageclass", CLASS, "--ignore-not-found"])?;
    outcome?;
    seen(
        (),
        "1Gi to 2Gi beside traffic: the StatefulSet was made again, its pod and what it serves stayed; a claim goes only with retention Delete",
    )
}

fn grow(fixture: &Fixture<'_>) -> Result<()> {
    let image = fixture.bed.image("paramant-relay")?.to_owned();
    let storage =
        format!("  storage: {{ size: 1Gi, className: {CLASS} }}\n  limits: {{ minFreeDisk: 1Mi }}\n");
    fixture.bed.apply(&fixture.manifest("health", &image, &storage))?;
    fixture.ready("health")?;
    let relay = fixture.connect("health")?;
    let (bytes, digest) = random_blob(2000)?;
    ensure!(relay.upload(&bytes, &digest)?.0 == 200, "an upload was refused");
    let before = super::template::pod(fixture)?;
    let set = Set::of(fixture)?;

    patch_storage(fixture, r#"{"size":"2Gi"}"#)?;
    wait_for("the claim to ask for 2Gi", SOON, || {
        let asked = fixture.field("pvc/data-health-0", "/spec/resources/requests/storage")?;
        Ok(if asked == "2Gi" { Ok(()) } else { Err(asked.to_string()) })
    })?;
    resize(fixture)?;
    wait_for("the StatefulSet to be made again", SOON, || {
        // Gone for a moment in between.
        let now = Set::of(fixture)?;
        Ok(if now.uid != set.uid && now.claim == "2Gi" { Ok(()) } else { Err(format!("{now:?}")) })
    })?;
    wait_for("the new StatefulSet to have taken up its pod", SOON, || {
        let owner = fixture.field("pod/health-0", "/metadata/ownerReferences/0/uid")?;
        let (uid, status) =
            (fixture.field("sts/health", "/metadata/uid")?, fixture.field("sts/health", "/status")?);
        let taken = owner == uid && status["readyReplicas"] == 1;
        Ok(if taken { Ok(()) } else { Err(format!("{owner} of {uid}: {status}")) })
    })?;
    let now = Set::of(fixture)?;
    ensure!(now.template == set.template, "the template changed from {} to {}", set.template, now.template);
    ensure!(
        now.annotations == set.annotations,
        "annotations changed: {} to {}",
        set.annotations,
        now.annotations
    );
    fixture.ready("health")?;
    let after = super::template::pod(fixture)?;
    ensure!((after.uid, after.hash) == (before.uid, before.hash), "the pod was replaced");
    let (status, got) = relay.download(&digest)?;
    ensure!(status == 200 && got == bytes, "what was uploaded before answers {status}");
    // Smaller is refused by the schema, not by a stuck relay.
    match patch_storage(fixture, r#"{"size":"1Gi"}"#) {
        Err(error) if format!("{error:#}").contains("storage") => Ok(()),
        other => bail!("shrinking was not refused: {other:?}"),
    }
}

fn retention(fixture: &Fixture<'_>) -> Result<()> {
    let owners = |wanted: usize| {
        wait_for(&format!("{wanted} owners of the claim"), SOON, || {
            let owners = fixture.field("pvc/data-health-0", "/metadata/ownerReferences")?;
            let found = owners.as_array().map_or(0, Vec::len);
            Ok(if found == wanted { Ok(()) } else { Err(owners.to_string()) })
        })
    };
    owners(0)?;
    patch_storage(fixture, r#"{"retention":"Delete"}"#)?;
    owners(1)?;
    patch_storage(fixture, r#"{"retention":"Retain"}"#)?;
    owners(0)?;
    let delete = ["-n", &fixture.namespace, "delete", "prelay", "health", "--timeout=60s"];
    fixture.bed.kubectl(&delete)?;
    fixture.wait_gone(&["pod/health-0", "sts/health"])?;
    ensure!(fixture.exists("pvc/data-health-0")?, "retention Retain did not keep the claim");
    // Made again over the volume that was kept, at the size it has now.
    let image = fixture.bed.image("paramant-relay")?.to_owned();
    let storage = format!(
        "  storage: {{ size: 2Gi, className: {CLASS}, retention: Delete }}\n  limits: {{ minFreeDisk: 1Mi }}\n"
    );
    fixture.bed.apply(&fixture.manifest("health", &image, &storage))?;
    fixture.ready("health")?;
    owners(1)?;
    fixture.bed.kubectl(&delete)?;
    fixture.wait_gone(&["pod/health-0", "pvc/data-health-0"])
}

fn patch_storage(fixture: &Fixture<'_>, value: &str) -> Result<String> {
    let patch = format!("{{\"spec\":{{\"storage\":{value}}}}}");
    fixture.bed.kubectl(&[
        "-n",
        &fixture.namespace,
        "patch",
        "prelay",
        "health",
        "--type",
        "merge",
        "-p",
        &patch,
    ])
}

/// What a CSI driver does.
fn resize(fixture: &Fixture<'_>) -> Result<()> {
    let volume = r#"{"spec":{"capacity":{"storage":"2Gi"}}}"#;
    fixture.bed.kubectl(&["patch", "pv", CLASS, "--type", "merge", "-p", volume])?;
    let claim = r#"{"status":{"capacity":{"storage":"2Gi"}}}"#;
    let claim = ["patch", "pvc", "data-health-0", "--subresource=status", "--type", "merge", "-p", claim];
    fixture.bed.kubectl(&[&["-n", fixture.namespace.as_str()][..], &claim[..]].concat())?;
    Ok(())
}

/// A class that may grow, and its one volume.
fn offer(bed: &Bed, folder: &Path) -> Result<()> {
    bed.kubectl(&["delete", "pv,storageclass", CLASS, "--ignore-not-found"])?;
    let node = bed.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])?;
    bed.apply(&format!(
        "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {{ name: {CLASS} }}\nprovisioner: kubernetes.io/no-provisioner\nvolumeBindingMode: WaitForFirstConsumer\nallowVolumeExpansion: true\n---\napiVersion: v1\nkind: PersistentVolume\nmetadata: {{ name: {CLASS} }}\nspec:\n  capacity: {{ storage: 1Gi }}\n  accessModes: [ReadWriteOncePod]\n  persistentVolumeReclaimPolicy: Retain\n  storageClassName: {CLASS}\n  local: {{ path: {} }}\n  nodeAffinity:\n    required:\n      nodeSelectorTerms:\n        - matchExpressions: [{{ key: kubernetes.io/hostname, operator: In, values: [{}] }}]\n",
        folder.display(),
        node.trim()
    ))?;
    Ok(())
}

/// The StatefulSet as it is.
#[derive(Debug)]
struct Set {
    uid: Value,
    claim: Value,
    template: Value,
    /// But the seal, which is over everything and changes with the size.
    annotations: Value,
}

impl Set {
    fn of(fixture: &Fixture<'_>) -> Result<Self> {
        let set = fixture.bed.get(&fixture.namespace, "sts/health")?;
        let at = |pointer: &str| set.pointer(pointer).cloned().unwrap_or_default();
        let mut annotations = at("/metadata/annotations");
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.remove("paramant.app/intent");
        }
        Ok(Set {
            uid: at("/metadata/uid"),
            claim: at("/spec/volumeClaimTemplates/0/spec/resources/requests/storage"),
            template: at("/spec/template"),
            annotations,
        })
    }
}
