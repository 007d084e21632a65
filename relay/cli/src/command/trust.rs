//! `paramant trust`

use anyhow::Result;
use paramant_client::ClientError;
use paramant_client::state::Seen;
use serde_json::json;

use crate::arguments::Trust;
use crate::output::Output;

pub(super) async fn run(arguments: Trust, output: &Output) -> Result<()> {
    let relay = super::relay(&arguments.relay, &arguments.account)?;
    let (_, keys) = relay.keys_of(&arguments.name).await?;
    let (name, shown) = (&arguments.name, keys.fingerprint());
    let Some(expected) = &arguments.fingerprint else {
        output.result(
            &json!({"ok": true, "device": name, "fingerprint": shown, "trusted": false}),
            &format!(
                "the relay shows {shown} for {name}; compare it with the owner, then run `paramant trust {name} --fingerprint {shown}`"
            ),
        )?;
        return Ok(());
    };
    if !keys.matches(expected) {
        let (whose, pinned, found) = (format!("the device {name}"), expected.clone(), shown);
        return Err(ClientError::KeyChanged { whose, pinned, found }.into());
    }
    let state = super::state_dir(&arguments.account.state)?;
    state.update_seen(|seen: &mut Seen| {
        seen.relay(relay.address().as_str()).trust_device(&keys);
        Ok(())
    })?;
    output.result(
        &json!({"ok": true, "device": name, "fingerprint": shown, "trusted": true}),
        &format!("{name} is trusted with {shown}"),
    )?;
    Ok(())
}
