//! `paramant status`

use anyhow::Result;
use paramant_client::ClientError;
use serde_json::json;

use crate::arguments::Status;
use crate::output::Output;

pub(super) async fn run(arguments: Status, output: &Output) -> Result<()> {
    let status = super::relay(&arguments.relay, &arguments.account)?.status(&arguments.hash).await?;
    if !status.available {
        return Err(ClientError::Gone(arguments.hash).into());
    }
    let (bytes, left) = (status.bytes.unwrap_or(0), status.ttl_remaining_ms.unwrap_or(0));
    output.result(
        &json!({"ok": true, "hash": arguments.hash, "bytes": bytes, "ttl_remaining_ms": left}),
        &format!("{} is there: {bytes} bytes, {} s left", arguments.hash, left / 1000),
    )?;
    Ok(())
}
