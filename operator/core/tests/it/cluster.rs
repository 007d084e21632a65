//! A make-believe cluster: an API server that merges intents and fills in defaults, a StatefulSet controller, a kubelet, a
//! registry and one relay process. It checks at every pass what must never happen, whatever the scenario.

mod api_server;
mod registry;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use paramant_crds::relay::Step;
use paramant_crds::{ParamantRelay, ParamantRelayStatus};
use paramant_operator_core::children::seal_of;
use paramant_operator_core::covers;
use paramant_operator_core::release::TrustedKey;
use paramant_operator_core::{
    Children, Context, CourierChildren, Decision, DeletedKind, Event, Observation, Referenced, Refused,
    Report, Resolution, Rival, decide,
};
use paramant_protocol::control::{Directives, DirectivesMark, RelayState, RemoteReport};
use serde_json::{Value, json};

pub(crate) use self::registry::Registry;

pub(crate) const NAME: &str = "health";
pub(crate) const NAMESPACE: &str = "transfers";
/// The courier to witnesses, and what is its own.
pub(crate) const COURIER: &str = "health-courier-witness";
/// The courier that calls webhooks.
pub(crate) const WEBHOOK_COURIER: &str = "health-courier-webhook";
pub(crate) const LICENSE_COURIER: &str = "health-courier-license";
const REPOSITORY: &str = "registry.example/paramant/relay";

/// An image the registry of this cluster knows by digest.
pub(crate) fn image(n: u8) -> String {
    format!("{REPOSITORY}@{}", digest(n))
}

pub(crate) fn digest(n: u8) -> String {
    format!("sha256:{}", hex::encode([n; 32]))
}

pub(crate) fn hash(n: u8) -> String {
    hex::encode([n; 32])
}

/// The policy that relays under test name.
pub(crate) fn production(spec: Value) -> Value {
    json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantPolicy",
        "metadata": {"name": "production", "namespace": "transfers", "uid": "pol", "generation": 1},
        "spec": spec,
    })
}

/// What a pass did to the API server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deed {
    Status,
    State,
    Apply(String),
    Delete(DeletedKind, String),
}

/// How an image fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Crashes,
    IsNotThere,
    NeverReady,
    LosesTheLog,
    /// It starts and serves, and its process ends after 50 s; the kubelet starts it again.
    DiesAfterAWhile,
    /// No pod can be made: a quota, an admission policy.
    MakesNoPod,
}

/// How the API server answers an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    /// No, and it will be no next time: the controller hands it back as [`Refused`].
    Refused,
    /// An error that may pass, as from a webhook that is away: nothing is handed back.
    Fails,
}

pub(crate) struct Cluster {
    pub(crate) now: Timestamp,
    pub(crate) relay: Value,
    pub(crate) policy: Option<Value>,
    pub(crate) license: Option<Value>,
    pub(crate) objects: BTreeMap<(String, String), Value>,
    pub(crate) faults: BTreeMap<String, Fault>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) resolution: Resolution,
    pub(crate) registry: Registry,
    pub(crate) report: Option<Report>,
    pub(crate) process: Option<Process>,
    pub(crate) context: Context,
    pub(crate) deeds: Vec<Deed>,
    pub(crate) events: Vec<Event>,
    pub(crate) steps: Vec<Step>,
    pub(crate) uploads: u64,
    /// The tier of the licence, whichever pod the relay runs in.
    pub(crate) tier: Option<String>,
    /// What the relay reports of the vendor, whichever pod it runs in.
    pub(crate) remote: Option<RemoteReport>,
    /// The relay has accepted a drain that the vendor asked for.
    pub(crate) vendor_drains: bool,
    /// Files that nobody has fetched yet.
    pub(crate) unclaimed: u64,
    /// The schema that the volume was committed to.
    pub(crate) committed: u32,
    /// How many writes the operator still does before it is killed.
    pub(crate) writes_left: Option<usize>,
    pub(crate) rivals: Vec<Rival>,
    pub(crate) unschedulable: bool,
    pub(crate) sent: Option<Directives>,
    /// What the API server does not take, and how it says so.
    pub(crate) answers: fn(&Value) -> Answer,
    refused: Option<Refused>,
    directives_refused: Option<DirectivesMark>,
    applied: BTreeMap<(String, String), Value>,
    counter: u64,
}

