//! `paramant license`: what a licence says, what a relay makes of it, and the exact bytes that leave for it.
//!
//! `inspect` and `verify` need no relay and no network. The others speak to a relay as its admin.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use paramant_client::Relay;
use paramant_licensing::offline::{PUBLISHED_KEY, Terms};
use paramant_licensing::online::keys::{LicensingKey, LicensingKeys};
use paramant_licensing::online::reply::accept;
use paramant_licensing::online::request;
use paramant_licensing::{AcceptedKeys, OfflineError, OfflineLicense, OnlineKey};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{connect, place, secret_file};
use crate::arguments::{Administrator, License, LicenseFile, LicenseReply};
use crate::exit::Usage;
use crate::output::Output;

pub(super) async fn run(command: License, output: &Output) -> Result<()> {
    match command {
        License::Inspect(file) => inspect(&file, output),
        License::Verify(file) => verify(&file, output),
        License::VerifyReply(reply) => verify_reply(&reply, output),
        License::Status(admin) => {
            let (relay, token) = administrator(&admin)?;
            let answer = relay.admin(&token, "/v2/admin/license", None).await?;
            status(&serde_json::from_slice(&answer.bytes)?, output)
        }
        License::Request { admin, out } => {
            let (relay, token) = administrator(&admin)?;
            let answer = relay.admin(&token, "/v2/admin/license/request", None).await?;
            write(&out, &answer.bytes, output)
        }
        License::CheckIn(admin) => {
            let (relay, token) = administrator(&admin)?;
            relay.admin(&token, "/v2/admin/license/check-in", Some(Vec::new())).await?;
            Ok(output.result(
                &json!({ "ok": true }),
                "the relay asks now; 'paramant license status' shows what came of it",
            )?)
        }
        License::History(admin) => {
            let (relay, token) = administrator(&admin)?;
            let answer = relay.admin(&token, "/v2/admin/license/history?limit=400", None).await?;
            history(&serde_json::from_slice(&answer.bytes)?, output)
        }
        License::Preview { admin, out } => {
            let (relay, token) = administrator(&admin)?;
            let answer = relay.admin(&token, "/v2/admin/telemetry/preview", None).await?;
            output.notice(format_args!(
                "these are the exact bytes that the next check-in would send with telemetry on; to agree: schema {}, preview {}",
                answer.schema.as_deref().unwrap_or("unknown"),
                request::digest(&answer.bytes)
            ));
            match out {
                Some(out) => write(&out, &answer.bytes, output),
                None => Ok(output.plain(&answer.bytes)?),
            }
        }
        License::ResetClock(admin) => {
            let (relay, token) = administrator(&admin)?;
            let answer = relay.admin(&token, "/v2/admin/license/reset-clock", Some(Vec::new())).await?;
            let answer: Value = serde_json::from_slice(&answer.bytes)?;
            let floor = answer["floor"].as_str().unwrap_or_default();
            Ok(output
                .result(&answer, &format!("the licence clock's floor is {floor} now, and the log says so"))?)
        }
    }
}

fn administrator(admin: &Administrator) -> Result<(Relay, Zeroizing<String>)> {
    let token = match &admin.token_file {
        Some(file) => secret_file(file)?,
        None => Zeroizing::new(std::env::var("PARAMANT_ADMIN_TOKEN").map_err(|_| {
            Usage("the admin token is needed: put it into a file and name it with --token-file, or set PARAMANT_ADMIN_TOKEN".into())
        })?),
    };
    let relay = connect(&admin.relay.relay, &admin.relay.connection, None)?;
    Ok((relay, Zeroizing::new(token.trim().to_owned())))
}

/// What a licence says, whoever signed it; whether that counts says `verify`.
fn inspect(file: &LicenseFile, output: &Output) -> Result<()> {
    let text = secret_file(&file.file)?;
    if OnlineKey::parse(&text).is_some() {
        return Ok(output.result(
            &json!({ "ok": true, "kind": "online-key" }),
            "a key for the online check: it says nothing by itself, the authority knows what was sold under it",
        )?);
    }
    let (terms, signed) = match OfflineLicense::verify(&text, &keys(file)?) {
        Ok(license) => (license.terms().clone(), true),
        Err(OfflineError::Signature) => {
            (Terms::unverified(&text).map_err(|error| anyhow::anyhow!("{error}"))?, false)
        }
        Err(error) => return Err(error.into()),
    };
    let said =
        if signed { "signed by an accepted key" } else { "NOT signed by an accepted key: no relay takes it" };
    Ok(output.result(
        &json!({
            "ok": true, "kind": "offline", "signed": signed, "max_users": terms.max_keys.to_string(),
            "expires_at": terms.expires_at, "issued_to": terms.issued_to, "issued_at": terms.issued_at,
        }),
        &format!(
            "an offline licence for {}, {} users, until {}; {said}",
            terms.issued_to, terms.max_keys, terms.expires_at
        ),
    )?)
}

