//! The courier of one purpose: the pod that carries what its relay sends out, and what that pod needs.
//!
//! It exists only while the purpose is switched on. The Deployment belongs to the relay; Service, NetworkPolicy and
//! ServiceAccount belong to the Deployment, so that taking it away takes them along and the operator needs no right to delete
//! their kinds. It begins with no replica: the pod is let up only when its NetworkPolicy lives and the address and the key of the
//! relay are known. Its labels are none of the relay's, so no selector of the relay's ever matches it.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec,
    ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecurityContext, Service, ServiceAccount,
    ServiceAccountTokenProjection, ServicePort, ServiceSpec, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use paramant_crds::license::Online;
use paramant_crds::network::{Egress, HostName};
use paramant_crds::relay::{Webhooks, Witnesses};
use paramant_protocol::control::{CONTROL_AUDIENCE, CourierPurpose};
use serde_json::{Value, json};

use super::pod_template::{USER, pinned};
use super::settings::{TOKEN_DIR, endpoint};
use super::{CONTROL_PORT, Subject, seal, to_value};
use crate::destination::Destination;
use crate::digest::Digest;

/// What `app.kubernetes.io/name` says on courier pods.
pub const COURIER_NAME: &str = "paramant-courier";
/// On courier pods: what they carry.
pub const PURPOSE_LABEL: &str = "paramant.app/purpose";
/// Where names are looked up, in clusters as they are made.
const DNS_NAMESPACE: &str = "kube-system";

/// The courier of one purpose.
#[derive(Debug, Clone, Copy)]
pub struct Courier<'a> {
    subject: Subject<'a>,
    carries: Carries<'a>,
}

