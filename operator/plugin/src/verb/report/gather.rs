//! What a support bundle asks for. Never a Secret; what is refused is noted with the right that is missing.

use serde_json::{Value, json};

use crate::cli::Report;
use crate::cluster::{
    CLAIMS, CONFIG_MAPS, Cluster, DEPLOYMENTS, EVENTS, Kind, LICENSES, NETWORK_POLICIES, PODS, POLICIES,
    Place, RELAYS, Refusal, SERVICE_ACCOUNTS, SERVICES, STATEFUL_SETS, text,
};
use crate::counters;
use crate::report::bundle::Bundle;

/// On every child of a relay, with the relay's name.
const RELAY_LABEL: &str = "paramant.app/relay";
/// On what the chart installs.
const OPERATOR: &str = "app.kubernetes.io/name=paramant-operator";
/// The operator's port of probes, metrics and `/debug/state`.
const OPERATOR_PORT: &str = "8080";
/// What is made for a relay.
const CHILDREN: [Kind; 8] =
    [STATEFUL_SETS, DEPLOYMENTS, PODS, SERVICES, SERVICE_ACCOUNTS, CONFIG_MAPS, NETWORK_POLICIES, CLAIMS];
/// Logs of more pods than this are left out: a bundle is about a few relays, not about a fleet.
const MOST_PODS: usize = 40;
/// The most of one log; with long lines `--tail` alone bounds nothing.
const MOST_OF_A_LOG: &str = "4194304";

/// Asks for everything. Fails only when there is no such relay, or no API server.
pub(super) async fn gather(cluster: &Cluster, wanted: &Report, bundle: Bundle) -> anyhow::Result<Bundle> {
    let mut gathering = Gathering { cluster, wanted, bundle };
    let server = cluster.version().await.map_err(Refusal::Unreached)?;
    let versions = json!({ "kubectl-paramant": env!("CARGO_PKG_VERSION"), "apiServer": server });
    gathering.bundle.document("versions.json", Ok(&versions));
    gathering.resources().await?;
    gathering.children().await;
    gathering.operator().await;
    Ok(gathering.bundle)
}

struct Gathering<'a> {
    cluster: &'a Cluster,
    wanted: &'a Report,
    bundle: Bundle,
}

