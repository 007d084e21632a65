//! Two relays with one identity or one log: the older one keeps it, the other is refused.
//!
//! Two logs under one name would be the very thing an auditor must never see. Pure.

use jiff::Timestamp;
use paramant_crds::ParamantRelay;

use crate::observation::{Rival, Shared};

/// Why this relay is the one that is refused, if it is.
pub fn refusal(relay: &ParamantRelay, rivals: &[Rival]) -> Option<String> {
    let created = relay.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0);
    let uid = relay.metadata.uid.as_deref().unwrap_or_default();
    let older = rivals
        .iter()
        .filter(|rival| rival.uid != uid && (rival.created, rival.uid.as_str()) < (created, uid))
        .min_by_key(|rival| (rival.created, rival.uid.as_str()))?;
    let other = format!("{}/{}", older.namespace, older.name);
    Some(match older.shares {
        Shared::Identity => format!(
            "the relay {other} has the same identity, so one data directory was copied: give this relay a volume of its own"
        ),
        Shared::LogOrigin => {
            format!("the relay {other} already writes the log of this origin: choose another spec.log.origin")
        }
    })
}
