//! The chart removed before its relays: they serve on, a deletion needs nobody, and a chart that returns takes the rest up again.

use std::time::Duration;

use anyhow::{Result, bail};

use super::fixture::Fixture;
use crate::{
    bed::Bed,
    demo::{self, SYSTEM, patch_drain},
    process::wait_for,
    steps::Seen,
    steps::seen,
};

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "chart-removed")?;
    let kept = fixture.relay("kept")?;
    let goes = fixture.relay("goes")?;
    goes.roundtrip(1000)?;
    let pod = |fixture: &Fixture<'_>| fixture.field("pod/kept-0", "/metadata/uid");
    let before = pod(&fixture)?;
    let fingerprint = fixture.field("prelay/kept", "/status/identity/fingerprint")?;

    bed.helm(&["uninstall", "paramant", "--namespace", SYSTEM, "--wait", "--timeout", "120s"])?;
    wait_for("the operator's pods to be gone", Duration::from_secs(60), || {
        let pods = bed.kubectl(&["-n", SYSTEM, "get", "pods", "-o", "name"])?;
        Ok(if pods.trim().is_empty() { Ok(()) } else { Err(pods) })
    })?;
    kept.roundtrip(1000)?;
    // No finalizer: the relay and everything it owns goes without an operator. Its data stays.
    bed.kubectl(&["-n", &fixture.namespace, "delete", "prelay", "goes", "--timeout=30s"])?;
    wait_for("the children to be collected", Duration::from_secs(120), || {
        let kinds = "statefulsets,pods,services,networkpolicies,serviceaccounts";
        let selector = "paramant.app/relay=goes";
        let left = bed.kubectl(&["-n", &fixture.namespace, "get", kinds, "-l", selector, "-o", "name"])?;
        Ok(if left.trim().is_empty() { Ok(()) } else { Err(left) })
    })?;
    bed.get(&fixture.namespace, "pvc/data-goes-0")?;
    kept.roundtrip(1000)?;

    demo::install(bed)?;
    patch_drain(bed, &fixture.namespace, "kept", "true")?;
    kept.wait_refusing(Duration::from_secs(90))?;
    patch_drain(bed, &fixture.namespace, "kept", "null")?;
    fixture.ready("kept")?;
    if pod(&fixture)? != before {
        bail!("removing and installing the chart replaced the relay's pod");
    }
    // The same volume under the same name: the relay is the one it was.
    fixture.relay("goes")?.roundtrip(1000)?;
    if fixture.field("prelay/kept", "/status/identity/fingerprint")? != fingerprint {
        bail!("the relay has another identity");
    }
    seen(
        (),
        "without the chart one relay served and another was deleted, its volume kept; a new chart took both up",
    )
}
