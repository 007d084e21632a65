//! A new pod template reaches a pod only through the update machine.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use super::fixture::{Fixture, READY};
use crate::{bed::Bed, process::wait_for, steps::Seen, steps::seen};

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "template")?;
    bed.apply(&format!(
        "apiVersion: paramant.app/v1alpha1\nkind: ParamantPolicy\nmetadata: {{ name: quick, namespace: {} }}\nspec: {{ updates: {{ settle: 5s }}, drain: {{ settle: 1s }} }}\n",
        fixture.namespace
    ))?;
    fixture.apply("health", "  policyRef: { name: quick }\n")?;
    fixture.ready("health")?;
    fixture.connect("health")?.roundtrip(4096)?;
    let old = pod(&fixture)?;
    let next = bed.image("paramant-relay-next")?.to_owned();

    // While paused a new image is wanted and waits; an eviction must bring the old one back.
    bed.kubectl(&["-n", &fixture.namespace, "annotate", "prelay", "health", "paramant.app/paused=true"])?;
    wait_for("Paused=True", Duration::from_secs(30), || {
        Ok(match fixture.condition("health", "Paused")? {
            Some((status, _, _)) if status == "True" => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })?;
    let patch = format!("{{\"spec\":{{\"image\":\"{next}\"}}}}");
    bed.kubectl(&["-n", &fixture.namespace, "patch", "prelay", "health", "--type", "merge", "-p", &patch])?;
    evict(&fixture)?;
    let evicted = replaced(&fixture, &old.uid)?;
    if evicted.image != old.image || evicted.hash != old.hash {
        bail!(
            "after an eviction the pod runs {} ({}), expected the old {} ({})",
            evicted.image,
            evicted.hash,
            old.image,
            old.hash
        );
    }

    // An image that cannot be resolved waits in Verifying, and an eviction brings the old one back too.
    bed.kubectl(&["-n", &fixture.namespace, "annotate", "prelay", "health", "paramant.app/paused-"])?;
    let rolled = rolled_to(&fixture, &next)?;
    fixture.ready("health")?;
    wait_for("the roll to be over", READY, || {
        Ok(match fixture.condition("health", "Reconciling")? {
            Some((status, _, _)) if status == "False" => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })?;
    let registry = next.split('/').next().unwrap_or_default();
    let patch = format!("{{\"spec\":{{\"image\":\"{registry}/paramant-relay:does-not-exist\"}}}}");
    bed.kubectl(&["-n", &fixture.namespace, "patch", "prelay", "health", "--type", "merge", "-p", &patch])?;
    wait_for("the missing image to be named in status", Duration::from_secs(60), || {
        let message = fixture.field("prelay/health", "/status/message")?;
        Ok(if message.as_str().unwrap_or_default().contains("does-not-exist") {
            Ok(())
        } else {
            Err(message.to_string())
        })
    })?;
    evict(&fixture)?;
    let again = replaced(&fixture, &rolled.uid)?;
    if again.image != rolled.image {
        bail!("after an eviction the pod runs {}, expected {}", again.image, rolled.image);
    }
    fixture.ready("health")?;
    fixture.connect("health")?.roundtrip(4096)?;
    seen((), "two evictions kept the rolled template; the image change rolled once, after resume")
}

/// What identifies a pod's generation.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) image: String,
    pub(crate) hash: String,
}

/// The relay's pod now.
pub(crate) fn pod(fixture: &Fixture<'_>) -> Result<Pod> {
    pod_of(fixture, "health")
}

/// The pod of the relay with this name.
pub(crate) fn pod_of(fixture: &Fixture<'_>, relay: &str) -> Result<Pod> {
    let object = fixture.bed.get(&fixture.namespace, &format!("pod/{relay}-0"))?;
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Pod {
        uid: text("/metadata/uid"),
        image: text("/spec/containers/0/image"),
        hash: text("/metadata/labels/controller-revision-hash"),
    })
}

pub(crate) fn evict(fixture: &Fixture<'_>) -> Result<()> {
    let body = format!(
        "{{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{{\"name\":\"health-0\",\"namespace\":\"{}\"}}}}",
        fixture.namespace
    );
    let path = format!("/api/v1/namespaces/{}/pods/health-0/eviction", fixture.namespace);
    fixture.bed.kubectl_raw(&["create", "--raw", &path, "-f", "-"], Some(&body))?.success("the eviction")?;
    Ok(())
}

/// Waits until another pod than `uid` is ready.
pub(crate) fn replaced(fixture: &Fixture<'_>, uid: &str) -> Result<Pod> {
    wait_for("a new pod that is ready", READY, || {
        let object = fixture.bed.get(&fixture.namespace, "pod/health-0")?;
        let now = pod(fixture)?;
        let ready = object["status"]["containerStatuses"][0]["ready"] == true;
        Ok(if now.uid != uid && ready { Ok(now) } else { Err(format!("{now:?}, ready: {ready}")) })
    })
}

/// Waits until the pod runs `image`.
fn rolled_to(fixture: &Fixture<'_>, image: &str) -> Result<Pod> {
    let digest = image.rsplit('@').next().unwrap_or(image);
    wait_for("the new image to run", READY, || {
        let now = pod(fixture)?;
        Ok(if now.image.ends_with(digest) { Ok(now) } else { Err(now.image) })
    })
}