fn verify(file: &LicenseFile, output: &Output) -> Result<()> {
    let license = OfflineLicense::verify(&secret_file(&file.file)?, &keys(file)?)?;
    if !license.valid_at(Timestamp::now()) {
        bail!("the licence is signed, but it expired at {}", license.until());
    }
    Ok(output.result(
        &json!({ "ok": true, "until": license.until(), "max_users": license.cap().to_string() }),
        &format!("valid until {}, for {} users", license.until(), license.cap()),
    )?)
}

fn keys(file: &LicenseFile) -> Result<AcceptedKeys> {
    let Some(text) = &file.public_key else { return Ok(AcceptedKeys::of([PUBLISHED_KEY])) };
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key).map_err(|_| Usage("--public-key: expected 64 hex digits".into()))?;
    Ok(AcceptedKeys::of([key]))
}

/// As the relay will judge it, but for the sequence, which only the relay knows.
fn verify_reply(reply: &LicenseReply, output: &Output) -> Result<()> {
    let key =
        hex::decode(&reply.public_key).map_err(|_| Usage("--public-key: expected hex digits".into()))?;
    let keys = LicensingKeys::of([LicensingKey { public: key, not_after: Timestamp::MAX }]);
    let accepted = accept(&read(&reply.reply)?, None, &read(&reply.request)?, &keys, 0)?;
    let (sequence, issued) = (accepted.get().sequence(), accepted.get().issued_at());
    let what = match accepted.get().set() {
        Some(set) => {
            format!("a capability set, {} for {} users", set.tier.name(), set.capabilities.max_users)
        }
        None => "a refusal".to_owned(),
    };
    Ok(output.result(
        &json!({ "ok": true, "sequence": sequence, "issued_at": issued, "set": accepted.get().set().is_some() }),
        &format!("it answers this very request and is signed by this key: {what}, sequence {sequence}, issued {issued}"),
    )?)
}

fn status(report: &Value, output: &Output) -> Result<()> {
    let text = |name: &str| report[name].as_str().unwrap_or("-").to_owned();
    let users =
        report["maxUsers"].as_u64().map_or_else(|| "any number of".to_owned(), |most| most.to_string());
    let mut lines = vec![format!(
        "{} ({}): {} of {users} users, until {}",
        text("tier"),
        text("source"),
        report["activeUsers"],
        text("validUntil")
    )];
    let check_in = &report["checkIn"];
    if !check_in.is_null() {
        let reachable = match check_in["reachable"].as_bool() {
            Some(true) => "answered",
            Some(false) => "not answered",
            None => "not asked yet",
        };
        lines.push(format!(
            "online check: {reachable}; last verified reply {}; next request {}; telemetry {}",
            check_in["at"].as_str().unwrap_or("never"),
            check_in["nextRequestSha256"].as_str().unwrap_or("-"),
            if check_in["telemetry"] == true { "on" } else { "off" }
        ));
    }
    let problems = report["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.extend(problems.map(|problem| format!("problem: {problem}")));
    Ok(output.result(report, &lines.join("\n"))?)
}

fn history(answer: &Value, output: &Output) -> Result<()> {
    let rows = answer["check_ins"].as_array().into_iter().flatten();
    let lines: Vec<String> = rows
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} request {} (entry {}) reply {} (entry {})",
                text("at"),
                text("result"),
                text("request_sha256"),
                row["request_index"],
                text("reply_sha256"),
                row["reply_index"]
            )
        })
        .collect();
    let text = if lines.is_empty() { "no check-in is over yet".to_owned() } else { lines.join("\n") };
    Ok(output.result(answer, &text)?)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// It holds the licence key, so its owner alone reads it.
fn write(out: &Path, bytes: &[u8], output: &Output) -> Result<()> {
    let place = place::Place::prepare(out, paramant_client::durable::SECRET, bytes.len() as u64, false)?;
    let name = out.file_name().and_then(|name| name.to_str()).unwrap_or("request.json");
    let path = place.write(bytes, name)?;
    let digest = request::digest(bytes);
    Ok(output.result(
        &json!({ "ok": true, "path": path, "sha256": digest }),
        &format!("wrote {} (SHA-256 {digest}); it holds the licence key", path.display()),
    )?)
}
