//! `paramant receive`
//!
//! A view is used the moment the relay answers, so everything that can fail for another reason is tried first: keys, names,
//! room on the disk, the relay's identity. What came is then written before anything else is done with it, a blob that cannot
//! be opened as much as content; the receipt comes last, and nothing about it takes the content away.

mod large;
mod receipt;

use std::path::{Path, PathBuf};

use anyhow::{Error, Result, bail};
use paramant_client::directory::{self, Demands};
use paramant_client::durable::{ORDINARY, SECRET};
use paramant_client::envelope::Sender;
use paramant_client::large::receive::Request;
use paramant_client::retry::Patience;
use paramant_client::transfer::{self, Received};
use paramant_client::{ClientError, Relay, StateDir};
use paramant_protocol::download::StatusAnswer;
use paramant_protocol::id::BlobHash;
use paramant_protocol::{device::DeviceKeys, fingerprint};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::place::{self, Place};
use crate::arguments::Receive;
use crate::exit::{DoesNotHold, Usage};
use crate::output::{Output, Unit};

/// Room for a receipt: an ML-DSA-65 signature in base64 has 4.4 kB, a path of 64 hashes about as much.
const RECEIPT_ROOM: u64 = 32 << 10;

pub(super) async fn run(arguments: Receive, output: &Output) -> Result<()> {
    // Once all of a blob is here nothing is waited for any more: what was received is written.
    tokio::select! {
        outcome = receive(arguments, output) => outcome,
        () = told_to_end() => bail!("interrupted; the relay keeps the view for a while: call the command again"),
    }
}

/// Waits for Ctrl-C or SIGTERM: half of a file in the clear must not stay where it was being written.
async fn told_to_end() {
    let one = async |kind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await, // then the signal ends the process as it always did
    };
    tokio::select! {
        () = one(SignalKind::interrupt()) => {}
        () = one(SignalKind::terminate()) => {}
    }
}

async fn receive(arguments: Receive, output: &Output) -> Result<()> {
    let relay = super::relay(&arguments.relay, &arguments.account)?;
    let state = super::state_dir(&arguments.account.state)?;
    let name = &arguments.own.device;
    let missing =
        || Usage(format!("there are no keys for {name} here: run `paramant register` on this machine first"));
    let device = state.device(name)?.ok_or_else(missing)?;
    let pre_shared = super::pre_shared(&arguments.shared)?;
    let password = super::password(&arguments.protected)?;
    let expected = expected_sender(&arguments, &relay, &state).await?;
    let waiting = waiting(&relay, &arguments.hash).await?;
    let bytes = waiting.bytes.unwrap_or(0);
    let places = Places::prepare(&arguments, bytes)?;
    let identity = receipt::identity(&relay, &state).await?;
    if waiting.chunk_size.is_some() {
        let request = Request {
            relay: &relay,
            hash: arguments.hash,
            wire: bytes,
            device: &device,
            pre_shared: pre_shared.as_ref(),
            password: password.as_ref(),
            patience: Patience(arguments.retry_for.as_duration()),
        };
        return large::receive(&request, &arguments, places, expected.as_ref(), &identity, output).await;
    }

    let Places { content: place, receipt: receipt_place } = places;
    let bar = output.bar("receiving", Unit::Bytes);
    let received = transfer::receive(
        &relay,
        &arguments.hash,
        &device,
        pre_shared.as_ref(),
        password.as_ref(),
        &bar.progress(),
    )
    .await
    .map_err(asks_for_a_password)?;
    drop(bar);
    let Received { blob, content, burned, receipt } = received;

    let accepted = content.map_err(|error| {
        let hint = "`paramant decrypt` can try again with another device or pre-shared secret";
        Error::from(ClientError::from(error)).context(hint)
    });
    let accepted = accepted.and_then(|opened| sender_is(&opened.sender, expected.as_ref()).map(|()| opened));
    let written = match &accepted {
        Ok(opened) => {
            let written = place.write(&opened.plaintext, &format!("{}.content", arguments.hash));
            written.map_err(|error| rescue(error.into(), &arguments, &state, &blob))
        }
        Err(_) => place
            .keep(&arguments.hash, &blob)
            .map_err(|error| rescue(error.into(), &arguments, &state, &blob)),
    };
    let receipt = receipt::settle(receipt, &arguments.hash, &identity, receipt_place);

    let out = written?;
    let opened = accepted.map_err(|error| error.context(format!("the blob is kept as {}", out.display())))?;
    tell(&arguments, &out, opened.plaintext.len() as u64, &opened.sender, burned, &receipt, output)
}

