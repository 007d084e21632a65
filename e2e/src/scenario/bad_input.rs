//! Wrong manifests are refused with advice; wrong references become conditions; nothing else is delayed.

use std::time::Duration;

use anyhow::{Result, bail};

use super::fixture::Fixture;
use crate::{bed::Bed, process::wait_for, steps::Seen, steps::seen};

/// The schema of affinity is the API server's own, so the typo passes ours and is refused only in the pod template.
const MISSPELT: &str = "  pod: { affinity: { podAntiAfinity: {} } }\n";

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "bad-input")?;
    let image = bed.image("paramant-relay")?.to_owned();

    let unknown = fixture.manifest("health", &image, "  drian: true\n");
    let refused = bed.kubectl_raw(&["apply", "--validate=strict", "-f", "-"], Some(&unknown))?;
    if refused.code == Some(0) || !refused.stderr.contains("drian") {
        bail!("an unknown field was not refused by name: {}", refused.stderr);
    }

    // Relays that cannot run, and one that can.
    let registry = image.split('/').next().unwrap_or_default().to_owned();
    let missing = format!("{registry}/paramant-relay@sha256:{}", "0".repeat(64));
    bed.apply(&fixture.manifest("one", &missing, ""))?;
    bed.apply(&fixture.manifest("two", &format!("{registry}/paramant-relay:no-such-tag"), ""))?;
    bed.apply(&fixture.manifest("three", bed.image("crash")?, ""))?;
    bed.apply(&fixture.manifest("four", &image, MISSPELT))?;
    bed.apply(&fixture.manifest("no-policy", &image, "  policyRef: { name: nowhere }\n"))?;
    bed.apply(&fixture.manifest("no-licence", &image, "  licenseRef: { name: nowhere }\n"))?;
    let no_secret = fixture.manifest("no-secret", &image, "").replace("name: relay-admin", "name: nowhere");
    bed.apply(&no_secret)?;
    fixture.apply("good", "")?;
    fixture.ready("good")?;
    fixture.connect("good")?.roundtrip(1000)?;

    stalls(&fixture, "one", "ImageNotFound", &missing)?;
    stalls(&fixture, "two", "ImageNotFound", "no-such-tag")?;
    stalls(&fixture, "three", "CrashLoopBackOff", "exit code")?;
    stalls(&fixture, "four", "ChildRefused", "podAntiAfinity")?;
    // A Service that somebody made for something else stays as it is.
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: five, namespace: NAMESPACE }\nspec: { selector: { app: other }, ports: [{ port: 5432 }] }\n";
    bed.apply(&service.replace("NAMESPACE", &fixture.namespace))?;
    let before = fixture.field("service/five", "/spec")?;
    bed.apply(&fixture.manifest("five", &image, ""))?;
    stalls(&fixture, "five", "ChildRefused", "is not ours")?;
    if fixture.field("service/five", "/spec")? != before {
        bail!("a Service of somebody else was changed");
    }
    // Mended, it starts by itself.
    fixture.apply("four", "")?;
    fixture.ready("four")?;
    // A missing licence is Community and a missing Secret is a set-up code: both run.
    fixture.ready("no-licence")?;
    fixture.ready("no-secret")?;
    bed.wait_condition(&fixture.namespace, "prelay/no-policy", "Ready", Duration::from_secs(120))?;
    fixture.connect("good")?.roundtrip(1000)?;

    // A namespace deleted whole goes, and does not come back.
    bed.delete_namespace(&fixture.namespace)?;
    seen(
        (),
        "unknown field refused by name; bad image, tag and policy are said in status; others ran on; namespace gone",
    )
}

/// Waits until a relay is Stalled for this reason, with this text in the sentence, and Ready=False.
fn stalls(fixture: &Fixture<'_>, relay: &str, reason: &str, text: &str) -> Result<()> {
    wait_for(&format!("{relay} to be Stalled for {reason}"), Duration::from_secs(180), || {
        let stalled = fixture.condition(relay, "Stalled")?;
        let ready = fixture.condition(relay, "Ready")?;
        if let Some((status, _, _)) = &ready
            && status == "True"
        {
            bail!("{relay} claims to be ready");
        }
        Ok(match stalled {
            Some((status, why, message)) if status == "True" && why == reason && message.contains(text) => {
                Ok(())
            }
            other => Err(format!("Stalled is {other:?}, Ready is {ready:?}")),
        })
    })
}
