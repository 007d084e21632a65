//! Going on from log keys that were seen to those that sign now, by what the log itself says.
//!
//! A key that is new must have been added, one that is gone must have been retired by a `log_key_rotated` entry, and each such
//! entry must lie under a checkpoint that every seen key which is still shown has signed; the relay's identity always is one of
//! those. No key that was retired may be shown. Where the entries are is what the relay says; what they say is proven.

use paramant_protocol::entry::body::LogKeyRotated;
use paramant_protocol::entry::{Body, Kind};
use paramant_protocol::transparency::{LogPage, MAX_LIMIT};
use paramant_tlog::vkey::VerifierKey;

use crate::error::ClientError;
use crate::logged;
use crate::relay::Relay;

/// Goes from the keys that were seen to those that are shown. Answers these, or what is not borne out.
pub(crate) async fn follow(
    relay: &Relay,
    seen: &[VerifierKey],
    shown: Vec<VerifierKey>,
) -> Result<Vec<VerifierKey>, ClientError> {
    let kept: Vec<VerifierKey> = seen.iter().filter(|key| shown.contains(key)).cloned().collect();
    if kept.is_empty() {
        let name = |keys: &[VerifierKey]| keys.first().map_or_else(String::new, |key| key.name().to_owned());
        return Err(ClientError::NotLogged(format!(
            "the relay shows the log {}, with none of the keys of {} that were seen before. If its operator has told you that the log \
             was retired, name a key of the new one with --vkey",
            name(&shown),
            name(seen)
        )));
    }
    let changes = changes(relay, &kept).await?;
    let said = |key: &VerifierKey, of: fn(&LogKeyRotated) -> &Option<String>| {
        changes.iter().any(|change| of(change).as_deref() == Some(key.to_string().as_str()))
    };
    let brief = |key: &VerifierKey| format!("{} {}+{:08x}", key.algorithm(), key.name(), key.key_id());
    let unsaid = |key: &VerifierKey, what: &str| {
        let key = brief(key);
        let text =
            format!("the relay shows other log keys than before, and no entry of the log {what} {key}");
        ClientError::NotLogged(text)
    };
    if let Some(back) = shown.iter().find(|key| said(key, |change| &change.retired)) {
        let text =
            format!("the relay shows the log key {}, which an entry of the log has retired", brief(back));
        return Err(ClientError::NotLogged(text));
    }
    if let Some(new) = shown.iter().find(|key| !seen.contains(key) && !said(key, |change| &change.added)) {
        return Err(unsaid(new, "adds"));
    }
    if let Some(gone) = seen.iter().find(|key| !shown.contains(key) && !said(key, |change| &change.retired)) {
        return Err(unsaid(gone, "retires"));
    }
    Ok(shown)
}

/// What the log says of its keys, each entry proven.
async fn changes(relay: &Relay, keys: &[VerifierKey]) -> Result<Vec<LogKeyRotated>, ClientError> {
    let kind = Kind::LogKeyRotated;
    let wrong = |reason: String| ClientError::Answer { action: "look for rotations in the log", reason };
    let mut changes = Vec::new();
    let mut from = 0;
    loop {
        let path = format!("/v2/ct/log?kind={}&from={from}&limit={MAX_LIMIT}", kind.name());
        let page = relay.public(&path).await?.ok_or_else(|| wrong(format!("{path} is not there")))?;
        let page: LogPage = serde_json::from_slice(&page).map_err(|error| wrong(error.to_string()))?;
        for found in page.entries.iter().filter(|found| found.kind.as_deref() == Some(kind.name())) {
            let logged = logged::entry(relay, found.index, keys).await?;
            if let Some(Body::LogKeyRotated(change)) = logged.entry.body() {
                changes.push(change.clone());
            }
        }
        match page.next_from {
            Some(next) if next > from => from = next,
            Some(next) => return Err(wrong(format!("it goes on at {next} after {from}"))),
            None => return Ok(changes),
        }
    }
}
