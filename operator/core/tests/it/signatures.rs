//! Signatures that cosign wrote, judged: the good ones count, and nothing that was changed, moved or signed by others does.

use jiff::Timestamp;
use paramant_operator_core::Digest;
use paramant_operator_core::release::{Trust, TrustedKey, Verdict};
use paramant_operator_core::signature::{Image, Judge, Proof};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const WRITTEN: &str = include_str!("../signatures/cosign-2.6.2.json");

#[derive(Debug, Clone, Deserialize)]
struct Written {
    name: String,
    manifest: String,
    payload: Option<String>,
    signature: Option<String>,
    certificate: Option<String>,
    bundle: Option<String>,
}

impl Written {
    fn proof(&self) -> Proof {
        match &self.bundle {
            Some(bundle) => Proof::Bundle(bundle.clone().into_bytes()),
            None => Proof::Classic {
                payload: self.payload.clone().unwrap().into_bytes(),
                signature: self.signature.clone().unwrap(),
                certificate: self.certificate.clone(),
            },
        }
    }
}

fn written(name: &str) -> Written {
    let all: Vec<Written> = serde_json::from_str(WRITTEN).unwrap();
    all.into_iter().find(|one| one.name == name).unwrap_or_else(|| panic!("no {name}"))
}

fn key(name: &str) -> TrustedKey {
    let file = format!("{}/tests/signatures/{name}.pub", env!("CARGO_MANIFEST_DIR"));
    TrustedKey { name: name.to_owned(), pem: std::fs::read_to_string(file).unwrap() }
}

fn trust(names: &[&str]) -> Trust {
    Trust { keys: names.iter().map(|name| key(name)).collect(), ..Trust::default() }
}

fn judge(trust: &Trust, manifest: &str, proofs: &[Proof]) -> Verdict {
    let digest: Digest = format!("sha256:{}", hex::encode(Sha256::digest(manifest))).parse().unwrap();
    let image = Image { digest: &digest, manifest: manifest.as_bytes() };
    let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
    let mut judge = Judge::new(trust, image, now);
    proofs.iter().for_each(|proof| judge.hear(proof));
    judge.verdict()
}

fn verified(key: &str) -> Verdict {
    Verdict::Verified { key: key.to_owned() }
}

