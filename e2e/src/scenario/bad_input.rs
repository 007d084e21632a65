//! Wrong manifests are refused with advice; wrong references become conditions; nothing else is delayed.

use std::time::Duration;

use anyhow::{Result, bail};

use super::fixture::Fixture;
use crate::{bed::Bed, process::wait_for, steps::Seen, steps::seen};

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "bad-input")?;
    let image = bed.image("paramant-relay")?.to_owned();

    let unknown = fixture.manifest("health", &image, "  drian: true\n");
    let refused = bed.kubectl_raw(&["apply", "--validate=strict", "-f", "-"], Some(&unknown))?;
    if refused.code == Some(0) || !refused.stderr.contains("drian") {
        bail!("an unknown field was not refused by name: {}", refused.stderr);
    }

    // Four relays that cannot run, and one that can.
    let registry = image.split('/').next().unwrap_or_default().to_owned();
    let missing = format!("{registry}/paramant-relay@sha256:{}", "0".repeat(64));
    bed.apply(&fixture.manifest("no-image", &missing, ""))?;
    bed.apply(&fixture.manifest("no-tag", &format!("{registry}/paramant-relay:no-such-tag"), ""))?;
    bed.apply(&fixture.manifest("crashes", bed.image("crash")?, ""))?;
    bed.apply(&fixture.manifest("no-policy", &image, "  policyRef: { name: nowhere }\n"))?;
    bed.apply(&fixture.manifest("no-licence", &image, "  licenseRef: { name: nowhere }\n"))?;
    let no_secret = fixture.manifest("no-secret", &image, "").replace("name: relay-admin", "name: nowhere");
    bed.apply(&no_secret)?;
    fixture.apply("good", "")?;
    fixture.ready("good")?;
    fixture.connect("good")?.roundtrip(1000)?;

    says(&fixture, "no-image", &["no-image-0", "image"])?;
    says(&fixture, "no-tag", &["no-such-tag"])?;
    says(&fixture, "crashes", &["crash", "restart", "exit"])?;
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

/// Waits until the status message or a condition of a relay that is not ready contains one of these words.
fn says(fixture: &Fixture<'_>, relay: &str, words: &[&str]) -> Result<()> {
    wait_for(&format!("{relay} to say what is wrong"), Duration::from_secs(120), || {
        let status = fixture.field(&format!("prelay/{relay}"), "/status")?;
        let ready = status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Ready" && c["status"] == "True");
        if ready {
            bail!("{relay} claims to be ready");
        }
        let message = status["message"].as_str().unwrap_or_default().to_lowercase();
        Ok(if words.iter().any(|word| message.contains(&word.to_lowercase())) {
            Ok(())
        } else {
            Err(message)
        })
    })
}
