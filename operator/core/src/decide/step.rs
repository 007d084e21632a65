//! The machine's part of a pass: what it looks at, and what its stored step allows.
//!
//! Only here do templates change and pods go, and only when this pass confirms the stored step.

use std::time::Duration;

use jiff::SignedDuration;
use paramant_crds::ParamantRelayStatus;
use paramant_protocol::control::{LogMark, RelayState};

use super::Pass;
use crate::children;
use crate::decision::{DeletedKind, Deletion};
use crate::digest::Digest;
use crate::drain;
use crate::durable::{Closes, Durable, LogHighWater, Rejection};
use crate::gate::Gates;
use crate::log_check::Continuity;
use crate::machine::{self, Act, Facts, PodFact, Probe, Roll, Step, Timing};
use crate::observation::Report;
use crate::pod::PodView;
use crate::rules::Rules;
use crate::status;
use crate::target::Desired;

/// How old the log's high-water mark may become while nothing else changes. Any shorter and a busy relay would write to
/// its resource for no reason but traffic; a mark that is an hour old still proves that nothing before it was lost.
const MARK_AGE: SignedDuration = SignedDuration::from_hours(1);

impl Pass<'_> {
    #[allow(clippy::too_many_arguments, reason = "each is another thing the machine looks at")]
    pub(super) fn facts(
        &self,
        durable: &Durable,
        desired: &Desired,
        rules: &Rules,
        gates: Gates,
        pod: &PodView<'_>,
        believed: Option<&RelayState>,
        continuity: &Continuity,
    ) -> Facts {
        let live = self.seen.children.stateful_set.as_deref();
        let rolled = durable.template.as_ref();
        let (resolved, taken) = (durable.image.as_ref(), durable.offers.taken.as_ref());
        let intent =
            rolled.map(|template| children::stateful_set(&self.subject, template, live, resolved, taken));
        let sealed = intent.as_ref().and_then(children::seal_of);
        let refused = self.seen.refused.as_ref().filter(|refused| {
            refused.kind == "StatefulSet" && sealed.is_some() && refused.sealed.as_deref() == sealed
        });
        let rolled_digest = rolled.map(Digest::of_json);
        let roll = status::stored_roll(&self.before, self.now);
        let rejected = desired.target().is_some_and(|target| {
            rolled_digest.as_ref() != Some(&target.template)
                && durable.rejection(&target.template, &target.image).is_some()
        });
        let grace =
            rolled.and_then(|template| template.pointer("/spec/terminationGracePeriodSeconds")?.as_u64());
        Facts {
            desired: desired.target().cloned(),
            last_good: durable.last_good.as_ref().map(Digest::of_json),
            rejected,
            pod_rejected: pod.image().is_some_and(|image| durable.rejection(&image, &image).is_some()),
            gates,
            closes: self.closes(durable, desired, rules, &roll, rolled_digest.as_ref()),
            pod: pod.fact(live, sealed),
            drain: drain::progress(
                self.report(pod),
                pod.uid(),
                &self.patience(durable, rules),
                &roll,
                self.now,
            ),
            probe: probe(self.report(pod), pod, believed, continuity),
            refused: refused.map(|refused| refused.message.clone()),
            rolled: rolled_digest,
            timing: Timing {
                drain: rules.deadline,
                health: rules.health,
                settle: rules.settle,
                grace: Duration::from_secs(grace.unwrap_or(600)),
            },
        }
    }

    /// Does what the stored step allows, if this pass confirms it. Only here do templates change and pods go.
    #[allow(clippy::too_many_arguments, reason = "each is another thing the step is judged by")]
    pub(super) fn step(
        &self,
        stored: &Roll,
        next: &Roll,
        facts: &Facts,
        desired: &Desired,
        rules: &Rules,
        pod: &PodView<'_>,
        believed: Option<&RelayState>,
        durable: &mut Durable,
    ) -> Option<Deletion> {
        self.reject(stored, next, facts, rules, durable);
        // The first template that serves is the first good one.
        let first_good = durable.last_good.is_none() && next.step == Step::Idle;
        let serves = matches!(facts.pod, PodFact::New { .. }) && pod.ready && facts.probe == Probe::Pass;
        if first_good && serves && believed.is_some() {
            durable.confirm();
        }
        if stored.step == Step::Replacing {
            self.obey_hurry(stored, durable);
        }
        if stored != next {
            return None;
        }
        match machine::act(stored, facts, self.now) {
            Act::Hold => None,
            Act::WriteTarget => {
                if let (Some(template), true) =
                    (desired.template(), desired.target() == stored.target.as_ref())
                {
                    durable.template = Some(template.clone());
                    let closes = stored.target.as_ref().zip(facts.closes);
                    durable.closes =
                        closes.map(|(target, at)| Closes { template: target.template.clone(), at });
                }
                None
            }
            Act::WriteLastGood => {
                durable.template.clone_from(&durable.last_good);
                None
            }
            Act::Confirm => {
                durable.confirm();
                None
            }
            Act::Delete { uid } => {
                Some(Deletion { kind: DeletedKind::Pod, name: self.subject.pod_name(), uid })
            }
        }
    }

    /// Whatever is being rolled back has failed; remembering it twice is remembering it once. The image is blamed only if a
    /// pod was made with it: a template that no StatefulSet took says nothing against it.
    fn reject(&self, stored: &Roll, next: &Roll, facts: &Facts, rules: &Rules, durable: &mut Durable) {
        let (Step::RollingBack, Some(target)) = (next.step, &next.target) else { return };
        if facts.last_good.as_ref() == Some(&target.template) {
            return;
        }
        if durable.fail(&target.template, next.since) < rules.max_attempts {
            return;
        }
        let good_image = durable.last_good.as_ref().and_then(children::image_digest);
        let ran = stored.step != Step::Replacing;
        durable.reject(Rejection {
            template: target.template.clone(),
            image: (ran && good_image.as_ref() != Some(&target.image)).then(|| target.image.clone()),
            reason: next.failure.clone().unwrap_or_else(|| "the new pod failed".into()),
            at: self.now,
        });
    }

    /// Records a higher log head on transitions, and otherwise now and then. Returns whether it did.
    pub(super) fn raise_mark(
        &self,
        durable: &mut Durable,
        next: &ParamantRelayStatus,
        believed: Option<&RelayState>,
        continuity: &Continuity,
    ) -> bool {
        let Some(state) = believed else { return false };
        let due = match (&durable.log, continuity) {
            (_, Continuity::Broken { .. } | Continuity::Unproven) => return false,
            // The mark of the retired log has done its service.
            (_, Continuity::Adopted) | (None, _) => true,
            (Some(high), _) if state.log.size <= high.mark.size => false,
            (Some(high), _) => {
                let was = |status: &ParamantRelayStatus| {
                    let drain = status.drain.as_ref().map(|drain| drain.state);
                    let update = status.update.as_ref().map(|update| update.step);
                    (status.phase, drain, update)
                };
                was(&self.before) != was(next) || self.now.duration_since(high.at) >= MARK_AGE
            }
        };
        if due {
            let origin = status::whole_origin(&state.log.origin);
            let mark = LogMark { origin, size: state.log.size, root: state.log.root.clone() };
            durable.log = Some(LogHighWater { mark, at: self.now });
        }
        due
    }
}

fn probe(
    report: &Report,
    pod: &PodView<'_>,
    believed: Option<&RelayState>,
    continuity: &Continuity,
) -> Probe {
    if matches!(report, Report::KeyChanged { .. }) {
        return Probe::Fail("the new pod shows another control key than the pinned one".into());
    }
    if pod.ready && matches!(report, Report::Unknown) {
        return Probe::Unasked;
    }
    match (believed, continuity) {
        (_, Continuity::Broken { found }) => Probe::Fail(found.clone()),
        (Some(state), Continuity::Continues | Continuity::Adopted) if pod.ready && state.ready => Probe::Pass,
        _ => Probe::Wait,
    }
}
