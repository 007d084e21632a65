//! `paramant log get`

use anyhow::Result;
use serde_json::json;

use crate::arguments::Get;
use crate::output::Output;

pub(super) async fn run(arguments: Get, output: &Output) -> Result<()> {
    let (relay, trust) = super::open(&arguments.log).await?;
    let (_, logged) = super::proven(&relay, &arguments.entry, &trust).await?;
    let (index, checkpoint) = (logged.index, &logged.checkpoint);
    let mut value = super::as_json(index, &logged.entry);
    value["ok"] = json!(true);
    value["checkpoint"] =
        json!({"origin": checkpoint.origin, "size": checkpoint.size, "root": hex::encode(checkpoint.root)});
    value["signers"] = json!(logged.signers);
    output.result(&value, &String::from_utf8_lossy(logged.entry.bytes()))?;
    output.notice(format_args!(
        "entry {index} of {}, under the checkpoint of {} entries, signed by {}",
        checkpoint.origin, checkpoint.size, logged.signers
    ));
    Ok(())
}
