//! One pass over one relay: from what is seen to what shall be done.
//!
//! The order here is the order of trust: what is durable, what the spec wants, what the machine may do, what the children
//! are, what the relay is told, what people read. A disruptive act needs a stored step that this very pass confirms; all
//! else is re-sending what already is, and is left out where the live object covers it.

mod adopt;
mod gates;
mod recover;
mod step;
mod verify;
mod wanted;

use std::time::Duration;

use jiff::Timestamp;
use paramant_crds::ParamantRelayStatus;
use paramant_crds::annotation::PAUSED;
use paramant_protocol::control::{
    AdminReport, CouriersDirective, Directives, DrainDirective, RelayState, RemoteDirective,
};

use self::verify::InForce;
pub(crate) use self::verify::VERIFYING;
use crate::children::{self, Subject};
use crate::decision::{Decision, ImageRef};
use crate::digest::Digest;
use crate::drain;
use crate::durable::Durable;
use crate::events::events;
use crate::kept::Kept;
use crate::log_check::{Continuity, continuity};
use crate::machine::{self, Facts, PodFact, Probe, Roll, Step};
use crate::observation::{Context, Observation};
use crate::offer::{Course, Offer};
use crate::pod::PodView;
use crate::remote::answers;
use crate::rivals;
use crate::rules::Rules;
use crate::situation::{Evidence, Hold};
use crate::status::{self, whole_seconds};
use crate::target::Desired;
use crate::validation;

