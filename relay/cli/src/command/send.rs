//! `paramant send`

use std::fs;
use std::path::Path;

use anyhow::Result;
use paramant_client::directory::{self, Demands};
use paramant_client::envelope::capacity;
use paramant_client::state::Sight;
use paramant_client::transfer::{self, Sending};
use paramant_protocol::pqhb::PadBlock;
use serde_json::json;

use crate::arguments::Send;
use crate::exit::Usage;
use crate::output::{Output, Unit};

pub(super) async fn run(arguments: Send, output: &Output) -> Result<()> {
    fits(&arguments.file, arguments.pad, !arguments.unsigned)?;
    let content = super::input(&arguments.file)?;
    let relay = super::relay(&arguments.relay, &arguments.account)?;
    let state = super::state_dir(&arguments.account.state)?;
    let how = Sending {
        pad: arguments.pad,
        ttl_ms: arguments.ttl.map(|ttl| u64::try_from(ttl.as_duration().as_millis()).unwrap_or(u64::MAX)),
        max_views: arguments.max_views,
        pre_shared: super::pre_shared(&arguments.shared)?,
        sign: !arguments.unsigned,
    };

    // Registering again is harmless, and receivers look the sender's key up.
    let device = state.device_or_new(&arguments.own.device)?;
    relay.register(&device.public()).await?;

    let recipient = arguments.recipient.as_ref().unwrap_or(&arguments.own.device);
    let demands = Demands {
        fingerprint: arguments.fingerprint,
        log_keys: Vec::new(),
        without_log: arguments.without_log,
    };
    let found = directory::find(&relay, recipient, &demands, &state).await?;
    let fingerprint = found.keys.fingerprint();
    if found.sight == Sight::First && demands.fingerprint.is_none() && recipient != device.name() {
        output.notice(format_args!(
            "first contact with {recipient}: its fingerprint is {fingerprint}; compare it with the owner"
        ));
    }

    let bytes = content.len();
    let bar = output.bar("sending", Unit::Bytes);
    let answer = transfer::send(&relay, content, &device, &found.keys, &how, &bar.progress()).await?;
    drop(bar);
    let index = answer.merkle_proof.as_ref().map(|proof| proof.leaf_index);
    let hash = answer.hash;
    output.result(
        &json!({
            "ok": true, "hash": hash, "bytes": bytes, "blob_bytes": answer.size, "ttl_ms": answer.ttl_ms,
            "recipient": recipient, "recipient_fingerprint": fingerprint, "recipient_log_index": found.entry,
            "log_index": index,
        }),
        &format!(
            "{hash}\nsent {bytes} bytes to {recipient} ({fingerprint}), {}; it waits for {} s",
            index.map_or("not logged".to_owned(), |index| format!("logged as entry {index}")),
            answer.ttl_ms / 1000
        ),
    )?;
    Ok(())
}

/// Refuses a file that cannot fit before reading it.
fn fits(file: &Path, pad: PadBlock, signed: bool) -> Result<()> {
    let Ok(length) = fs::metadata(file).map(|metadata| metadata.len()) else { return Ok(()) };
    let most = |pad| capacity(pad, signed) as u64;
    if file == Path::new("-") || length <= most(pad) {
        return Ok(());
    }
    let advice = match PadBlock::ALL.into_iter().find(|pad| length <= most(*pad)) {
        Some(larger) => format!("choose --pad {}", larger.name()),
        None => format!("the largest file that fits is {} bytes", most(PadBlock::M8)),
    };
    let room = most(pad);
    Err(Usage(format!(
        "{} has {length} bytes, a {} block holds {room}: {advice}",
        file.display(),
        pad.name()
    ))
    .into())
}
