//! `watch.namespaces`: a Role in each namespace and no cluster-wide right. A namespace whose rights go is named and left alone;
//! the others go on as if nothing were.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{fixture::Fixture, operator, rights::OPERATOR};
use crate::{audit_log, bed::Bed, demo, demo::patch_drain, process::wait_for, steps::Seen, steps::seen};

const BINDING: &str = "rolebinding/paramant-operator-relays";

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let (one, two) = (Fixture::new(bed, "ns-one")?, Fixture::new(bed, "ns-two")?);
    let outside = Fixture::new(bed, "ns-outside")?;
    for fixture in [&one, &two] {
        fixture.apply("health", "")?;
    }
    for fixture in [&one, &two] {
        fixture.ready("health")?;
    }
    let pods = [super::template::pod(&one)?.uid, super::template::pod(&two)?.uid];
    let listed = format!("watch.namespaces={{{},{}}}", one.namespace, two.namespace);
    demo::install_with(bed, &[&listed])?;
    let outcome = degrade(bed, &one, &two, &outside);
    demo::install(bed)?;
    outcome?;
    // Back to the whole cluster: the one that nobody watched is made now.
    outside.ready("late")?;
    ensure!(
        [super::template::pod(&one)?.uid, super::template::pod(&two)?.uid] == pods,
        "changing between the modes replaced a pod"
    );
    seen(
        (),
        "two namespaces by Roles alone, a third left alone; without its binding one is named in /readyz while the other's drains arrive; healed by the chart; no 403 elsewhere",
    )
}

fn degrade(bed: &Bed, one: &Fixture<'_>, two: &Fixture<'_>, outside: &Fixture<'_>) -> Result<()> {
    let log = bed.audit_log.clone().context("this scenario reads the test bed's audit log")?;
    let can = ["auth", "can-i", "list", "pods", "--as", OPERATOR, "-n"];
    let can = |namespace: &str| bed.kubectl_raw(&[&can[..], &[namespace]].concat(), None);
    ensure!(can(&one.namespace)?.stdout.trim() == "yes", "no right where one is listed");
    ensure!(can(&outside.namespace)?.stdout.trim() == "no", "a right outside the listed namespaces");
    let mark = audit_log::mark(&log)?;
    outside.apply("late", "")?;
    for fixture in [one, two] {
        toggles(fixture)?;
    }

    // The rights of one go while it is watched.
    bed.kubectl(&["-n", &two.namespace, "delete", BINDING])?;
    patch_drain(bed, &two.namespace, "health", "true")?;
    named(bed, &two.namespace)?;
    toggles(one)?;
    // And an operator that starts without them.
    operator::restart(bed)?;
    named(bed, &two.namespace)?;
    toggles(one)?;
    let phase = outside.field("prelay/late", "/status/phase")?;
    ensure!(phase.is_null(), "a relay outside the listed namespaces is {phase}");

    let listed = format!("watch.namespaces={{{},{}}}", one.namespace, two.namespace);
    demo::install_with(bed, &[&listed])?;
    bed.wait_condition(&two.namespace, "prelay/health", "Drained", Duration::from_secs(90))?;
    toggles(two)?;
    let (status, text) = operator::leaders_page(bed, "/readyz")?;
    ensure!(status == 200 && text.trim() == "ok", "/readyz says {status}: {text}");

    let refused: Vec<_> = audit_log::since(&log, mark)?
        .into_iter()
        .filter(|one| one.user == OPERATOR && one.code == 403)
        .collect();
    ensure!(
        !refused.is_empty(),
        "no refusal where the binding was taken away: looking for others proves nothing"
    );
    let elsewhere: Vec<_> = refused.iter().filter(|request| request.namespace != two.namespace).collect();
    ensure!(elsewhere.is_empty(), "refused outside {}: {elsewhere:?}", two.namespace);
    Ok(())
}

/// `/readyz` stays 200 and names the namespace.
fn named(bed: &Bed, namespace: &str) -> Result<()> {
    wait_for("/readyz to name the namespace without rights", Duration::from_secs(60), || {
        let (status, text) = operator::leaders_page(bed, "/readyz")?;
        let names = status == 200 && text.contains("lacks rights") && text.contains(namespace);
        Ok(if names { Ok(()) } else { Err(format!("{status}: {text}")) })
    })
}

/// A drain arrives and goes, by the relay's own words.
fn toggles(fixture: &Fixture<'_>) -> Result<()> {
    for (value, state) in [("true", "Drained"), ("null", "Serving")] {
        patch_drain(fixture.bed, &fixture.namespace, "health", value)?;
        wait_for(
            &format!("the relay in {} to be {state}", fixture.namespace),
            Duration::from_secs(40),
            || {
                let now = fixture.field("prelay/health", "/status/drain/state")?;
                Ok(if now == state { Ok(()) } else { Err(now.to_string()) })
            },
        )?;
    }
    Ok(())
}
