//! Signed tree heads: each signature by the relay's identity, each root the one the entries give at that size.

use paramant_protocol::sth::SignedSth;
use paramant_protocol::transparency::{MAX_HISTORY, SthAnswer, SthHistory};

use super::entries::Walk;
use super::report::{Check, Finding, finding};
use super::{Source, Stop, source};
use crate::identity::RelayIdentity;

const NAME: &str = "tree heads";

/// All tree heads that are shown, oldest first.
pub(super) async fn fetch<S: Source>(source: &S) -> Result<Vec<SignedSth>, Stop> {
    let history: SthHistory = source::json(source, &format!("/v2/sth/history?limit={MAX_HISTORY}")).await?;
    if history.count != history.sths.len() as u64 || history.total < history.count {
        return Err(finding(NAME, "/v2/sth/history miscounts its tree heads").into());
    }
    let mut heads = history.sths;
    // The newest may be younger than the history just read; an empty log has none.
    let newest: Option<SthAnswer> = source::json_if_there(source, "/v2/sth").await?;
    match newest {
        Some(newest) => heads.push(newest.sth),
        None if !heads.is_empty() => {
            return Err(finding(NAME, "/v2/sth is not there, though there are tree heads").into());
        }
        None => {}
    }
    Ok(heads)
}

/// Checks each.
pub(super) fn check(
    heads: &[SignedSth],
    identity: &RelayIdentity,
    walk: &Walk<'_>,
) -> Result<Check, Finding> {
    let mut before: Option<&SignedSth> = None;
    for head in heads {
        let size = head.tree_size;
        let bare = head.verify(&|message, signature| identity.signed(message, signature));
        bare.map_err(|error| finding(NAME, error.to_string()))?;
        match walk.sha3_root_at(size) {
            Some(root) if hex::encode(root) == head.sha3_root => {}
            Some(root) => {
                let text = format!(
                    "the one of {size} entries has the root {}, the entries give {}",
                    head.sha3_root,
                    hex::encode(root)
                );
                return Err(finding(NAME, text));
            }
            None => {
                return Err(finding(NAME, format!("one is of {size} entries, which the log does not hold")));
            }
        }
        if let Some(before) = before
            && (before.tree_size > size
                || before.timestamp > head.timestamp
                || before.relay_id != head.relay_id)
        {
            return Err(finding(
                NAME,
                format!("the one of {size} entries does not follow the one before it"),
            ));
        }
        before = Some(head);
    }
    let sizes: Vec<u64> = heads.iter().map(|head| head.tree_size).collect();
    let range = match (sizes.first(), sizes.last()) {
        (Some(first), Some(last)) => format!(", of {first} to {last} entries"),
        _ => String::new(),
    };
    Ok(Check::passed(NAME, format!("{} signatures and roots{range}", heads.len())))
}
