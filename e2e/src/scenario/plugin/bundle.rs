//! `report` on a cluster: canaries planted where people and programs leave secrets, seen there first, and then in no file of a
//! bundle.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{expect, person::Person};
use crate::scenario::fixture::Fixture;

/// What is planted: a key, a password, a mail address, an address.
const CANARIES: [&str; 4] = [
    "pgp_c0ffee00c0ffee00c0ffee00c0ffee00",
    "canary-of-a-password",
    "canary.bird@example.org",
    "198.51.100.77",
];

pub(super) fn run(fixture: &Fixture<'_>, admin: &Person<'_>, viewer: &Person<'_>) -> Result<usize> {
    plant(fixture)?;
    let folder = admin.home().join("bundle");
    let said = admin.paramant(&format!("report health --output {}", folder.display()))?;
    expect(&said, "Look at it before you send it", "report")?;
    let files = all_files(&folder)?;
    let manifest = file(&files, "MANIFEST")?;
    for wanted in [
        "paramantrelays.json",
        "events.json",
        "children/pods.json",
        "children/configmaps.json",
        "metrics/health-0.txt",
    ] {
        expect(&manifest, wanted, "the MANIFEST")?;
        file(&files, wanted)?;
    }
    for (name, kept) in [
        ("paramantrelays.json", "\"health\""),
        ("events.json", "canary-event"),
        ("metrics/health-0.txt", "paramant_log_entries"),
    ] {
        expect(&file(&files, name)?, kept, name)?;
    }
    if !files.iter().any(|(name, text)| name.starts_with("logs/") && !text.is_empty()) {
        bail!("no log is in the bundle; MANIFEST:\n{manifest}");
    }
    let token = &fixture.token;
    for secret in CANARIES.into_iter().chain([token.as_str()]) {
        if let Some((name, _)) = files.iter().find(|(_, text)| holds(text, secret)) {
            bail!("{name} of the bundle holds a secret that was planted");
        }
    }

    // Who may see less gets less, and is told what is missing.
    let folder = viewer.home().join("bundle");
    viewer.paramant(&format!("report health --output {}", folder.display()))?;
    let manifest = file(&all_files(&folder)?, "MANIFEST")?;
    expect(&manifest, "you may not get pods/proxy", "a viewer's MANIFEST")?;
    expect(
        &manifest,
        "you may not list deployments (apps) in namespace paramant-system",
        "a viewer's MANIFEST",
    )?;

    let archive = admin.home().join("bundle.tar.gz");
    admin.paramant(&format!("report -o {}", archive.display()))?;
    admin.shell(&format!("tar -tzf {} | grep -q /MANIFEST", archive.display()))?;
    Ok(files.len())
}

/// Into an annotation and an Event; then sees each of them there, and the admin token in its Secret.
fn plant(fixture: &Fixture<'_>) -> Result<()> {
    let [key, password, mail, address] = CANARIES;
    let namespace = &fixture.namespace;
    let text = format!("{key} password={password} {mail} {address}");
    fixture.bed.kubectl(&[
        "-n",
        namespace,
        "annotate",
        "prelay",
        "health",
        &format!("acme.example/note={text}"),
    ])?;
    fixture.bed.apply(&format!(
        "apiVersion: v1\nkind: Event\nmetadata: {{ name: canary-event, namespace: {namespace} }}\n\
         involvedObject: {{ apiVersion: paramant.app/v1alpha1, kind: ParamantRelay, name: health, namespace: {namespace} }}\n\
         reason: Canary\nmessage: \"{text}\"\ntype: Normal\n"
    ))?;
    for what in ["prelay/health", "event/canary-event"] {
        let stored = fixture.bed.get(namespace, what)?.to_string();
        if let Some(lost) = CANARIES.iter().find(|canary| !holds(&stored, canary)) {
            bail!("the search does not find {lost} in {what}, where it was planted");
        }
    }
    let secret = fixture.bed.get(namespace, "secret/relay-admin")?.to_string();
    if !holds(&secret, &fixture.token) {
        bail!("the search does not find the admin token in its Secret");
    }
    Ok(())
}

/// As it is, or in base64.
fn holds(text: &str, secret: &str) -> bool {
    text.contains(secret) || text.contains(STANDARD.encode(secret).trim_end_matches('='))
}

fn all_files(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("no bundle at {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder)?.display().to_string();
                files.push((name, String::from_utf8_lossy(&fs::read(&path)?).into_owned()));
            }
        }
    }
    Ok(files)
}

fn file(files: &[(String, String)], name: &str) -> Result<String> {
    let found = files.iter().find(|(path, _)| path == name);
    found.map(|(_, text)| text.clone()).with_context(|| format!("the bundle has no {name}"))
}
