//! The relay's NetworkPolicy: it dials nobody; anybody may reach the public port; control and probes only the operator;
//! control also the relay's own couriers while it has some, probes also whoever was told to the operator as a reader of metrics.
//!
//! This is half of promise S5: the pod that holds payloads has no way out. What may leave goes through a courier with a
//! policy of its own.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::{CONTROL_PORT, Courier, PROBES_PORT, PUBLIC_PORT, Subject, courier, seal, to_value};

/// The intent. `Egress` is among the types and no rule follows: nothing may leave.
pub fn network_policy(
    subject: &Subject<'_>,
    operator_namespace: &str,
    metrics_from: &[NetworkPolicyPeer],
) -> Value {
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some([("kubernetes.io/metadata.name".into(), operator_namespace.into())].into()),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    };
    let mut ingress = vec![
        NetworkPolicyIngressRule { ports: Some(vec![port(PUBLIC_PORT)]), from: None },
        NetworkPolicyIngressRule {
            ports: Some(vec![port(CONTROL_PORT), port(PROBES_PORT)]),
            from: Some(vec![operator]),
        },
    ];
    if !Courier::wanted(*subject).is_empty() {
        ingress.push(NetworkPolicyIngressRule {
            ports: Some(vec![port(CONTROL_PORT)]),
            from: Some(vec![NetworkPolicyPeer {
                pod_selector: Some(LabelSelector {
                    match_labels: Some(courier::pod_labels(subject.name)),
                    ..LabelSelector::default()
                }),
                ..NetworkPolicyPeer::default()
            }]),
        });
    }
    // A rule with an empty list of peers would let everybody in.
    if !metrics_from.is_empty() {
        ingress.push(NetworkPolicyIngressRule {
            ports: Some(vec![port(PROBES_PORT)]),
            from: Some(metrics_from.to_vec()),
        });
    }
    seal(to_value(&NetworkPolicy {
        metadata: subject.metadata(subject.name),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(subject.selector()),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            ingress: Some(ingress),
            egress: None,
        }),
    }))
}

fn port(number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".into()),
        ..NetworkPolicyPort::default()
    }
}
