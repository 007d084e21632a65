//! May the wanted image run at all: is it what its makers signed, and is there a way back from it?
//!
//! A registry is asked once for each digest and trust; the answer is kept in the durable copy, so that a registry that is lost
//! afterwards blocks nothing and a restart asks nothing. What runs already is never judged again, and what was good last may
//! always be put back.

use paramant_crds::ParamantRelayStatus;
use paramant_crds::condition::{RECONCILING, STALLED, UPDATE_BLOCKED};
use paramant_protocol::control::RelayState;

use super::Pass;
use crate::children;
use crate::conditions::find;
use crate::digest::Digest;
use crate::durable::{Durable, VerifiedImage};
use crate::gate::Gate;
use crate::release::{Inspect, Inspection, Release, Trust, Verdict};
use crate::rules::Rules;
use crate::target::Desired;
use crate::way_back::{self, Running};

/// An image may not run as it is.
pub(crate) const SIGNATURE_INVALID: &str = "SignatureInvalid";
/// A registry has no such image.
const IMAGE_NOT_FOUND: &str = "ImageNotFound";
/// A registry that must be asked does not answer.
pub(crate) const REGISTRY_UNAVAILABLE: &str = "RegistryUnavailable";
/// A registry is being asked.
pub(crate) const VERIFYING: &str = "Verifying";
/// The longest name of a release that status takes.
const VERSION: usize = 128;

/// Whose signatures count in this pass.
pub(super) struct InForce {
    pub(super) trust: Trust,
    pub(super) fingerprint: Digest,
}

impl InForce {
    pub(super) fn of(trust: Trust) -> Self {
        Self { fingerprint: trust.fingerprint(), trust }
    }
}

/// The answer is on its way.
pub(super) fn pending(desired: &Desired) -> Gate {
    let image = desired.target().map_or("the image", |target| target.image.short());
    Gate::Closed { reason: VERIFYING, message: format!("checking the signature of {image}"), until: None }
}

