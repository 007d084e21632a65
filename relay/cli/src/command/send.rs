//! `paramant send`
//!
//! A file that fits the pad block goes whole, as every published client sends it; one that does not goes in chunks, in constant memory,
//! and is gone on with after a cut: in this run while `--retry-for` lasts, or by calling the command again.

use std::fs;
use std::path::Path;

use anyhow::Result;
use paramant_client::directory::{self, Demands};
use paramant_client::envelope::capacity;
use paramant_client::large::{self, send::Terms};
use paramant_client::retry::Patience;
use paramant_client::state::Sight;
use paramant_client::transfer::{self, Sending};
use paramant_protocol::pqhb::PadBlock;
use paramant_protocol::upload::UploadAnswer;
use serde_json::json;

use crate::arguments::Send;
use crate::exit::Usage;
use crate::output::{Output, Unit};

/// The block that published clients pad to.
const DEFAULT_PAD: PadBlock = PadBlock::M5;

pub(super) async fn run(arguments: Send, output: &Output) -> Result<()> {
    let in_chunks = goes_in_chunks(&arguments)?;
    let content = if in_chunks { None } else { Some(super::input(&arguments.file)?) };
    let relay = super::relay(&arguments.relay, &arguments.account)?;
    let state = super::state_dir(&arguments.account.state)?;
    let pre_shared = super::pre_shared(&arguments.shared)?;
    let password = super::password(&arguments.protected)?;
    let ttl_ms = arguments.ttl.map(|ttl| u64::try_from(ttl.as_duration().as_millis()).unwrap_or(u64::MAX));

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

    let bar = output.bar("sending", Unit::Bytes);
    let (bytes, answer): (u64, UploadAnswer) = match content {
        Some(content) => {
            let bytes = content.len() as u64;
            let pad = arguments.pad.unwrap_or(DEFAULT_PAD);
            let how = Sending {
                pad,
                ttl_ms,
                max_views: arguments.max_views,
                pre_shared,
                password,
                sign: !arguments.unsigned,
            };
            (bytes, transfer::send(&relay, content, &device, &found.keys, &how, &bar.progress()).await?)
        }
        None => {
            let terms = Terms {
                ttl_ms,
                max_views: arguments.max_views,
                strict: arguments.strict,
                pre_shared,
                password,
                sign: !arguments.unsigned,
                patience: Patience(arguments.retry_for.as_duration()),
            };
            let file = &arguments.file;
            let sent = large::send::send(&relay, file, &device, &found.keys, &terms, &state, &bar.progress())
                .await?;
            let sent = sent.ok_or_else(|| {
                Usage(format!(
                    "{} is too large to be sent whole, and this relay takes no chunks",
                    file.display()
                ))
            })?;
            if sent.earlier > 0 {
                output.notice(format_args!("{} chunks had been sent before", sent.earlier));
            }
            (sent.size, sent.answer)
        }
    };
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

/// Whether the file goes in chunks: when it is asked for, or does not fit and no block was named. Known before anything is read.
fn goes_in_chunks(arguments: &Send) -> Result<bool> {
    let (file, signed) = (&arguments.file, !arguments.unsigned);
    let piped = file == Path::new("-");
    let asked = arguments.chunked || arguments.strict;
    if piped && asked {
        return Err(
            Usage("what comes from standard input is sent whole: put it into a file first".into()).into()
        );
    }
    let length = match fs::metadata(file) {
        Ok(metadata) if !piped => metadata.len(),
        _ => return Ok(asked),
    };
    let most = |pad| capacity(pad, signed) as u64;
    match arguments.pad {
        None => Ok(asked || length > most(DEFAULT_PAD)),
        Some(pad) if length <= most(pad) => Ok(asked),
        Some(pad) => {
            let advice = match PadBlock::ALL.into_iter().find(|pad| length <= most(*pad)) {
                Some(larger) => format!("choose --pad {}", larger.name()),
                None => "leave --pad out to send it in chunks".to_owned(),
            };
            let (file, name, room) = (file.display(), pad.name(), most(pad));
            Err(Usage(format!("{file} has {length} bytes, a {name} block holds {room}: {advice}")).into())
        }
    }
}
