//! The whole next status of a relay, from the first write on in the form kstatus reads.
//!
//! What cannot be seen now keeps its last value; what changes by the second is left out; instants are whole seconds, as
//! they come back from the API server; text from a relay is cut to what the schema takes, so that a relay can never make
//! a status unwritable. Pure; called by [`crate::decide`].

mod available;
mod update;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use paramant_crds::ParamantRelayStatus;
use paramant_crds::condition::{
    CAPABILITIES_SYNCED, DEGRADED, DRAINED, LICENSE_VALID, LOG_CONSISTENT, PAUSED, READY, RECONCILING,
    STALLED, UPDATE_BLOCKED,
};
use paramant_crds::relay::{
    self, CheckInStatus, DrainStatus, Endpoints, IdentityStatus, ImageStatus, LicenseStatus, LogStatus, Step,
    StorageStatus, Verified,
};
use paramant_crds::text::{Digest as DigestText, HexHash};
use paramant_protocol::control::{self, CONTROL_SCHEMA, RelayState};

pub(crate) use self::available::RECALLED;
use self::update::update;
use crate::children::{self, Subject};
use crate::conditions::{Conditions, Truth};
use crate::digest::Digest;
use crate::log_check::Continuity;
use crate::machine::{Roll, Target};
use crate::observation::{Observation, Referenced, Report};
use crate::remote::shown;
use crate::situation::{Evidence, Hold, Situation};
use crate::witnessing;

/// The machine's memory in a stored status. Whatever cannot be read is at rest: nothing is ever done on half a memory.
pub fn stored_roll(status: &ParamantRelayStatus, now: Timestamp) -> Roll {
    let Some(update) = &status.update else { return Roll::idle(now) };
    let step = update.step.unwrap_or_default();
    let target = update.target.as_ref().and_then(|target| {
        Some(Target {
            template: Digest::from_hex(target.template.as_ref()?.as_str()).ok()?,
            image: target.digest.as_ref()?.as_str().parse().ok()?,
        })
    });
    match (step, target, &update.since) {
        (Step::Idle, ..) | (_, None, _) | (_, _, None) => Roll::idle(now),
        (step, target, Some(since)) => {
            Roll { step, target, victim: update.victim.clone(), since: since.0, failure: None }
        }
    }
}

/// Writes status.
pub fn status(
    subject: &Subject<'_>,
    seen: &Observation,
    it: &Evidence<'_>,
    now: Timestamp,
) -> ParamantRelayStatus {
    let before = seen.relay.status.clone().unwrap_or_default();
    let generation = seen.relay.metadata.generation;
    let situation = Situation::of(it);
    let update = update(&before, &situation, it);
    let support = shown::support(&before, it.believed);
    let remote_actions = shown::actions(&before, it.believed);
    let mut conditions = Conditions::after(&before.conditions, generation, now);
    say_all(&mut conditions, &situation, seen, it);
    let available = update.as_ref().and_then(|update| update.available.as_ref());
    available::say(&mut conditions, subject, &before, it, available);
    let name = (subject.namespace, subject.name);
    shown::say(&mut conditions, name, &before, it.believed, remote_actions.as_ref());
    ParamantRelayStatus {
        observed_generation: generation,
        phase: Some(situation.phase),
        message: Some(cut(&situation.message, 1024)),
        conditions: conditions.finish(),
        image: image(&before, it),
        identity: identity(&before, it),
        endpoints: Some(endpoints(subject)),
        license: it.believed.map(|state| license(&state.license)).or(before.license),
        drain: it.believed.map(|state| drain(&state.drain)).or(before.drain),
        update,
        log: log(before.log, it),
        support,
        remote_actions,
        storage: seen.children.claim.as_deref().map(|claim| StorageStatus {
            claim: claim.metadata.name.clone(),
            capacity: claim
                .status
                .as_ref()
                .and_then(|status| Some(status.capacity.as_ref()?.get("storage")?.0.clone())),
        }),
    }
}

