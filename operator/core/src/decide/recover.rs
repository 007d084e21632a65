//! The durable copy, rebuilt from the copies of it that others carry: status, and the live StatefulSet.
//!
//! Only when `-state` is not there at all: what it says, however little, is newer than any copy; but the log's mark is the
//! higher of the two, whichever was restored from a backup. A fence that fell with a deleted ConfigMap would be no fence.

use jiff::Timestamp;
use paramant_crds::ParamantRelayStatus;
use paramant_crds::relay::Rejected;
use paramant_protocol::control::{LogMark, LogReport};

use super::{Pass, retry_wish};
use crate::children;
use crate::durable::{Durable, LogHighWater, Rejection};
use crate::observation::Report;
use crate::offer::Offers;
use crate::status;

impl Pass<'_> {
    /// Takes what status and StatefulSet remember, where nothing else does.
    pub(super) fn recover(&self, durable: &mut Durable) {
        let before = &self.before;
        let reported = match &self.seen.report {
            Report::Reachable { state, .. } => Some(&state.log),
            _ => None,
        };
        durable.log = higher(durable.log.take(), log_head(before, self.now), reported);
        if durable.relay_uid.is_some() {
            return;
        }
        durable.control_key = durable.control_key.take().or_else(|| control_key(before));
        if durable.rejected.is_empty() {
            durable.rejected = rejections(before);
        }
        // A wish that stands beside its rejection was obeyed, and it failed again.
        let obeyed = retry_wish(&self.subject).filter(|wish| durable.rejection(wish, wish).is_some());
        durable.retried = durable.retried.take().or(obeyed);
        let live = self.seen.children.stateful_set.as_deref();
        durable.image = durable.image.take().or_else(|| children::resolved_image(live?));
        if durable.offers == Offers::default() {
            let runs = live.and_then(|live| children::image_digest(&children::live_template(live)));
            let taken = live.and_then(children::taken_offer);
            durable.offers.taken = taken.filter(|taken| runs.as_ref() == Some(&taken.digest));
        }
    }
}

fn log_head(before: &ParamantRelayStatus, now: Timestamp) -> Option<LogHighWater> {
    let log = before.log.as_ref()?;
    let root = log.root.as_ref()?.as_str().to_owned();
    let origin = log.origin.as_deref().and_then(status::whole_origin);
    let mark = LogMark { origin, size: log.size?, root };
    Some(LogHighWater { mark, at: log.checkpoint_at.as_ref().map_or(now, |at| at.0) })
}

/// The higher mark of one log. Of two logs the one in `-state` counts, since status may still show the one before an
/// adoption; unless the relay says that it is the other way round.
fn higher(
    kept: Option<LogHighWater>,
    shown: Option<LogHighWater>,
    reported: Option<&LogReport>,
) -> Option<LogHighWater> {
    let (Some(kept), Some(shown)) = (&kept, &shown) else { return kept.or(shown) };
    let shown_counts = match (&kept.mark.origin, &shown.mark.origin) {
        (Some(earlier), Some(later)) if earlier != later => {
            reported.is_some_and(|log| log.origin == *later && log.retired.contains(earlier))
        }
        _ => shown.mark.size > kept.mark.size,
    };
    Some(if shown_counts { shown } else { kept }.clone())
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
