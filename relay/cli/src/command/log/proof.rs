//! `paramant log proof`

use std::path::{Path, PathBuf};

use anyhow::Result;
use paramant_client::durable::{Draft, ORDINARY};
use serde_json::json;

use crate::arguments::Proof;
use crate::exit::Usage;
use crate::output::Output;

pub(super) async fn run(arguments: Proof, output: &Output) -> Result<()> {
    let (relay, trust) = super::open(&arguments.log).await?;
    let (proof, logged) = super::proven(&relay, &arguments.entry, &trust).await?;
    if arguments.out.as_deref() == Some(Path::new("-")) {
        return Ok(output.plain(&proof)?);
    }
    let path = arguments.out.unwrap_or_else(|| PathBuf::from(format!("entry-{}.tlog-proof", logged.index)));
    write(&path, &proof, arguments.force)?;
    output.result(
        &json!({"ok": true, "index": logged.index, "kind": logged.entry.kind().name(), "file": path,
            "tree_size": logged.checkpoint.size, "signers": logged.signers}),
        &format!(
            "{} proves entry {} of {} under the checkpoint of {} entries, signed by {}",
            path.display(),
            logged.index,
            logged.checkpoint.origin,
            logged.checkpoint.size,
            logged.signers
        ),
    )?;
    Ok(())
}

fn write(path: &Path, proof: &[u8], replace: bool) -> Result<()> {
    let draft = Draft::create(path, ORDINARY)?;
    if replace {
        return Ok(draft.finish(proof)?);
    }
    if draft.finish_new(proof)? {
        return Ok(());
    }
    Err(Usage(format!("{} is there already: name another file, or add --force", path.display())).into())
}
