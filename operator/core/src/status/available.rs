//! `status.update.available` and the condition `UpdateAvailable`: what is wanted and does not run yet, or else what is offered.
//!
//! An offer that the policy leaves to people is shown with the command that takes it. While the relay is not heard, what was shown
//! of an offer stays.

use paramant_crds::ParamantRelayStatus;
use paramant_crds::condition::UPDATE_AVAILABLE;
use paramant_crds::relay::AvailableUpdate;
use paramant_crds::text::Digest as DigestText;

use super::{cut, time};
use crate::children::{self, Subject};
use crate::conditions::{Conditions, find};
use crate::offer::Offer;
use crate::situation::Evidence;

/// Something newer is offered, and nothing is done about it by itself.
const OFFERED: &str = "Offered";
/// The vendor says that nobody should run what runs.
pub(crate) const RECALLED: &str = "RunningRecalled";

/// The image that is wanted, if another runs; else what is offered.
pub(super) fn available(before: &ParamantRelayStatus, it: &Evidence<'_>) -> Option<AvailableUpdate> {
    let wanted = it.desired.target()?;
    let running = children::image_digest(it.durable.template.as_ref()?)?;
    if wanted.image != running {
        let release = it.durable.verified(&wanted.image).and_then(|found| found.release.version.as_deref());
        let offer = it.desired.offer();
        return Some(AvailableUpdate {
            version: release.or(offer.map(|it| it.version.as_str())).map(|version| cut(version, 128)),
            digest: Some(DigestText::from(wanted.image.as_str())),
            sequence: offer.map(|it| it.sequence),
            offered_at: offer.map(|it| time(it.offered_at)),
        });
    }
    if it.believed.is_none() {
        let shown = before.update.as_ref().and_then(|update| update.available.clone());
        let other =
            |it: &AvailableUpdate| it.digest.as_ref().is_some_and(|it| it.as_str() != running.as_str());
        return shown.filter(|it| it.sequence.is_some() && other(it));
    }
    shown_offer(it).map(|offer| AvailableUpdate {
        version: Some(offer.version.clone()),
        digest: Some(DigestText::from(offer.digest.as_str())),
        sequence: Some(offer.sequence),
        offered_at: Some(time(offer.offered_at)),
    })
}

/// The offer that stands, if it is newer than what runs.
fn shown_offer<'e>(it: &Evidence<'e>) -> Option<&'e Offer> {
    let running = children::image_digest(it.durable.template.as_ref()?)?;
    let labelled = it.durable.verified(&running).and_then(|found| found.release.version.as_deref());
    let version = labelled.or(it.believed.map(|state| state.version.as_str()));
    it.standing.filter(|offer| offer.is_worth_showing(&running, version))
}

/// Says `UpdateAvailable` of what `status.update.available` will be.
pub(super) fn say(
    conditions: &mut Conditions<'_>,
    subject: &Subject<'_>,
    before: &ParamantRelayStatus,
    it: &Evidence<'_>,
    update: Option<&AvailableUpdate>,
) {
    let running = it.durable.template.as_ref().and_then(children::image_digest);
    let (Some(running), Some(wanted)) = (running, it.desired.target()) else {
        let why = "it is not known yet which digest the spec wants";
        return conditions.keep(UPDATE_AVAILABLE, "NotKnown", why);
    };
    let said = find(&before.conditions, UPDATE_AVAILABLE).map(|it| it.reason.as_str());
    if it.believed.is_none() && wanted.image == running && matches!(said, Some(OFFERED | RECALLED)) {
        return conditions.keep(UPDATE_AVAILABLE, "NotKnown", "the relay has not reported yet");
    }
    let (reason, message) = match (update, wanted.image != running) {
        (None, _) => ("UpToDate", "the release that is wanted runs".to_owned()),
        (Some(update), true) => ("UpdateAvailable", wanted_words(update)),
        (Some(update), false) => (OFFERED, offered_words(update, subject, it)),
    };
    let recalled = it.standing.is_some_and(|offer| offer.recalls(&running));
    let (reason, message) = match recalled {
        true => (
            RECALLED,
            format!(
                "{message}; the vendor has recalled what runs ({running}): nobody should run it any more"
            ),
        ),
        false => (reason, message),
    };
    conditions.say(UPDATE_AVAILABLE, update.is_some(), reason, message);
}

fn wanted_words(update: &AvailableUpdate) -> String {
    let release = named(update);
    match update.sequence {
        Some(sequence) => format!("offer {sequence}, {release}, is followed, and another runs"),
        None => format!("the spec wants {release}, and another runs"),
    }
}

/// An offer that nobody follows by itself, why, and how to take it.
fn offered_words(update: &AvailableUpdate, subject: &Subject<'_>, it: &Evidence<'_>) -> String {
    let sequence = update.sequence.unwrap_or_default();
    let digest = update.digest.as_ref().map_or("", DigestText::as_str);
    let offered = format!("the vendor offers {} (offer {sequence})", named(update));
    let failed =
        it.durable.rejected.iter().find(|it| it.image.as_ref().is_some_and(|image| image.as_str() == digest));
    if let Some(failed) = failed {
        let why = cut(&failed.reason, 300);
        return format!(
            "{offered}, which failed here before ({why}); spec.update.retry with its digest lets it be tried again"
        );
    }
    let why = match (&subject.spec.channel, it.by_hand) {
        (None, _) => "spec.channel is absent, so offers are not followed",
        (Some(_), true) => "as the policy stands it is for a person to take",
        (Some(_), false) => "it is not followed, for what runs is held, or cannot be compared with it",
    };
    let take = subject.spec.image.parts().map_or_else(String::new, |parts| {
        let patch = format!(r#"{{"spec":{{"image":"{}/{}@{digest}"}}}}"#, parts.registry, parts.repository);
        format!(
            ": kubectl -n {} patch prelay {} --type merge --field-manager=paramant-admin -p '{patch}'",
            subject.namespace, subject.name
        )
    });
    format!("{offered}; {why}{take}")
}

fn named(update: &AvailableUpdate) -> String {
    let digest = update.digest.as_ref().map_or("", DigestText::as_str);
    match &update.version {
        Some(version) => format!("release {version} ({digest})"),
        None => digest.to_owned(),
    }
}
