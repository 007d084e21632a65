//! `paramant decrypt`

use anyhow::Result;
use paramant_client::durable::SECRET;
use paramant_client::envelope::{self, Sender};
use paramant_client::{ClientError, durable};
use paramant_protocol::id::BlobHash;
use serde_json::json;

use super::place::Place;
use crate::arguments::Decrypt;
use crate::exit::Usage;
use crate::output::Output;

pub(super) fn run(arguments: Decrypt, output: &Output) -> Result<()> {
    let name = &arguments.own.device;
    let device = super::state_dir(&arguments.state)?.device(name)?;
    let device = device.ok_or_else(|| Usage(format!("there are no keys for {name} here")))?;
    let missing = || Usage(format!("{} is not there", arguments.file.display()));
    let blob = durable::read(&arguments.file)?.ok_or_else(missing)?;
    let place = Place::prepare(&arguments.out, SECRET, blob.len() as u64, arguments.force)?;
    let pre_shared = super::pre_shared(&arguments.shared)?;
    let opened = envelope::open(&blob, &device, pre_shared.as_ref()).map_err(ClientError::from)?;
    let out = place.write(&opened.plaintext, &format!("{}.content", BlobHash::of(&blob)))?;
    let form = match &opened.sender {
        Sender::Unsigned => "not signed",
        Sender::Signed { form, .. } => form.name(),
    };
    let (bytes, out) = (opened.plaintext.len(), out.display().to_string());
    output.result(
        &json!({"ok": true, "out": out, "bytes": bytes, "signature": form}),
        &format!("{out}: {bytes} bytes, signature {form}"),
    )?;
    Ok(())
}
