//! Who asks for a drain, and what the relay is told about it.
//!
//! Effective = spec OR policy OR update step OR accepted vendor request, which `spec.drain: false` refuses. The relay combines
//! the sources itself; here each is passed on as it stands. What the update machine asks for carries its own end, which
//! the relay enforces alone, so an operator that dies leaves no relay drained for ever. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use paramant_crds::ParamantRelaySpec;
use paramant_crds::policy::OnDeadline;
use paramant_protocol::control::{
    CouriersDirective, Directives, DirectivesMark, DrainDirective, DrainSource, DrainState, RemoteDirective,
};

use crate::durable::{Durable, Issued};
use crate::machine::{DrainProgress, Roll, Step, Timing};
use crate::observation::Report;
use crate::rules::Rules;

/// What the operator asks of the relay now.
pub fn wanted(
    spec: Option<bool>,
    rules: &Rules,
    roll: &Roll,
    timing: &Timing,
    now: Timestamp,
) -> DrainDirective {
    let draining = matches!(roll.step, Step::Draining | Step::Replacing);
    DrainDirective {
        spec,
        policy: rules.drain,
        update_until: draining.then(|| lease_end(roll.since, lease(rules, timing), now)),
        deadline_seconds: rules.deadline.as_secs(),
        settle_seconds: rules.drain_settle.as_secs(),
    }
}

/// While a relay is paused nothing new is asked of it, but a drain that nobody wants any more is lifted.
pub fn lifted(wanted: &DrainDirective, issued: Option<&Issued>) -> DrainDirective {
    let Some(before) = issued.map(|issued| &issued.drain) else {
        return DrainDirective {
            spec: wanted.spec.filter(|drain| !drain),
            policy: false,
            update_until: None,
            ..wanted.clone()
        };
    };
    DrainDirective {
        spec: if wanted.spec == Some(true) && before.spec != Some(true) { before.spec } else { wanted.spec },
        policy: wanted.policy && before.policy,
        update_until: None,
        deadline_seconds: before.deadline_seconds,
        settle_seconds: before.settle_seconds,
    }
}

/// When the machine's own drain must be asked for anew, so that it does not end while it is needed.
pub fn renewal(roll: &Roll, rules: &Rules, timing: &Timing, now: Timestamp) -> Option<Timestamp> {
    let draining = matches!(roll.step, Step::Draining | Step::Replacing);
    draining.then(|| {
        let lease = lease(rules, timing);
        back(lease_end(roll.since, lease, now), lease)
    })
}

fn lease(rules: &Rules, timing: &Timing) -> Duration {
    rules.deadline.max(timing.grace.saturating_add(timing.health)).max(Duration::from_secs(60))
}

/// At least one lease ahead of `now`, and the same instant for a whole lease, so that asking again is no change.
fn lease_end(since: Timestamp, lease: Duration, now: Timestamp) -> Timestamp {
    let lease = i64::try_from(lease.as_secs()).unwrap_or(i64::MAX).max(1);
    let past = now.duration_since(since).as_secs().max(0) / lease;
    let ahead = past.saturating_add(2).saturating_mul(lease);
    since.checked_add(SignedDuration::from_secs(ahead)).unwrap_or(Timestamp::MAX)
}

fn back(from: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| from.checked_sub(by).ok()).unwrap_or(from)
}

/// What a drain waits for, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    deadline: Duration,
    /// At the deadline it goes on, whatever is left.
    proceeds: bool,
    /// How long a relay that cannot be asked may still have something to lose.
    unasked: Duration,
    /// What nobody has fetched yet is lost with the pod.
    unclaimed: bool,
}

/// How long a file may wait for its receiver when the spec does not say.
const LONGEST_WAIT: Duration = Duration::from_secs(168 * 60 * 60);

/// How long a file may wait for its receiver.
pub(crate) fn longest_wait(spec: &ParamantRelaySpec) -> Duration {
    let said = spec.limits.as_ref().and_then(|limits| limits.max_ttl.as_ref()?.duration());
    said.unwrap_or(LONGEST_WAIT)
}

impl Patience {
    /// By the rules in force. `memory`: files live in the pod's memory; `longest`: how long a file may wait at most.
    pub fn of(rules: &Rules, memory: bool, longest: Duration) -> Self {
        let unclaimed = memory && !rules.accept_loss;
        Self {
            deadline: rules.deadline,
            proceeds: rules.on_deadline == OnDeadline::Proceed && !unclaimed,
            unasked: if unclaimed { rules.deadline.max(longest) } else { rules.deadline },
            unclaimed: memory,
        }
    }
}

