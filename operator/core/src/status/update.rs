//! `status.update` and the condition `UpdateAvailable`: what is wanted, what is rolled, what ran well and what failed.

use paramant_crds::condition::UPDATE_AVAILABLE;
use paramant_crds::relay::{AvailableUpdate, Rejected, Step, UpdateStatus, UpdateTarget};
use paramant_crds::text::{Digest as DigestText, HexHash};

use super::{cut, time};
use crate::children;
use crate::conditions::Conditions;
use crate::machine::Target;
use crate::situation::{Evidence, Situation};

pub(super) fn update(situation: &Situation, it: &Evidence<'_>) -> Option<UpdateStatus> {
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
        available: available(it),
        step: Some(roll.step),
        since: moving.then(|| time(roll.since)),
        target: roll.target.as_ref().filter(|_| moving).map(|target| UpdateTarget {
            digest: Some(DigestText::from(target.image.as_str())),
            template: Some(HexHash::from(target.template.hex())),
            sequence: None,
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

/// The image that the spec wants, if another runs.
fn available(it: &Evidence<'_>) -> Option<AvailableUpdate> {
    let wanted = it.desired.target()?;
    let running = children::image_digest(it.durable.template.as_ref()?);
    let release = it.durable.verified(&wanted.image).map(|found| &found.release);
    (running.as_ref() != Some(&wanted.image)).then(|| AvailableUpdate {
        version: release.and_then(|release| release.version.as_deref()).map(|version| cut(version, 128)),
        digest: Some(DigestText::from(wanted.image.as_str())),
        sequence: None,
        offered_at: None,
    })
}

/// Which try this is, once it is not the first.
fn attempt(it: &Evidence<'_>, target: &Target) -> Option<u32> {
    let failed = it.durable.failed.as_ref().filter(|failed| failed.template == target.template)?;
    // While it is rolled back, the try that failed is the one that is shown.
    let next = u32::from(it.roll.step != Step::RollingBack);
    Some(failed.times.saturating_add(next))
}

pub(super) fn say_available(conditions: &mut Conditions<'_>, it: &Evidence<'_>) {
    if it.durable.template.is_none() || it.desired.target().is_none() {
        let why = "it is not known yet which digest the spec wants";
        return conditions.keep(UPDATE_AVAILABLE, "NotKnown", why);
    }
    match available(it) {
        Some(update) => {
            let digest = update.digest.as_ref().map_or("", DigestText::as_str);
            let message = match &update.version {
                Some(version) => format!("the spec wants release {version} ({digest}), and another runs"),
                None => format!("the spec wants {digest}, and another runs"),
            };
            conditions.say(UPDATE_AVAILABLE, true, "UpdateAvailable", message);
        }
        None => conditions.say(UPDATE_AVAILABLE, false, "UpToDate", "the release that the spec wants runs"),
    }
}
