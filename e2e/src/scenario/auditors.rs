//! The two auditors: our own `paramant audit`, and Tessera's fsck package behind a small main.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};

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
    use base64::{Engine, engine::general_purpose::STANDARD};
    vkeys
        .iter()
        .find(|key| {
            let encoded = key.rsplit('+').next().unwrap_or_default();
            // A verifier key's last field may itself contain plus signs, so the third field is cut from the front.
            let encoded = key.splitn(3, '+').nth(2).unwrap_or(encoded);
            STANDARD.decode(encoded).is_ok_and(|bytes| bytes.first() == Some(&1))
        })
        .cloned()
        .context("the relay publishes no Ed25519 verifier key at /log/vkeys")
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