pub(crate) struct Process {
    pub(crate) pod_uid: String,
    pub(crate) directives: Option<Directives>,
    pub(crate) state: RelayState,
}

impl Cluster {
    pub(crate) fn with(spec: Value) -> Self {
        let mut cluster = Self {
            now: Timestamp::from_second(1_790_000_000).unwrap(),
            relay: Value::Null,
            policy: None,
            license: None,
            objects: BTreeMap::new(),
            faults: BTreeMap::new(),
            tags: BTreeMap::new(),
            resolution: Resolution::Pending,
            registry: Registry::default(),
            report: None,
            process: None,
            context: Context {
                ca_bundle_pem: "PEM".into(),
                epoch: 1,
                operator_namespace: "paramant-system".into(),
                metrics_from: Vec::new(),
                gateway_api: true,
                token_keys: Some("{\"keys\":[]}".into()),
                release_keys: vec![TrustedKey { name: "release".into(), pem: "PEM".into() }],
                allow_unsigned_default: false,
                license_servers: Default::default(),
            },
            deeds: Vec::new(),
            events: Vec::new(),
            steps: Vec::new(),
            uploads: 0,
            tier: None,
            remote: None,
            vendor_drains: false,
            unclaimed: 0,
            committed: 0,
            writes_left: None,
            rivals: Vec::new(),
            unschedulable: false,
            sent: None,
            answers: |_| Answer::Taken,
            refused: None,
            directives_refused: None,
            applied: BTreeMap::new(),
            counter: 0,
        };
        let uid = cluster.next_uid();
        cluster.relay = json!({
            "apiVersion": "paramant.app/v1alpha1",
            "kind": "ParamantRelay",
            "metadata": {
                "name": NAME, "namespace": NAMESPACE, "uid": uid, "generation": 1,
                "creationTimestamp": cluster.now.to_string(),
            },
            "spec": spec,
            "status": {"observedGeneration": -1},
        });
        cluster
    }

    /// A relay that serves image 1 and rests.
    pub(crate) fn serving() -> Self {
        let mut cluster = Self::with(json!({ "image": image(1) }));
        cluster.settle();
        assert_eq!(cluster.phase(), "Ready", "{:#}", cluster.relay["status"]);
        cluster
    }