/// How far the drain that the machine asked for has come.
pub fn progress(
    report: &Report,
    pod_uid: Option<&str>,
    patience: &Patience,
    roll: &Roll,
    now: Timestamp,
) -> DrainProgress {
    let waited = |most| {
        now.duration_since(roll.since) >= SignedDuration::try_from(most).unwrap_or(SignedDuration::MAX)
    };
    match report {
        _ if pod_uid.is_none() => DrainProgress::Done,
        Report::Reachable { state, pod_uid: from, .. } if Some(from.as_str()) == pod_uid => {
            let taken = state.drain.requested_by.contains(&DrainSource::Update);
            // The relay counts what nobody has fetched too, and stops waiting for it at its own deadline.
            let lost = patience.unclaimed && state.drain.unclaimed > 0;
            if state.drain.state == DrainState::Drained && taken && !lost {
                DrainProgress::Done
            } else if patience.proceeds && waited(patience.deadline) {
                DrainProgress::GoOn
            } else {
                DrainProgress::Running
            }
        }
        // A relay that cannot be asked would otherwise never get the release that mends it; SIGTERM drains it too. One that
        // was not asked yet may well have uploads in progress, and one with another key waits for a person.
        Report::Unreachable { .. } if waited(patience.unasked) => DrainProgress::GoOn,
        _ => DrainProgress::Running,
    }
}

/// What the relay said of its directives.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answered<'a> {
    /// What it says it holds.
    pub held: Option<&'a DirectivesMark>,
    /// What it refused last.
    pub refused: Option<&'a DirectivesMark>,
}

impl Answered<'_> {
    /// How far the relay says that this order has come. Another relay's, or another leader's, is another order.
    fn held_seq(&self, relay_uid: &str, epoch: u64) -> u64 {
        seq_in(self.held, relay_uid, epoch).unwrap_or(0)
    }

    /// The relay holds a later number than `seq`, or another content under the same: it will never take `seq`. That happens
    /// when an earlier `-state` was restored.
    fn rules_out(&self, seq: u64, relay_uid: &str, epoch: u64) -> bool {
        let held = self.held_seq(relay_uid, epoch);
        held > seq || (held == seq && seq_in(self.refused, relay_uid, epoch) == Some(seq))
    }
}

fn seq_in(mark: Option<&DirectivesMark>, relay_uid: &str, epoch: u64) -> Option<u64> {
    mark.filter(|mark| mark.relay_uid == relay_uid && mark.epoch == epoch).map(|mark| mark.seq)
}

/// Gives the wanted content its place in the order, and remembers it.
#[allow(clippy::too_many_arguments, reason = "each is another thing a relay is told")]
pub fn issue(
    durable: &mut Durable,
    relay_uid: &str,
    epoch: u64,
    drain: DrainDirective,
    log_refused: Option<String>,
    couriers: Option<CouriersDirective>,
    commit_schema: Option<u32>,
    remote: RemoteDirective,
    answered: Answered<'_>,
) -> Directives {
    let log_high_water = durable.log.as_ref().map(|log| log.mark.clone());
    let wanted = Issued {
        seq: 0,
        drain,
        log_high_water,
        log_identity: durable.identity.clone(),
        log_refused,
        commit_schema,
        couriers,
        remote: Some(remote),
    };
    let issued = match durable.directives.take() {
        Some(issued)
            if (Issued { seq: 0, ..issued.clone() }) == wanted
                && !answered.rules_out(issued.seq, relay_uid, epoch) =>
        {
            issued
        }
        before => {
            // If `-state` was lost, the relay still knows how far the order has come.
            let last = before.map_or(0, |before| before.seq).max(answered.held_seq(relay_uid, epoch));
            Issued { seq: last.saturating_add(1), ..wanted }
        }
    };
    let directives = directives(&issued, relay_uid, epoch, false);
    durable.directives = Some(issued);
    directives
}

/// The last word to a relay whose resource is being deleted: SIGTERM then closes its log. Nothing is remembered of it.
pub fn farewell(durable: &Durable, relay_uid: &str, epoch: u64) -> Directives {
    let last = durable.directives.clone().unwrap_or_default();
    directives(&Issued { seq: last.seq.saturating_add(1), ..last }, relay_uid, epoch, true)
}

fn directives(issued: &Issued, relay_uid: &str, epoch: u64, deleting: bool) -> Directives {
    Directives {
        relay_uid: relay_uid.to_owned(),
        epoch,
        seq: issued.seq,
        drain: issued.drain.clone(),
        log_high_water: issued.log_high_water.clone(),
        log_identity: issued.log_identity.clone(),
        log_refused: issued.log_refused.clone(),
        commit_schema: issued.commit_schema,
        deleting,
        couriers: issued.couriers.clone(),
        remote: issued.remote.clone(),
    }
}
