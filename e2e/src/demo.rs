//! The first thing a newcomer runs: one manifest becomes a verified transfer.
//!
//! Installs the chart, applies `config/samples`, sends real files with the published client and with our command line, receives
//! each once, toggles drain, verifies receipts and has the log audited by `paramant audit` and by a program this project did not
//! write. Leaves everything running and says what to try next.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    bed::Bed,
    process::{self, wait_for},
    relay::{Relay, random_blob},
    sdk::{Client, Person},
    steps::{Steps, seen},
};

/// Where the demo's relays live.
pub(crate) const NAMESPACE: &str = "transfers";
/// Where the operator lives.
pub(crate) const SYSTEM: &str = "paramant-system";
/// The relay of `config/samples/minimal.yaml`.
const RELAY: &str = "health";
/// The relay of `config/samples/large.yaml`, which takes blobs up to 16 MiB.
const LARGE: &str = "archive";

const READY: Duration = Duration::from_secs(180);

/// Runs the whole demo.
pub(crate) fn run(bed: &Bed) -> Result<()> {
    let mut steps = Steps::new();
    println!("Paramant demo: one manifest becomes a verified transfer on a real Kubernetes");
    steps.step("install the operator with helm", || {
        install(bed)?;
        let version: serde_json::Value = serde_json::from_str(&bed.kubectl(&["get", "--raw", "/version"])?)?;
        seen(
            (),
            format!("chart in {SYSTEM}, Kubernetes {}", version["gitVersion"].as_str().unwrap_or_default()),
        )
    })?;
    let token = steps.step("prepare a namespace and an admin token", || {
        bed.namespace(NAMESPACE)?;
        let token = admin_token(bed, NAMESPACE, "relay-admin")?;
        seen(token, format!("namespace {NAMESPACE} enforces restricted pod security"))
    })?;
    steps.step("apply config/samples", || {
        let applied = apply_samples(bed)?;
        seen((), applied)
    })?;
    for name in [RELAY, LARGE] {
        steps.step(&format!("wait for prelay/{name} to be ready"), || {
            bed.wait_condition(NAMESPACE, &format!("prelay/{name}"), "Ready", READY)?;
            let relay = bed.get(NAMESPACE, &format!("prelay/{name}"))?;
            seen((), relay["status"]["message"].as_str().unwrap_or_default())
        })?;
    }
    let directory = tempfile::tempdir()?;
    let relay = connect(bed, RELAY, &token)?;
    let large = connect(bed, LARGE, &token)?;
    let mut receipts = Vec::new();
    for (client, from) in [(Client::Sdk, "published client"), (Client::Cli, "paramant command")] {
        for length in [1024, 1024 * 1024, 5_236_477] {
            receipts.push(steps.step(&format!("send and receive {length} bytes with the {from}"), || {
                transfer(bed, &relay, directory.path(), (client, client), length, &[])
            })?);
        }
    }
    for (sender, receiver) in [(Client::Sdk, Client::Cli), (Client::Cli, Client::Sdk)] {
        receipts.push(steps.step(&format!("send with {sender:?}, receive with {receiver:?}"), || {
            transfer(bed, &relay, directory.path(), (sender, receiver), 70_000, &[])
        })?);
    }
    steps.step("send 5 MiB in an 8 MiB block through a relay with maxBlob 16Mi", || {
        transfer(bed, &large, directory.path(), (Client::Cli, Client::Cli), 5 * 1024 * 1024, &["--pad", "8m"])
    })?;
    steps.step("drain: refuse uploads, then lift it", || drain(bed, &relay))?;
    steps.step("verify every receipt offline", || {
        let identity = directory.path().join("identity.json");
        fs::write(&identity, relay.public("/v2/pubkey")?)?;
        for receipt in &receipts {
            let mut command = Command::new(bed.binary("paramant"));
            command.arg("verify").arg(receipt).arg("--identity").arg(&identity);
            process::run(&mut command, None, Duration::from_secs(30))?.success("paramant verify")?;
        }
        seen((), format!("{} receipts", receipts.len()))
    })?;
    steps.step("audit the log with paramant audit", || {
        let report = crate::scenario::auditors::paramant_audit(bed, &relay.url)?;
        seen((), report)
    })?;
    steps.step("audit the log with Tessera's fsck", || {
        let report = crate::scenario::auditors::fsck(bed, &relay.url)?;
        seen((), report)
    })?;
    println!("\n{}", bed.kubectl(&["-n", NAMESPACE, "get", "prelay", "-o", "wide"])?.trim_end());
    println!("\nverified: {} and everything is still running.\nTry next:", steps.summary());
    println!("  export KUBECONFIG=$(cargo xtask cluster kubeconfig)");
    println!("  kubectl -n {NAMESPACE} describe prelay {RELAY}");
    println!(
        "  kubectl -n {NAMESPACE} patch prelay {RELAY} --type merge --field-manager=paramant-admin -p '{{\"spec\":{{\"drain\":true}}}}'"
    );
    println!("  curl {}/log/checkpoint", relay.url);
    println!("  cargo xtask demo --down");
    Ok(())
}

