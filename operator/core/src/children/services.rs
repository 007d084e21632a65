//! The two Services: the one clients use, and the headless one that gives the pod its name.
//!
//! Clients never reach a pod that is not ready; the headless Service publishes it always, so that control and probes can
//! be looked at while a relay starts.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::{CONTROL_PORT, PROBES_PORT, PUBLIC_PORT, Subject, seal, to_value};

/// The Service clients use: port 80 to the public listener.
pub fn service(subject: &Subject<'_>) -> Value {
    let wishes = subject.spec.service.clone().unwrap_or_default();
    let mut metadata = subject.metadata(subject.name);
    if !wishes.annotations.is_empty() {
        metadata.annotations = Some(wishes.annotations);
    }
    seal(to_value(&Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(wishes.type_.unwrap_or_default().as_str().into()),
            selector: Some(subject.selector()),
            ports: Some(vec![port("http", 80, "public")]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }))
}

/// The headless Service the StatefulSet names.
pub fn headless(subject: &Subject<'_>) -> Value {
    seal(to_value(&Service {
        metadata: subject.metadata(subject.headless_name()),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            publish_not_ready_addresses: Some(true),
            selector: Some(subject.selector()),
            ports: Some(vec![
                port("public", PUBLIC_PORT, "public"),
                port("control", CONTROL_PORT, "control"),
                port("probes", PROBES_PORT, "probes"),
            ]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }))
}

fn port(name: &str, port: i32, target: &str) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port,
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::String(target.into())),
        ..ServicePort::default()
    }
}