fn refusal(verdict: &Verdict) -> (&'static str, &str) {
    match verdict {
        Verdict::Refused { kind, reason } => (kind, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cosign_signed_with_a_trusted_key_is_verified_in_both_forms() {
    let all = trust(&["other", "release", "p384"]);
    for key in ["release", "p384"] {
        for form in ["classic", "bundle"] {
            let one = written(&format!("{form} by {key}"));
            assert_eq!(judge(&all, &one.manifest, &[one.proof()]), verified(key), "{}", one.name);
        }
    }
    let message = written("message signature by release");
    assert_eq!(judge(&all, &message.manifest, &[message.proof()]), verified("release"));
}

#[test]
fn a_signature_by_another_key_does_not_count() {
    for form in ["classic by release", "bundle by release", "message signature by release", "bundle by rsa"] {
        let one = written(form);
        let verdict = judge(&trust(&["other", "p384"]), &one.manifest, &[one.proof()]);
        assert_eq!(
            refusal(&verdict),
            ("WrongKey", "it is signed, but with none of the trusted keys"),
            "{form}"
        );
    }
}

#[test]
fn a_signature_of_another_image_does_not_count() {
    let image = written("classic by p384").manifest;
    for form in ["classic by release", "bundle by release"] {
        let verdict = judge(&trust(&["release"]), &image, &[written(form).proof()]);
        let said = "the signature by key release that is attached to it is one for another image";
        assert_eq!(refusal(&verdict), ("WrongDigest", said), "{form}");
    }
    let message = written("message signature by release").proof();
    assert_eq!(refusal(&judge(&trust(&["release"]), &image, &[message])).0, "Malformed");
}

#[test]
fn an_attestation_is_no_signature_though_its_key_is_trusted() {
    let attestation = written("attestation by release");
    let verdict = judge(&trust(&["release"]), &attestation.manifest, &[attestation.proof()]);
    assert_eq!(
        refusal(&verdict),
        ("Unsigned", "key release attests something about it, but did not sign it")
    );
}

#[test]
fn a_certificate_beside_a_signature_must_be_valid_and_of_the_same_key() {
    for form in ["classic", "bundle"] {
        let good = written(&format!("{form} with a valid certificate"));
        assert_eq!(judge(&trust(&["certified"]), &good.manifest, &[good.proof()]), verified("certified"));
        assert_eq!(refusal(&judge(&trust(&["other"]), &good.manifest, &[good.proof()])).0, "WrongKey");
        let expired = written(&format!("{form} with an expired certificate"));
        for key in ["certified", "other"] {
            let verdict = judge(&trust(&[key]), &expired.manifest, &[expired.proof()]);
            let (kind, reason) = refusal(&verdict);
            assert_eq!(kind, "Expired");
            assert!(reason.contains("from 2024-01-01T00:00:00Z to 2024-01-02T00:00:00Z"), "{reason}");
        }
    }
    let mut borrowed = written("classic by release");
    borrowed.certificate = written("classic with a valid certificate").certificate;
    let verdict = judge(&trust(&["release"]), &borrowed.manifest, &[borrowed.proof()]);
    assert_eq!(refusal(&verdict).0, "Malformed");
}

#[test]
fn nothing_attached_or_nobody_trusted_is_unsigned() {
    let one = written("classic by release");
    let verdict = judge(&trust(&["release"]), &one.manifest, &[]);
    assert_eq!(refusal(&verdict), ("Unsigned", "no signature is attached to it"));
    let verdict = judge(&trust(&[]), &one.manifest, &[one.proof()]);
    assert_eq!(refusal(&verdict), ("Unsigned", "no key is trusted, so no signature can count"));
    let lenient = Trust { allow_unsigned: true, ..trust(&["other"]) };
    assert_eq!(judge(&lenient, &one.manifest, &[one.proof()]), Verdict::Unsigned);
    let lenient = Trust { allow_unsigned: true, ..trust(&["release"]) };
    assert_eq!(judge(&lenient, &one.manifest, &[one.proof()]), verified("release"));
}

#[test]
fn a_key_that_cannot_be_used_is_named_in_the_refusal_and_hides_no_other() {
    let one = written("classic by release");
    let verdict = judge(&trust(&["rsa"]), &one.manifest, &[one.proof()]);
    let (kind, reason) = refusal(&verdict);
    assert_eq!(kind, "Unsigned");
    assert!(reason.contains("; the trusted key rsa cannot be used: expected an ECDSA key"), "{reason}");
    assert_eq!(judge(&trust(&["rsa", "release"]), &one.manifest, &[one.proof()]), verified("release"));
}

#[test]
fn good_proofs_count_whatever_lies_beside_them_and_in_any_order() {
    let one = written("classic by release");
    let mut proofs = vec![
        Proof::Unreadable("it is longer than a signature can be"),
        Proof::Bundle(b"{}".to_vec()),
        written("bundle by p384").proof(),
        one.proof(),
    ];
    for _ in 0..proofs.len() {
        proofs.rotate_left(1);
        assert_eq!(judge(&trust(&["release", "p384"]), &one.manifest, &proofs), verified("release"));
        let verdict = judge(&trust(&["p384"]), &one.manifest, &proofs);
        assert_eq!(refusal(&verdict).0, "WrongDigest");
    }
}

#[test]
fn more_attestations_are_more_keys_not_more_signatures() {
    let one = written("classic by release");
    let two = Trust { min_attestations: 1, ..trust(&["release", "p384"]) };
    let verdict = judge(&two, &one.manifest, &[one.proof(), one.proof()]);
    assert_eq!(refusal(&verdict), ("Unsigned", "1 of the trusted keys signed it, and 2 are needed"));
    let twice = Trust {
        keys: vec![key("release"), TrustedKey { name: "again".to_owned(), ..key("release") }],
        min_attestations: 1,
        ..Trust::default()
    };
    assert_eq!(refusal(&judge(&twice, &one.manifest, &[one.proof()])).0, "Unsigned");
}

#[test]
fn no_byte_of_a_classic_signature_can_be_changed() {
    let (one, trust) = (written("classic by release"), trust(&["release"]));
    let (payload, signature) = (one.payload.clone().unwrap(), one.signature.clone().unwrap());
    for index in 0..payload.len() {
        let mut bytes = payload.clone().into_bytes();
        bytes[index] ^= 1;
        let proof = Proof::Classic { payload: bytes, signature: signature.clone(), certificate: None };
        assert_eq!(refusal(&judge(&trust, &one.manifest, &[proof])).0, "WrongKey", "byte {index}");
    }
    for index in 0..signature.len() {
        let mut bytes = signature.clone().into_bytes();
        bytes[index] ^= 1;
        let changed = String::from_utf8(bytes).unwrap();
        let proof =
            Proof::Classic { payload: payload.clone().into_bytes(), signature: changed, certificate: None };
        refusal(&judge(&trust, &one.manifest, &[proof]));
    }
}

#[test]
fn no_byte_of_a_bundle_can_be_changed_but_for_the_hint_about_its_key() {
    for form in ["bundle by release", "message signature by release"] {
        let (one, trust) = (written(form), trust(&["release"]));
        let bundle = one.bundle.clone().unwrap();
        let start = bundle.find("\"publicKey\"").unwrap();
        let end = start + bundle[start..].find('}').unwrap();
        let mut accepted = 0;
        for index in 0..bundle.len() {
            let mut bytes = bundle.clone().into_bytes();
            bytes[index] ^= 1;
            match judge(&trust, &one.manifest, &[Proof::Bundle(bytes)]) {
                Verdict::Verified { .. } => {
                    assert!((start..end).contains(&index), "byte {index} of {bundle}");
                    accepted += 1;
                }
                verdict => drop(refusal(&verdict).0),
            }
        }
        // The hint is there, and changing it is what was accepted.
        assert!(accepted > 0);
    }
}

#[test]
fn no_shorter_bundle_is_one_and_none_makes_the_judge_stumble() {
    let one = written("bundle by release");
    let bundle = one.bundle.clone().unwrap();
    for length in 0..bundle.len() {
        let proof = Proof::Bundle(bundle.as_bytes()[..length].to_vec());
        assert_eq!(refusal(&judge(&trust(&["release"]), &one.manifest, &[proof])).0, "Malformed");
    }
}

#[test]
fn a_bundle_holds_one_statement_with_one_signature() {
    let (one, trust) = (written("bundle by release"), trust(&["release"]));
    let bundle: Value = serde_json::from_str(one.bundle.as_deref().unwrap()).unwrap();
    let judged = |bundle: &Value| {
        let verdict = judge(&trust, &one.manifest, &[Proof::Bundle(bundle.to_string().into_bytes())]);
        match verdict {
            Verdict::Refused { kind, .. } => kind,
            Verdict::Verified { .. } => "",
            Verdict::Unsigned => panic!(),
        }
    };
    assert_eq!(judged(&bundle), "");
    let mut two = bundle.clone();
    let signatures = two["dsseEnvelope"]["signatures"].as_array_mut().unwrap();
    signatures.push(signatures[0].clone());
    assert_eq!(judged(&two), "Malformed");
    let mut none = bundle.clone();
    none["dsseEnvelope"]["signatures"] = Value::Array(Vec::new());
    assert_eq!(judged(&none), "Malformed");
    let mut both = bundle.clone();
    let message = written("message signature by release").bundle.unwrap();
    both["messageSignature"] = serde_json::from_str::<Value>(&message).unwrap()["messageSignature"].clone();
    assert_eq!(judged(&both), "Malformed");
    let mut older = bundle.clone();
    older["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1".into();
    assert_eq!(judged(&older), "Malformed");
    let mut other_type = bundle;
    other_type["dsseEnvelope"]["payloadType"] = "text/plain".into();
    assert_eq!(judged(&other_type), "WrongKey");
}
