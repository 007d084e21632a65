//! The way in from outside: an HTTPRoute for a gateway, or an Ingress for a class. TLS ends there.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};
use paramant_crds::relay::Expose;
use serde_json::{Value, json};

use super::{Subject, seal, to_value};

/// The version of HTTPRoute that is written.
pub const HTTP_ROUTE_API_VERSION: &str = "gateway.networking.k8s.io/v1";

/// The Ingress, if the relay is exposed by a class.
pub fn ingress(subject: &Subject<'_>) -> Option<Value> {
    let expose = subject.spec.expose.as_ref()?;
    let class = expose.ingress_class_name.as_ref()?;
    let host = expose.host.as_str().to_owned();
    let path = HTTPIngressPath {
        path: Some("/".into()),
        path_type: "Prefix".into(),
        backend: IngressBackend {
            service: Some(IngressServiceBackend {
                name: subject.name.into(),
                port: Some(ServiceBackendPort { name: Some("http".into()), number: None }),
            }),
            resource: None,
        },
    };
    let mut metadata = subject.metadata(subject.name);
    if !expose.annotations.is_empty() {
        metadata.annotations = Some(expose.annotations.clone());
    }
    Some(seal(to_value(&Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: Some(class.as_str().into()),
            rules: Some(vec![IngressRule {
                host: Some(host.clone()),
                http: Some(HTTPIngressRuleValue { paths: vec![path] }),
            }]),
            // For cert-manager or a person to fill; until then the controller's default certificate serves.
            tls: Some(vec![IngressTLS {
                hosts: Some(vec![host]),
                secret_name: Some(format!("{}-tls", subject.name)),
            }]),
            ..IngressSpec::default()
        }),
        status: None,
    })))
}

/// The HTTPRoute, if the relay is exposed by a gateway.
pub fn http_route(subject: &Subject<'_>) -> Option<Value> {
    let expose = subject.spec.expose.as_ref()?;
    let gateway = expose.gateway.as_ref()?;
    let mut parent = json!({ "name": gateway.name.as_str() });
    if let (Some(namespace), Some(parent)) = (&gateway.namespace, parent.as_object_mut()) {
        parent.insert("namespace".into(), namespace.as_str().into());
    }
    Some(seal(json!({
        "apiVersion": HTTP_ROUTE_API_VERSION,
        "kind": "HTTPRoute",
        "metadata": route_metadata(subject, expose),
        "spec": {
            "parentRefs": [parent],
            "hostnames": [expose.host.as_str()],
            "rules": [{ "backendRefs": [{ "name": subject.name, "port": 80 }] }],
        },
    })))
}

fn route_metadata(subject: &Subject<'_>, expose: &Expose) -> Value {
    let mut metadata = subject.metadata(subject.name);
    if !expose.annotations.is_empty() {
        metadata.annotations = Some(expose.annotations.clone());
    }
    to_value(&metadata)
}