    pub(crate) fn next_uid(&mut self) -> String {
        self.counter += 1;
        format!("uid-{:04}", self.counter)
    }

    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.relay["spec"]);
        let generation = self.relay["metadata"]["generation"].as_i64().unwrap();
        self.relay["metadata"]["generation"] = json!(generation + 1);
    }

    pub(crate) fn annotate(&mut self, key: &str, value: &str) {
        self.relay["metadata"]["annotations"][key] = json!(value);
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(kind.into(), name.into()))
    }

    pub(crate) fn get_mut(&mut self, kind: &str, name: &str) -> Option<&mut Value> {
        self.objects.get_mut(&(kind.into(), name.into()))
    }

    pub(crate) fn pod(&self) -> &Value {
        self.get("Pod", "health-0").expect("a pod")
    }

    pub(crate) fn pod_image(&self) -> String {
        self.pod()["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    }

    pub(crate) fn status(&self) -> ParamantRelayStatus {
        serde_json::from_value(self.relay["status"].clone()).unwrap()
    }

    pub(crate) fn phase(&self) -> &str {
        self.relay["status"]["phase"].as_str().unwrap_or("")
    }

    pub(crate) fn message(&self) -> &str {
        self.relay["status"]["message"].as_str().unwrap_or("")
    }

    pub(crate) fn step(&self) -> Step {
        self.status().update.and_then(|update| update.step).unwrap_or_default()
    }

    /// `("True", "Serving")`.
    pub(crate) fn condition(&self, type_: &str) -> (String, String) {
        let all = self.relay["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|it| it["type"] == type_).unwrap_or_default();
        (found["status"].as_str().unwrap_or("").into(), found["reason"].as_str().unwrap_or("").into())
    }

    pub(crate) fn observe(&self) -> Observation {
        let typed = |kind: &str, name: &str| self.get(kind, name).cloned();
        fn read<T: serde::de::DeserializeOwned>(value: Option<Value>) -> Option<Arc<T>> {
            value.map(|value| Arc::new(serde_json::from_value(value).unwrap()))
        }
        let pods = self.objects.iter().filter(|((kind, _), _)| kind == "Pod");
        let relay: ParamantRelay = serde_json::from_value(self.relay.clone()).unwrap();
        Observation {
            policy: match (&self.policy, &relay.spec.policy_ref) {
                (_, None) => Referenced::Unreferenced,
                (None, Some(name)) => Referenced::Missing { name: name.name.0.clone() },
                (Some(policy), Some(_)) => {
                    Referenced::Found(Arc::new(serde_json::from_value(policy.clone()).unwrap()))
                }
            },
            license: match (&self.license, &relay.spec.license_ref) {
                (_, None) => Referenced::Unreferenced,
                (None, Some(name)) => Referenced::Missing { name: name.name.0.clone() },
                (Some(found), Some(_)) => {
                    Referenced::Found(Arc::new(serde_json::from_value(found.clone()).unwrap()))
                }
            },
            relay: Arc::new(relay),
            children: Children {
                stateful_set: read(typed("StatefulSet", NAME)),
                service: read(typed("Service", NAME)),
                headless: read(typed("Service", "health-pods")),
                service_account: read(typed("ServiceAccount", NAME)),
                config: read(typed("ConfigMap", "health-config")),
                state: read(typed("ConfigMap", "health-state")),
                network_policy: read(typed("NetworkPolicy", NAME)),
                ingress: read(typed("Ingress", NAME)),
                http_route: typed("HTTPRoute", NAME).map(Arc::new),
                claim: read(typed("PersistentVolumeClaim", "data-health-0")),
                pods: pods.map(|(_, pod)| Arc::new(serde_json::from_value(pod.clone()).unwrap())).collect(),
                courier: CourierChildren {
                    deployment: read(typed("Deployment", COURIER)),
                    control: read(typed("Service", "health-control")),
                    service_account: read(typed("ServiceAccount", COURIER)),
                    network_policy: read(typed("NetworkPolicy", COURIER)),
                },
                webhook_courier: CourierChildren {
                    deployment: read(typed("Deployment", WEBHOOK_COURIER)),
                    control: read(typed("Service", "health-control-webhook")),
                    service_account: read(typed("ServiceAccount", WEBHOOK_COURIER)),
                    network_policy: read(typed("NetworkPolicy", WEBHOOK_COURIER)),
                },
                license_courier: CourierChildren {
                    deployment: read(typed("Deployment", LICENSE_COURIER)),
                    control: read(typed("Service", "health-control-license")),
                    service_account: read(typed("ServiceAccount", LICENSE_COURIER)),
                    network_policy: read(typed("NetworkPolicy", LICENSE_COURIER)),
                },
            },
            report: self.report.clone().unwrap_or_else(|| match &self.process {
                Some(process) => Report::Reachable {
                    state: Arc::new(process.state.clone()),
                    pod_uid: process.pod_uid.clone(),
                    at: self.now,
                },
                None => Report::Unknown,
            }),
            resolution: self.resolution.clone(),
            inspection: self.registry.inspection(),
            refused: self.refused.clone(),
            directives_refused: self.directives_refused.clone(),
            rivals: self.rivals.clone(),
        }
    }

    /// One pass of the operator. Returns what it decided.
    pub(crate) fn pass(&mut self) -> Decision {
        let seen = self.observe();
        let decision = decide(&seen, &self.context, self.now);
        assert_eq!(decision, decide(&seen, &self.context, self.now), "the same facts, the same decision");
        self.check(&decision);
        self.act(decision.clone());
        decision
    }

    /// What must hold for every decision in every state.
    fn check(&self, decision: &Decision) {
        let stored = self.status();
        let stored_update = stored.update.clone().unwrap_or_default();
        let may_disrupt = matches!(stored_update.step, Some(Step::Replacing | Step::RollingBack));
        for deletion in decision.delete.iter().filter(|it| it.kind == DeletedKind::Pod) {
            assert!(may_disrupt, "a pod goes only in a stored step: {stored_update:?}");
            assert_eq!(stored_update.victim.as_ref(), Some(&deletion.uid), "and only the recorded one");
            assert_eq!(
                decision.status.update.as_ref().unwrap().step,
                stored_update.step,
                "and the step is confirmed"
            );
        }
        assert!(decision.delete.len() <= 1, "at most one act at a time");
        if let Some(to) =
            decision.directives.as_ref().and_then(|said| said.commit_schema).filter(|to| *to > self.committed)
        {
            let resting = decision.status.update.as_ref().and_then(|update| update.step) == Some(Step::Idle);
            assert!(resting, "a schema is committed only at rest: {to}");
            let settled = decision.status.update.as_ref().and_then(|update| update.last_good.clone());
            let runs = decision.status.image.as_ref().and_then(|image| image.current.clone());
            assert_eq!(settled, runs, "and only for what ran well");
        }
        for intent in decision.apply.iter().chain(&decision.state) {
            let kind = intent["kind"].as_str().unwrap();
            let known = [
                "StatefulSet",
                "Service",
                "ServiceAccount",
                "ConfigMap",
                "NetworkPolicy",
                "Ingress",
                "HTTPRoute",
                "PersistentVolumeClaim",
                "Deployment",
            ];
            assert!(known.contains(&kind), "{kind}");
            if kind == "StatefulSet"
                && let Some(before) = self.applied.get(&(kind.into(), NAME.into()))
                && before["spec"]["template"] != intent["spec"]["template"]
                && let Some(live) = self.get(kind, NAME)
                && !covers(&intent["spec"]["template"], &live["spec"]["template"])
                // What is kept as rolled is sent again in every step, whatever the set carries.
                && self.kept_template().as_ref() != Some(&intent["spec"]["template"])
            {
                assert!(may_disrupt, "another template is written only in a stored step: {stored_update:?}");
            }
        }
        for condition in &decision.status.conditions {
            assert_eq!(condition.observed_generation, self.relay["metadata"]["generation"].as_i64());
            let same = stored
                .conditions
                .iter()
                .find(|it| it.type_ == condition.type_ && it.status == condition.status);
            if let Some(same) = same {
                assert_eq!(same.last_transition_time, condition.last_transition_time, "{}", condition.type_);
            }
        }
        let types: BTreeSet<&str> = decision.status.conditions.iter().map(|it| it.type_.as_str()).collect();
        assert_eq!(types.len(), decision.status.conditions.len(), "one condition of a type");
        if decision.status == stored {
            assert!(decision.events.is_empty(), "no event without a transition: {:?}", decision.events);
        }
    }

    fn kept_template(&self) -> Option<Value> {
        let state = self.get("ConfigMap", &format!("{NAME}-state"))?;
        serde_json::from_str(state["data"]["template"].as_str()?).ok()
    }

    pub(crate) fn act(&mut self, decision: Decision) {
        let status = serde_json::to_value(&decision.status).unwrap();
        if let Some(question) = decision.inspect {
            self.registry.ask(question);
        }
        if decision.status != self.status() {
            if !self.lives() {
                return;
            }
            self.relay["status"] = status;
            self.deeds.push(Deed::Status);
            let step = self.step();
            if self.steps.last() != Some(&step) {
                self.steps.push(step);
            }
        }
        if let Some(state) = decision.state {
            if !self.lives() {
                return;
            }
            self.apply(state);
            self.deeds.push(Deed::State);
        }
        self.sent = decision.directives.clone();
        if let (Some(process), Some(directives)) = (&mut self.process, decision.directives) {
            let order = |it: &Directives| (it.epoch, it.seq);
            let held = process.directives.as_ref().filter(|held| held.relay_uid == directives.relay_uid);
            let taken = held.is_none_or(|held| order(held) < order(&directives) || *held == directives);
            let Directives { relay_uid, epoch, seq, .. } = directives.clone();
            self.directives_refused = (!taken).then_some(DirectivesMark { relay_uid, epoch, seq });
            if taken {
                process.directives = Some(directives);
            }
        }
        let mut failed = Vec::new();
        for intent in decision.apply {
            if !self.lives() {
                return;
            }
            let kind = intent["kind"].as_str().unwrap().to_owned();
            let name = intent["metadata"]["name"].as_str().unwrap().to_owned();
            match (self.answers)(&intent) {
                Answer::Taken => {
                    let other = |last: &Refused| (&last.kind, &last.name) != (&kind, &name);
                    self.refused = self.refused.take().filter(other);
                    self.deeds.push(Deed::Apply(format!("{kind}/{name}")));
                    self.apply(intent);
                }
                Answer::Refused => {
                    let sealed = seal_of(&intent).map(str::to_owned);
                    let message = "spec.template.spec.affinity: Invalid value".into();
                    self.refused = Some(Refused { kind: kind.clone(), name, sealed, message });
                    failed.push(kind);
                }
                Answer::Fails => failed.push(kind),
            }
        }
        for deletion in decision.delete {
            if failed.iter().any(|kind| kind == deletion.kind.waits_for()) {
                continue;
            }
            if !self.lives() {
                return;
            }
            self.deeds.push(Deed::Delete(deletion.kind, deletion.name.clone()));
            let kind = match deletion.kind {
                DeletedKind::Pod => "Pod",
                DeletedKind::StatefulSetOrphan => "StatefulSet",
                DeletedKind::Ingress => "Ingress",
                DeletedKind::HttpRoute => "HTTPRoute",
                DeletedKind::Courier => "Deployment",
            };
            let key = (kind.to_owned(), deletion.name);
            let live = self.objects.get_mut(&key).expect("what is deleted is there");
            assert_eq!(
                live["metadata"]["uid"].as_str(),
                Some(deletion.uid.as_str()),
                "the precondition holds"
            );
            if kind == "Pod" {
                live["metadata"]["deletionTimestamp"] = json!(self.now.to_string());
            } else {
                self.objects.remove(&key);
                // The garbage collector takes what belonged to it.
                self.objects.retain(|_, it| {
                    let owners = it["metadata"]["ownerReferences"].as_array();
                    owners.is_none_or(|all| all.iter().all(|owner| owner["uid"] != deletion.uid.as_str()))
                        || deletion.kind == DeletedKind::StatefulSetOrphan
                });
            }
        }
        if let Some(image) = decision.resolve {
            self.resolution = match self.tags.get(&image.0) {
                Some(digest) => Resolution::Resolved { image: image.0, digest: digest.parse().unwrap() },
                None => Resolution::Refused { image: image.0, reason: "the registry has no such tag".into() },
            };
        } else if self.relay["spec"]["image"].as_str().is_some_and(|image| image.contains('@')) {
            self.resolution = Resolution::Pending;
        }
        self.events.extend(decision.events);
    }

    /// Whether the operator lives to do one more write.
    fn lives(&mut self) -> bool {
        match &mut self.writes_left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// Passes and ticks until three passes in a row do nothing.
    pub(crate) fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..200 {
            let before = self.deeds.len();
            self.pass();
            self.tick();
            quiet = if self.deeds.len() == before { quiet + 1 } else { 0 };
            if quiet == 3 {
                return;
            }
        }
        panic!(
            "no rest after 200 passes; last deeds: {:?}",
            &self.deeds[self.deeds.len().saturating_sub(12)..]
        );
    }

    /// Passes and ticks for this long.
    pub(crate) fn run(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.pass();
            self.tick();
        }
    }

    /// Nothing but time passes, and then what that brings about.
    pub(crate) fn wait(&mut self, seconds: i64) {
        self.run(2);
        self.now += SignedDuration::from_secs(seconds);
        self.run(3);
    }

    /// Passes and ticks until this step is stored.
    pub(crate) fn until(&mut self, step: Step) {
        for _ in 0..2000 {
            if self.step() == step {
                return;
            }
            self.pass();
            self.tick();
        }
        panic!("never reached {step:?}; steps: {:?}; {:#}", self.steps, self.relay["status"]);
    }

    /// Every child's version, for "nothing was touched".
    pub(crate) fn snapshot(&self) -> (Value, BTreeMap<(String, String), Value>) {
        (self.relay.clone(), self.objects.clone())
    }
}
