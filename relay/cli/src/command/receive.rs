//! `paramant receive`
//!
//! A view is used the moment the relay answers, so everything that can fail for a local reason is tried first, and what came is
//! never thrown away: a blob that cannot be opened is kept beside the output.

use std::path::{Path, PathBuf};

use anyhow::Result;
use paramant_client::directory::{self, Demands};
use paramant_client::durable::{Draft, ORDINARY, SECRET, write};
use paramant_client::envelope::{Opened, Sender};
use paramant_client::state::Seen;
use paramant_client::transfer::{self, Received, check_receipt};
use paramant_client::{ClientError, Relay, StateDir};
use paramant_protocol::id::BlobHash;
use paramant_protocol::{device::DeviceKeys, fingerprint};
use serde_json::json;

use crate::arguments::Receive;
use crate::exit::{DoesNotHold, Usage};
use crate::output::{Output, Unit};

pub(super) async fn run(arguments: Receive, output: &Output) -> Result<()> {
    let relay = super::relay(&arguments.relay, &arguments.account)?;
    let state = super::state_dir(&arguments.account.state)?;
    let name = &arguments.own.device;
    let missing =
        || Usage(format!("there are no keys for {name} here: run `paramant register` on this machine first"));
    let device = state.device(name)?.ok_or_else(missing)?;
    let pre_shared = super::pre_shared(&arguments.shared)?;
    let expected = match &arguments.sender {
        Some(sender) => {
            let demands = Demands { without_log: arguments.without_log, ..Demands::default() };
            Some(directory::find(&relay, sender, &demands, &state).await?.keys)
        }
        None => None,
    };
    let receipt_path = arguments.receipt.clone().unwrap_or_else(|| beside(&arguments.out, "receipt.json"));
    let draft = Draft::create(&arguments.out, SECRET)?;
    let receipt_draft = Draft::create(&receipt_path, ORDINARY)?;

    let bar = output.bar("receiving", Unit::Bytes);
    let received =
        transfer::receive(&relay, &arguments.hash, &device, pre_shared.as_ref(), &bar.progress()).await?;
    drop(bar);
    let Received { blob, content, burned, receipt } = received;

    let mut receipt_state = "none";
    let mut receipt_fault = None;
    match receipt {
        Some(Ok(document)) => {
            receipt_draft.finish(format!("{}\n", document.value()).as_bytes())?;
            match judge(&relay, &state, &document, &arguments.hash).await {
                Ok(()) => receipt_state = "valid",
                Err(error) => receipt_fault = Some(error.to_string()),
            }
        }
        Some(Err(error)) => receipt_fault = Some(error.to_string()),
        None => {}
    }

    let opened = match content {
        Ok(opened) => opened,
        Err(error) => {
            let kept = beside(&arguments.out, "pqhb");
            write(&kept, &blob, SECRET)?;
            output.notice(format_args!(
                "the blob is kept as {}: `paramant decrypt` can try again with another device or pre-shared secret",
                kept.display()
            ));
            return Err(ClientError::from(error).into());
        }
    };
    if let Err(error) = sender_is(&opened, expected.as_ref()) {
        let kept = beside(&arguments.out, "pqhb");
        write(&kept, &blob, SECRET)?;
        output.notice(format_args!("the blob is kept as {}", kept.display()));
        return Err(error);
    }
    draft.finish(&opened.plaintext)?;

    let (bytes, out) = (opened.plaintext.len(), arguments.out.display().to_string());
    let sender = describe(&opened, arguments.sender.as_ref().map(ToString::to_string));
    output.result(
        &json!({
            "ok": receipt_fault.is_none(), "hash": arguments.hash, "bytes": bytes, "out": out, "burned": burned,
            "sender": sender, "receipt": receipt_fault.as_deref().unwrap_or(receipt_state),
            "receipt_file": receipt_path.display().to_string(),
        }),
        &format!(
            "{out}: {bytes} bytes, {sender}\n{}; receipt {receipt_state}, {}",
            if burned { "this was its last view" } else { "it can be read again" },
            receipt_path.display()
        ),
    )?;
    match receipt_fault {
        None => Ok(()),
        Some(fault) => {
            Err(DoesNotHold(format!("the content was received, but its receipt does not hold: {fault}"))
                .into())
        }
    }
}

/// Checks the receipt under the relay's identity as first seen.
async fn judge(
    relay: &Relay,
    state: &StateDir,
    document: &paramant_protocol::receipt::Document,
    hash: &BlobHash,
) -> Result<()> {
    let identity = relay.identity().await?;
    state.update_seen(|seen: &mut Seen| seen.relay(relay.address().as_str()).meet_identity(&identity))?;
    check_receipt(document, hash, &identity)?;
    Ok(())
}

fn sender_is(opened: &Opened, expected: Option<&DeviceKeys>) -> Result<()> {
    let Some(expected) = expected else { return Ok(()) };
    match &opened.sender {
        Sender::Signed { key, .. } if *key == expected.sig_pub && !key.is_empty() => Ok(()),
        Sender::Signed { .. } => {
            Err(DoesNotHold(format!("the blob is signed by another key than {}'s", expected.device)).into())
        }
        Sender::Unsigned => {
            Err(DoesNotHold(format!("the blob is not signed; {} was expected to sign it", expected.device))
                .into())
        }
    }
}

fn describe(opened: &Opened, name: Option<String>) -> String {
    match (&opened.sender, name) {
        (Sender::Unsigned, _) => "not signed".to_owned(),
        (Sender::Signed { form, .. }, Some(name)) => format!("signed by {name}, form {}", form.name()),
        (Sender::Signed { key, form }, None) => {
            // The sender's KEM key is not in the blob, so this is a fingerprint of the signing key alone.
            let print = fingerprint::fingerprint(&[], key);
            format!(
                "signed by the key {print} (not compared with a device; use --sender), form {}",
                form.name()
            )
        }
    }
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{extension}"));
    path.with_file_name(name)
}
