//! What the relay's pod says: which template it runs, whether it serves, and what holds it up.
//!
//! Reasons and sentences here end up in status, so they must not change while nothing changes: back-off and its attempt
//! are one reason, counts and ports of single attempts are left out, and a container that crashes keeps its reason while it
//! runs for a moment in between. Pure; called by [`crate::decide`].

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod, PodCondition};

use crate::children::sealed_as;
use crate::digest::Digest;
use crate::machine::PodFact;
use crate::observation::Children;

/// How long a pod may take to end after its own grace period before its node counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(60);
/// The longest piece of another program's message that is repeated.
const QUOTED: usize = 400;

/// What holds a pod up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// For a condition.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
    /// Waiting does not help; a person must change something.
    pub stuck: bool,
    /// Something is wrong, as opposed to: it takes its time.
    pub wrong: bool,
}

/// The relay's pod, read once.
#[derive(Debug, Clone)]
pub struct PodView<'a> {
    /// The pod, if there is one.
    pub pod: Option<&'a Pod>,
    /// It takes requests.
    pub ready: bool,
    /// What holds it up, if it is not ready.
    pub trouble: Option<Trouble>,
}

impl<'a> PodView<'a> {
    /// Reads the pod with this name. `said_before` is the reason in status, `good` whether a pod of this relay was ever healthy.
    pub fn of(children: &'a Children, name: &str, said_before: Option<&str>, now: Timestamp) -> Self {
        let pod =
            children.pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(name)).map(AsRef::as_ref);
        let ready = pod.is_some_and(|pod| {
            pod.metadata.deletion_timestamp.is_none()
                && condition(pod, "Ready").is_some_and(|it| it.status == "True")
        });
        let trouble = match pod {
            _ if ready => None,
            Some(pod) => Some(trouble(pod, children.claim.as_deref(), said_before, now)),
            None if children.stateful_set.is_none() => Some(Trouble {
                reason: "Installing",
                message: "the relay's StatefulSet is being made".to_owned(),
                stuck: false,
                wrong: false,
            }),
            None => Some(Trouble {
                reason: "PodMissing",
                message: format!(
                    "the StatefulSet has not made the pod {name} yet; if this lasts, its events say why (a quota, an admission policy)"
                ),
                stuck: false,
                wrong: false,
            }),
        };
        Self { pod, ready, trouble }
    }

    /// Its UID.
    pub fn uid(&self) -> Option<&'a str> {
        self.pod?.metadata.uid.as_deref()
    }

    /// The digest of the image it was made with.
    pub fn image(&self) -> Option<Digest> {
        let relay = self.pod?.spec.as_ref()?.containers.iter().find(|it| it.name == "relay")?;
        relay.image.as_ref()?.rsplit_once('@')?.1.parse().ok()
    }

    /// Which template it runs. `sealed` is the digest of the StatefulSet intent with the rolled template: only when the
    /// live object carries it, and its controller has seen that, can a pod be told old from new.
    pub fn fact(&self, stateful_set: Option<&StatefulSet>, sealed: Option<&str>) -> PodFact {
        let Some(set) = stateful_set else { return PodFact::Unknown };
        let carried = sealed.is_some() && sealed_as(set.metadata.annotations.as_ref()) == sealed;
        let Some(status) = set.status.as_ref() else { return PodFact::Unknown };
        let seen = status.observed_generation.unwrap_or(0) >= set.metadata.generation.unwrap_or(0);
        let (Some(revision), true, true) = (status.update_revision.as_deref(), carried, seen) else {
            return PodFact::Unknown;
        };
        let Some((pod, uid)) = self.pod.and_then(|pod| Some((pod, pod.metadata.uid.clone()?))) else {
            return PodFact::Absent;
        };
        let terminating = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        let labels = pod.metadata.labels.as_ref();
        let runs = labels.and_then(|labels| labels.get("controller-revision-hash")).map(String::as_str);
        if runs != Some(revision) {
            return PodFact::Old { uid, serving: self.ready, terminating: terminating.is_some() };
        }
        let unready_since = (!self.ready).then(|| {
            let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            let turned =
                condition(pod, "Ready").and_then(|it| it.last_transition_time.as_ref()).map(|time| time.0);
            terminating.or(turned).or(created).unwrap_or(Timestamp::MAX)
        });
        PodFact::New { uid, serving: self.ready, unready_since, restarted: restarted(pod) }
    }
}

/// The relay's container ended and was started again in the same pod.
fn restarted(pod: &Pod) -> bool {
    let all = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    all.into_iter().flatten().any(|container| container.name == "relay" && container.restart_count > 0)
}

fn condition<'p>(pod: &'p Pod, type_: &str) -> Option<&'p PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|it| it.type_ == type_)
}

