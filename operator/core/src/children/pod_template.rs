//! The pod template: the relay's container under the restricted pod security standard, its mounts, its probes.
//!
//! Secrets are mounted optionally: a missing one never holds a pod back. No token of the API server is mounted; the one
//! projected token is bound, short-lived, and good only for proving to the operator which pod this is.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, HTTPGetAction, KeyToPath,
    LocalObjectReference, PodSecurityContext, PodSpec, Probe, ProjectedVolumeSource, ResourceRequirements,
    SeccompProfile, SecretVolumeSource, SecurityContext, ServiceAccountTokenProjection, Volume, VolumeMount,
    VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use paramant_crds::annotation::RESTARTED_AT;
use paramant_crds::relay::ImageReference;
use paramant_protocol::control::OPERATOR_AUDIENCE;
use serde_json::{Map, Value, json};

use super::settings::{
    ADMIN_DIR, AIR_GAP_DIR, AIR_GAP_KEY, CONFIG_DIR, DATA_DIR, LICENSE_DIR, StaticSettings, TOKEN_DIR,
};
use super::{CONTROL_PORT, PROBES_PORT, PUBLIC_PORT, Subject, to_value};
use crate::digest::Digest;

/// The user and group a relay runs as, and the group its volume belongs to.
pub(super) const USER: i64 = 65_532;
/// Ten minutes for a log to be read after a crash; a relay that is up earlier is seen within a second.
const STARTUP_TRIES: i32 = 600;
/// Carries [`StaticSettings`] as JSON.
const SETTINGS_ANNOTATION: &str = "paramant.app/settings";
/// Carries the digest of all wishes a template was rendered from.
const WISH_ANNOTATION: &str = "paramant.app/wish";
/// The name of the volume that holds the licence Secret.
const LICENSE_VOLUME: &str = "license";
const AIR_GAP_VOLUME: &str = "air-gap";
/// The name of the volume that holds the admin Secret.
const ADMIN_VOLUME: &str = "admin";

/// What the template says beyond the spec.
#[derive(Debug, Clone, Copy)]
pub struct PodWishes<'a> {
    /// The image to run.
    pub image: &'a Digest,
    /// The Secret with the licence, if any.
    pub licence_secret: Option<&'a str>,
    /// The Secret with a reply that somebody carries in, if any.
    pub air_gap: Option<&'a str>,
    /// When somebody last asked for a restart (`kubectl rollout restart`).
    pub restarted_at: Option<&'a str>,
}