/// The port of the node behind which a scenario lets an authority listen.
pub(crate) const LICENSE_PORT: u16 = 30_844;

/// The certificate of that authority and its key: kept beside the key that signs the images, for every install names it.
pub(crate) fn license_server(bed: &Bed) -> Result<(PathBuf, PathBuf)> {
    let folder = bed.release_key.parent().context("the release key lies nowhere")?;
    let (certificate, private) = (folder.join("license-server.pem"), folder.join("license-server.key"));
    if !(certificate.exists() && private.exists()) {
        let identity = rcgen::generate_simple_self_signed([bed.node_address()?])?;
        std::fs::write(&private, identity.signing_key.serialize_pem())?;
        std::fs::write(&certificate, identity.cert.pem())?;
    }
    Ok((certificate, private))
}

/// Installs or upgrades the chart with the images just built.
pub(crate) fn install(bed: &Bed) -> Result<()> {
    install_with(bed, &[])
}

/// The same with more values; what an earlier call set is not kept.
pub(crate) fn install_with(bed: &Bed, values: &[&str]) -> Result<()> {
    release(bed, "paramant-operator", values)
}

/// Installs the chart, or upgrades it, with one of the images of the operator.
pub(crate) fn release(bed: &Bed, image: &str, values: &[&str]) -> Result<()> {
    let image = bed.image(image)?;
    let (repository, digest) = image.split_once('@').context("the operator image is not pinned by digest")?;
    let (registry, name) = repository.split_once('/').context("the operator image names no registry")?;
    let chart = bed.checkout.join("charts/paramant-operator");
    bed.namespace(SYSTEM)?;
    let chart = chart.display().to_string();
    let mut arguments = vec!["upgrade", "--install", "paramant", &chart, "--namespace", SYSTEM];
    let image = format!("image.registry={registry},image.repository={name},image.digest={digest}");
    let plain = format!("registry.plainHttp[0]={registry}");
    let mut ours = vec![image.as_str(), plain.as_str(), "verification.keys[0].name=test-bed"];
    let authority = if bed.is_here() { Some((bed.node_address()?, license_server(bed)?.0)) } else { None };
    let endpoint = authority
        .as_ref()
        .map(|(node, _)| format!("license.endpoints[0]=https://{node}:{LICENSE_PORT}/v1/license/check"));
    let bundle =
        authority.as_ref().map(|(_, certificate)| format!("license.caBundle={}", certificate.display()));
    ours.extend(endpoint.as_deref());
    for value in ours.into_iter().chain(values.iter().copied()) {
        arguments.extend(["--set", value]);
    }
    let key = format!("verification.keys[0].pem={}", bed.release_key.display());
    arguments.extend(["--set-file", &key, "--wait", "--timeout", "180s"]);
    if let Some(bundle) = &bundle {
        arguments.extend(["--set-file", bundle]);
    }
    bed.helm(&arguments)?;
    Ok(())
}

/// Makes (or reads back) the Secret with an admin token, as a platform team would.
pub(crate) fn admin_token(bed: &Bed, namespace: &str, secret: &str) -> Result<String> {
    let present =
        bed.kubectl_raw(&["-n", namespace, "get", "secret", secret, "-o", "jsonpath={.data.token}"], None)?;
    if present.code == Some(0) && !present.stdout.is_empty() {
        return Ok(String::from_utf8(STANDARD.decode(present.stdout.trim())?)?);
    }
    let (bytes, _) = random_blob(24)?;
    let token = format!("adm_{}", hex::encode(bytes));
    bed.kubectl(&[
        "-n",
        namespace,
        "create",
        "secret",
        "generic",
        secret,
        &format!("--from-literal=token={token}"),
    ])?;
    Ok(token)
}

