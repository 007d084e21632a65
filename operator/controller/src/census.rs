//! How relays, policies and licences stand, as series for alerts: which of them is not as it should be, and since when.
//!
//! Taken from the local stores whenever somebody reads `/metrics`, by the leader alone, so that a new leader needs no history
//! and a deleted object leaves nothing behind. An object has a series only while a condition of it is out of the ordinary: a
//! thousand healthy relays are no series at all besides the count by phase. The value is the instant at which the condition
//! turned, not 1, so that "for two weeks" survives a restart of the operator and of Prometheus (adr/0057).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Resource;
use paramant_crds::condition::{
    ACCEPTED, CAPABILITIES_SYNCED, DEGRADED, DRAINED, EXPIRING_SOON, LICENSE_VALID, LOG_CONSISTENT,
    LOG_WITNESSED, PAUSED, REACHABLE, READY, RECONCILING, REMOTE_ACTION_PENDING, STALLED, UPDATE_AVAILABLE,
    UPDATE_BLOCKED, VALID,
};
use paramant_crds::relay::{DrainState, LicenseSource, Phase, SupportKeyState};
use paramant_crds::{ParamantLicense, ParamantPolicy, ParamantRelay};
use paramant_operator_core::license_end;
use paramant_operator_core::witnessing::NO_WITNESSES;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

use crate::leader::election::Leadership;
use crate::stores::World;

/// What each condition is while all is well. `TelemetryConsented` is a choice and not among them.
const ORDINARY: &[(&str, &str)] = &[
    (READY, "True"),
    (RECONCILING, "False"),
    (STALLED, "False"),
    (DEGRADED, "False"),
    (DRAINED, "False"),
    (UPDATE_AVAILABLE, "False"),
    (UPDATE_BLOCKED, "False"),
    (LICENSE_VALID, "True"),
    (CAPABILITIES_SYNCED, "True"),
    (LOG_CONSISTENT, "True"),
    (LOG_WITNESSED, "True"),
    (REMOTE_ACTION_PENDING, "False"),
    (PAUSED, "False"),
    (VALID, "True"),
    (REACHABLE, "True"),
    (EXPIRING_SOON, "False"),
    (ACCEPTED, "True"),
];

const PHASES: [Phase; 10] = [
    Phase::Pending,
    Phase::Installing,
    Phase::Ready,
    Phase::Draining,
    Phase::Drained,
    Phase::Updating,
    Phase::RollingBack,
    Phase::Blocked,
    Phase::Degraded,
    Phase::Paused,
];

/// The end of a licence is shown this long ahead: longer than any alert waits, short enough that most relays have no series.
const LICENSE_SHOWN_WITHIN: jiff::SignedDuration = jiff::SignedDuration::from_hours(60 * 24);

/// The collector; registered once.
pub struct Census {
    world: World,
    leadership: Leadership,
    described: Vec<Desc>,
}

impl Census {
    /// Counts what these stores hold, while leading.
    pub fn new(world: World, leadership: Leadership) -> Result<Self, prometheus::Error> {
        let series = Series::new()?;
        let described = series.all().into_iter().flat_map(Collector::desc).cloned().collect();
        Ok(Self { world, leadership, described })
    }
}

impl Collector for Census {
    fn desc(&self) -> Vec<&Desc> {
        self.described.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // The names were accepted when the collector was made.
        let Ok(series) = Series::new() else { return Vec::new() };
        if self.leadership.leads() {
            series.take(&self.world, Timestamp::now());
        }
        series.all().into_iter().flat_map(Collector::collect).collect()
    }
}

/// One reading.
struct Series {
    relays: IntGaugeVec,
    conditions: IntGaugeVec,
    draining: IntGaugeVec,
    licenses: IntGaugeVec,
    requests: IntGaugeVec,
    support_keys: IntGaugeVec,
}

