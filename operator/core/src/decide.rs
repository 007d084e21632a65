//! One pass over one relay: from what is seen to what shall be done.
//!
//! The order here is the order of trust: what is durable, what the spec wants, what the machine may do, what the children
//! are, what the relay is told, what people read. A disruptive act needs a stored step that this very pass confirms; all
//! else is re-sending what already is, and is left out where the live object covers it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use paramant_crds::ParamantRelayStatus;
use paramant_crds::annotation::PAUSED;
use paramant_protocol::control::{AdminReport, DirectivesMark, RelayState};
use serde_json::Value;

use crate::children::{self, Subject};
use crate::covers::{Quantity, covers};
use crate::decision::{Decision, DeletedKind, Deletion, ImageRef};
use crate::digest::Digest;
use crate::drain;
use crate::durable::{Durable, LogHighWater, Rejection};
use crate::events::events;
use crate::log_check::{Continuity, continuity};
use crate::machine::{self, Act, Facts, PodFact, Probe, Roll, Step, Timing};
use crate::observation::{Children, Context, Observation, Report};
use crate::pod::PodView;
use crate::rivals;
use crate::rules::Rules;
use crate::situation::{Evidence, Hold};
use crate::status::{self, whole_seconds};
use crate::target::Desired;
use crate::validation;

/// How often a relay at rest is looked at again. The watches bring every change before; this only heals what they missed.
const RESYNC: Duration = Duration::from_secs(10 * 60);
/// How old the log's high-water mark may become while nothing else changes. Any shorter and a busy relay would write to
/// its resource for no reason but traffic; a mark that is an hour old still proves that nothing before it was lost.
const MARK_AGE: SignedDuration = SignedDuration::from_hours(1);

/// Decides. Total: it has an answer for everything an API server could return.
pub fn decide(seen: &Observation, context: &Context, now: Timestamp) -> Decision {
    let now = whole_seconds(now);
    let before = seen.relay.status.clone().unwrap_or_default();
    let Some(subject) = Subject::of(&seen.relay) else { return at_rest(before) };
    let stored = Durable::read(seen.children.state.as_deref());
    if seen.relay.metadata.deletion_timestamp.is_some() {
        // Children go with the owner references; the relay learns that its log ends here.
        let directives = Some(drain::farewell(&stored, subject.uid, context.epoch));
        return Decision { directives, ..at_rest(before) };
    }
    Pass { seen, context, subject, before, now }.run(stored)
}

/// Nothing to do.
fn at_rest(status: ParamantRelayStatus) -> Decision {
    Decision {
        status,
        state: None,
        directives: None,
        apply: Vec::new(),
        delete: Vec::new(),
        resolve: None,
        events: Vec::new(),
        requeue: RESYNC,
    }
}

struct Pass<'a> {
    seen: &'a Observation,
    context: &'a Context,
    subject: Subject<'a>,
    before: ParamantRelayStatus,
    now: Timestamp,
}