fn say_all(conditions: &mut Conditions<'_>, situation: &Situation, seen: &Observation, it: &Evidence<'_>) {
    let (ready, reason, message) = &situation.ready;
    conditions.say(READY, *ready, reason, message.clone());
    let mut abnormal = |type_, said: &Option<(&'static str, String)>, fine: &str, words: &str| match said {
        Some((reason, message)) => conditions.say(type_, true, reason, message.clone()),
        None => conditions.say(type_, false, fine, words),
    };
    abnormal(RECONCILING, &situation.reconciling, "AtRest", "nothing is in progress");
    abnormal(STALLED, &situation.stalled, "NotStalled", "nothing waits for a person");
    abnormal(DEGRADED, &situation.degraded, "NotDegraded", "nothing is known to be wrong");
    abnormal(UPDATE_BLOCKED, &situation.blocked, "NotBlocked", "no change of the pod waits");
    say_drained(conditions, it.believed);
    say_licence(conditions, seen, it.believed);
    say_synced(conditions, it);
    match (it.continuity, it.believed) {
        (Continuity::Broken { found }, _) => {
            conditions.say(LOG_CONSISTENT, false, "LogBroken", found.clone())
        }
        (_, Some(_)) if it.fenced().is_some() => {
            conditions.say(LOG_CONSISTENT, false, "LogFenced", it.fenced().unwrap_or_default());
        }
        (Continuity::Continues, Some(_)) => {
            conditions.say(LOG_CONSISTENT, true, "Continues", "the log continues what was seen before");
        }
        (Continuity::Adopted, Some(_)) => {
            conditions.say(
                LOG_CONSISTENT,
                true,
                "Adopted",
                "a new log was adopted in place of the one seen before",
            );
        }
        _ => conditions.keep(
            LOG_CONSISTENT,
            "NotProven",
            "the relay has not proven yet that its log continues",
        ),
    }
    let witnesses = seen.relay.spec.log.as_ref().is_some_and(|log| log.witnesses.is_some());
    witnessing::say(conditions, witnesses, it.believed);
    match it.hold {
        Some(Hold::Paused) => {
            conditions.say(PAUSED, true, "Annotated", "the annotation paramant.app/paused is \"true\"")
        }
        _ => conditions.say(PAUSED, false, "NotPaused", "the relay is not paused"),
    }
}

fn say_drained(conditions: &mut Conditions<'_>, believed: Option<&RelayState>) {
    match believed.map(|state| state.drain.state) {
        Some(control::DrainState::Drained) => {
            conditions.say(DRAINED, true, "Drained", "uploads are refused and nothing is in flight");
        }
        Some(control::DrainState::Draining) => {
            conditions.say(DRAINED, false, "Draining", "uploads are refused; some are still running");
        }
        Some(control::DrainState::Serving) => conditions.say(DRAINED, false, "Serving", "uploads are taken"),
        None => conditions.keep(DRAINED, "NotReported", "the relay has not reported yet"),
    }
}

fn say_licence(conditions: &mut Conditions<'_>, seen: &Observation, believed: Option<&RelayState>) {
    if let Referenced::Missing { name } = &seen.license {
        let message = format!("the ParamantLicense {name} does not exist; the pod keeps the licence it has");
        return conditions.say(LICENSE_VALID, false, "LicenseMissing", message);
    }
    let Some(license) = believed.map(|state| &state.license) else {
        return conditions.keep(LICENSE_VALID, "NotReported", "the relay has not reported yet");
    };
    match (&seen.license, license.source) {
        (Referenced::Found(wanted), control::LicenseSource::None) => {
            let secret = &wanted.spec.secret_ref.name;
            let why = match license.problems.first() {
                Some(problem) => cut(problem, 400),
                None => "the Secret does not exist, or has no key `licence`".to_owned(),
            };
            let message = format!(
                "the relay runs as Community Edition: no licence in the Secret {secret} counts: {why}"
            );
            conditions.say(LICENSE_VALID, false, "NoValidLicense", message);
        }
        (_, control::LicenseSource::None) => {
            conditions.say(LICENSE_VALID, true, "Community", "no licence is referenced: Community Edition");
        }
        (_, source) => {
            let source = license_source(source);
            let mut message = format!("{} ({source:?})", cut(&license.tier, 63));
            // What is wrong beside it: a document that does not count, a refusal, a clock.
            for problem in &license.problems {
                message = format!("{message}; {problem}");
            }
            conditions.say(LICENSE_VALID, true, "Valid", cut(&message, 900));
        }
    }
}

