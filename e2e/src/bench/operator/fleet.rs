//! A thousand relays on nodes that are not there: fake nodes and pods by KWOK, everything between them and the operator real.
//!
//! StatefulSets, claims, Services and tokens are made by the cluster's own controllers, pods are scheduled by its scheduler.
//! Volumes are prepared and bound by name. Pods get addresses of a network that this machine calls its own for as long as the
//! fleet lives, so that the operator's connections arrive at the stand-in. KWOK and the route end with the fleet, the objects
//! by [`Fleet::remove`]; and a fleet begins by taking down what another one left.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::{
    core::v1::{Namespace, Node, PersistentVolume, Pod},
    storage::v1::StorageClass,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use paramant_crds::ParamantRelay;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::stand_in::StandIn;
use crate::{bed::Bed, process};

/// Where the relays are.
pub(super) const NAMESPACE: &str = "bench-fleet";
/// On everything that belongs to no namespace.
const LABEL: &str = "paramant.app/bench";
const FLEET: &str = "fleet";
/// Beside the networks of the test bed (10.213 for pods, 10.214 for Services).
const PODS: &str = "10.215.0.0/16";
/// One node would do; several spread the scheduler's work.
const NODES: usize = 4;
/// Requests at once while the fleet is made.
const AT_ONCE: usize = 12;
/// A thousand relays on two busy cores take some minutes.
const READY: Duration = Duration::from_secs(600);

/// The fleet, its KWOK and its stand-in.
pub(super) struct Fleet<'a> {
    bed: &'a Bed,
    pub(super) client: Client,
    pub(super) stand_in: StandIn,
    kwok: Kwok,
    made: usize,
    _route: Route,
}

/// The process that plays the nodes; it ends with this.
struct Kwok(Child);