impl Pass<'_> {
    /// What must be known of the wanted image and is not yet.
    pub(super) fn question(
        &self,
        durable: &Durable,
        desired: &Desired,
        rules: &Rules,
        keys: &InForce,
    ) -> Option<Inspect> {
        let image = &desired.target()?.image;
        // Nothing is replaced while the policy is not in force, and nobody need be asked where nobody is trusted.
        let waits = rules.suspended.is_some() && durable.last_good.is_some();
        if waits || keys.trust.is_empty() {
            return None;
        }
        let known = durable.verified(image).is_some_and(|it| it.trust == keys.fingerprint);
        let parts = self.subject.spec.image.parts().filter(|_| !known)?;
        Some(Inspect {
            repository: format!("{}/{}", parts.registry, parts.repository),
            digest: image.clone(),
            trust: keys.trust.clone(),
        })
    }

    /// Remembers an answer that lets an image run. Says whether it is new.
    pub(super) fn learn(&self, durable: &mut Durable, question: Option<&Inspect>, keys: &InForce) -> bool {
        let Inspection::Answered { asked, release, signature } = &self.seen.inspection else { return false };
        let key = match signature {
            Verdict::Verified { key } => Some(key.chars().take(253).collect()),
            Verdict::Unsigned if keys.trust.allow_unsigned => None,
            Verdict::Unsigned | Verdict::Refused { .. } => return false,
        };
        if question != Some(asked) {
            return false;
        }
        let running = durable.template.as_ref().and_then(children::image_digest);
        let version = release.version.as_deref().map(|version| version.chars().take(VERSION).collect());
        let found = VerifiedImage {
            digest: asked.digest.clone(),
            trust: keys.fingerprint.clone(),
            key,
            release: Release { version, ..release.clone() },
            at: self.now,
        };
        durable.verify(found, running.as_ref());
        true
    }

    /// What is still to be asked. Of what runs already an answer is wanted for people only, so one is enough.
    pub(super) fn to_ask(&self, question: Option<Inspect>, durable: &Durable) -> Option<Inspect> {
        let question = question.filter(|question| {
            durable.verified(&question.digest).is_none_or(|it| it.trust != question.trust.fingerprint())
        })?;
        let running = durable.template.as_ref().and_then(children::image_digest);
        let answered = matches!(self.seen.inspection, Inspection::Answered { .. })
            && self.seen.inspection.asked() == Some(&question);
        (running.as_ref() != Some(&question.digest) || !answered).then_some(question)
    }

    /// Whether the wanted image may run.
    pub(super) fn verification(
        &self,
        durable: &Durable,
        desired: &Desired,
        rules: &Rules,
        keys: &InForce,
        believed: Option<&RelayState>,
    ) -> Gate {
        let Some(target) = desired.target() else { return Gate::Open };
        let image = &target.image;
        let running = durable.template.as_ref().and_then(children::image_digest);
        let good = durable.last_good.as_ref().and_then(children::image_digest);
        if [&running, &good].into_iter().any(|known| known.as_ref() == Some(image)) {
            return Gate::Open;
        }
        // With a policy that is not in force the next gate holds back. What never ran well does not come to that, and is
        // judged by the built-in policy.
        if rules.suspended.is_some() && good.is_some() {
            return Gate::Open;
        }
        if keys.trust.is_empty() {
            return Gate::Never {
                reason: SIGNATURE_INVALID,
                message: format!(
                    "{} may not run: no key is known that it could be signed with; name keys in spec.verification of the policy, or give the operator the release key",
                    image.short()
                ),
            };
        }
        match durable.verified(image).filter(|it| it.trust == keys.fingerprint) {
            Some(found) => self.way_back(durable, &found.release, image, rules, believed),
            None => self.unverified(image, rules, keys, durable, desired),
        }
    }

    fn way_back(
        &self,
        durable: &Durable,
        release: &Release,
        image: &Digest,
        rules: &Rules,
        believed: Option<&RelayState>,
    ) -> Gate {
        let running = durable.template.as_ref().and_then(children::image_digest);
        let reported = self.before.image.as_ref().and_then(|image| image.version.as_deref());
        let running = Running {
            data: durable.data,
            release: running.as_ref().and_then(|running| durable.verified(running)).map(|it| &it.release),
            version: believed.map(|state| state.version.as_str()).or(reported),
        };
        let pin = self.subject.spec.update.as_ref().and_then(|update| update.pin.as_ref());
        let pinned = pin.is_some_and(|pin| pin.as_str() == image.as_str());
        let known = pinned && durable.good_images.contains(image);
        way_back::gate(release, &running, known, rules)
    }

    fn unverified(
        &self,
        image: &Digest,
        rules: &Rules,
        keys: &InForce,
        durable: &Durable,
        desired: &Desired,
    ) -> Gate {
        let question = self.question(durable, desired, rules, keys);
        let answer =
            Some(&self.seen.inspection).filter(|it| it.asked().is_some() && it.asked() == question.as_ref());
        match answer {
            Some(Inspection::Answered { signature, .. }) => {
                let why = match signature {
                    Verdict::Refused { reason, .. } => reason.as_str(),
                    _ => "it is not signed",
                };
                let why: String = why.chars().take(600).collect();
                Gate::Never {
                    reason: SIGNATURE_INVALID,
                    message: format!(
                        "{} may not run: {why}; name an image that is signed by a key of the policy, or add its key to spec.verification.keys of the policy",
                        image.short()
                    ),
                }
            }
            Some(Inspection::NotFound { reason, .. }) => Gate::Never {
                reason: IMAGE_NOT_FOUND,
                message: format!("spec.image names no image that can be had: {reason}"),
            },
            Some(Inspection::Unavailable { reason, .. }) => Gate::Closed {
                reason: REGISTRY_UNAVAILABLE,
                message: format!(
                    "waiting for the registry, to check the signature of {}: {reason}",
                    image.short()
                ),
                until: None,
            },
            _ => self.said_before(&self.before).unwrap_or_else(|| pending(desired)),
        }
    }

    /// A new leader repeats what was said of this very spec until the registry has answered it.
    fn said_before(&self, before: &ParamantRelayStatus) -> Option<Gate> {
        let generation = self.seen.relay.metadata.generation;
        let said = [STALLED, UPDATE_BLOCKED, RECONCILING]
            .into_iter()
            .filter_map(|type_| find(&before.conditions, type_))
            .find(|it| {
                it.status == "True"
                    && it.observed_generation == generation
                    && [SIGNATURE_INVALID, IMAGE_NOT_FOUND, REGISTRY_UNAVAILABLE]
                        .contains(&it.reason.as_str())
            })?;
        let message = said.message.clone();
        Some(match said.reason.as_str() {
            SIGNATURE_INVALID => Gate::Never { reason: SIGNATURE_INVALID, message },
            IMAGE_NOT_FOUND => Gate::Never { reason: IMAGE_NOT_FOUND, message },
            _ => Gate::Closed { reason: REGISTRY_UNAVAILABLE, message, until: None },
        })
    }
}
