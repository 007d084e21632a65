//! What the verification of a check-in's reply costs, in CPU time of its thread: `cargo xtask bench check-in`.
//!
//! The replies are those of the specification's vectors. Beside it, in the same run, the bare ML-DSA-65 verification, below which
//! no verifier can come. Prints one JSON line per figure: `{"name","value","unit","goal","meets"}`.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use paramant_licensing::online::keys::{LicensingKey, LicensingKeys};
use paramant_licensing::online::reply::accept;
use paramant_protocol::{canonical, strict};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

/// licensing.md: "check-in verification ≤ 1 ms CPU".
const GOAL_MS: f64 = 1.0;
const ROUNDS: usize = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/vectors/check-ins.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let text =
        |value: &Value, name: &str| value[name].as_str().map(str::to_owned).ok_or(format!("no {name}"));
    let mut pinned = Vec::new();
    for key in file["pinned"].as_array().ok_or("no keys")? {
        let not_after: Timestamp = text(key, "not_after")?.parse()?;
        pinned.push(LicensingKey { public: hex::decode(text(key, "public_key")?)?, not_after });
    }
    let first = pinned.first().ok_or("no key")?.public.clone();
    let keys = LicensingKeys::of(pinned);
    let request = text(&file, "request")?;
    let reply = text(&file["vectors"][0], "reply")?;
    let garbage = format!("{reply}{}", " ".repeat(64 * 1024 - reply.len()))
        .replace("\"max_users\":25", "\"max_users\":26");

    let whole = measure(|| accept(reply.as_bytes(), Some(200), request.as_bytes(), &keys, 7).is_ok(), true)?;
    let refused =
        measure(|| accept(garbage.as_bytes(), Some(200), request.as_bytes(), &keys, 7).is_ok(), false)?;
    let (message, signature) = parts(&reply)?;
    let key = UnparsedPublicKey::new(&ML_DSA_65, first);
    let bare = measure(|| key.verify(&message, &signature).is_ok(), true)?;

    at_most("check-in-verify", whole, "ms", GOAL_MS);
    at_most("check-in-verify-forged-64k", refused, "ms", GOAL_MS);
    println!(
        r#"{{"name":"check-in-verify-bare-signature","value":{bare:.4},"unit":"ms","goal":null,"meets":null}}"#
    );
    println!(
        r#"{{"name":"check-in-verify-over-bare","value":{:.2},"unit":"ratio","goal":null,"meets":null}}"#,
        whole / bare
    );
    Ok(())
}

/// The median CPU time of one call in milliseconds. Each call must come out as `expected`, or nothing was measured.
fn measure(mut work: impl FnMut() -> bool, expected: bool) -> Result<f64, String> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let before = cpu();
        let came = black_box(work());
        times.push(cpu() - before);
        if came != expected {
            return Err(format!("a reply came out as {came}"));
        }
    }
    times.sort();
    let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
    Ok(median.as_secs_f64() * 1e3)
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

/// What was signed, and the signature.
fn parts(reply: &str) -> Result<(Vec<u8>, Vec<u8>), Box<dyn Error>> {
    let mut fields = strict::object(reply.as_bytes())?;
    let Some(Value::String(signature)) = fields.remove("signature") else {
        return Err("no signature".into());
    };
    Ok((canonical::value_to_vec(&Value::Object(fields))?, BASE64_STANDARD.decode(signature)?))
}

fn at_most(name: &str, value: f64, unit: &str, goal: f64) {
    println!(
        r#"{{"name":"{name}","value":{value:.4},"unit":"{unit}","goal":{goal},"meets":{}}}"#,
        value <= goal
    );
}
