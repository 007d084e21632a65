//! The auditors: our own `paramant audit`, Tessera's fsck package behind a small main, and the outside judges of single
//! documents (a checkpoint's two lines that others know, a proof).

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{bed::Bed, process, process::Output};

const LIMIT: Duration = Duration::from_secs(120);

/// Runs `paramant audit` and keeps its verdict, whatever it is.
pub(crate) fn paramant_audit_raw(bed: &Bed, url: &str, vkeys: &[String]) -> Result<Output> {
    let mut command = Command::new(bed.binary("paramant"));
    command.args(["audit", url]);
    for key in vkeys {
        command.args(["--vkey", key]);
    }
    process::run(&mut command, None, LIMIT)
}

/// Runs Tessera's fsck and keeps its verdict, whatever it is.
pub(crate) fn fsck_raw(bed: &Bed, url: &str, vkey: &str) -> Result<Output> {
    let mut command = Command::new(bed.programs.join("judge-fsck"));
    command.args(["-vkey", vkey, "-log", &format!("{url}/log/")]);
    process::run(&mut command, None, LIMIT)
}

/// The keys a relay publishes, one per line.
pub(crate) fn vkeys(url: &str) -> Result<Vec<String>> {
    let text = crate::relay::client()?.get(format!("{url}/log/vkeys")).send()?.error_for_status()?.text()?;
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}

/// The Ed25519 key among them: the one outside tools know.
pub(crate) fn ed25519(vkeys: &[String]) -> Result<String> {
    of_algorithm(vkeys, 0x01).context("the relay publishes no Ed25519 verifier key at /log/vkeys")
}

/// The first key whose algorithm byte (C2SP signed-note) is this.
fn of_algorithm(vkeys: &[String], algorithm: u8) -> Option<String> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    vkeys
        .iter()
        .find(|key| {
            // The third field is Base64 and may itself contain plus signs.
            let encoded = key.splitn(3, '+').nth(2).unwrap_or_default();
            STANDARD.decode(encoded).is_ok_and(|bytes| bytes.first() == Some(&algorithm))
        })
        .cloned()
}

/// Every judge must accept the log, and those of single documents must refuse each with one character changed.
pub(crate) fn every_judge(bed: &Bed, url: &str) -> Result<()> {
    paramant_audit(bed, url)?;
    fsck(bed, url)?;
    let vkeys = vkeys(url)?;
    let ml_dsa_44 = of_algorithm(&vkeys, 0x06).context("no ML-DSA-44 key at /log/vkeys")?;
    let ed25519 = ed25519(&vkeys)?;
    let get = |path: &str| -> Result<String> {
        Ok(crate::relay::client()?.get(format!("{url}{path}")).send()?.error_for_status()?.text()?)
    };
    let checkpoint = get("/log/checkpoint")?;
    for (judge, vkey, document) in [
        ("judge-note", &ed25519, &checkpoint),
        ("judge-mldsa", &ml_dsa_44, &checkpoint),
        ("judge-proof", &ed25519, &get("/log/proof/1")?),
    ] {
        let ask = |document: &str| {
            let mut command = Command::new(bed.programs.join(judge));
            command.args(["-vkey", vkey, "-"]);
            process::run(&mut command, Some(document), LIMIT)
        };
        ask(document)?.success(judge)?;
        let output = ask(&with_another_root(document)?)?;
        ensure!(output.code == Some(1), "{judge} accepts a changed root: {output:?}");
    }
    Ok(())
}

/// The same note or proof with one bit changed in the root that it signs.
fn with_another_root(document: &str) -> Result<String> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let lines: Vec<&str> = document.lines().collect();
    let size = lines.iter().rposition(|line| line.is_empty()).context("no signatures")?;
    let root = lines.get(size.wrapping_sub(1)).context("no root")?;
    let mut bytes = STANDARD.decode(root).context("the line above the signatures is no root")?;
    if let Some(first) = bytes.first_mut() {
        *first ^= 1;
    }
    Ok(document.replace(*root, &STANDARD.encode(bytes)))
}

/// `paramant audit` must be content; answers its last line.
pub(crate) fn paramant_audit(bed: &Bed, url: &str) -> Result<String> {
    let text = paramant_audit_raw(bed, url, &[])?.success("paramant audit")?;
    Ok(text.trim().lines().last().unwrap_or_default().to_owned())
}

/// Tessera's fsck must be content; answers its last line.
pub(crate) fn fsck(bed: &Bed, url: &str) -> Result<String> {
    let text = fsck_raw(bed, url, &ed25519(&vkeys(url)?)?)?.success("fsck")?;
    Ok(text.trim().lines().last().unwrap_or_default().to_owned())
}