/// The whole template.
pub fn pod_template(subject: &Subject<'_>, wishes: PodWishes<'_>) -> Value {
    let pod = subject.spec.pod.clone().unwrap_or_default();
    let mut labels = pod.labels.clone();
    labels.extend(subject.labels());
    let mut annotations = pod.annotations.clone();
    annotations.insert(SETTINGS_ANNOTATION.into(), to_value(&StaticSettings::wanted(subject)).to_string());
    annotations.insert(WISH_ANNOTATION.into(), wish(subject, wishes).hex().into());
    annotations.insert("kubectl.kubernetes.io/default-container".into(), "relay".into());
    if let Some(at) = wishes.restarted_at {
        annotations.insert(RESTARTED_AT.into(), at.to_owned());
    }
    let grace = pod.termination_grace_period.as_ref().and_then(|span| span.duration());
    let mut spec = to_value(&PodSpec {
        service_account_name: Some(subject.name.into()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(
            grace.map_or(600, |grace| grace.as_secs().try_into().unwrap_or(600)),
        ),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        node_selector: (!pod.node_selector.is_empty()).then_some(pod.node_selector),
        priority_class_name: pod.priority_class_name.map(|name| name.0),
        image_pull_secrets: (!pod.image_pull_secrets.is_empty()).then(|| {
            pod.image_pull_secrets.iter().map(|r| LocalObjectReference { name: r.name.0.clone() }).collect()
        }),
        containers: vec![container(subject, wishes)],
        volumes: Some(volumes(subject, wishes)),
        ..PodSpec::default()
    });
    // As the person wrote them: the schema keeps them open, and the API server judges them.
    for (field, value) in [
        ("tolerations", objects(pod.tolerations)),
        ("topologySpreadConstraints", objects(spread(pod.topology_spread_constraints))),
        ("affinity", (!pod.affinity.is_empty()).then_some(Value::Object(pod.affinity))),
    ] {
        if let (Some(value), Some(spec)) = (value, spec.as_object_mut()) {
            spec.insert(field.into(), value);
        }
    }
    json!({ "metadata": { "labels": labels, "annotations": annotations }, "spec": spec })
}

/// A constraint without a selector matches no pod at all; what is meant is: spread relays.
fn spread(mut constraints: Vec<Map<String, Value>>) -> Vec<Map<String, Value>> {
    for constraint in &mut constraints {
        constraint
            .entry("labelSelector")
            .or_insert_with(|| json!({ "matchLabels": { "app.kubernetes.io/name": super::APP_NAME } }));
    }
    constraints
}

fn objects(items: Vec<Map<String, Value>>) -> Option<Value> {
    (!items.is_empty()).then(|| items.into_iter().map(Value::Object).collect())
}

fn container(subject: &Subject<'_>, wishes: PodWishes<'_>) -> Container {
    let pod = subject.spec.pod.as_ref();
    Container {
        name: "relay".into(),
        image: Some(pinned(&subject.spec.image, wishes.image)),
        image_pull_policy: Some("IfNotPresent".into()),
        args: Some(
            ["--data", DATA_DIR, "--config", &format!("{CONFIG_DIR}/{}", super::RELAY_KEY)]
                .map(str::to_owned)
                .into(),
        ),
        ports: Some(vec![
            port("public", PUBLIC_PORT),
            port("control", CONTROL_PORT),
            port("probes", PROBES_PORT),
        ]),
        resources: Some(resources(pod.map(|pod| &pod.resources))),
        startup_probe: Some(probe("/livez", 1, STARTUP_TRIES)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        liveness_probe: Some(probe("/livez", 10, 6)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts(subject, wishes)),
        ..Container::default()
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: number,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("probes".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

/// Requests small enough for a laptop, no limits: a relay's memory is bounded by its own limits, and one that is killed
/// for memory cuts uploads. A person who wants limits says so.
fn resources(wishes: Option<&Map<String, Value>>) -> ResourceRequirements {
    let map = |field: &str| -> Option<BTreeMap<String, Quantity>> {
        let quantities = wishes?.get(field)?.as_object()?;
        Some(quantities.iter().map(|(name, value)| (name.clone(), Quantity(quantity_text(value)))).collect())
    };
    let mut requests = map("requests").unwrap_or_default();
    let limits = map("limits").filter(|limits| !limits.is_empty());
    for (name, least) in [("cpu", "50m"), ("memory", "64Mi")] {
        // Kubernetes makes a limit the request where there is none; a request above it would be refused.
        let limited = limits.as_ref().is_some_and(|limits| limits.contains_key(name));
        if !limited {
            requests.entry(name.into()).or_insert_with(|| Quantity(least.into()));
        }
    }
    ResourceRequirements { requests: (!requests.is_empty()).then_some(requests), limits, claims: None }
}

fn quantity_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn volumes(subject: &Subject<'_>, wishes: PodWishes<'_>) -> Vec<Volume> {
    let named = |name: &str| Volume { name: name.into(), ..Volume::default() };
    let item = |key: &str, path: &str| KeyToPath { key: key.into(), path: path.into(), mode: None };
    let secret = |name: &str, items| SecretVolumeSource {
        secret_name: Some(name.into()),
        optional: Some(true),
        items: Some(items),
        ..SecretVolumeSource::default()
    };
    let mut volumes = vec![
        Volume {
            config_map: Some(ConfigMapVolumeSource {
                name: subject.config_name(),
                ..ConfigMapVolumeSource::default()
            }),
            ..named("config")
        },
        Volume {
            projected: Some(ProjectedVolumeSource {
                sources: Some(vec![VolumeProjection {
                    service_account_token: Some(ServiceAccountTokenProjection {
                        audience: Some(OPERATOR_AUDIENCE.into()),
                        expiration_seconds: Some(3600),
                        path: "operator-token".into(),
                    }),
                    ..VolumeProjection::default()
                }]),
                ..ProjectedVolumeSource::default()
            }),
            ..named("operator-token")
        },
    ];
    if let Some(admin) = &subject.spec.admin {
        let reference = &admin.token_secret_ref;
        volumes.push(Volume {
            secret: Some(secret(reference.name.as_str(), vec![item(reference.key(), "token")])),
            ..named(ADMIN_VOLUME)
        });
    }
    if let Some(name) = wishes.licence_secret {
        // Only these two keys, whatever else the Secret holds.
        let items = vec![item("licence", "licence"), item("licence-next", "licence-next")];
        volumes.push(Volume { secret: Some(secret(name, items)), ..named(LICENSE_VOLUME) });
    }
    if let Some(name) = wishes.air_gap {
        let items = vec![item(AIR_GAP_KEY, AIR_GAP_KEY)];
        volumes.push(Volume { secret: Some(secret(name, items)), ..named(AIR_GAP_VOLUME) });
    }
    volumes
}

fn mounts(subject: &Subject<'_>, wishes: PodWishes<'_>) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: Option<bool>| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only,
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        mount("data", DATA_DIR, None),
        mount("config", CONFIG_DIR, Some(true)),
        mount("operator-token", TOKEN_DIR, Some(true)),
    ];
    if subject.spec.admin.is_some() {
        mounts.push(mount(ADMIN_VOLUME, ADMIN_DIR, Some(true)));
    }
    if wishes.licence_secret.is_some() {
        mounts.push(mount(LICENSE_VOLUME, LICENSE_DIR, Some(true)));
    }
    if wishes.air_gap.is_some() {
        mounts.push(mount(AIR_GAP_VOLUME, AIR_GAP_DIR, Some(true)));
    }
    mounts
}

/// The reference with its tag or digest replaced by a digest.
pub(super) fn pinned(reference: &ImageReference, digest: &Digest) -> String {
    match reference.parts() {
        Some(parts) => format!("{}/{}@{digest}", parts.registry, parts.repository),
        // Refused by validation before it comes here.
        None => format!("{reference}@{digest}"),
    }
}

/// The digest of everything that somebody wished and that reaches the pod template.
///
/// Two releases of the operator may render one wish differently. That is no reason to restart a relay: as long as the wish
/// is the one the rolled template was made from, the rolled template is what is wanted.
fn wish(subject: &Subject<'_>, wishes: PodWishes<'_>) -> Digest {
    let mut wish = json!({
        "image": pinned(&subject.spec.image, wishes.image),
        "licence": wishes.licence_secret,
        "restartedAt": wishes.restarted_at,
        "admin": to_value(&subject.spec.admin),
        "pod": to_value(&subject.spec.pod),
        "settings": to_value(&StaticSettings::wanted(subject)),
    });
    // What is not wished is not named: templates of releases that did not know it stay what is wished.
    if let (Some(air_gap), Some(wish)) = (wishes.air_gap, wish.as_object_mut()) {
        wish.insert("airGap".into(), air_gap.into());
    }
    Digest::of_json(&wish)
}

/// Whether a template was rendered from these very wishes, by whichever release of the operator.
pub fn grants(template: &Value, subject: &Subject<'_>, wishes: PodWishes<'_>) -> bool {
    let from = template.get("metadata").and_then(|it| it.get("annotations")?.get(WISH_ANNOTATION)?.as_str());
    from == Some(wish(subject, wishes).hex())
}

/// The digest of the image in a template.
pub fn image_digest(template: &Value) -> Option<Digest> {
    let containers = template.pointer("/spec/containers")?.as_array()?;
    let image =
        containers.iter().find(|container| container.get("name") == Some(&json!("relay")))?.get("image")?;
    image.as_str()?.split_once('@')?.1.parse().ok()
}

/// The licence Secret a template mounts.
pub fn licence_secret(template: &Value) -> Option<&str> {
    mounted_secret(template, LICENSE_VOLUME)
}

/// The Secret with a reply that was carried in, if a template mounts one.
pub fn air_gap_secret(template: &Value) -> Option<&str> {
    mounted_secret(template, AIR_GAP_VOLUME)
}

/// The admin Secret a template mounts.
pub fn admin_secret(template: &Value) -> Option<&str> {
    mounted_secret(template, ADMIN_VOLUME)
}

fn mounted_secret<'t>(template: &'t Value, volume: &str) -> Option<&'t str> {
    let volumes = template.pointer("/spec/volumes")?.as_array()?;
    let found = volumes.iter().find(|it| it.get("name").and_then(Value::as_str) == Some(volume))?;
    found.pointer("/secret/secretName")?.as_str()
}

/// When somebody last asked for a restart, as a template says.
pub fn restarted_at(template: &Value) -> Option<&str> {
    template.get("metadata")?.get("annotations")?.get(RESTARTED_AT)?.as_str()
}

/// The settings that travel with a template.
pub fn static_settings(template: &Value) -> Option<StaticSettings> {
    let text = template.get("metadata")?.get("annotations")?.get(SETTINGS_ANNOTATION)?.as_str()?;
    serde_json::from_str(text).ok()
}
