//! The three gates of the machine for what is wanted now, and the person's words that open them.

use jiff::{SignedDuration, Timestamp};
use paramant_crds::annotation::UPDATE_NOW;
use paramant_crds::condition::UPDATE_BLOCKED;
use paramant_crds::policy::Overrun;
use paramant_protocol::control::RelayState;

use super::Pass;
use super::verify::InForce;
use crate::change::Change;
use crate::children;
use crate::conditions::find;
use crate::digest::Digest;
use crate::drain::{Patience, longest_wait};
use crate::durable::Durable;
use crate::gate::{Gate, Gates};
use crate::machine::{Roll, Step, Target};
use crate::observation::Report;
use crate::pod::PodView;
use crate::rules::{AWAITING, Asked, Rules};
use crate::status;
use crate::target::Desired;

/// How soon the gate is asked again while files in memory close it.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(30);

impl Pass<'_> {
    /// Sees the approval and the annotation as they are now, before anything is judged by them.
    pub(super) fn hear(&self, durable: &mut Durable, rules: &Rules, keys: &InForce) {
        // Under a policy that is not in force nobody knows which keys an approval is about.
        if rules.suspended.is_none() {
            let wish = self.subject.spec.update.as_ref().and_then(|update| update.approve.as_ref());
            let digest = wish.and_then(|wish| wish.digest.as_str().parse::<Digest>().ok());
            let wish = digest.as_ref().zip(wish).map(|(digest, wish)| (digest, wish.sequence));
            durable.approve(wish, &keys.fingerprint);
        }
        if self.update_now().is_none() {
            durable.hurried = None;
        }
    }

    /// The gates between the rolled template and the wanted one.
    pub(super) fn gates(
        &self,
        durable: &Durable,
        desired: &Desired,
        rules: &Rules,
        keys: &InForce,
        pod: &PodView<'_>,
        believed: Option<&RelayState>,
    ) -> Gates {
        let Desired::Known { target, change, .. } = desired else { return Gates::OPEN };
        let good = durable.last_good.as_ref().map(Digest::of_json);
        let rolled = durable.template.as_ref().map(Digest::of_json);
        if good.as_ref() == Some(&target.template) && rolled != good {
            // The way back is open at any hour.
            return Gates::OPEN;
        }
        let back = *change == Change::Image && self.is_known_way_back(&target.image, durable);
        let hurried = back || self.hurries(target, durable);
        let asked = Asked {
            change: *change,
            image: &target.image,
            version: durable.verified(&target.image).and_then(|it| it.release.version.as_deref()),
            written: hurried || self.is_written(&target.image),
            tier: self.tier(believed),
            offer: desired.offer().map(|offer| offer.sequence),
            waits: self.waits_for_a_person(target),
            trust: &keys.fingerprint,
            approved: durable.approved.as_ref(),
            relay: (self.subject.namespace, self.subject.name),
        };
        Gates {
            verification: self.verification(durable, desired, rules, keys, believed),
            approval: rules.approval_gate(&asked),
            window: match hurried {
                true => Gate::Open,
                false => self.unhurried(target, self.window_gate(*change, durable, rules, pod, believed)),
            },
        }
    }

    /// The window gate; files in memory that wait for their receivers make the step as long as they may wait.
    fn window_gate(
        &self,
        change: Change,
        durable: &Durable,
        rules: &Rules,
        pod: &PodView<'_>,
        believed: Option<&RelayState>,
    ) -> Gate {
        let gate = rules.window_gate(change, self.now, rules.step());
        if !gate.is_open() || !self.may_hold_files(durable, pod, believed) {
            return gate;
        }
        let step = rules.step_in_memory(longest_wait(self.subject.spec));
        // They may be fetched at any moment, and no event tells of it.
        let soon = self.now.checked_add(LOOK_AGAIN).ok();
        match rules.window_gate(change, self.now, step) {
            Gate::Never { .. } => Gate::Closed {
                reason: "FilesInMemory",
                message: "files in memory may wait for their receivers for longer than any window of the policy: the update starts once all are fetched; or lengthen a window, shorten spec.limits.maxTtl, say update-now, or let them be lost by the policy's drain.onDeadline: Proceed and updates.acceptLoss: true".into(),
                until: soon,
            },
            Gate::Closed { reason, message, .. } => Gate::Closed { reason, message, until: soon },
            Gate::Open => Gate::Open,
        }
    }

    /// The pod's memory may hold files that somebody can still fetch, or will when an upload ends.
    fn may_hold_files(&self, durable: &Durable, pod: &PodView<'_>, believed: Option<&RelayState>) -> bool {
        if !self.in_memory(durable) || !pod.ready {
            return false;
        }
        let longest = longest_wait(self.subject.spec);
        match (believed, self.report(pod)) {
            (Some(state), Report::Reachable { .. }) => state.drain.unclaimed > 0 || state.drain.uploads > 0,
            (_, Report::Unreachable { since, .. }) => {
                self.now.duration_since(*since)
                    < SignedDuration::try_from(longest).unwrap_or(SignedDuration::MAX)
            }
            _ => true,
        }
    }

    /// A closed gate, with a word on an annotation that was meant to open it and names another image.
    fn unhurried(&self, target: &Target, gate: Gate) -> Gate {
        match (gate, self.update_now()) {
            (Gate::Closed { reason, message, until }, Some(named)) if named != target.image => {
                let message = format!(
                    "{message} (the annotation {UPDATE_NOW} names {}, and what waits is {})",
                    named.short(),
                    target.image.short()
                );
                Gate::Closed { reason, message, until }
            }
            (gate, _) => gate,
        }
    }

    /// Whether the first template may be written: there is no window and no approval to what serves nobody yet.
    pub(super) fn may_install(
        &self,
        durable: &Durable,
        desired: &Desired,
        rules: &Rules,
        keys: &InForce,
    ) -> bool {
        self.verification(durable, desired, rules, keys, None).is_open()
    }

    /// When the window closes in which a roll began, under a policy that wants it to be over by then.
    pub(super) fn closes(
        &self,
        durable: &Durable,
        desired: &Desired,
        rules: &Rules,
        roll: &Roll,
        rolled: Option<&Digest>,
    ) -> Option<Timestamp> {
        if rules.overrun == Overrun::Finish {
            return None;
        }
        let written = roll.target.as_ref().is_some_and(|target| rolled == Some(&target.template));
        match roll.step {
            Step::Draining | Step::Replacing if !written => {
                rules.window_closes(desired.change()?, roll.since)
            }
            Step::Replacing | Step::Probing => {
                durable.closes.as_ref().filter(|it| Some(&it.template) == rolled).map(|it| it.at)
            }
            _ => None,
        }
    }

    /// How long a drain may wait for what.
    pub(super) fn patience(&self, durable: &Durable, rules: &Rules) -> Patience {
        Patience::of(rules, self.in_memory(durable), longest_wait(self.subject.spec))
    }

    /// The pod that runs keeps files in its memory.
    pub(super) fn in_memory(&self, durable: &Durable) -> bool {
        let running = durable.template.as_ref().and_then(children::static_settings);
        running.is_some_and(|it| it.payload == "Memory")
    }

    /// The word that opened the window has had its effect.
    pub(super) fn obey_hurry(&self, stored: &Roll, durable: &mut Durable) {
        if let Some(target) = stored.target.as_ref().filter(|target| self.hurries(target, durable)) {
            durable.hurried = Some(target.image.clone());
        }
    }

    /// A person is asked about this target already.
    fn waits_for_a_person(&self, target: &Target) -> bool {
        let stored = status::stored_roll(&self.before, self.now);
        let said = find(&self.before.conditions, UPDATE_BLOCKED).map(|it| it.reason.as_str());
        stored.step == Step::WaitingForApproval
            && stored.target.as_ref() == Some(target)
            && said == Some(AWAITING)
    }

    fn hurries(&self, target: &Target, durable: &Durable) -> bool {
        self.update_now().is_some_and(|now| now == target.image && durable.hurried.as_ref() != Some(&now))
    }

    fn update_now(&self) -> Option<Digest> {
        self.seen.relay.metadata.annotations.as_ref()?.get(UPDATE_NOW)?.trim().parse().ok()
    }

    /// A person holds the relay at an image that ran well here: that is the way back, which is open at any hour.
    fn is_known_way_back(&self, image: &Digest, durable: &Durable) -> bool {
        let pinned = self.subject.spec.update.as_ref().and_then(|update| update.pin.as_ref());
        pinned.is_some_and(|pin| pin.as_str() == image.as_str()) && durable.good_images.contains(image)
    }

    /// A person wrote this digest into the spec as what shall run.
    fn is_written(&self, image: &Digest) -> bool {
        let spec = self.subject.spec;
        let named = spec.image.parts().and_then(|parts| parts.digest);
        let pinned = spec.update.as_ref().and_then(|update| update.pin.as_ref());
        [named.as_ref(), pinned].into_iter().flatten().any(|it| it.as_str() == image.as_str())
    }
}