fn say_synced(conditions: &mut Conditions<'_>, it: &Evidence<'_>) {
    match (it.report, it.believed) {
        (Report::Unreachable { reason, .. }, _) => {
            conditions.say(CAPABILITIES_SYNCED, false, "ControlUnreachable", reason.clone());
        }
        (Report::KeyChanged { .. }, _) => {
            conditions.say(
                CAPABILITIES_SYNCED,
                false,
                "ControlKeyChanged",
                "the relay's control key is not the pinned one",
            );
        }
        (_, Some(state)) if state.schema != CONTROL_SCHEMA => {
            let message = format!(
                "the relay {} speaks version {} of the control interface, this operator {CONTROL_SCHEMA}: update the older of the two",
                cut(&state.version, 128),
                state.schema
            );
            conditions.say(CAPABILITIES_SYNCED, false, "VersionSkew", message);
        }
        (_, Some(_)) => {
            conditions.say(CAPABILITIES_SYNCED, true, "Synced", "operator and relay understand each other")
        }
        _ => conditions.keep(CAPABILITIES_SYNCED, "NotReported", "the relay has not reported yet"),
    }
}

fn image(before: &ParamantRelayStatus, it: &Evidence<'_>) -> Option<ImageStatus> {
    let current = children::image_digest(it.durable.template.as_ref()?)?;
    let before = before.image.clone().unwrap_or_default();
    let found = it.durable.verified(&current);
    let same = before.current.as_ref().is_some_and(|it| it.as_str() == current.as_str());
    let verified = match found {
        Some(found) => found.key.clone().map(|key| Verified { key, at: time(found.at) }),
        // The durable copy was lost: it was verified all the same.
        None => before.verified.filter(|_| same),
    };
    // While the relay does not say, its release does, or what was shown of this very image.
    let shown = before.version.filter(|_| same);
    let released = found.and_then(|found| found.release.version.clone());
    Some(ImageStatus {
        current: Some(DigestText::from(current.as_str())),
        version: it.believed.map(|state| cut(&state.version, 128)).or(released).or(shown),
        verified,
    })
}

fn identity(before: &ParamantRelayStatus, it: &Evidence<'_>) -> Option<IdentityStatus> {
    let fingerprint = it.believed.and_then(|state| hex_hash(&state.identity.fingerprint));
    let fingerprint = fingerprint.or_else(|| before.identity.as_ref()?.fingerprint.clone());
    let control_key = it.durable.control_key.as_deref().and_then(hex_hash);
    (fingerprint.is_some() || control_key.is_some()).then_some(IdentityStatus { fingerprint, control_key })
}

fn endpoints(subject: &Subject<'_>) -> Endpoints {
    let service = format!("http://{}.{}.svc", subject.name, subject.namespace);
    let host = subject.spec.expose.as_ref().map(|expose| format!("https://{}", expose.host));
    let log = format!("{}/log/", host.as_ref().unwrap_or(&service));
    Endpoints { service: Some(service), host, log: Some(log) }
}

fn license(report: &control::LicenseReport) -> LicenseStatus {
    let mut capabilities: Vec<String> = report.capabilities.iter().map(|name| cut(name, 128)).collect();
    capabilities.sort();
    capabilities.dedup();
    capabilities.truncate(64);
    LicenseStatus {
        tier: Some(cut(&report.tier, 63)),
        source: Some(license_source(report.source)),
        max_users: report.max_users,
        capabilities,
        valid_until: report.valid_until.map(time),
        grace_until: report.grace_until.map(time),
        issued_to: report.issued_to.as_deref().map(|name| cut(name, 512)),
        check_in: report.check_in.as_ref().map(|check_in| CheckInStatus {
            at: check_in.at.map(time),
            reachable: check_in.reachable,
            problem: check_in.problem.as_deref().map(|problem| cut(problem, 512)),
            next_request_sha256: check_in.next_request_sha256.as_deref().and_then(hex_hash),
            telemetry: Some(check_in.telemetry),
            refused: check_in.refused.as_deref().and_then(refusal),
        }),
    }
}

