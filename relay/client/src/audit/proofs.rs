//! The proofs that a relay hands out, tried on the newest entry under the checkpoint.

use paramant_protocol::path::{self, parse_hash};
use paramant_protocol::transparency::ProofAnswer;
use paramant_tlog::{Checkpoint, Hash};

use super::keys::Keys;
use super::report::{Check, finding};
use super::{Source, Stop, source};
use crate::logged;

pub(super) const NAME: &str = "proofs";

/// `/v2/ct/proof/{n}` in the SHA3-256 tree and `/log/proof/{n}` in the SHA-256 tree, for the newest entry.
pub(super) async fn newest<S: Source>(
    source: &S,
    checkpoint: &Checkpoint,
    keys: &Keys,
    sha3: Option<&Hash>,
) -> Result<Check, Stop> {
    let wrong = |text: String| Stop::from(finding(NAME, text));
    let Some(index) = checkpoint.size.checked_sub(1) else {
        return Ok(Check::passed(NAME, "the log is empty"));
    };
    let root = *sha3.ok_or_else(|| wrong("the log was not walked".into()))?;

    let answer: ProofAnswer = source::json(source, &format!("/v2/ct/proof/{index}")).await?;
    let shown = hex::encode(root);
    let other_names = answer.root.as_ref().is_none_or(|root| *root == answer.tree_hash)
        && answer.audit_path.as_ref().is_none_or(|path| *path == answer.proof)
        && answer.tree_size.is_none_or(|size| size == checkpoint.size);
    let leaf = parse_hash(&answer.leaf_hash).ok_or_else(|| wrong("the leaf is not a hash".into()))?;
    if answer.index != index || answer.tree_hash != shown || !other_names {
        return Err(wrong(format!("/v2/ct/proof/{index} is for another tree than the entries give")));
    }
    path::check(&leaf, index, checkpoint.size, &answer.proof, &root)
        .map_err(|error| wrong(format!("/v2/ct/proof/{index}: {error}")))?;

    let proof = source::required(source, &format!("/log/proof/{index}")).await?;
    let logged = logged::check(&proof, index, &keys.all).map_err(|error| wrong(error.to_string()))?;
    let newer = &logged.checkpoint;
    let same_size_other_root = newer.size == checkpoint.size && newer.root != checkpoint.root;
    if newer.origin != checkpoint.origin || newer.size < checkpoint.size || same_size_other_root {
        return Err(wrong(format!(
            "/log/proof/{index} leads to a checkpoint that contradicts /log/checkpoint"
        )));
    }
    if logged.entry.leaf() != leaf {
        return Err(wrong(format!("entry {index} has another leaf in each tree")));
    }
    if logged.entry.hour() != answer.ts {
        return Err(wrong(format!("/v2/ct/proof/{index} shows another time than the entry")));
    }
    Ok(Check::passed(NAME, format!("entry {index} in both trees")))
}
