//! Prints the children of a ParamantRelay as one JSON list, without a cluster: for kubeconform, kube-score, and curious people.
//!
//! `cargo run -p paramant-operator-core --example children < relay.json`, a manifest as JSON with an image by digest.
//! Namespace and UID are made up where the manifest has none.

use std::io::Read;
use std::sync::Arc;

use jiff::Timestamp;
use paramant_crds::ParamantRelay;
use paramant_operator_core::release::{Inspection, Release, Verdict};
use paramant_operator_core::{Children, Context, Observation, Referenced, Report, Resolution, decide};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let mut relay: ParamantRelay = serde_json::from_str(&text)?;
    relay.metadata.namespace.get_or_insert_with(|| "default".into());
    relay.metadata.uid.get_or_insert_with(|| "00000000-0000-0000-0000-000000000000".into());
    let mut seen = Observation {
        relay: Arc::new(relay),
        policy: Referenced::Unreferenced,
        license: Referenced::Unreferenced,
        children: Children::default(),
        report: Report::Unknown,
        resolution: Resolution::Pending,
        inspection: Inspection::Pending,
        refused: None,
        directives_refused: None,
        rivals: Vec::new(),
    };
    let context = Context {
        ca_bundle_pem: String::new(),
        epoch: 0,
        operator_namespace: "paramant-system".into(),
        metrics_from: Vec::new(),
        gateway_api: true,
        token_keys: None,
        release_keys: Vec::new(),
        allow_unsigned_default: true,
        license_servers: Default::default(),
    };
    // Nobody is asked here: the image counts as one that may run unsigned.
    if let Some(asked) = decide(&seen, &context, Timestamp::now()).inspect {
        seen.inspection =
            Inspection::Answered { asked, release: Release::default(), signature: Verdict::Unsigned };
    }
    let decision = decide(&seen, &context, Timestamp::now());
    let items: Vec<_> = decision.state.into_iter().chain(decision.apply).collect();
    if items.len() < 2 {
        return Err(format!("no children: {}", decision.status.message.unwrap_or_default()).into());
    }
    println!("{:#}", serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items }));
    Ok(())
}