impl Series {
    fn new() -> Result<Self, prometheus::Error> {
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help).namespace("paramant_operator"), labels)
        };
        Ok(Self {
            relays: gauges("relays", "Relays by phase, as the leader counts them.", &["phase"])?,
            conditions: gauges(
                "condition_timestamp_seconds",
                "Since when a condition of an object is out of the ordinary; no series while it is not.",
                &["kind", "object_namespace", "name", "condition", "status", "reason"],
            )?,
            draining: gauges(
                "relay_draining_timestamp_seconds",
                "Since when a relay has been draining; no series once it is drained.",
                &["object_namespace", "name"],
            )?,
            licenses: gauges(
                "relay_license_end_timestamp_seconds",
                "When the licence of a relay ends; no series while that is more than 60 days away.",
                &["object_namespace", "name"],
            )?,
            requests: gauges(
                "relay_requests_pending",
                "Requests of the vendor that wait for an admin of a relay; no series while none does.",
                &["object_namespace", "name"],
            )?,
            support_keys: gauges(
                "relay_support_keys_active",
                "Support keys of the vendor that are in force at a relay; no series while none is.",
                &["object_namespace", "name"],
            )?,
        })
    }

    fn all(&self) -> [&IntGaugeVec; 6] {
        let Self { relays, conditions, draining, licenses, requests, support_keys } = self;
        [relays, conditions, draining, licenses, requests, support_keys]
    }

    fn take(&self, world: &World, now: Timestamp) {
        for phase in PHASES {
            self.relays.with_label_values(&[&format!("{phase:?}")]).set(0);
        }
        for relay in world.relays() {
            self.relay(&relay, now);
        }
        for policy in world.policies() {
            let conditions = policy.status.as_ref().map(|status| status.conditions.as_slice());
            self.conditions::<ParamantPolicy>(&*policy, conditions.unwrap_or_default());
        }
        for license in world.licenses() {
            let conditions = license.status.as_ref().map(|status| status.conditions.as_slice());
            self.conditions::<ParamantLicense>(&*license, conditions.unwrap_or_default());
        }
    }

    fn relay(&self, relay: &ParamantRelay, now: Timestamp) {
        let status = relay.status.clone().unwrap_or_default();
        self.relays.with_label_values(&[&format!("{:?}", status.phase.unwrap_or_default())]).inc();
        self.conditions(relay, &status.conditions);
        let place = place(relay);
        let draining = status.drain.filter(|drain| drain.state == Some(DrainState::Draining));
        if let Some(Time(since)) = draining.and_then(|drain| drain.since) {
            self.draining.with_label_values(&place).set(since.as_second());
        }
        // Days of grace have an alert of their own, which knows what to do about them.
        let license = status.license.as_ref().filter(|it| it.source != Some(LicenseSource::Cache));
        let ends = license.and_then(license_end);
        if let Some(end) = ends.filter(|end| end.duration_since(now) <= LICENSE_SHOWN_WITHIN) {
            self.licenses.with_label_values(&place).set(end.as_second());
        }
        // Status may be older than the end of what it shows, for the relay may be away; the relay itself keeps to it.
        let pending = status.remote_actions.iter().flat_map(|actions| &actions.pending);
        count(&self.requests, &place, pending.filter(|it| it.ends_at.0 > now).count());
        let active = status.support.iter().filter(|key| key.state == SupportKeyState::Active);
        count(&self.support_keys, &place, active.filter(|key| key.expires_at.0 > now).count());
    }

    fn conditions<K: Resource<DynamicType = ()>>(&self, object: &K, conditions: &[Condition]) {
        let [namespace, name] = place(object);
        for condition in conditions.iter().filter(|condition| is_unusual(condition)) {
            let Condition { type_, status, reason, last_transition_time, .. } = condition;
            let labels = [K::kind(&()).as_ref(), namespace, name, type_, status, reason].map(str::to_owned);
            self.conditions.with_label_values(&labels).set(last_transition_time.0.as_second());
        }
    }
}

/// None is no series.
fn count(gauge: &IntGaugeVec, place: &[&str; 2], number: usize) {
    if number > 0 {
        gauge.with_label_values(place).set(i64::try_from(number).unwrap_or(i64::MAX));
    }
}

/// What is unknown yet is no news; only readiness must be known.
fn is_unusual(condition: &Condition) -> bool {
    let Some((_, fine)) = ORDINARY.iter().find(|(type_, _)| *type_ == condition.type_) else { return false };
    let known = condition.status != "Unknown" || condition.type_ == READY;
    // No witnesses is a choice.
    known && condition.status != *fine && condition.reason != NO_WITNESSES
}

fn place<K: Resource<DynamicType = ()>>(object: &K) -> [&str; 2] {
    let meta = object.meta();
    [meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default()]
}

#[cfg(test)]
mod tests;