/// What a courier carries, and where to.
#[derive(Debug, Clone, Copy)]
enum Carries<'a> {
    Witnesses(&'a Witnesses),
    Webhooks(&'a Webhooks),
    License(&'a Online),
}

/// What must be known before the pod may come up.
#[derive(Debug, Clone, Copy)]
pub struct Contact<'a> {
    /// The address of the control Service.
    pub address: &'a str,
    /// The relay's pinned control key.
    pub key: &'a str,
}

impl<'a> Courier<'a> {
    /// The courier that speaks to witnesses, if the spec names some.
    pub fn to_witnesses(subject: Subject<'a>) -> Option<Self> {
        let witnesses = subject.spec.log.as_ref()?.witnesses.as_ref()?;
        Some(Self { subject, carries: Carries::Witnesses(witnesses) })
    }

    /// The courier that calls users' webhooks, if the spec lets them have some.
    pub fn to_webhooks(subject: Subject<'a>) -> Option<Self> {
        let webhooks = subject.spec.webhooks.as_ref()?;
        Some(Self { subject, carries: Carries::Webhooks(webhooks) })
    }

    /// The courier that checks in about the licence, if the licence asks for it.
    pub fn to_authority(subject: Subject<'a>) -> Option<Self> {
        let online = subject.license.filter(|license| license.known)?.online?;
        Some(Self { subject, carries: Carries::License(online) })
    }

    /// All that the spec and the licence ask for.
    pub fn wanted(subject: Subject<'a>) -> Vec<Self> {
        let all = [Self::to_witnesses(subject), Self::to_webhooks(subject), Self::to_authority(subject)];
        all.into_iter().flatten().collect()
    }

    /// What it is for.
    pub fn purpose(&self) -> CourierPurpose {
        match self.carries {
            Carries::Witnesses(_) => CourierPurpose::Witness,
            Carries::Webhooks(_) => CourierPurpose::Webhook,
            Carries::License(_) => CourierPurpose::License,
        }
    }

    /// `R-courier-witness`: the Deployment, the ServiceAccount and the NetworkPolicy.
    pub fn name(&self) -> String {
        courier_name(self.subject.name, self.purpose())
    }

    /// `R-control`: the Service by which the courier reaches the relay.
    pub fn control_name(&self) -> String {
        control_name(self.subject.name, self.purpose())
    }

    /// Where it may connect to, each once, in the order of the spec. What the relay cannot read either is left out.
    fn destinations(&self) -> Vec<Destination> {
        let read: Vec<Destination> = match self.carries {
            Carries::Witnesses(witnesses) => witnesses
                .members
                .iter()
                .filter_map(|member| Destination::of_url(member.url.as_str()))
                .collect(),
            Carries::Webhooks(webhooks) => {
                let of_host = |host: &HostName| Destination::of_url(&format!("https://{}", host.as_str()));
                webhooks.hosts.iter().filter_map(of_host).collect()
            }
            Carries::License(online) => Destination::of_url(endpoint(online)).into_iter().collect(),
        };
        let mut all: Vec<Destination> = Vec::new();
        for destination in read {
            if !all.contains(&destination) {
                all.push(destination);
            }
        }
        all
    }

    fn egress(&self) -> &Egress {
        match self.carries {
            Carries::Witnesses(witnesses) => &witnesses.egress,
            Carries::Webhooks(webhooks) => &webhooks.egress,
            Carries::License(online) => &online.egress,
        }
    }

    fn pod_labels(&self) -> BTreeMap<String, String> {
        let mut labels = pod_labels(self.subject.name);
        labels.insert(PURPOSE_LABEL.to_owned(), self.purpose().as_str().to_owned());
        labels
    }

    /// The Deployment; without a contact it has no replica.
    pub fn deployment(&self, image: &Digest, contact: Option<Contact<'_>>) -> Value {
        let pod = self.subject.spec.pod.clone().unwrap_or_default();
        let mut intent = to_value(&Deployment {
            metadata: self.subject.metadata(self.name()),
            spec: Some(DeploymentSpec {
                replicas: Some(contact.is_some().into()),
                revision_history_limit: Some(2),
                selector: LabelSelector { match_labels: Some(self.pod_labels()), ..LabelSelector::default() },
                template: PodTemplateSpec {
                    metadata: Some(ObjectMeta { labels: Some(self.pod_labels()), ..ObjectMeta::default() }),
                    spec: Some(PodSpec {
                        service_account_name: Some(self.name()),
                        automount_service_account_token: Some(false),
                        enable_service_links: Some(false),
                        termination_grace_period_seconds: Some(5),
                        security_context: Some(PodSecurityContext {
                            run_as_non_root: Some(true),
                            run_as_user: Some(USER),
                            run_as_group: Some(USER),
                            seccomp_profile: Some(runtime_default()),
                            ..PodSecurityContext::default()
                        }),
                        node_selector: (!pod.node_selector.is_empty()).then_some(pod.node_selector),
                        image_pull_secrets: (!pod.image_pull_secrets.is_empty()).then(|| {
                            let named = |it: &paramant_crds::reference::NameRef| LocalObjectReference {
                                name: it.name.0.clone(),
                            };
                            pod.image_pull_secrets.iter().map(named).collect()
                        }),
                        containers: vec![self.container(image, contact)],
                        volumes: Some(vec![token()]),
                        ..PodSpec::default()
                    }),
                },
                ..DeploymentSpec::default()
            }),
            status: None,
        });
        if !pod.tolerations.is_empty()
            && let Some(spec) = intent.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut)
        {
            spec.insert("tolerations".into(), json!(pod.tolerations));
        }
        seal(intent)
    }

    fn container(&self, image: &Digest, contact: Option<Contact<'_>>) -> Container {
        Container {
            name: "courier".into(),
            image: Some(pinned(&self.subject.spec.image, image)),
            image_pull_policy: Some("IfNotPresent".into()),
            args: Some(self.arguments(contact)),
            resources: Some(ResourceRequirements {
                requests: Some(quantities([("cpu", "5m"), ("memory", "16Mi")])),
                limits: Some(quantities([("memory", "64Mi")])),
                claims: None,
            }),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                read_only_root_filesystem: Some(true),
                run_as_non_root: Some(true),
                capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
                seccomp_profile: Some(runtime_default()),
                ..SecurityContext::default()
            }),
            volume_mounts: Some(vec![VolumeMount {
                name: "control-token".into(),
                mount_path: TOKEN_DIR.into(),
                read_only: Some(true),
                ..VolumeMount::default()
            }]),
            ..Container::default()
        }
    }

    fn arguments(&self, contact: Option<Contact<'_>>) -> Vec<String> {
        let mut arguments = vec!["courier".to_owned()];
        let mut flag = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        flag("purpose", self.purpose().as_str().to_owned());
        if let Some(Contact { address, key }) = contact {
            let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            flag("relay", format!("{address}:{CONTROL_PORT}"));
            flag("relay-key", key.to_owned());
        }
        flag("token-file", format!("{TOKEN_DIR}/control-token"));
        for destination in self.destinations() {
            flag("destination", destination.authority());
        }
        if let Some(proxy) = &self.egress().proxy {
            flag("proxy", proxy.as_str().to_owned());
        }
        arguments
    }

    /// The Service by which it reaches the relay, also while the relay is not ready.
    pub fn control_service(&self, owner: &OwnerReference) -> Value {
        seal(to_value(&Service {
            metadata: self.owned(self.control_name(), owner),
            spec: Some(ServiceSpec {
                type_: Some("ClusterIP".into()),
                publish_not_ready_addresses: Some(true),
                selector: Some(self.subject.selector()),
                ports: Some(vec![ServicePort {
                    name: Some("control".into()),
                    port: CONTROL_PORT,
                    protocol: Some("TCP".into()),
                    target_port: Some(IntOrString::String("control".into())),
                    ..ServicePort::default()
                }]),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }))
    }

    /// The account whose token it shows. It holds no right.
    pub fn service_account(&self, owner: &OwnerReference) -> Value {
        seal(to_value(&ServiceAccount {
            metadata: self.owned(self.name(), owner),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        }))
    }

    /// Nobody reaches it; it reaches its relay, its destinations or its proxy, and DNS where a name must be looked up.
    pub fn network_policy(&self, owner: &OwnerReference) -> Value {
        let relay = NetworkPolicyEgressRule {
            to: Some(vec![NetworkPolicyPeer {
                pod_selector: Some(LabelSelector {
                    match_labels: Some(self.subject.selector()),
                    ..LabelSelector::default()
                }),
                ..NetworkPolicyPeer::default()
            }]),
            ports: Some(vec![port(CONTROL_PORT, "TCP")]),
        };
        let mut egress = vec![relay, self.outward()];
        if self.looks_names_up() {
            egress.push(NetworkPolicyEgressRule {
                to: Some(vec![NetworkPolicyPeer {
                    namespace_selector: Some(LabelSelector {
                        match_labels: Some(
                            [("kubernetes.io/metadata.name".into(), DNS_NAMESPACE.into())].into(),
                        ),
                        ..LabelSelector::default()
                    }),
                    ..NetworkPolicyPeer::default()
                }]),
                ports: Some(vec![port(53, "UDP"), port(53, "TCP")]),
            });
        }
        seal(to_value(&NetworkPolicy {
            metadata: self.owned(self.name(), owner),
            spec: Some(NetworkPolicySpec {
                pod_selector: Some(LabelSelector {
                    match_labels: Some(self.pod_labels()),
                    ..LabelSelector::default()
                }),
                policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
                ingress: None,
                egress: Some(egress),
            }),
        }))
    }

    /// To the proxy where there is one, else to the destinations; within the ranges that the spec names. A policy knows no names,
    /// so a proxy that is named, in no range, opens its port only.
    fn outward(&self) -> NetworkPolicyEgressRule {
        let egress = self.egress();
        let proxy = egress.proxy.as_ref().and_then(|proxy| Destination::of_url(proxy.as_str()));
        let mut ports: Vec<i32> = match &proxy {
            Some(proxy) => vec![proxy.port().into()],
            None => self.destinations().iter().map(|destination| destination.port().into()).collect(),
        };
        ports.sort_unstable();
        ports.dedup();
        let range = |cidr: String| NetworkPolicyPeer {
            ip_block: Some(IPBlock { cidr, except: None }),
            ..NetworkPolicyPeer::default()
        };
        let ranges: Vec<NetworkPolicyPeer> = match proxy.as_ref().and_then(Destination::address) {
            Some(address) => {
                let prefix = if address.is_ipv4() { 32 } else { 128 };
                vec![range(format!("{address}/{prefix}"))]
            }
            None => egress.cidrs.iter().map(|cidr| range(cidr.as_str().to_owned())).collect(),
        };
        NetworkPolicyEgressRule {
            to: (!ranges.is_empty()).then_some(ranges),
            ports: Some(ports.into_iter().map(|number| port(number, "TCP")).collect()),
        }
    }

    fn looks_names_up(&self) -> bool {
        let proxy = self.egress().proxy.as_ref().and_then(|proxy| Destination::of_url(proxy.as_str()));
        match proxy {
            Some(proxy) => proxy.address().is_none(),
            None => self.destinations().iter().any(|destination| destination.address().is_none()),
        }
    }

    fn owned(&self, name: String, owner: &OwnerReference) -> ObjectMeta {
        ObjectMeta { owner_references: Some(vec![owner.clone()]), ..self.subject.metadata(name) }
    }
}

/// `R-courier-witness`.
pub fn courier_name(relay: &str, purpose: CourierPurpose) -> String {
    format!("{relay}-courier-{}", purpose.as_str())
}

/// `R-control`, or `R-control-webhook`: each belongs to its courier's Deployment and goes with it, so couriers share none.
pub fn control_name(relay: &str, purpose: CourierPurpose) -> String {
    match purpose {
        CourierPurpose::Witness => format!("{relay}-control"),
        other => format!("{relay}-control-{}", other.as_str()),
    }
}

/// What all couriers of a relay carry.
pub(super) fn pod_labels(relay: &str) -> BTreeMap<String, String> {
    [("app.kubernetes.io/name", COURIER_NAME), ("app.kubernetes.io/instance", relay)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// A live Deployment as owner of what its pods need. Not blocking: nobody waits for them.
pub fn deployment_as_owner(live: &Deployment) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        name: live.metadata.name.clone()?,
        uid: live.metadata.uid.clone()?,
        controller: Some(true),
        block_owner_deletion: None,
    })
}

fn port(number: i32, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some(protocol.into()),
        ..NetworkPolicyPort::default()
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }
}

fn quantities<const N: usize>(of: [(&str, &str); N]) -> BTreeMap<String, Quantity> {
    of.into_iter().map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).collect()
}

fn token() -> Volume {
    Volume {
        name: "control-token".into(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    audience: Some(CONTROL_AUDIENCE.into()),
                    expiration_seconds: Some(3600),
                    path: "control-token".into(),
                }),
                ..VolumeProjection::default()
            }]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}
