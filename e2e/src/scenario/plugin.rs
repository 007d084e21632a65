//! `kubectl paramant` as a person runs it: found by kubectl on the PATH, against a real relay, with an admin's rights and with
//! a viewer's.

mod bundle;
pub(crate) mod person;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use self::person::Person;
use super::fixture::Fixture;
use crate::{bed::Bed, process::wait_for, relay::Relay, relay::random_blob, steps::Seen, steps::seen};

/// How long a change may take to reach the relay and its status.
const SOON: Duration = Duration::from_secs(60);

/// Settles soon, so that there is a last good image to speak of; other people's support keys stand in it.
const POLICY: &str = "{ updates: { settle: 5s }, verification: { allowUnsigned: true }, supportAccess: { approved: [sk-1, sk-2, sk-3], revoked: [sk-0] } }";

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "plugin")?;
    fixture.bed.apply(&format!(
        "apiVersion: paramant.app/v1alpha1\nkind: ParamantPolicy\nmetadata: {{ name: production, namespace: {} }}\nspec: {POLICY}\n",
        fixture.namespace
    ))?;
    fixture.apply("health", "  policyRef: { name: production }\n")?;
    fixture.ready("health")?;
    let relay = fixture.connect("health")?;
    let admin = Person::admin(bed, &fixture.namespace)?;
    let viewer = Person::viewer(bed, &fixture.namespace)?;

    let counters = status(&fixture, &admin, &viewer)?;
    drain(&fixture, &relay, &admin)?;
    pause(&fixture, &admin)?;
    at_rest(&fixture)?;
    explained(&fixture, &admin)?;
    at_rest(&fixture)?;
    updates(&admin)?;
    let checks = verify(&fixture, &admin)?;
    let files = bundle::run(&fixture, &admin, &viewer)?;
    completion(&fixture, &admin)?;
    refused(&fixture, &viewer)?;
    seen((), format!("{checks} checks of verify, {files} files in a bundle without a canary; {counters}"))
}

fn status(fixture: &Fixture<'_>, admin: &Person<'_>, viewer: &Person<'_>) -> Result<String> {
    for (line, wanted) in [
        ("status", "PHASE"),
        ("status -o wide", "DIGEST"),
        ("status -A", &fixture.namespace),
        ("status health", "Conditions"),
    ] {
        expect(&admin.paramant(line)?, wanted, line)?;
    }
    let stored = fixture.bed.get(&fixture.namespace, "prelay/health")?;
    let json: Value = serde_json::from_str(&admin.paramant("status health -o json")?)?;
    let yaml: Value = serde_saphyr::from_str(&admin.paramant("status health -o yaml")?)
        .map_err(|error| anyhow::anyhow!("status -o yaml is no YAML: {error}"))?;
    for (format, shown) in [("json", &json), ("yaml", &yaml)] {
        if shown["spec"] != stored["spec"] || shown["metadata"]["uid"] != stored["metadata"]["uid"] {
            bail!("status -o {format} is not what is stored:\n{shown}");
        }
    }
    let list: Value = serde_json::from_str(&admin.paramant("status -o json")?)?;
    if list["items"][0]["spec"] != stored["spec"] {
        bail!("status -o json of all does not list the relay");
    }
    let whole = admin.paramant("status health")?;
    let line = whole.lines().find(|line| line.starts_with("In flight")).context("no line of counters")?;
    if !line.contains("uploads") {
        bail!("an admin does not see the counters: {line}");
    }
    let without = viewer.paramant("status health")?;
    expect(&without, "you may not get pods/proxy", "a viewer's status")?;
    Ok(line.to_owned())
}

fn drain(fixture: &Fixture<'_>, relay: &Relay, admin: &Person<'_>) -> Result<()> {
    expect(&admin.paramant("drain health --dry-run=server")?, "nothing is kept", "a dry run")?;
    if !fixture.field("prelay/health", "/spec/drain")?.is_null() {
        bail!("a dry run was kept");
    }
    expect(&admin.paramant("drain health")?, "refuses new uploads", "drain")?;
    relay.wait_refusing(SOON)?;
    fixture.bed.wait_condition(&fixture.namespace, "prelay/health", "Drained", SOON)?;
    let managers = fixture.bed.kubectl(&[
        "-n",
        &fixture.namespace,
        "get",
        "prelay",
        "health",
        "--show-managed-fields",
        "-o",
        "jsonpath={.metadata.managedFields[*].manager}",
    ])?;
    expect(&managers, "paramant-admin", "the field manager of a drain")?;
    admin.paramant("undrain health")?;
    wait_taking(relay)
}

fn wait_taking(relay: &Relay) -> Result<()> {
    wait_for("uploads to be taken again", SOON, || {
        let (bytes, digest) = random_blob(64)?;
        let (status, body) = relay.upload(&bytes, &digest)?;
        Ok(if status == 200 { Ok(()) } else { Err(format!("{status}: {body}")) })
    })
}

fn pause(fixture: &Fixture<'_>, admin: &Person<'_>) -> Result<()> {
    admin.paramant("pause health")?;
    fixture.bed.wait_condition(&fixture.namespace, "prelay/health", "Paused", SOON)?;
    admin.paramant("resume health")?;
    fixture.ready("health")
}