impl Gathering<'_> {
    /// The three kinds, and the namespace's Events.
    async fn resources(&mut self) -> Result<(), Refusal> {
        let namespace = &self.cluster.namespace;
        match &self.wanted.name {
            Some(name) => match self.cluster.get(&Place::one(RELAYS, namespace, name)).await {
                Ok(relay) => self.bundle.document("paramantrelays.json", Ok(&list(vec![relay]))),
                Err(refusal) if refusal.is_forbidden() => {
                    self.bundle.document("paramantrelays.json", Err(&refusal));
                }
                Err(refusal) => return Err(refusal),
            },
            None => {
                self.objects("", RELAYS, namespace, None).await;
            }
        }
        for kind in [POLICIES, LICENSES] {
            self.objects("", kind, namespace, None).await;
        }
        self.events().await;
        Ok(())
    }

    async fn events(&mut self) {
        let place = Place::list(EVENTS, Some(&self.cluster.namespace));
        let about = |event: &Value| match &self.wanted.name {
            Some(name) => text(event, "/involvedObject/name").contains(name.as_str()),
            None => true,
        };
        match self.cluster.list(&place).await {
            Ok(events) => {
                let events = events.into_iter().filter(about).collect();
                self.bundle.document("events.json", Ok(&list(events)));
            }
            Err(refusal) => self.bundle.document("events.json", Err(&refusal)),
        }
    }

    /// What was made for the relays, what their pods wrote, and what they count.
    async fn children(&mut self) {
        let selector = match &self.wanted.name {
            Some(name) => format!("{RELAY_LABEL}={name}"),
            None => RELAY_LABEL.to_owned(),
        };
        let namespace = self.cluster.namespace.clone();
        let mut pods = Vec::new();
        for kind in CHILDREN {
            let found = self.objects("children/", kind, &namespace, Some(&selector)).await;
            if kind == PODS {
                pods = found;
            }
        }
        self.logs(&namespace, &pods).await;
        for pod in pods.iter().filter(|pod| has_container(pod, "relay")).take(MOST_PODS) {
            let name = text(pod, "/metadata/name");
            let metrics = self.cluster.bytes(&counters::place(&namespace, name)).await;
            self.bundle.text(&format!("metrics/{name}.txt"), metrics.as_deref());
        }
    }

    /// What the operator is, wrote, and believes.
    async fn operator(&mut self) {
        let namespace = self.wanted.operator_namespace.clone();
        self.objects("operator/", DEPLOYMENTS, &namespace, Some(OPERATOR)).await;
        let pods = self.objects("operator/", PODS, &namespace, Some(OPERATOR)).await;
        self.logs(&namespace, &pods).await;
        for pod in pods.iter().take(MOST_PODS) {
            let name = text(pod, "/metadata/name");
            for (path, file) in [("debug/state", "state"), ("readyz", "readyz"), ("metrics", "metrics")] {
                let place = Place::proxy(PODS, &namespace, name, OPERATOR_PORT, path);
                let found = self.cluster.bytes(&place).await;
                self.bundle.text(&format!("operator/{name}-{file}.txt"), found.as_deref());
            }
        }
    }

    /// All objects of a kind, into one file; answers them for what follows from them.
    async fn objects(
        &mut self,
        folder: &str,
        kind: Kind,
        namespace: &str,
        selector: Option<&str>,
    ) -> Vec<Value> {
        let path = format!("{folder}{}.json", kind.resource);
        let place = Place::list(kind, Some(namespace));
        let place = match selector {
            Some(selector) => place.with("labelSelector", selector),
            None => place,
        };
        match self.cluster.list(&place).await {
            Ok(mut items) => {
                // Items of a list do not say what they are, and what is hidden depends on it.
                let known = json!(if kind == CONFIG_MAPS { "ConfigMap" } else { kind.word });
                for item in items.iter_mut().filter_map(Value::as_object_mut) {
                    item.entry("kind").or_insert_with(|| known.clone());
                }
                self.bundle.document(&path, Ok(&list(items.clone())));
                items
            }
            Err(refusal) => {
                self.bundle.document(&path, Err(&refusal));
                Vec::new()
            }
        }
    }

    /// What each container of these pods wrote, and what the one before it wrote if it was started again.
    async fn logs(&mut self, namespace: &str, pods: &[Value]) {
        for pod in pods.iter().take(MOST_PODS) {
            let name = text(pod, "/metadata/name");
            for container in containers(pod) {
                let place = Place::log(namespace, name, &container)
                    .with("tailLines", self.wanted.tail.to_string())
                    .with("limitBytes", MOST_OF_A_LOG)
                    .with("timestamps", "true");
                let written = self.cluster.bytes(&place).await;
                let path = format!("logs/{namespace}-{name}-{container}");
                self.bundle.text(&format!("{path}.log"), written.as_deref());
                if was_restarted(pod, &container) {
                    let before = self.cluster.bytes(&place.with("previous", "true")).await;
                    self.bundle.text(&format!("{path}-before.log"), before.as_deref());
                }
            }
        }
        if let Some(left_out) = pods.len().checked_sub(MOST_PODS).filter(|count| *count > 0) {
            let why = format!("{left_out} more pods; name one relay to have its logs");
            self.bundle.miss(&format!("logs/{namespace}-*"), &why);
        }
    }
}

fn list(items: Vec<Value>) -> Value {
    json!({ "kind": "List", "apiVersion": "v1", "items": items })
}

fn containers(pod: &Value) -> Vec<String> {
    let named = ["/spec/initContainers", "/spec/containers"].into_iter().filter_map(|list| pod.pointer(list));
    let all = named.filter_map(Value::as_array).flatten();
    all.map(|container| text(container, "/name").to_owned()).collect()
}

fn has_container(pod: &Value, name: &str) -> bool {
    containers(pod).iter().any(|container| container == name)
}

fn was_restarted(pod: &Value, container: &str) -> bool {
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    let status = statuses.into_iter().flatten().find(|status| text(status, "/name") == container);
    status.and_then(|status| status.get("restartCount")?.as_u64()).is_some_and(|count| count > 0)
}
