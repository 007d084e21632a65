//! `paramant register`

use anyhow::Result;
use paramant_protocol::fingerprint;
use serde_json::json;

use crate::arguments::Register;
use crate::output::Output;

pub(super) async fn run(arguments: Register, output: &Output) -> Result<()> {
    let relay = super::relay(&arguments.relay, &arguments.account)?;
    let device = super::state_dir(&arguments.account.state)?.device_or_new(&arguments.own.device)?;
    let answer = relay.register(&device.public()).await?;
    let (name, keys) = (device.name(), device.public());
    let (fingerprint, older) = (keys.fingerprint(), fingerprint::fingerprint(&keys.kem_pub, &keys.ecdh_pub));
    output.result(
        &json!({
            "ok": true, "device": name, "fingerprint": fingerprint, "fingerprint_3_0_0": older,
            "log_index": answer.ct_index,
        }),
        &format!("{name} is registered; its fingerprint is {fingerprint} (paramant-sdk 3.0.0 shows {older})"),
    )?;
    Ok(())
}
