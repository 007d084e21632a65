//! A relay restored from a backup has no status, and somebody deletes its `-state`: both are rebuilt, and nothing else changes.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::fixture::Fixture;
use crate::{bed::Bed, process::wait_for, steps::Seen, steps::seen};

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "lost")?;
    let relay = fixture.relay("health")?;
    relay.roundtrip(2000)?;
    settled(&fixture)?;
    let before = Kept::of(&fixture)?;
    ensure!(before.state["controlKey"].is_string(), "-state keeps no control key: {}", before.state);

    lose_status(&fixture)?;
    same(&fixture, &before, "after its status was lost")?;
    relay.roundtrip(2000)?;

    bed.kubectl(&["-n", &fixture.namespace, "delete", "cm", "health-state"])?;
    same(&fixture, &before, "after -state was deleted")?;

    // Both at once, with nobody there to remember either.
    let deployment = "deployment/paramant-operator";
    bed.kubectl(&["-n", crate::demo::SYSTEM, "scale", deployment, "--replicas=0"])?;
    wait_for("the operator to be gone", Duration::from_secs(60), || {
        let left = super::operator::pods(bed)?.len();
        Ok(if left == 0 { Ok(()) } else { Err(format!("{left} pods")) })
    })?;
    let lost = lose_status(&fixture).and_then(|()| {
        bed.kubectl(&["-n", &fixture.namespace, "delete", "cm", "health-state"])?;
        Ok(())
    });
    super::operator::scale(bed, 1)?;
    lost?;
    same(&fixture, &before, "after both were lost while the operator was away")?;
    relay.roundtrip(2000)?;
    let after = Kept::of(&fixture)?;
    ensure!(
        after.log_size >= before.log_size,
        "the log's mark fell from {} to {}",
        before.log_size,
        after.log_size
    );
    super::auditors::paramant_audit(bed, &relay.url)?;
    seen(
        (),
        "status lost, -state deleted, then both without an operator: the same pod, template, key and log; only the two are rebuilt",
    )
}

/// As a restore from a backup leaves it.
fn lose_status(fixture: &Fixture<'_>) -> Result<()> {
    let mut object = fixture.bed.get(&fixture.namespace, "prelay/health")?;
    ensure!(object["status"]["phase"] == "Ready", "before it is lost, status says {}", object["status"]);
    object["status"] = json!({ "observedGeneration": -1 });
    if let Some(metadata) = object["metadata"].as_object_mut() {
        // Whoever restores it does not know the version.
        metadata.remove("resourceVersion");
    }
    let replace = ["replace", "--subresource=status", "-f", "-"];
    let said = fixture.bed.kubectl_raw(&replace, Some(&object.to_string()))?.success("kubectl replace")?;
    ensure!(said.contains("health"), "{said}");
    Ok(())
}

fn settled(fixture: &Fixture<'_>) -> Result<()> {
    wait_for("status and -state to be there", Duration::from_secs(60), || {
        let object = fixture.bed.get(&fixture.namespace, "prelay/health")?;
        let status = &object["status"];
        let whole = status["observedGeneration"] == object["metadata"]["generation"]
            && status["phase"] == "Ready"
            && status["identity"]["controlKey"].is_string()
            && status["log"]["size"].is_u64()
            && fixture.exists("cm/health-state")?;
        Ok(if whole { Ok(()) } else { Err(status.to_string()) })
    })
}

fn same(fixture: &Fixture<'_>, before: &Kept, when: &str) -> Result<()> {
    settled(fixture)?;
    wait_for(&format!("everything to be as it was {when}"), Duration::from_secs(60), || {
        let now = Kept::of(fixture)?;
        ensure!(now.pod == before.pod && now.set == before.set, "{when}: {now:#?}\nbefore: {before:#?}");
        let rebuilt =
            now.identity == before.identity && now.image == before.image && now.state == before.state;
        Ok(if rebuilt { Ok(()) } else { Err(format!("{now:#?}\nbefore: {before:#?}")) })
    })
}

/// What must outlive the loss.
#[derive(Debug)]
struct Kept {
    /// UID, restarts, revision.
    pod: [Value; 3],
    /// UID, generation, revision.
    set: [Value; 3],
    identity: Value,
    image: Value,
    log_size: u64,
    /// What `-state` says, without what counts up.
    state: Value,
}

impl Kept {
    fn of(fixture: &Fixture<'_>) -> Result<Self> {
        let pod = fixture.bed.get(&fixture.namespace, "pod/health-0")?;
        let set = fixture.bed.get(&fixture.namespace, "sts/health")?;
        let status = fixture.field("prelay/health", "/status")?;
        let mut state = fixture.field("cm/health-state", "/data")?;
        if let Some(state) = state.as_object_mut() {
            // The order of directives goes on from what the relay holds; the log's mark rises.
            state.retain(|key, _| !matches!(key.as_str(), "directives" | "logHighWater"));
            // What was forgotten was verified again: by the same key under the same trust, at another time.
            let verified = state.get("verified").and_then(Value::as_str).unwrap_or_default();
            let mut verified: Value = serde_json::from_str(verified).unwrap_or_default();
            for image in verified.as_array_mut().into_iter().flatten() {
                if let Some(image) = image.as_object_mut() {
                    image.remove("at");
                }
            }
            state.insert("verified".to_owned(), verified);
        }
        let at = |object: &Value, pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
        Ok(Kept {
            pod: [
                at(&pod, "/metadata/uid"),
                at(&pod, "/status/containerStatuses/0/restartCount"),
                at(&pod, "/metadata/labels/controller-revision-hash"),
            ],
            set: [
                at(&set, "/metadata/uid"),
                at(&set, "/metadata/generation"),
                at(&set, "/status/updateRevision"),
            ],
            identity: status["identity"].clone(),
            image: status["image"]["current"].clone(),
            log_size: status["log"]["size"].as_u64().unwrap_or_default(),
            state,
        })
    }
}
