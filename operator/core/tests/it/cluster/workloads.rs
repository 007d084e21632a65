//! Everything that is not the operator: the StatefulSet controller, the kubelet, and the relay's process.

use jiff::{SignedDuration, Timestamp};
use paramant_operator_core::Digest;
use paramant_operator_core::children::RELAY_LABEL;
use paramant_protocol::control::{
    AdminReport, CONTROL_SCHEMA, DataReport, DirectivesMark, DrainReport, DrainSource, DrainState,
    FenceReport, IdentityReport, LicenseReport, LicenseSource, LogReport, RelayState,
};
use serde_json::{Value, json};

use super::api_server::merge;
use super::{Cluster, Fault, NAME, Process, hash};

impl Cluster {
    /// Everything that is not the operator does its part, and a second passes.
    pub(crate) fn tick(&mut self) {
        self.now += SignedDuration::from_secs(1);
        self.end_pods();
        self.stateful_set();
        self.kubelet();
        self.relay_process();
    }

    fn end_pods(&mut self) {
        let ended = self
            .objects
            .get(&("Pod".into(), "health-0".into()))
            .is_some_and(|pod| !pod["metadata"]["deletionTimestamp"].is_null());
        if ended {
            self.objects.remove(&("Pod".into(), "health-0".into()));
            self.process = None;
        }
    }

    fn stateful_set(&mut self) {
        let Some(set) = self.get("StatefulSet", NAME).cloned() else { return };
        let revision = format!("{NAME}-{}", &Digest::of_json(&set["spec"]["template"]).hex()[..10]);
        let generation = set["metadata"]["generation"].clone();
        let live = self.get_mut("StatefulSet", NAME).unwrap();
        live["status"] = json!({"replicas": 1, "observedGeneration": generation, "updateRevision": revision});
        if self.get("PersistentVolumeClaim", "data-health-0").is_none() {
            let uid = self.next_uid();
            let mut claim = set["spec"]["volumeClaimTemplates"][0].clone();
            claim["metadata"] = json!({"name": "data-health-0", "uid": uid, "labels": {RELAY_LABEL: NAME}});
            claim["status"] = json!({"phase": "Bound", "capacity": {"storage": "10Gi"}});
            self.objects.insert(("PersistentVolumeClaim".into(), "data-health-0".into()), claim);
        }
        let digest = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
        let digest = digest.split_once('@').map_or("", |(_, digest)| digest);
        if self.get("Pod", "health-0").is_none() && self.faults.get(digest) != Some(&Fault::MakesNoPod) {
            let mut pod = set["spec"]["template"].clone();
            pod["metadata"]["name"] = json!("health-0");
            pod["metadata"]["uid"] = json!(self.next_uid());
            pod["metadata"]["labels"]["controller-revision-hash"] = json!(revision);
            pod["metadata"]["creationTimestamp"] = json!(self.now.to_string());
            pod["status"] = json!({"phase": "Pending", "conditions": []});
            self.objects.insert(("Pod".into(), "health-0".into()), pod);
        }
    }