impl Pass<'_> {
    fn run(self, mut durable: Durable) -> Decision {
        let Self { seen, ref subject, ref before, now, .. } = self;
        let children = &seen.children;
        let rules = Rules::of(&seen.policy);
        let hold = self.hold();

        self.adopt_identity(&mut durable);
        let desired = Desired::of(subject, seen, &mut durable);
        if hold.is_none() {
            durable.retry(retry_wish(subject).as_ref());
            self.adopt_template(&mut durable, &desired);
        }

        let ready_before = crate::conditions::find(&before.conditions, paramant_crds::condition::READY);
        let said_before = ready_before.map(|ready| ready.reason.as_str());
        let pod = PodView::of(children, &subject.pod_name(), said_before, now);
        let believed = self.believed(&durable, &pod);
        let continuity = believed.map_or(Continuity::Unproven, |state| {
            continuity(durable.log.as_ref().map(|log| &log.mark), &state.log)
        });

        let facts = self.facts(&durable, &desired, &rules, &pod, believed, &continuity);
        let stored_roll = status::stored_roll(before, now);
        let roll = match hold {
            Some(_) => stored_roll.clone(),
            None => machine::next(&stored_roll, &facts, now),
        };
        let delete_pod = match hold {
            Some(_) => None,
            None => self.step(&stored_roll, &roll, &facts, &desired, &pod, believed, &mut durable),
        };

        let unexposable = self.unexposable();
        let admin_missing = self.admin_missing(&durable, believed);
        let intents = self.intents(&durable, hold.as_ref());
        // A refusal counts as long as the very same intent is what would be applied next.
        let refused = seen.refused.as_ref().filter(|refused| {
            intents.iter().any(|intent| {
                intent.get("kind").and_then(Value::as_str) == Some(refused.kind.as_str())
                    && children::seal_of(intent) == refused.sealed.as_deref()
            })
        });
        let nothing = Durable::default();
        let evidence = Evidence {
            hold: hold.as_ref(),
            pod: &pod,
            report: self.report(&pod),
            believed,
            continuity: &continuity,
            durable: &nothing,
            roll: &roll,
            facts: &facts,
            desired: &desired,
            refused,
            admin_missing: admin_missing.as_deref(),
            unexposable: unexposable.as_deref(),
        };
        let mut next = status::status(subject, seen, &Evidence { durable: &durable, ..evidence }, now);
        if self.raise_mark(&mut durable, &next, believed, &continuity) {
            next = status::status(subject, seen, &Evidence { durable: &durable, ..evidence }, now);
        }

        let directives = self.directives(&mut durable, &rules, &roll, &facts, hold.as_ref(), believed);
        // Also after a refusal: whoever keeps the registry may still push what is missing. The asker paces itself.
        let unresolved = matches!(desired, Desired::Unresolved(_));
        let wakes = [machine::wake(&roll, &facts), drain::renewal(&roll, &rules, &facts.timing, now)];
        Decision {
            events: events(before, &next),
            status: next,
            state: Some(children::state(subject, &durable))
                .filter(|intent| !is_covered(intent, live(children.state.as_deref()))),
            directives: Some(directives),
            apply: intents,
            delete: delete_pod
                .or_else(|| self.outgrown(&roll).filter(|_| hold.is_none()))
                .into_iter()
                .chain(self.surplus(hold.as_ref()))
                .collect(),
            resolve: unresolved.then(|| ImageRef(subject.spec.image.as_str().to_owned())),
            requeue: requeue(wakes.into_iter().flatten().min(), now),
        }
    }

    /// Why nothing but reporting is done.
    fn hold(&self) -> Option<Hold> {
        let annotations = self.seen.relay.metadata.annotations.as_ref();
        if annotations.and_then(|all| all.get(PAUSED)).is_some_and(|value| value == "true") {
            return Some(Hold::Paused);
        }
        if let Some(problem) = validation::relay_problem(&self.seen.relay) {
            return Some(Hold::Invalid(problem));
        }
        rivals::refusal(&self.seen.relay, &self.seen.rivals).map(Hold::Rival)
    }

    /// A relay made again over what an earlier one left continues its log, its key and its rejections, not its template.
    fn adopt_identity(&self, durable: &mut Durable) {
        let uid = self.subject.uid;
        if durable.relay_uid.as_deref().is_some_and(|earlier| earlier != uid) {
            durable.template = None;
            durable.last_good = None;
            durable.directives = None;
        }
        durable.relay_uid = Some(uid.to_owned());
        match &self.seen.report {
            Report::Reachable { state, .. } if durable.control_key.is_none() => {
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

    /// The rolled template, where none is remembered: of a StatefulSet that exists it is what that has; nothing runs yet
    /// otherwise, and it is what the spec wants.
    fn adopt_template(&self, durable: &mut Durable, desired: &Desired) {
        match (&durable.template, self.seen.children.stateful_set.as_deref()) {
            (None, Some(live)) => {
                let live = children::live_template(live);
                let same = desired.template().filter(|wanted| covers(wanted, &live));
                durable.template = Some(same.cloned().unwrap_or(live));
            }
            (None, None) => durable.template = desired.template().cloned(),
            // Applying never succeeded, or somebody removed a StatefulSet that never served.
            (Some(_), None) if durable.last_good.is_none() && self.seen.children.pods.is_empty() => {
                if let Some(wanted) = desired.template() {
                    durable.template = Some(wanted.clone());
                }
            }
            (Some(_), _) => {}
        }
    }

    /// The relay's own words, if this pod said them with the pinned key.
    fn believed<'s>(&'s self, durable: &Durable, pod: &PodView<'_>) -> Option<&'s RelayState> {
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

    /// The report, unless it is about a pod that is gone.
    fn report(&self, pod: &PodView<'_>) -> &Report {
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

    fn facts(
        &self,
        durable: &Durable,
        desired: &Desired,
        rules: &Rules,
        pod: &PodView<'_>,
        believed: Option<&RelayState>,
        continuity: &Continuity,
    ) -> Facts {
        let live = self.seen.children.stateful_set.as_deref();
        let rolled = durable.template.as_ref();
        let intent = rolled.map(|template| children::stateful_set(&self.subject, template, live));
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
            rolled: rolled_digest,
            desired: desired.target().cloned(),
            last_good: durable.last_good.as_ref().map(Digest::of_json),
            rejected,
            gates: rules.gates(),
            pod: pod.fact(live, sealed),
            drain: drain::progress(&self.seen.report, pod.uid(), rules, &roll, self.now),
            probe: probe(self.report(pod), pod, believed, continuity),
            refused: refused.map(|refused| refused.message.clone()),
            timing: Timing {
                health: rules.health,
                settle: rules.settle,
                grace: Duration::from_secs(grace.unwrap_or(600)),
            },
        }
    }

    /// Does what the stored step allows, if this pass confirms it. Only here do templates change and pods go.
    #[allow(clippy::too_many_arguments, reason = "each is another thing the step is judged by")]
    fn step(
        &self,
        stored: &Roll,
        next: &Roll,
        facts: &Facts,
        desired: &Desired,
        pod: &PodView<'_>,
        believed: Option<&RelayState>,
        durable: &mut Durable,
    ) -> Option<Deletion> {
        self.reject(next, facts, durable);
        // The first template that serves is the first good one.
        let first_good = durable.last_good.is_none() && matches!(facts.pod, PodFact::New { .. });
        if first_good && pod.ready && believed.is_some() && facts.probe == Probe::Pass {
            durable.last_good.clone_from(&durable.template);
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
                }
                None
            }
            Act::WriteLastGood => {
                durable.template.clone_from(&durable.last_good);
                None
            }
            Act::Confirm => {
                durable.last_good.clone_from(&durable.template);
                None
            }
            Act::Delete { uid } => {
                Some(Deletion { kind: DeletedKind::Pod, name: self.subject.pod_name(), uid })
            }
        }
    }

    /// Whatever is being rolled back has failed; remembering it twice is remembering it once.
    fn reject(&self, next: &Roll, facts: &Facts, durable: &mut Durable) {
        let (Step::RollingBack, Some(target)) = (next.step, &next.target) else { return };
        if facts.last_good.as_ref() == Some(&target.template) {
            return;
        }
        let good_image = durable.last_good.as_ref().and_then(children::image_digest);
        durable.reject(Rejection {
            template: target.template.clone(),
            image: (good_image.as_ref() != Some(&target.image)).then(|| target.image.clone()),
            reason: next.failure.clone().unwrap_or_else(|| "the new pod failed".into()),
            at: self.now,
        });
    }

    /// Records a higher log head on transitions, and otherwise now and then. Returns whether it did.
    fn raise_mark(
        &self,
        durable: &mut Durable,
        next: &ParamantRelayStatus,
        believed: Option<&RelayState>,
        continuity: &Continuity,
    ) -> bool {
        let (Some(state), Continuity::Continues) = (believed, continuity) else { return false };
        let due = match &durable.log {
            None => true,
            Some(high) if state.log.size <= high.mark.size => false,
            Some(high) => {
                let was = |status: &ParamantRelayStatus| {
                    let drain = status.drain.as_ref().map(|drain| drain.state);
                    let update = status.update.as_ref().map(|update| update.step);
                    (status.phase, drain, update)
                };
                was(&self.before) != was(next) || self.now.duration_since(high.at) >= MARK_AGE
            }
        };
        if due {
            let mark =
                paramant_protocol::control::LogMark { size: state.log.size, root: state.log.root.clone() };
            durable.log = Some(LogHighWater { mark, at: self.now });
        }
        due
    }

    fn directives(
        &self,
        durable: &mut Durable,
        rules: &Rules,
        roll: &Roll,
        facts: &Facts,
        hold: Option<&Hold>,
        believed: Option<&RelayState>,
    ) -> paramant_protocol::control::Directives {
        let wanted = drain::wanted(self.subject.spec.drain, rules, roll, &facts.timing, self.now);
        let wanted = match hold {
            Some(Hold::Paused) => drain::lifted(&wanted, durable.directives.as_ref()),
            // The machine stands still, so its drain would have no end.
            Some(_) => paramant_protocol::control::DrainDirective { update_until: None, ..wanted },
            None => wanted,
        };
        let held: Option<&DirectivesMark> = believed.and_then(|state| state.directives.as_ref());
        drain::issue(durable, self.subject.uid, self.context.epoch, wanted, held)
    }

    /// The children that are not as they should be, in the order in which they need each other.
    fn intents(&self, durable: &Durable, hold: Option<&Hold>) -> Vec<Value> {
        let Self { seen, context, ref subject, .. } = *self;
        let Children { stateful_set, config, claim, .. } = &seen.children;
        if hold.is_some() {
            // Nothing but the CA certificates, so that the operator's own rotation never waits for a person.
            let kept =
                config.as_deref().and_then(|live| live.data.as_ref()?.get(children::RELAY_KEY).cloned());
            let intent = kept.map(|kept| children::config(subject, kept, &context.ca_bundle_pem));
            return intent
                .into_iter()
                .filter(|intent| !is_covered(intent, live(config.as_deref())))
                .collect();
        }
        let Some(template) = &durable.template else { return Vec::new() };
        let fixed =
            children::static_settings(template).unwrap_or_else(|| children::StaticSettings::wanted(subject));
        let relay_yaml = children::relay_yaml(subject, &fixed);
        let all = &seen.children;
        let mut intents = vec![
            (children::service_account(subject), live(all.service_account.as_deref())),
            (
                children::network_policy(subject, &context.operator_namespace),
                live(all.network_policy.as_deref()),
            ),
            (children::config(subject, relay_yaml, &context.ca_bundle_pem), live(config.as_deref())),
            (children::headless(subject), live(all.headless.as_deref())),
            (children::service(subject), live(all.service.as_deref())),
            (
                children::stateful_set(subject, template, stateful_set.as_deref()),
                live(stateful_set.as_deref()),
            ),
        ];
        if let Some(intent) = claim.as_deref().and_then(|claim| children::claim(subject, claim)) {
            intents.push((intent, live(claim.as_deref())));
        }
        if let Some(intent) = children::ingress(subject) {
            intents.push((intent, live(all.ingress.as_deref())));
        }
        if let Some(intent) = children::http_route(subject).filter(|_| context.gateway_api) {
            intents.push((intent, all.http_route.as_deref().cloned()));
        }
        intents
            .into_iter()
            .filter(|(intent, live)| !is_covered(intent, live.clone()))
            .map(|(intent, _)| intent)
            .collect()
    }

    /// Ways in that the spec no longer has, if they are ours.
    fn surplus(&self, hold: Option<&Hold>) -> Vec<Deletion> {
        if hold.is_some() {
            return Vec::new();
        }
        let mut surplus = Vec::new();
        let expose = self.subject.spec.expose.as_ref();
        let name = self.subject.name.to_owned();
        let owned = |owners: Option<&Value>| {
            owners.and_then(Value::as_array).is_some_and(|all| {
                all.iter().any(|owner| owner.get("uid").and_then(Value::as_str) == Some(self.subject.uid))
            })
        };
        let mut consider = |kind, wanted: bool, live: Option<Value>| {
            let Some(live) = live.filter(|_| !wanted) else { return };
            let uid = live.pointer("/metadata/uid").and_then(Value::as_str);
            let going = live.pointer("/metadata/deletionTimestamp").is_some();
            if let (Some(uid), true, false) = (uid, owned(live.pointer("/metadata/ownerReferences")), going) {
                surplus.push(Deletion { kind, name: name.clone(), uid: uid.to_owned() });
            }
        };
        let by_class = expose.is_some_and(|expose| expose.ingress_class_name.is_some());
        let by_gateway = expose.is_some_and(|expose| expose.gateway.is_some());
        consider(DeletedKind::Ingress, by_class, live(self.seen.children.ingress.as_deref()));
        consider(DeletedKind::HttpRoute, by_gateway, self.seen.children.http_route.as_deref().cloned());
        surplus
    }

    /// A StatefulSet whose claim template asks for less than the claim has been given: the template cannot be changed in
    /// place, so the set is made anew around its pod. Only at rest, and only after the claim itself has grown.
    fn outgrown(&self, roll: &Roll) -> Option<Deletion> {
        let set = self.seen.children.stateful_set.as_deref()?;
        let wanted = self.subject.spec.storage_or_default().size_or_default();
        let wanted: Quantity = wanted.as_str().parse().ok()?;
        let asked = |claim: &PersistentVolumeClaim| -> Option<Quantity> {
            claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.parse().ok()
        };
        let in_template = asked(set.spec.as_ref()?.volume_claim_templates.as_ref()?.first()?)?;
        let in_claim = asked(self.seen.children.claim.as_deref()?)?;
        let at_rest = roll.step == Step::Idle && set.metadata.deletion_timestamp.is_none();
        (at_rest && in_template < wanted && in_claim >= wanted).then_some(Deletion {
            kind: DeletedKind::StatefulSetOrphan,
            name: self.subject.name.to_owned(),
            uid: set.metadata.uid.clone()?,
        })
    }

    /// The operator sees no Secret; the relay says whether it found a token where the rolled template mounts one.
    fn admin_missing(&self, durable: &Durable, believed: Option<&RelayState>) -> Option<String> {
        let missing = matches!(believed?.admin, AdminReport::SetupCode | AdminReport::Redeemed);
        let mounted = children::admin_secret(durable.template.as_ref()?)?;
        missing.then(|| {
            format!(
                "the relay serves, but finds no admin token: create the Secret {mounted} with the key that spec.admin names; until then a set-up code in the pod's log counts"
            )
        })
    }

    fn unexposable(&self) -> Option<String> {
        let gateway = self.subject.spec.expose.as_ref()?.gateway.as_ref()?;
        (!self.context.gateway_api).then(|| {
            format!(
                "the relay shall be reached through the gateway {}, but this cluster has no gateway.networking.k8s.io/v1 HTTPRoute: install the Gateway API or use spec.expose.ingressClassName",
                gateway.name
            )
        })
    }
}

fn retry_wish(subject: &Subject<'_>) -> Option<Digest> {
    subject.spec.update.as_ref()?.retry.as_ref()?.as_str().parse().ok()
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
    match (believed, continuity) {
        (_, Continuity::Broken { found }) => Probe::Fail(found.clone()),
        (Some(state), Continuity::Continues) if pod.ready && state.ready => Probe::Pass,
        _ => Probe::Wait,
    }
}

/// The JSON of a live object.
fn live<T: serde::Serialize>(object: Option<&T>) -> Option<Value> {
    serde_json::to_value(object?).ok()
}

fn is_covered(intent: &Value, live: Option<Value>) -> bool {
    live.is_some_and(|live| covers(intent, &live))
}

fn requeue(wake: Option<Timestamp>, now: Timestamp) -> Duration {
    let wait = wake.map(|wake| wake.duration_since(now));
    // A second late rather than a moment early: instants here are whole seconds.
    let wait = wait.and_then(|wait| Duration::try_from(wait).ok()).map(|wait| wait + Duration::from_secs(1));
    wait.unwrap_or(if wake.is_some() { Duration::from_secs(1) } else { RESYNC }).min(RESYNC)
}