/// Every sample, with the image that was just built.
fn apply_samples(bed: &Bed) -> Result<String> {
    let image = bed.image("paramant-relay")?;
    let mut names = Vec::new();
    let mut files: Vec<_> =
        fs::read_dir(bed.checkout.join("config/samples"))?.filter_map(Result::ok).collect();
    files.sort_by_key(fs::DirEntry::file_name);
    for file in files {
        let name = file.file_name().to_string_lossy().into_owned();
        if name == "kustomization.yaml" || !name.ends_with(".yaml") {
            continue;
        }
        let text = with_image(&fs::read_to_string(file.path())?, image);
        bed.kubectl_raw(&["-n", NAMESPACE, "apply", "-f", "-"], Some(&text))?
            .success(&format!("apply {name}"))?;
        names.push(name);
    }
    Ok(names.join(", "))
}

/// A sample with its image line replaced.
pub(crate) fn with_image(manifest: &str, image: &str) -> String {
    let replaced = manifest.lines().map(|line| match line.trim_start().strip_prefix("image: ") {
        Some(_) => format!("{}image: {image}", &line[..line.len() - line.trim_start().len()]),
        None => line.to_owned(),
    });
    replaced.collect::<Vec<_>>().join("\n") + "\n"
}

fn connect(bed: &Bed, name: &str, token: &str) -> Result<Relay> {
    let url = bed.service_url(NAMESPACE, name)?;
    wait_for("the relay's Service", Duration::from_secs(30), || {
        Ok(Ok(crate::relay::client()?.get(format!("{url}/health")).send()?.error_for_status()?))
    })?;
    // Community Edition holds five accounts; a demo that is run again revokes its own earlier key first.
    crate::relay::revoke_labelled(&url, token, "demo")?;
    Relay::with_new_key(&url, token, "demo")
}

pub(crate) fn transfer(
    bed: &Bed,
    relay: &Relay,
    directory: &Path,
    (sender, receiver): (Client, Client),
    length: usize,
    extra: &[&str],
) -> Result<crate::steps::Seen<std::path::PathBuf>> {
    let home = tempfile::tempdir_in(directory)?.keep();
    let (bytes, _) = random_blob(length)?;
    let file = home.join("file");
    fs::write(&file, &bytes)?;
    // A blob is addressed to the receiver's device; both devices belong to one account.
    let to = Person::new(bed, relay, &home, fresh(receiver)?)?;
    to.register(receiver)?;
    let from = Person::new(bed, relay, &home, fresh(sender)?)?;
    let hash = from.send(sender, &file, to.device(), extra)?;
    let got = to.receive(receiver, &hash)?.context("the file was already gone at the first download")?;
    if got.bytes != bytes {
        bail!("received {} bytes that differ from the {length} sent", got.bytes.len());
    }
    if to.receive(receiver, &hash)?.is_some() {
        bail!("a second download still found the file");
    }
    seen(got.receipt, format!("bytes equal, second try gone, blob {}…", &hash[..12]))
}

/// A device name nobody used before: keys registered under a name cannot be replaced while they live.
fn fresh(client: Client) -> Result<String> {
    let (bytes, _) = random_blob(8)?;
    Ok(format!("{}-{}", if client == Client::Sdk { "sdk" } else { "cli" }, hex::encode(bytes)))
}

fn drain(bed: &Bed, relay: &Relay) -> Result<crate::steps::Seen<()>> {
    let (bytes, digest) = random_blob(4096)?;
    if relay.upload(&bytes, &digest)?.0 != 200 {
        bail!("an upload before the drain was refused");
    }
    patch_drain(bed, NAMESPACE, RELAY, "true")?;
    relay.wait_refusing(Duration::from_secs(20))?;
    let (status, got) = relay.download(&digest)?;
    if status != 200 || got != bytes {
        bail!("a download during the drain answered {status}");
    }
    bed.wait_condition(NAMESPACE, &format!("prelay/{RELAY}"), "Drained", Duration::from_secs(60))?;
    patch_drain(bed, NAMESPACE, RELAY, "null")?;
    wait_for("uploads to be taken again", Duration::from_secs(20), || {
        Ok(relay.roundtrip(2048).map_err(|error| format!("{error:#}")))
    })?;
    seen((), "upload 503, download 200, Drained=True, then serving again")
}

/// Toggles `spec.drain` as an admin would.
pub(crate) fn patch_drain(bed: &Bed, namespace: &str, relay: &str, value: &str) -> Result<()> {
    let patch = format!("{{\"spec\":{{\"drain\":{value}}}}}");
    bed.kubectl(&[
        "-n",
        namespace,
        "patch",
        "prelay",
        relay,
        "--type",
        "merge",
        "--field-manager=paramant-admin",
        "-p",
        &patch,
    ])?;
    Ok(())
}