/// How often a relay at rest is looked at again. The watches bring every change before; this only heals what they missed.
const RESYNC: Duration = Duration::from_secs(10 * 60);
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
        inspect: None,
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
        let rules = Rules::of(&seen.policy, now);
        let ready_before = crate::conditions::find(&before.conditions, paramant_crds::condition::READY);
        let said_before = ready_before.map(|ready| ready.reason.as_str());
        let pod = PodView::of(children, &subject.pod_name(), said_before, now);
        let kept = self.kept(&pod);
        let hold = self.hold(kept);

        self.recover(&mut durable);
        self.adopt_identity(&mut durable, &pod);
        let rolled_before = durable.template.is_some();
        let keys = InForce::of(rules.trust(self.context));
        let believed = self.believed(&durable, &pod);
        let standing = believed.and_then(Offer::standing);
        let course = self.course(&rules, standing.as_ref(), believed);
        let desired = Desired::of(subject, seen, &mut durable, &course);
        let question = self.question(&durable, &desired, &rules, &keys);
        let learnt = self.learn(&mut durable, question.as_ref(), &keys);
        if hold.is_none() {
            durable.retry(retry_wish(subject).as_ref());
            self.hear(&mut durable, &rules, &keys);
            let may_install = self.may_install(&durable, &desired, &rules, &keys);
            self.adopt_template(&mut durable, desired.template(), may_install);
        }
        // A change is measured by what was adopted.
        let desired = if rolled_before { desired } else { Desired::of(subject, seen, &mut durable, &course) };

        let continuity = believed.map_or(Continuity::Unproven, |state| {
            continuity(durable.log.as_ref().map(|log| &log.mark), &state.log)
        });
        self.remember_volume(&mut durable, believed, &continuity);
        self.judge_identity(&mut durable, believed, &continuity, hold.as_ref());

        if let Some(data) = believed.and_then(|state| state.data) {
            durable.data = Some(data);
        }
        let mut gates = self.gates(&durable, &desired, &rules, &keys, &pod, believed);
        if learnt {
            // What was just learnt counts once it is stored, or the next leader would take the step back.
            gates.verification = verify::pending(&desired);
        }
        let facts = self.facts(&durable, &desired, &rules, gates, &pod, believed, &continuity);
        let stored_refusal = durable.directives.as_ref().and_then(|issued| issued.log_refused.clone());
        let stored_roll = status::stored_roll(before, now);
        let roll = match hold {
            Some(_) => machine::held(&stored_roll, &facts, now),
            None => machine::next(&stored_roll, &facts, now),
        };
        let delete_pod = match hold {
            Some(_) => None,
            None => self.step(&stored_roll, &roll, &facts, &desired, &rules, &pod, believed, &mut durable),
        };

        let unexposable = self.unexposable();
        let admin_missing = self.admin_missing(&durable, believed);
        let intents = self.intents(&durable, hold.as_ref());
        let refused = seen.refused.as_ref().filter(|refused| self.stands(refused, &intents));
        let (nothing, claim) = (Durable::default(), subject.claim_name());
        let evidence = Evidence {
            hold: hold.as_ref(),
            claim: &claim,
            pod: &pod,
            report: self.report(&pod),
            kept,
            believed,
            continuity: &continuity,
            durable: &nothing,
            roll: &roll,
            facts: &facts,
            desired: &desired,
            standing: standing.as_ref(),
            by_hand: !rules.follow_offers(course.tier),
            next_window: rules.next_window(now),
            in_memory: self.in_memory(&durable),
            refused,
            admin_missing: admin_missing.as_deref(),
            unexposable: unexposable.as_deref(),
        };
        let mut next = status::status(subject, seen, &Evidence { durable: &durable, ..evidence }, now);
        if self.raise_mark(&mut durable, &next, believed, &continuity) {
            next = status::status(subject, seen, &Evidence { durable: &durable, ..evidence }, now);
        }

        let log_refused = refusal_to_sign(hold.as_ref(), &continuity, stored_refusal.as_ref());
        let wish = self.drain_wish(&durable, &rules, &roll, &facts, hold.as_ref());
        let couriers = self.couriers(&durable, hold.as_ref());
        let commit = self.commit(&durable, [&stored_roll, &roll], &facts, believed, hold.as_ref());
        let remote = self.remote_wish(&durable, &rules, hold.as_ref());
        let directives = self.directives(&mut durable, wish, log_refused, couriers, commit, remote, believed);
        // Also after a refusal: whoever keeps the registry may still push what is missing. The asker paces itself.
        let unresolved = matches!(desired, Desired::Unresolved(_));
        let wakes = [machine::wake(&roll, &facts, now), drain::renewal(&roll, &rules, &facts.timing, now)];
        Decision {
            events: events(before, &next),
            status: next,
            state: self.state(&durable),
            directives: Some(directives),
            apply: intents,
            delete: delete_pod
                .or_else(|| self.outgrown(&roll).filter(|_| hold.is_none()))
                .into_iter()
                .chain(self.surplus(&durable, hold.as_ref()))
                .collect(),
            inspect: self.to_ask(question, &durable).filter(|_| hold.is_none()),
            resolve: unresolved.then(|| ImageRef(subject.spec.image.as_str().to_owned())),
            requeue: requeue(wakes.into_iter().flatten().min(), now),
        }
    }

    /// What decides whether an offer is followed.
    fn course<'c>(
        &'c self,
        rules: &'c Rules,
        standing: Option<&'c Offer>,
        believed: Option<&'c RelayState>,
    ) -> Course<'c> {
        let shown = self.before.image.as_ref().and_then(|image| image.version.as_deref());
        Course {
            rules,
            tier: self.tier(believed),
            heard: believed.is_some(),
            standing,
            reported: believed.map(|state| state.version.as_str()).or(shown),
        }
    }

    /// The tier of the licence, as the relay says or said.
    fn tier<'t>(&'t self, believed: Option<&'t RelayState>) -> Option<&'t str> {
        let known = self.before.license.as_ref().and_then(|license| license.tier.as_deref());
        believed.map(|state| state.license.tier.as_str()).or(known)
    }

    /// Why nothing but reporting is done.
    fn hold(&self, kept: Option<Kept<'_>>) -> Option<Hold> {
        let annotations = self.seen.relay.metadata.annotations.as_ref();
        if annotations.and_then(|all| all.get(PAUSED)).is_some_and(|value| value == "true") {
            return Some(Hold::Paused);
        }
        if let Some(problem) = validation::relay_problem(&self.seen.relay) {
            return Some(Hold::Invalid(problem));
        }
        let refusal = rivals::refusal(&self.seen.relay, &self.seen.rivals);
        // Who it is says the relay itself: until it is asked, the rival it had is still one.
        refusal.or_else(|| kept?.rival()).map(Hold::Rival)
    }

    fn drain_wish(
        &self,
        durable: &Durable,
        rules: &Rules,
        roll: &Roll,
        facts: &Facts,
        hold: Option<&Hold>,
    ) -> DrainDirective {
        let wanted = drain::wanted(self.subject.spec.drain, rules, roll, &facts.timing, self.now);
        match hold {
            Some(Hold::Paused) => drain::lifted(&wanted, durable.directives.as_ref()),
            // The machine stands still, so its drain would have no end.
            Some(_) => DrainDirective { update_until: None, ..wanted },
            None => wanted,
        }
    }

    /// How a vendor's requests are answered. While nothing new may reach the relay, or no policy is in force, nobody is let in who
    /// was not before; whoever is turned away is.
    fn remote_wish(&self, durable: &Durable, rules: &Rules, hold: Option<&Hold>) -> RemoteDirective {
        if hold.is_none() && rules.suspended.is_none() {
            return rules.remote.clone();
        }
        let told = durable.directives.as_ref().and_then(|issued| issued.remote.as_ref());
        answers::withheld(&rules.remote, told)
    }

    #[allow(clippy::too_many_arguments, reason = "each is another thing a relay is told")]
    fn directives(
        &self,
        durable: &mut Durable,
        drain: DrainDirective,
        log_refused: Option<String>,
        couriers: Option<CouriersDirective>,
        commit: Option<u32>,
        remote: RemoteDirective,
        believed: Option<&RelayState>,
    ) -> Directives {
        let held = believed.and_then(|state| state.directives.as_ref());
        let answered = drain::Answered { held, refused: self.seen.directives_refused.as_ref() };
        drain::issue(
            durable,
            self.subject.uid,
            self.context.epoch,
            drain,
            log_refused,
            couriers,
            commit,
            remote,
            answered,
        )
    }

    /// `commit-upgrade`: what runs has settled, so it may write what the release before it cannot read. Between two rests the relay
    /// goes on being told what it was told, but never more than the release that runs knows.
    fn commit(
        &self,
        durable: &Durable,
        rolls: [&Roll; 2],
        facts: &Facts,
        believed: Option<&RelayState>,
        hold: Option<&Hold>,
    ) -> Option<u32> {
        let data = believed.and_then(|state| state.data);
        let told = durable.directives.as_ref().and_then(|issued| issued.commit_schema);
        let at_rest = rolls.iter().all(|roll| roll.step == Step::Idle)
            && durable.template.is_some()
            && durable.template == durable.last_good
            && matches!(facts.pod, PodFact::New { unready_since: None, .. })
            && facts.probe == Probe::Pass;
        match data {
            Some(data) if at_rest && hold.is_none() => Some(data.schema),
            Some(data) => told.map(|told| told.min(data.schema)),
            None => told,
        }
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
                "the relay shall be reached through the gateway {}, but there is no gateway.networking.k8s.io/v1 HTTPRoute that this operator may use: install the Gateway API and the chart's roles, or use spec.expose.ingressClassName",
                gateway.name
            )
        })
    }
}

/// Why the relay must not sign its log. What was found stands until the log proves that it continues: a relay that has not
/// been asked again is no better than it was.
fn refusal_to_sign(hold: Option<&Hold>, continuity: &Continuity, before: Option<&String>) -> Option<String> {
    match (hold, continuity) {
        (Some(Hold::Rival(why)), _) => Some(why.clone()),
        (_, Continuity::Broken { found }) => Some(found.clone()),
        (_, Continuity::Continues | Continuity::Adopted) => None,
        (_, Continuity::Unproven) => before.cloned(),
    }
}

fn retry_wish(subject: &Subject<'_>) -> Option<Digest> {
    subject.spec.update.as_ref()?.retry.as_ref()?.as_str().parse().ok()
}

fn requeue(wake: Option<Timestamp>, now: Timestamp) -> Duration {
    let wait = wake.map(|wake| wake.duration_since(now));
    // A second late rather than a moment early: instants here are whole seconds.
    let wait = wait.and_then(|wait| Duration::try_from(wait).ok()).map(|wait| wait + Duration::from_secs(1));
    wait.unwrap_or(if wake.is_some() { Duration::from_secs(1) } else { RESYNC }).min(RESYNC)
}
