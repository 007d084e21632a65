//! Sections 4 and 5.

use std::collections::BTreeMap;

use paramant_protocol::leaf::{self, Purpose};
use paramant_protocol::moment;
use serde::Deserialize;

use crate::files::{bytes, hash, read, vectors};

#[derive(Deserialize)]
struct Leaf {
    name: String,
    form: String,
    inputs: BTreeMap<String, String>,
    preimage: String,
    leaf: String,
}

#[test]
fn leaves_are_recomputed_from_their_inputs() {
    for vector in vectors::<Leaf>("leaves.json") {
        let input = |name: &str| vector.inputs.get(name).unwrap().as_str();
        let found = match vector.form.as_str() {
            "transfer" => {
                assert_eq!(moment::hour_of(input("ts")).as_deref(), Some(input("hour")), "{}", vector.name);
                leaf::transfer_leaf(&hash(input("blob_hash")), input("sector"), input("ts"))
            }
            "identity" => {
                let identity = match vector.inputs.get("device_id") {
                    Some(device) => leaf::device_identity(device, input("api_key_prefix")),
                    None => leaf::relay_identity(input("url"), input("sector")),
                };
                assert_eq!(identity, hash(input("identity")), "{}", vector.name);
                leaf::identity_leaf(&identity, &hash(input("value")), input("ts"))
            }
            "body" => {
                let body = serde_json::from_str(input("body")).unwrap();
                leaf::body_leaf(input("kind"), &body, input("t")).unwrap()
            }
            other => panic!("no such form: {other}"),
        };
        assert_eq!(found, hash(&vector.leaf), "{}", vector.name);
        assert_eq!(leaf::sha3(&bytes(&vector.preimage)), found, "{}", vector.name);
    }
}

#[test]
fn the_largest_and_the_smallest_exact_time_are_those_we_write() {
    let at = "2026-01-02T03:04:05.678Z".parse().unwrap();
    let written = [moment::exact(at, [0xff; 16]), moment::exact(at, [0; 16])];
    let listed: Vec<String> =
        vectors::<Leaf>("leaves.json").iter().filter_map(|vector| vector.inputs.get("ts").cloned()).collect();
    assert!(written.iter().all(|ts| listed.contains(ts)), "{written:?}");
}

#[derive(Deserialize)]
struct Commitments {
    vectors: Vec<Commitment>,
    chains: Vec<Chain>,
}

#[derive(Deserialize)]
struct Commitment {
    name: String,
    label: String,
    salt: String,
    value: String,
    commitment: String,
}

#[derive(Deserialize)]
struct Chain {
    requests: Vec<String>,
    chain: String,
}

#[test]
fn commitments_are_those_of_the_specification() {
    let purposes = [
        ("transfer-claimed", Purpose::Claimed),
        ("transfer-burned", Purpose::Burned),
        ("device-key", Purpose::DeviceKey),
        ("license-request", Purpose::LicenseRequest),
        ("license-reply", Purpose::LicenseReply),
        ("license", Purpose::License),
        ("telemetry-preview", Purpose::TelemetryPreview),
        ("destination", Purpose::Destination),
        ("support-key", Purpose::SupportKey),
        ("remote-action", Purpose::RemoteAction),
        ("image", Purpose::Image),
        ("did", Purpose::Did),
    ];
    let file: Commitments = read("commitments.json");
    assert_eq!(file.vectors.len(), purposes.len());
    for vector in file.vectors {
        let (_, purpose) = purposes.iter().find(|(name, _)| *name == vector.name).unwrap();
        assert_eq!(purpose.label(), bytes(&vector.label), "{}", vector.name);
        let found = leaf::commit(*purpose, &hash(&vector.salt), &bytes(&vector.value));
        assert_eq!(found, hash(&vector.commitment), "{}", vector.name);
    }
}

#[test]
fn a_chain_of_summed_requests_is_that_of_the_specification() {
    let file: Commitments = read("commitments.json");
    assert!(file.chains.len() > 1);
    for vector in file.chains {
        let step = |chain: leaf::Hash, request: &String| {
            leaf::sha256(&[chain, leaf::sha256(request.as_bytes())].concat())
        };
        assert_eq!(vector.requests.iter().fold([0; 32], step), hash(&vector.chain));
    }
}
