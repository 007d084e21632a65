//! The durable copy, rebuilt from the copies of it that others carry: status, and the live StatefulSet.
//!
//! Only when `-state` is not there at all: what it says, however little, is newer than any copy. A fence that fell with a
//! deleted ConfigMap would be no fence.

use jiff::Timestamp;
use paramant_crds::ParamantRelayStatus;
use paramant_crds::relay::Rejected;
use paramant_protocol::control::LogMark;

use super::{Pass, retry_wish};
use crate::children;
use crate::durable::{Durable, LogHighWater, Rejection};

impl Pass<'_> {
    /// Takes what status and StatefulSet remember, where nothing else does.
    pub(super) fn recover(&self, durable: &mut Durable) {
        if durable.relay_uid.is_some() {
            return;
        }
        let before = &self.before;
        durable.log = durable.log.take().or_else(|| log_head(before, self.now));
        durable.control_key = durable.control_key.take().or_else(|| control_key(before));
        if durable.rejected.is_empty() {
            durable.rejected = rejections(before);
        }
        // A wish that stands beside its rejection was obeyed, and it failed again.
        let obeyed = retry_wish(&self.subject).filter(|wish| durable.rejection(wish, wish).is_some());
        durable.retried = durable.retried.take().or(obeyed);
        let live = self.seen.children.stateful_set.as_deref();
        durable.image = durable.image.take().or_else(|| children::resolved_image(live?));
    }
}

fn log_head(before: &ParamantRelayStatus, now: Timestamp) -> Option<LogHighWater> {
    let log = before.log.as_ref()?;
    let mark = LogMark { size: log.size?, root: log.root.as_ref()?.as_str().to_owned() };
    Some(LogHighWater { mark, at: log.checkpoint_at.as_ref().map_or(now, |at| at.0) })
}

fn control_key(before: &ParamantRelayStatus) -> Option<String> {
    Some(before.identity.as_ref()?.control_key.as_ref()?.as_str().to_owned())
}

fn rejections(before: &ParamantRelayStatus) -> Vec<Rejection> {
    let rejected = before.update.iter().flat_map(|update| &update.rejected);
    rejected.filter_map(rejection).collect()
}

/// Status names an image or a template, and does not say which: no two digests are alike, so it stands for both.
fn rejection(rejected: &Rejected) -> Option<Rejection> {
    let digest: crate::Digest = rejected.digest.as_str().parse().ok()?;
    Some(Rejection {
        template: digest.clone(),
        image: Some(digest),
        reason: rejected.reason.clone(),
        at: rejected.at.0,
    })
}