fn trouble(
    pod: &Pod,
    claim: Option<&PersistentVolumeClaim>,
    said_before: Option<&str>,
    now: Timestamp,
) -> Trouble {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let wrong = |reason, message: String| Trouble { reason, message, stuck: false, wrong: true };
    let waits = |reason, message: String| Trouble { reason, message, stuck: false, wrong: false };

    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("its node");
    let lost = || {
        wrong(
            "NodeLost",
            format!(
                "the node {node} of pod {name} does not answer; the pod is not forced away, because two relays must never write one volume: bring the node back or taint it out-of-service"
            ),
        )
    };
    let is = |type_: &str, wanted: &str| condition(pod, type_).is_some_and(|it| it.status == wanted);
    // A node that stops answering turns Ready off from outside and leaves what its kubelet said last. A readiness gate that
    // somebody injected looks alike, but for its reason.
    let gated = condition(pod, "Ready").and_then(|it| it.reason.as_deref()) == Some("ReadinessGatesNotReady");
    let silent = status.reason.as_deref() == Some("NodeLost")
        || (is("ContainersReady", "True") && is("Ready", "False") && !gated);
    if let Some(end) = &pod.metadata.deletion_timestamp {
        // The timestamp already holds the grace period.
        let overdue = end.0.checked_add(jiff::SignedDuration::from_secs(LOST_AFTER.as_secs().cast_signed()));
        return match (overdue.is_ok_and(|overdue| now >= overdue), silent) {
            (true, true) => lost(),
            (true, false) => wrong(
                "PodNotEnding",
                format!(
                    "pod {name} should have ended and has not: a finalizer, a volume that does not come off, or {node} does not answer; it is not forced away, because two relays must never write one volume"
                ),
            ),
            (false, _) => {
                waits("PodTerminating", format!("pod {name} is finishing what is in flight before it ends"))
            }
        };
    }
    if silent {
        return lost();
    }
    if gated && is("ContainersReady", "True") {
        return waits(
            "ReadinessGates",
            format!("pod {name} waits for a readiness gate that somebody else put on it"),
        );
    }
    if let Some(unscheduled) = condition(pod, "PodScheduled").filter(|it| it.status == "False") {
        return unschedulable(name, unscheduled, claim);
    }
    let relay = status.container_statuses.unwrap_or_default().into_iter().find(|it| it.name == "relay");
    if let Some(found) = relay.and_then(|relay| container_trouble(&relay, said_before)) {
        return found;
    }
    if status.phase.as_deref() == Some("Failed") {
        let why = status.message.or(status.reason).unwrap_or_else(|| "no reason was given".into());
        return wrong("PodFailed", format!("pod {name} failed and is made again: {}", quoted(&why)));
    }
    waits("PodStarting", format!("pod {name} is starting"))
}

fn unschedulable(name: &str, unscheduled: &PodCondition, claim: Option<&PersistentVolumeClaim>) -> Trouble {
    let said = unscheduled.message.as_deref().unwrap_or("the scheduler gives no reason");
    let unbound = claim
        .filter(|claim| {
            claim.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Pending"))
        })
        .and_then(|claim| claim.metadata.name.as_deref());
    match unbound {
        Some(claim) if said.to_lowercase().contains("volume") => Trouble {
            reason: "VolumePending",
            message: format!("the claim {claim} waits for a volume: {}", quoted(said)),
            stuck: false,
            wrong: true,
        },
        _ => Trouble {
            reason: "Unschedulable",
            message: format!("pod {name} fits on no node: {}", quoted(said)),
            stuck: false,
            wrong: true,
        },
    }
}

fn container_trouble(relay: &ContainerStatus, said_before: Option<&str>) -> Option<Trouble> {
    let waiting = relay.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let message = waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull"
        | "ImageInspectError" => Some(pull_trouble(&relay.image, reason, message)),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Some(Trouble {
            reason: "ContainerNotCreated",
            message: format!("the relay's container cannot be created: {}", quoted(message)),
            stuck: true,
            wrong: true,
        }),
        _ => {
            let ended = [relay.state.as_ref(), relay.last_state.as_ref()]
                .into_iter()
                .flatten()
                .find_map(|state| state.terminated.as_ref());
            let again = reason == "CrashLoopBackOff" || said_before == Some("CrashLoopBackOff");
            let ended = ended.filter(|_| again || relay.restart_count > 0 || reason.is_empty())?;
            let why = match ended.reason.as_deref() {
                Some("Error") | None => String::new(),
                Some(other) => format!(" ({other})"),
            };
            let said = ended.message.as_deref().map(|text| format!(": {}", quoted(text))).unwrap_or_default();
            Some(Trouble {
                reason: if again { "CrashLoopBackOff" } else { "ContainerEnded" },
                message: format!(
                    "the relay's process {} with exit code {}{why}{said}; its log says why",
                    if again { "keeps ending" } else { "ended" },
                    ended.exit_code
                ),
                stuck: again,
                wrong: true,
            })
        }
    }
}

fn pull_trouble(image: &str, reason: &str, message: &str) -> Trouble {
    // The back-off repeats the attempt's message behind its own; both shall read the same.
    let cause = message.rsplit_once("ErrImagePull: ").map_or(message, |(_, cause)| cause);
    let cause = cause.rsplit_once(" desc = ").map_or(cause, |(_, cause)| cause);
    let lower = cause.to_lowercase();
    // Anything else (a registry that is away) may pass by itself.
    let stuck = matches!(reason, "InvalidImageName" | "ErrImageNeverPull")
        || ["not found", "notfound", "manifest unknown", "unauthorized", "denied", "forbidden"]
            .iter()
            .any(|word| lower.contains(word));
    let why = if lower.contains("not found") || lower.contains("manifest unknown") {
        "the registry has no such image".to_owned()
    } else if ["unauthorized", "denied", "forbidden"].iter().any(|word| lower.contains(word)) {
        "the registry refuses access; spec.pod.imagePullSecrets may be missing".to_owned()
    } else if stuck {
        quoted(cause)
    } else {
        "the registry cannot be reached from the node".to_owned()
    };
    Trouble {
        reason: "ImagePullBackOff",
        message: format!("the image {image} cannot be pulled: {why}"),
        stuck,
        wrong: true,
    }
}

/// The first line, cut at a character.
fn quoted(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason was given");
    let mut quoted: String = line.chars().take(QUOTED).collect();
    if quoted.len() < line.len() {
        quoted.push('…');
    }
    quoted
}
