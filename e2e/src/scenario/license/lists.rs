//! The four lists of what left: what the admin is shown (outbox), what the authority recorded, what the log commits to, and the
//! previews that were shown before.

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{MIRRORED, admin, admin_bytes, vendor::Vendor};
use crate::{process::wait_for, relay::Relay, scenario::fixture::Fixture};

/// Sees the lists agree; `previews` are the digests of previews that somebody consented to. Answers how many check-ins there are.
pub(super) fn agree(
    fixture: &Fixture<'_>,
    relay: &Relay,
    vendor: &Vendor<'_>,
    previews: &[String],
) -> Result<usize> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // A check-in that is just under way is in the one list before it is in the other.
    let (history, record) = wait_for("the relay to show what the authority recorded", MIRRORED, || {
        let history = admin(fixture, relay, "/v2/admin/license/history?limit=100")?;
        let history = history["check_ins"].as_array().cloned().unwrap_or_default();
        let record = vendor.record()?;
        let digests = |it: &Value| (text(&it["request_sha256"]), text(&it["reply_sha256"]));
        // One that was given up, as for a switch of telemetry, has no reply to compare.
        let answered_here = history.iter().filter(|it| it["reply"].is_string());
        let mut shown: Vec<_> = answered_here.map(digests).collect();
        let answered = record.iter().filter(|it| !it.fault);
        let mut answered: Vec<_> = answered.map(|it| (it.request.clone(), it.reply.clone())).collect();
        shown.sort();
        answered.sort();
        let fits = record.iter().all(|it| it.fault || ["200", "402"].contains(&it.status.as_str()));
        Ok(if !shown.is_empty() && shown == answered && fits {
            Ok((history, record))
        } else {
            Err(format!("the relay shows check-ins {shown:?}, the authority recorded {answered:?}"))
        })
    })?;
    let shown: Vec<String> = history.iter().map(|it| text(&it["request_sha256"])).collect();
    for it in history.iter().filter(|it| it["reply"].is_string()) {
        for (index, purpose, salt, bytes) in [
            ("request_index", "license-request", "request_salt", "request"),
            ("reply_index", "license-reply", "reply_salt", "reply"),
        ] {
            let entry = entry(relay, it[index].as_u64().context("a check-in without its place in the log")?)?;
            let commitment = commitment(purpose, &text(&it[salt]), text(&it[bytes]).as_bytes())?;
            if !entry.contains(&commitment) || !entry.contains("\"k\":\"license_checkin\"") {
                bail!("the log's entry does not commit to the {purpose}: {entry}");
            }
        }
    }
    for preview in previews {
        let sent = shown.contains(preview);
        ensure!(sent, "the preview {preview} was agreed to, and no check-in sent it: {shown:?}");
        let with: Vec<&str> = record
            .iter()
            .filter(|line| line.request == *preview)
            .map(|line| line.telemetry.as_str())
            .collect();
        ensure!(
            !with.is_empty() && with.iter().all(|it| it.contains("\"opted_in\":true")),
            "the preview {preview} carried no telemetry: {with:?}"
        );
    }
    let next = wait_for("status to name the next request", MIRRORED, || {
        let status = fixture.field("plic/acme", "/status/relays/0/nextRequestSha256")?;
        let frozen = admin_bytes(fixture, relay, "/v2/admin/license/request")?;
        let digest = sha256(&frozen);
        Ok(if status == digest.as_str() { Ok(digest) } else { Err(format!("{status}, not {digest}")) })
    })?;
    if shown.contains(&next) {
        bail!("the next request is one that was sent already");
    }
    Ok(shown.len())
}

/// The entry of an index, as its proof holds it.
pub(crate) fn entry(relay: &Relay, index: u64) -> Result<String> {
    let proof = relay.public(&format!("/log/proof/{index}"))?;
    let extra =
        proof.lines().find_map(|line| line.strip_prefix("extra ")).context("a proof without its entry")?;
    Ok(String::from_utf8(BASE64_STANDARD.decode(extra)?)?)
}

/// SHA-256(label ‖ salt ‖ value) as docs/spec/log.md has it.
fn commitment(purpose: &str, salt: &str, value: &[u8]) -> Result<String> {
    let label = format!("paramant/{purpose}/v1\0");
    Ok(sha256(&[label.as_bytes(), &hex::decode(salt)?, value].concat()))
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}