    fn kubelet(&mut self) {
        let now = self.now.to_string();
        let unschedulable = self.unschedulable;
        let faults = self.faults.clone();
        let (clock, committed, schema) = (self.now, self.committed, self.registry.schemas());
        let Some(pod) = self.get_mut("Pod", "health-0") else { return };
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
        let digest = image.split_once('@').map_or("", |(_, digest)| digest).to_owned();
        let condition = |type_: &str, status: bool, before: &Value| {
            let status = if status { "True" } else { "False" };
            let all = before.as_array().cloned().unwrap_or_default();
            let same = all.iter().find(|it| it["type"] == type_ && it["status"] == status);
            let since = same.map_or(json!(now), |it| it["lastTransitionTime"].clone());
            json!({"type": type_, "status": status, "lastTransitionTime": since})
        };
        if unschedulable {
            pod["status"] = json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"},
            ]});
            return;
        }
        // A release that cannot read what is on the volume does not start.
        let reads = schema.get(&digest).is_none_or(|schema| *schema >= committed);
        let fault = faults.get(&digest).copied().or((!reads).then_some(Fault::Crashes));
        let created: Option<Timestamp> =
            pod["metadata"]["creationTimestamp"].as_str().and_then(|at| at.parse().ok());
        let age = created.map_or(0, |created| clock.duration_since(created).as_secs());
        let ready = !matches!(fault, Some(Fault::Crashes | Fault::IsNotThere | Fault::NeverReady));
        let before = pod["status"]["conditions"].clone();
        let state = match fault {
            Some(Fault::Crashes) => json!({
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                "lastState": {"terminated": {"exitCode": 70, "reason": "Error"}},
                "restartCount": 3,
            }),
            Some(Fault::IsNotThere) => json!({
                "state": {"waiting": {"reason": "ErrImagePull", "message": "rpc error: code = NotFound desc = x: not found"}},
                "restartCount": 0,
            }),
            Some(Fault::DiesAfterAWhile) if age >= 50 => json!({"state": {"running": {}}, "restartCount": 1}),
            _ => json!({"state": {"running": {}}, "restartCount": 0}),
        };
        let mut container = json!({"name": "relay", "image": image, "imageID": "", "ready": ready});
        merge(&mut container, &state);
        pod["status"] = json!({
            "phase": "Running",
            "conditions": [condition("Ready", ready, &before), condition("ContainersReady", ready, &before)],
            "containerStatuses": [container],
        });
    }

    fn relay_process(&mut self) {
        let Some(pod) = self.get("Pod", "health-0") else { return };
        let ready = pod["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["type"] == "Ready" && it["status"] == "True");
        if !ready {
            self.process = None;
            return;
        }
        let pod_uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
        let digest = self.pod_image().split_once('@').map_or(String::new(), |(_, digest)| digest.to_owned());
        // What was never seen cannot be missed: a log that starts small is a small log.
        let state = self.get("ConfigMap", "health-state");
        let seen = state.and_then(|state| state["data"]["logHighWater"].as_str());
        let lost = self.faults.get(&digest) == Some(&Fault::LosesTheLog) && seen.is_some();
        let (now, uploads, unclaimed) = (self.now, self.uploads, self.unclaimed);
        let (vendor, remote, tier) = (self.vendor_drains, self.remote.clone(), self.tier.clone());
        let process = self.process.get_or_insert_with(|| Process {
            pod_uid,
            directives: None,
            state: relay_state(now),
        });
        process.state.log.size = if lost { 3 } else { 7 };
        let release = self.registry.releases.get(&digest).cloned().unwrap_or_default();
        if let Some(version) = release.version {
            process.state.version = version;
        }
        let commit = process.directives.as_ref().and_then(|held| held.commit_schema).unwrap_or_default();
        process.state.data = release.schema.map(|schema| {
            self.committed = self.committed.max(commit.min(schema));
            DataReport { schema, min_reader: self.committed.max(1), committed: self.committed }
        });
        process.state.drain.unclaimed = unclaimed;
        process.state.remote = remote.or(process.state.remote.take());
        if let Some(tier) = tier {
            process.state.license.tier = tier;
        }
        let Some(directives) = &process.directives else { return };
        process.state.directives = Some(DirectivesMark {
            relay_uid: directives.relay_uid.clone(),
            epoch: directives.epoch,
            seq: directives.seq,
        });
        let mut requested_by = Vec::new();
        if directives.drain.spec == Some(true) {
            requested_by.push(DrainSource::Spec);
        }
        if directives.drain.policy && directives.drain.spec != Some(false) {
            requested_by.push(DrainSource::Policy);
        }
        if vendor && directives.drain.spec != Some(false) {
            requested_by.push(DrainSource::Vendor);
        }
        if directives.drain.update_until.is_some_and(|until| until > now) {
            requested_by.push(DrainSource::Update);
        }
        let drain = &mut process.state.drain;
        drain.state = match (requested_by.is_empty(), uploads) {
            (true, _) => DrainState::Serving,
            (false, 0) => DrainState::Drained,
            (false, _) => DrainState::Draining,
        };
        drain.since = if requested_by.is_empty() { None } else { drain.since.or(Some(now)) };
        drain.requested_by = requested_by;
    }
}

fn relay_state(now: Timestamp) -> RelayState {
    RelayState {
        schema: CONTROL_SCHEMA,
        version: "0.1.0".into(),
        started_at: now,
        ready: true,
        not_ready: Vec::new(),
        identity: IdentityReport { fingerprint: hash(1), control_spki_sha256: hash(2) },
        drain: DrainReport {
            state: DrainState::Serving,
            requested_by: Vec::new(),
            since: None,
            deadline: None,
            uploads: 0,
            claims: 0,
            unclaimed: 0,
        },
        license: LicenseReport {
            tier: "Community".into(),
            source: LicenseSource::None,
            max_users: Some(5),
            active_users: 1,
            capabilities: Vec::new(),
            valid_until: None,
            grace_until: None,
            problems: Vec::new(),
            issued_to: None,
            check_in: None,
        },
        log: LogReport {
            origin: "health.transfers/log".into(),
            size: 7,
            root: hash(3),
            checkpoint_at: Some(now),
            checkpoint: Some("note".into()),
            consistency: None,
            fence: FenceReport::default(),
            retired: Vec::new(),
            witnesses: None,
        },
        directives: None,
        ca_bundle_sha256: hash(4),
        admin: AdminReport::SetupCode,
        remote: None,
        data: None,
    }
}