/// The result, and the error that the receipt is worth.
fn tell(
    arguments: &Receive,
    out: &Path,
    bytes: u64,
    sender: &Sender,
    burned: bool,
    receipt: &receipt::Settled,
    output: &Output,
) -> Result<()> {
    let (out, sender) = (out.display(), describe(sender, arguments.sender.as_ref().map(ToString::to_string)));
    output.result(
        &json!({
            "ok": receipt.fault().is_none(), "hash": arguments.hash, "bytes": bytes, "out": out.to_string(), "burned": burned,
            "sender": sender, "receipt": receipt.verdict(), "receipt_file": receipt.file(),
        }),
        &format!(
            "{out}: {bytes} bytes, {sender}\n{}; receipt {}",
            if burned { "this was its last view" } else { "it can be read again" },
            receipt.told()
        ),
    )?;
    receipt.fault().map_or(Ok(()), Err)
}

/// A key that was good a moment ago is refused: it is a password that is missing.
fn asks_for_a_password(error: ClientError) -> Error {
    let missing = matches!(error, ClientError::Refused { status: 401, .. });
    let error = Error::from(error);
    if missing {
        error.context("the sender set a password: put it into a file and name that with --password-file")
    } else {
        error
    }
}

/// The keys of the device that must have signed.
async fn expected_sender(
    arguments: &Receive,
    relay: &Relay,
    state: &StateDir,
) -> Result<Option<DeviceKeys>, ClientError> {
    let Some(sender) = &arguments.sender else { return Ok(None) };
    let demands = Demands { without_log: arguments.without_log, ..Demands::default() };
    Ok(Some(directory::find(relay, sender, &demands, state).await?.keys))
}

/// What waits: how many bytes, so that they have room, and in which form. Uses no view.
async fn waiting(relay: &Relay, hash: &BlobHash) -> Result<StatusAnswer, ClientError> {
    let status = relay.status(hash).await?;
    if status.available { Ok(status) } else { Err(ClientError::Gone(*hash)) }
}

/// Where content and receipt will go.
struct Places {
    content: Place,
    receipt: Place,
}

impl Places {
    fn prepare(arguments: &Receive, bytes: u64) -> Result<Self> {
        let out = &arguments.out;
        let receipt = arguments.receipt.clone().unwrap_or_else(|| beside(out, "receipt.json"));
        if receipt == *out {
            return Err(Usage("content and receipt need two files".into()).into());
        }
        Ok(Self {
            // The blob is longer than its content, and may have to be kept in its place.
            content: Place::prepare(out, SECRET, bytes, arguments.force)?,
            receipt: Place::prepare(&receipt, ORDINARY, RECEIPT_ROOM, arguments.force)?,
        })
    }
}

/// The disk failed in spite of the room set aside: the blob is kept wherever it can be.
fn rescue(error: Error, arguments: &Receive, state: &StateDir, blob: &[u8]) -> Error {
    let beside = arguments.out.parent().filter(|parent| !parent.as_os_str().is_empty());
    match place::rescue(&[beside.unwrap_or(Path::new(".")), state.path()], &arguments.hash, blob) {
        Some(kept) => error.context(format!("the blob is kept as {}", kept.display())),
        None => error.context("the blob could not be kept either"),
    }
}

fn sender_is(sender: &Sender, expected: Option<&DeviceKeys>) -> Result<()> {
    let Some(expected) = expected else { return Ok(()) };
    match sender {
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

fn describe(sender: &Sender, name: Option<String>) -> String {
    match (sender, name) {
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
