//! `paramant decrypt`
//!
//! What lies in a file as it travelled: an envelope, or a large file, which its length alone tells apart. A large one is opened in
//! constant memory into a file that has no name before its manifest holds.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use paramant_client::durable::SECRET;
use paramant_client::envelope::{self, PreShared, Sender};
use paramant_client::large::open;
use paramant_client::{ClientError, Device, durable};
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
    let length = match fs::metadata(&arguments.file) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Usage(format!("{} is not there", arguments.file.display())).into());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", arguments.file.display())),
    };
    let place = Place::prepare(&arguments.out, SECRET, length, arguments.force)?;
    let pre_shared = super::pre_shared(&arguments.shared)?;
    let opened = if open::is_large(length) { large } else { whole };
    let (out, bytes, sender) = opened(&arguments, &device, pre_shared.as_ref(), place)?;
    let form = match &sender {
        Sender::Unsigned => "not signed",
        Sender::Signed { form, .. } => form.name(),
    };
    let out = out.display().to_string();
    output.result(
        &json!({"ok": true, "out": out, "bytes": bytes, "signature": form}),
        &format!("{out}: {bytes} bytes, signature {form}"),
    )?;
    Ok(())
}

type Opened = (PathBuf, u64, Sender);

fn whole(
    arguments: &Decrypt,
    device: &Device,
    pre_shared: Option<&PreShared>,
    place: Place,
) -> Result<Opened> {
    let missing = || Usage(format!("{} is not there", arguments.file.display()));
    let blob = durable::read(&arguments.file)?.ok_or_else(missing)?;
    let opened = envelope::open(&blob, device, pre_shared).map_err(ClientError::from)?;
    let out = place.write(&opened.plaintext, &format!("{}.content", BlobHash::of(&blob)))?;
    Ok((out, opened.plaintext.len() as u64, opened.sender))
}

fn large(
    arguments: &Decrypt,
    device: &Device,
    pre_shared: Option<&PreShared>,
    place: Place,
) -> Result<Opened> {
    let opened = open::open(&arguments.file, &place.file()?, device, pre_shared)?;
    let out = place.written(opened.size, &format!("{}.content", opened.name))?;
    Ok((out, opened.size, opened.sender))
}