fn refusal(word: &str) -> Option<relay::LicenseRefusal> {
    match word {
        "payment_failed" => Some(relay::LicenseRefusal::PaymentFailed),
        "unknown_key" => Some(relay::LicenseRefusal::UnknownKey),
        "revoked" => Some(relay::LicenseRefusal::Revoked),
        _ => None,
    }
}

fn license_source(source: control::LicenseSource) -> relay::LicenseSource {
    match source {
        control::LicenseSource::Offline => relay::LicenseSource::Offline,
        control::LicenseSource::Online => relay::LicenseSource::Online,
        control::LicenseSource::AirGap => relay::LicenseSource::AirGap,
        control::LicenseSource::Cache => relay::LicenseSource::Cache,
        control::LicenseSource::None => relay::LicenseSource::None,
    }
}

fn drain(report: &control::DrainReport) -> DrainStatus {
    let mut requested_by: Vec<relay::DrainSource> = report
        .requested_by
        .iter()
        .map(|source| match source {
            control::DrainSource::Spec => relay::DrainSource::Spec,
            control::DrainSource::Policy => relay::DrainSource::Policy,
            control::DrainSource::Vendor => relay::DrainSource::Vendor,
            control::DrainSource::Update => relay::DrainSource::Update,
            control::DrainSource::Shutdown => relay::DrainSource::Shutdown,
        })
        .collect();
    requested_by.sort();
    requested_by.dedup();
    DrainStatus {
        state: Some(match report.state {
            control::DrainState::Serving => relay::DrainState::Serving,
            control::DrainState::Draining => relay::DrainState::Draining,
            control::DrainState::Drained => relay::DrainState::Drained,
        }),
        requested_by,
        since: report.since.map(time),
        deadline: report.deadline.map(time),
    }
}

fn log(before: Option<LogStatus>, it: &Evidence<'_>) -> Option<LogStatus> {
    let before = before.unwrap_or_default();
    // Only a name that may be believed: spec.log.origin may change to what stands here.
    let named = it.believed.filter(|_| !matches!(it.continuity, Continuity::Broken { .. }));
    let origin = named.map(|state| cut(&state.log.origin, ORIGIN)).filter(|origin| !origin.is_empty());
    let high = it.durable.log.as_ref();
    let log = LogStatus {
        origin: origin.or(before.origin),
        size: high.map(|high| high.mark.size),
        root: high.and_then(|high| hex_hash(&high.mark.root)),
        checkpoint_at: high.map(|high| time(high.at)),
        consistent: match (it.continuity, it.believed) {
            (Continuity::Broken { .. }, _) => Some(false),
            (_, Some(_)) if it.fenced().is_some() => Some(false),
            (Continuity::Continues | Continuity::Adopted, Some(_)) => Some(true),
            _ => before.consistent,
        },
    };
    (log != LogStatus::default()).then_some(log)
}

/// Whether a condition is true.
pub(crate) fn is_true(status: &ParamantRelayStatus, type_: &str) -> bool {
    crate::conditions::find(&status.conditions, type_).is_some_and(|it| it.status == Truth::True.as_str())
}

/// As Kubernetes writes an instant.
pub(crate) fn time(at: Timestamp) -> Time {
    Time(whole_seconds(at))
}

/// Kubernetes' instants have no fraction.
pub(crate) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn hex_hash(text: &str) -> Option<HexHash> {
    Digest::from_hex(text).ok().map(|digest| HexHash::from(digest.hex()))
}

/// The longest name of a log that the schema takes.
const ORIGIN: usize = 200;

/// A log's name for its mark: one that status would cut names nothing.
pub(crate) fn whole_origin(origin: &str) -> Option<String> {
    (!origin.is_empty() && origin.chars().count() < ORIGIN).then(|| origin.to_owned())
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
