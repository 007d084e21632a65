//! `status.update`: what is wanted or offered, what is rolled, what ran well and what failed.

use paramant_crds::ParamantRelayStatus;
use paramant_crds::relay::{Rejected, Step, UpdateStatus, UpdateTarget};
use paramant_crds::text::{Digest as DigestText, HexHash};

use super::available::available;
use super::{cut, time};
use crate::children;
use crate::digest::Digest;
use crate::machine::Target;
use crate::offer::Followed;
use crate::situation::{Evidence, Situation};

pub(super) fn update(
    before: &ParamantRelayStatus,
    situation: &Situation,
    it: &Evidence<'_>,
) -> Option<UpdateStatus> {
    it.durable.template.as_ref()?;
    let roll = it.roll;
    let moving = roll.step != Step::Idle;
    let mut rejected: Vec<Rejected> = Vec::new();
    for rejection in &it.durable.rejected {
        let digest = DigestText::from(rejection.image.as_ref().unwrap_or(&rejection.template).as_str());
        rejected.retain(|earlier| earlier.digest != digest);
        rejected.push(Rejected { digest, reason: cut(&rejection.reason, 1024), at: time(rejection.at) });
    }
    Some(UpdateStatus {
        available: available(before, it),
        step: Some(roll.step),
        since: moving.then(|| time(roll.since)),
        target: roll.target.as_ref().filter(|_| moving).map(|target| UpdateTarget {
            digest: Some(DigestText::from(target.image.as_str())),
            template: Some(HexHash::from(target.template.hex())),
            sequence: followed(it, &target.image).map(|offer| offer.sequence),
        }),
        victim: roll.victim.clone().filter(|_| moving),
        attempt: roll.target.as_ref().filter(|_| moving).and_then(|target| attempt(it, target)),
        next_window: it.next_window.filter(|_| roll.step == Step::WaitingForWindow).map(time),
        blocked_by: situation.blocked.as_ref().map(|(reason, _)| (*reason).to_owned()),
        last_good: it
            .durable
            .last_good
            .as_ref()
            .and_then(children::image_digest)
            .map(|digest| DigestText::from(digest.as_str())),
        rejected,
    })
}

/// The offer that this image came as.
fn followed<'e>(it: &Evidence<'e>, image: &Digest) -> Option<&'e Followed> {
    let remembered = it.durable.offers.wanted.iter().chain(&it.durable.offers.taken);
    it.desired.offer().into_iter().chain(remembered).find(|offer| offer.digest == *image)
}

/// Which try this is, once it is not the first.
fn attempt(it: &Evidence<'_>, target: &Target) -> Option<u32> {
    let failed = it.durable.failed.as_ref().filter(|failed| failed.template == target.template)?;
    // While it is rolled back, the try that failed is the one that is shown.
    let next = u32::from(it.roll.step != Step::RollingBack);
    Some(failed.times.saturating_add(next))
}
