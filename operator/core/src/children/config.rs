//! The ConfigMap a relay reads: its settings, and the CA certificates it accepts operators from.
//!
//! Both change in place and are taken up by the running process; nothing here restarts a pod.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

use super::{Subject, seal, to_value};

/// The key of the settings file.
pub const RELAY_KEY: &str = "relay.yaml";
/// The key of the CA bundle.
pub const CA_KEY: &str = "operator-ca.pem";

/// The intent.
pub fn config(subject: &Subject<'_>, relay_yaml: String, ca_bundle_pem: &str) -> Value {
    seal(to_value(&ConfigMap {
        metadata: subject.metadata(subject.config_name()),
        data: Some([(RELAY_KEY.into(), relay_yaml), (CA_KEY.into(), ca_bundle_pem.into())].into()),
        ..ConfigMap::default()
    }))
}
