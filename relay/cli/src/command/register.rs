//! `paramant register`

use anyhow::Result;
use serde_json::json;

use crate::arguments::Register;
use crate::output::Output;

pub(super) async fn run(arguments: Register, output: &Output) -> Result<()> {
    let relay = super::relay(&arguments.relay, &arguments.account)?;
    let device = super::state_dir(&arguments.account.state)?.device_or_new(&arguments.own.device)?;
    let answer = relay.register(&device.public()).await?;
    let (name, fingerprint) = (device.name(), device.public().fingerprint());
    output.result(
        &json!({"ok": true, "device": name, "fingerprint": fingerprint, "log_index": answer.ct_index}),
        &format!("{name} is registered; its fingerprint is {fingerprint}"),
    );
    Ok(())
}