impl Drop for Kwok {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The pods' network is this machine's own for as long as this lives.
struct Route;

impl Route {
    fn add() -> Result<Self> {
        route("add").map(|()| Self)
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        route("del").ok();
    }
}

/// The name of a relay.
pub(super) fn name(number: usize) -> String {
    format!("relay-{number:04}")
}

impl<'a> Fleet<'a> {
    /// Prepares nodes, KWOK and stand-in; no relay yet.
    pub(super) async fn new(bed: &'a Bed, client: Client) -> Result<Self> {
        remove_all(&client).await?;
        let route = Route::add()?;
        let stand_in = StandIn::start(client.clone(), NAMESPACE).await?;
        let log = std::fs::File::create(std::env::temp_dir().join("paramant-kwok.log"))?;
        let kwok = Command::new(bed.programs.join("kwok"))
            .arg("--kubeconfig")
            .arg(bed.kubeconfig())
            .args([
                "--manage-all-nodes=false",
                "--node-ip=10.215.255.1",
                "--cidr=10.215.0.1/16",
                "--node-lease-duration-seconds=40",
            ])
            .arg(format!("--manage-nodes-with-label-selector={LABEL}={FLEET}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start kwok")?;
        let fleet = Fleet { bed, client: client.clone(), stand_in, kwok: Kwok(kwok), made: 0, _route: route };
        create(
            &Api::<Namespace>::all(client.clone()),
            json!({ "metadata": { "name": NAMESPACE, "labels": { LABEL: FLEET } } }),
        )
        .await?;
        let class = json!({
            "metadata": { "name": FLEET, "labels": { LABEL: FLEET } },
            "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "Immediate",
        });
        create(&Api::<StorageClass>::all(client.clone()), class).await?;
        for number in 0..NODES {
            let name = format!("{FLEET}-{number}");
            let node = json!({
                "metadata": { "name": name, "labels": { LABEL: FLEET, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" } },
                "spec": { "taints": [ { "key": LABEL, "value": FLEET, "effect": "NoSchedule" } ] },
            });
            create(&Api::<Node>::all(client.clone()), node).await?;
        }
        Ok(fleet)
    }

    /// How many relays there are.
    pub(super) fn len(&self) -> usize {
        self.made
    }

    /// The relays.
    pub(super) fn relays(&self) -> Api<ParamantRelay> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Makes relays until there are `total`, and waits until all are ready. Answers how long that took.
    pub(super) async fn grow_to(&mut self, total: usize) -> Result<Duration> {
        let began = Instant::now();
        let image = self.bed.image("paramant-relay")?.to_owned();
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let relays = self.relays();
        stream::iter(self.made..total)
            .map(Ok::<_, anyhow::Error>)
            .try_for_each_concurrent(AT_ONCE, |number| {
                let (volumes, relays, image) = (volumes.clone(), relays.clone(), image.clone());
                async move {
                    create(&volumes, volume(number)).await?;
                    create(&relays, relay(number, &image)).await
                }
            })
            .await?;
        self.made = total;
        self.wait_ready(total, READY).await?;
        Ok(began.elapsed())
    }

    /// Waits until so many relays are ready.
    pub(super) async fn wait_ready(&mut self, total: usize, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let ready = self.ready().await?;
            if ready >= total {
                return Ok(());
            }
            if let Some(status) = self.kwok.0.try_wait()? {
                bail!("kwok ended with {status}");
            }
            if Instant::now() > deadline {
                bail!(
                    "{ready} of {total} relays are ready after {} s: {}",
                    limit.as_secs(),
                    self.example().await?
                );
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    async fn ready(&self) -> Result<usize> {
        let relays = self.relays().list(&ListParams::default()).await?;
        Ok(relays.items.iter().filter(|relay| is_ready(relay)).count())
    }

    /// What one that is not ready says.
    async fn example(&self) -> Result<String> {
        let relays = self.relays().list(&ListParams::default()).await?;
        let lagging = relays.items.iter().find(|relay| !is_ready(relay));
        let status = lagging.map(|relay| (relay.metadata.name.clone(), relay.status.clone()));
        Ok(serde_json::to_string(&status)?)
    }

    /// Changes the spec of a relay so that one child has to be patched and no pod replaced.
    pub(super) async fn touch(&self, number: usize, mark: &str) -> Result<()> {
        let patch = json!({ "spec": { "service": { "annotations": { "bench": mark } } } });
        self.merge(number, patch).await
    }

    /// Changes a relay.
    pub(super) async fn merge(&self, number: usize, patch: Value) -> Result<()> {
        let params = PatchParams { field_manager: Some("paramant-admin".into()), ..PatchParams::default() };
        self.relays().patch(&name(number), &params, &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// The image of all relays.
    pub(super) fn image(&self) -> Result<&str> {
        self.bed.image("paramant-relay")
    }

    /// Takes everything down.
    pub(super) async fn remove(self) -> Result<()> {
        remove_all(&self.client).await
    }
}

fn is_ready(relay: &ParamantRelay) -> bool {
    let status = relay.status.as_ref();
    status.is_some_and(|status| {
        status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

fn volume(number: usize) -> Value {
    json!({
        "metadata": { "name": format!("{FLEET}-{number:04}"), "labels": { LABEL: FLEET } },
        "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOncePod"], "storageClassName": FLEET,
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": "/nonexistent" },
            "claimRef": { "namespace": NAMESPACE, "name": format!("data-{}-0", name(number)) },
        },
    })
}

fn relay(number: usize, image: &str) -> Value {
    json!({
        "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay",
        "metadata": { "name": name(number), "namespace": NAMESPACE },
        "spec": {
            "image": image,
            "storage": { "size": "1Gi", "className": FLEET },
            "pod": {
                "nodeSelector": { LABEL: FLEET },
                "tolerations": [ { "key": LABEL, "value": FLEET, "effect": "NoSchedule" } ],
            },
        },
    })
}

async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object)?;
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes the pods' network this machine's own, or no longer.
fn route(verb: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["route", verb, "local", PODS, "dev", "lo", "table", "local"]);
    process::run(&mut command, None, Duration::from_secs(10))?.success("ip route").map(drop)
}

/// Deletes what this or another fleet made: relays first, so that the operator learns of it; pods without their nodes' consent.
async fn remove_all(client: &Client) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if namespaces.get_opt(NAMESPACE).await?.is_some() {
        let relays: Api<ParamantRelay> = Api::namespaced(client.clone(), NAMESPACE);
        relays.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        namespaces.delete(NAMESPACE, &DeleteParams::background()).await?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
        let deadline = Instant::now() + Duration::from_secs(300);
        while namespaces.get_opt(NAMESPACE).await?.is_some() {
            // A node that is not there lets no pod go by itself once its KWOK has ended.
            pods.delete_collection(
                &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() },
                &ListParams::default(),
            )
            .await
            .ok();
            if Instant::now() > deadline {
                bail!("namespace {NAMESPACE} is still there after 5 minutes");
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }
    let ours = ListParams::default().labels(&format!("{LABEL}={FLEET}"));
    let now = DeleteParams::default();
    Api::<PersistentVolume>::all(client.clone()).delete_collection(&now, &ours).await?;
    Api::<StorageClass>::all(client.clone()).delete_collection(&now, &ours).await?;
    Api::<Node>::all(client.clone()).delete_collection(&now, &ours).await?;
    // One that was killed could not take it away.
    route("del").ok();
    Ok(())
}