/// What `--explain` prints does the same when a shell is told it.
fn explained(fixture: &Fixture<'_>, admin: &Person<'_>) -> Result<()> {
    let drain = || fixture.field("prelay/health", "/spec/drain");
    for (line, wanted) in [("drain health", Value::Bool(true)), ("undrain health", Value::Null)] {
        admin.shell(&admin.paramant(&format!("{line} --explain"))?)?;
        if drain()? != wanted {
            bail!("what `{line} --explain` prints leaves spec.drain at {}", drain()?);
        }
    }
    for line in
        ["pause health", "resume health", "status", "status health", "status health -o yaml", "verify health"]
    {
        admin.shell(&admin.paramant(&format!("{line} --explain"))?)?;
    }
    // A last good image there is; the shell pins it as the plugin would if another were running.
    admin.shell(&admin.paramant("rollback health --explain")?)?;
    let (pin, good) = (
        fixture.field("prelay/health", "/spec/update/pin")?,
        fixture.field("prelay/health", "/status/update/lastGood")?,
    );
    if pin != good || pin.is_null() {
        bail!("what `rollback --explain` prints pins {pin}, status.update.lastGood is {good}");
    }
    admin.paramant("rollback health --release")?;
    revoke_both_ways(fixture, admin)
}

/// By the plugin and by the shell, into a policy in which somebody else's entries stand.
fn revoke_both_ways(fixture: &Fixture<'_>, admin: &Person<'_>) -> Result<()> {
    admin.paramant("revoke-support-key health sk-1")?;
    admin.shell(&admin.paramant("revoke-support-key health sk-2 --explain")?)?;
    let access = fixture.field("ppol/production", "/spec/supportAccess")?;
    let sorted = |name: &str| {
        let mut ids: Vec<String> = serde_json::from_value(access[name].clone()).unwrap_or_default();
        ids.sort();
        ids.join(" ")
    };
    if sorted("approved") != "sk-3" || sorted("revoked") != "sk-0 sk-1 sk-2" {
        bail!("after revoking sk-1 and sk-2 the policy says {access}");
    }
    Ok(())
}

/// Waits until nothing rolls and status is about the newest spec.
fn at_rest(fixture: &Fixture<'_>) -> Result<()> {
    wait_for("the relay to be at rest", SOON, || {
        let relay = fixture.bed.get(&fixture.namespace, "prelay/health")?;
        let (update, looked) = (&relay["status"]["update"], &relay["status"]["observedGeneration"]);
        let rests = update["step"] == "Idle" && !update["lastGood"].is_null();
        Ok(if rests && *looked == relay["metadata"]["generation"] {
            Ok(())
        } else {
            Err(format!("generation {looked}, update {update}"))
        })
    })
}

/// Nothing waits here, and that is said.
fn updates(admin: &Person<'_>) -> Result<()> {
    for (line, wanted) in [
        ("approve health", "waits for approval"),
        ("rollback health", "name an earlier one with --to"),
        ("rollback health --release", "not held"),
        ("retry health", "nothing to retry"),
        ("drain nobody", "there is no relay nobody in namespace"),
    ] {
        expect(&admin.refused(line)?, wanted, line)?;
    }
    Ok(())
}

/// A relay that cannot run fails, and has no policy to revoke in; one that runs passes.
fn verify(fixture: &Fixture<'_>, admin: &Person<'_>) -> Result<usize> {
    let nowhere = format!("registry.invalid/relay@sha256:{}", "0".repeat(64));
    fixture.bed.apply(&fixture.manifest("broken", &nowhere, ""))?;
    expect(&admin.refused("verify broken")?, "FAILED", "verify of a relay that cannot run")?;
    let said = admin.refused("revoke-support-key broken sk-1")?;
    expect(&said, "kind: ParamantPolicy", "revoking without a policy")?;
    fixture.bed.kubectl(&["-n", &fixture.namespace, "delete", "prelay", "broken", "--wait=false"])?;

    let text = admin.paramant("verify health")?;
    for check in [
        "every key signed the checkpoint",
        "the log continues what status remembers",
        "the pod runs that image",
    ] {
        let line = text
            .lines()
            .find(|line| line.starts_with(check))
            .with_context(|| format!("no check {check}:\n{text}"))?;
        expect(line, " ok ", "verify")?;
    }
    Ok(text.lines().filter(|line| line.contains(" ok ")).count())
}

fn completion(fixture: &Fixture<'_>, admin: &Person<'_>) -> Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        expect(&admin.paramant(&format!("completion {shell}"))?, "revoke-support-key", shell)?;
    }
    admin.install_completion()?;
    expect(&admin.kubectl("__complete paramant undr")?, "undrain", "completion by kubectl")?;
    let line = format!("__complete paramant drain -n {} hea", fixture.namespace);
    expect(&admin.kubectl(&line)?, "health", "completion of a relay's name")
}

/// What a viewer may not, the plugin may not either, and names the role that could.
fn refused(fixture: &Fixture<'_>, viewer: &Person<'_>) -> Result<()> {
    let before = fixture.field("prelay/health", "/metadata/generation")?;
    for line in [
        "drain health",
        "pause health",
        "approve health --digest sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        expect(&viewer.refused(line)?, "paramant-editor", line)?;
    }
    if fixture.field("prelay/health", "/metadata/generation")? != before {
        bail!("a viewer changed a relay");
    }
    Ok(())
}

fn expect(text: &str, wanted: &str, what: &str) -> Result<()> {
    if text.contains(wanted) {
        return Ok(());
    }
    bail!("{what}: expected “{wanted}” in\n{text}")
}
