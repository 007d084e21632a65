//! `paramant decrypt`

use anyhow::Result;
use paramant_client::durable::{Draft, SECRET};
use paramant_client::envelope::{self, Sender};
use paramant_client::{ClientError, durable};
use serde_json::json;

use crate::arguments::Decrypt;
use crate::exit::Usage;
use crate::output::Output;

pub(super) fn run(arguments: Decrypt, output: &Output) -> Result<()> {
    let name = &arguments.own.device;
    let device = super::state_dir(&arguments.state)?.device(name)?;
    let device = device.ok_or_else(|| Usage(format!("there are no keys for {name} here")))?;
    let missing = || Usage(format!("{} is not there", arguments.file.display()));
    let blob = durable::read(&arguments.file)?.ok_or_else(missing)?;
    let draft = Draft::create(&arguments.out, SECRET)?;
    let pre_shared = super::pre_shared(&arguments.shared)?;
    let opened = envelope::open(&blob, &device, pre_shared.as_ref()).map_err(ClientError::from)?;
    draft.finish(&opened.plaintext)?;
    let form = match &opened.sender {
        Sender::Unsigned => "not signed",
        Sender::Signed { form, .. } => form.name(),
    };
    let (bytes, out) = (opened.plaintext.len(), arguments.out.display().to_string());
    output.result(
        &json!({"ok": true, "out": out, "bytes": bytes, "signature": form}),
        &format!("{out}: {bytes} bytes, signature {form}"),
    )?;
    Ok(())
}
