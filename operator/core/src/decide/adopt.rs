//! What is believed: the durable copy, rebuilt where it is missing, and the relay's words, where it may be believed.

use paramant_protocol::control::RelayState;
use serde_json::Value;

use super::Pass;
use crate::children;
use crate::covers::covers;
use crate::digest::Digest;
use crate::durable::{Durable, Volume};
use crate::kept::Kept;
use crate::log_check::Continuity;
use crate::observation::Report;
use crate::offer::Offers;
use crate::pod::PodView;
use crate::situation::Hold;
use crate::target;

impl Pass<'_> {
    /// A relay made again over what an earlier one left continues its log, its key and its rejections, not its template; and
    /// log and key only as long as its volume may be the earlier one's.
    pub(super) fn adopt_identity(&self, durable: &mut Durable, pod: &PodView<'_>) {
        let uid = self.subject.uid;
        if self.begins_anew(durable) {
            durable.log = None;
            durable.identity = None;
            durable.control_key = None;
            durable.volume = None;
            durable.data = None;
        }
        if durable.relay_uid.as_deref().is_some_and(|earlier| earlier != uid) {
            durable.template = None;
            durable.last_good = None;
            durable.directives = None;
            durable.offers = Offers::default();
            durable.approved = None;
            durable.hurried = None;
            durable.failed = None;
            durable.closes = None;
            // Whose log it is must be judged again: a copy of that relay may have come up in the meantime.
            durable.identity = None;
        }
        durable.relay_uid = Some(uid.to_owned());
        match &self.seen.report {
            Report::Reachable { state, pod_uid, .. }
                if durable.control_key.is_none() && pod.uid() == Some(pod_uid) =>
            {
                durable.control_key = Some(state.identity.control_spki_sha256.clone());
            }
            Report::KeyChanged { found, .. } => {
                let annotations = self.seen.relay.metadata.annotations.as_ref();
                if annotations.and_then(|all| all.get(crate::ACCEPT_CONTROL_KEY)) == Some(found) {
                    durable.control_key = Some(found.clone());
                }
            }
            _ => {}
        }
    }

    /// Relay and claim are both others than those the memory is about. A claim that was swapped under a living relay is no
    /// such case: there the log broke, and a person must know.
    fn begins_anew(&self, durable: &Durable) -> bool {
        let (Some(known), Some(claim_uid)) = (&durable.volume, self.claim_uid()) else { return false };
        known.relay_uid != self.subject.uid && known.claim_uid != claim_uid
    }

    fn claim_uid(&self) -> Option<&str> {
        self.seen.children.claim.as_deref()?.metadata.uid.as_deref()
    }

    /// The relay showed its key and continues its log: what is remembered of them is about this volume.
    pub(super) fn remember_volume(
        &self,
        durable: &mut Durable,
        believed: Option<&RelayState>,
        continuity: &Continuity,
    ) {
        if let (Some(_), Continuity::Continues | Continuity::Adopted, Some(claim_uid)) =
            (believed, continuity, self.claim_uid())
        {
            durable.volume =
                Some(Volume { claim_uid: claim_uid.to_owned(), relay_uid: self.subject.uid.to_owned() });
        }
    }

    /// The relay said whose log this is, the log continues what was seen, and nobody else has it: now it may be signed. Before
    /// that the relay waits, or a copy of it could sign until its twin is noticed.
    pub(super) fn judge_identity(
        &self,
        durable: &mut Durable,
        believed: Option<&RelayState>,
        continuity: &Continuity,
        hold: Option<&Hold>,
    ) {
        let rival = matches!(hold, Some(Hold::Rival(_)));
        if let (Some(state), Continuity::Continues | Continuity::Adopted, false) =
            (believed, continuity, rival)
        {
            durable.identity = Some(state.identity.fingerprint.chars().take(64).collect());
        }
    }

    /// The rolled template, where none is remembered: of a StatefulSet that exists it is what that has; nothing runs yet
    /// otherwise, and it is what the spec wants, as soon as that may run.
    pub(super) fn adopt_template(&self, durable: &mut Durable, wanted: Option<&Value>, may_install: bool) {
        let installed = wanted.filter(|_| may_install);
        match (&durable.template, self.seen.children.stateful_set.as_deref()) {
            (None, Some(live)) => {
                let live = children::live_template(live);
                let same = wanted.filter(|wanted| covers(wanted, &live));
                let live = same.cloned().unwrap_or(live);
                durable.last_good = durable.last_good.take().or_else(|| self.good_before(&live));
                durable.know_good();
                durable.template = Some(live);
            }
            (None, None) => durable.template = installed.cloned(),
            // Applying never succeeded, or somebody removed a StatefulSet that never served.
            (Some(_), None) if durable.last_good.is_none() && self.seen.children.pods.is_empty() => {
                if let Some(installed) = installed {
                    durable.template = Some(installed.clone());
                }
            }
            (Some(_), _) => {}
        }
    }

    /// What was good last, as status says it: what lives, or that with another image. A roll whose memory is lost must still be
    /// able to go back.
    fn good_before(&self, live: &Value) -> Option<Value> {
        let good = self.before.update.as_ref()?.last_good.as_ref()?;
        let good: Digest = good.as_str().parse().ok()?;
        if children::image_digest(live).as_ref() == Some(&good) {
            return Some(live.clone());
        }
        Some(target::with_image(&self.subject, self.seen, live, &good))
    }

    /// The relay's own words, if this pod said them with the pinned key.
    pub(super) fn believed<'s>(&'s self, durable: &Durable, pod: &PodView<'_>) -> Option<&'s RelayState> {
        match &self.seen.report {
            Report::Reachable { state, pod_uid, .. } => {
                let same_pod = pod.uid() == Some(pod_uid.as_str());
                let same_key =
                    durable.control_key.as_deref() == Some(state.identity.control_spki_sha256.as_str());
                (same_pod && same_key).then_some(state)
            }
            _ => None,
        }
    }

    /// What was said before of a ready pod that was not asked yet. A key that a person has just agreed to is news.
    pub(super) fn kept(&self, pod: &PodView<'_>) -> Option<Kept<'_>> {
        let agreed = matches!(
            &self.seen.report,
            Report::KeyChanged { pod_uid, .. } if pod.uid() == Some(pod_uid)
        );
        let unasked = pod.ready && !agreed && matches!(self.report(pod), Report::Unknown);
        unasked.then(|| Kept::of(&self.before))
    }

    /// The report, unless it is about a pod that is gone.
    pub(super) fn report(&self, pod: &PodView<'_>) -> &Report {
        match &self.seen.report {
            Report::Reachable { pod_uid, .. } | Report::KeyChanged { pod_uid, .. }
                if pod.uid() != Some(pod_uid) =>
            {
                &Report::Unknown
            }
            Report::KeyChanged { found, .. } => {
                let annotations = self.seen.relay.metadata.annotations.as_ref();
                let agreed = annotations.and_then(|all| all.get(crate::ACCEPT_CONTROL_KEY)) == Some(found);
                if agreed { &Report::Unknown } else { &self.seen.report }
            }
            report => report,
        }
    }
}
