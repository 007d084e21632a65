#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_800_000_000;

enum Signer {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

impl Signer {
    fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    fn ec() -> Self {
        Self::Ec(Box::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()))
    }

    fn alg(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Rsa(pair) => {
                let key = pair.public_key();
                let (n, e) = (
                    key.modulus().big_endian_without_leading_zero().to_vec(),
                    key.exponent().big_endian_without_leading_zero().to_vec(),
                );
                json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": b64(n), "e": b64(e) })
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": b64(&point[1..33]), "y": b64(&point[33..]) })
            }
        }
    }

    fn token(&self, kid: &str, claims: &Value) -> String {
        let header = json!({ "alg": self.alg(), "kid": kid });
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{signed}.{}", b64(signature))
    }
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn claims() -> Value {
    json!({
        "aud": ["paramant-operator"],
        "exp": NOW + 3600, "iat": NOW, "nbf": NOW,
        "iss": "https://kubernetes.default.svc",
        "sub": "system:serviceaccount:transfers:health",
        "kubernetes.io": {
            "namespace": "transfers",
            "node": { "name": "n", "uid": "u" },
            "pod": { "name": "health-0", "uid": "pod-uid" },
            "serviceaccount": { "name": "health", "uid": "sa-uid" },
        },
    })
}

fn keys(signers: &[(&str, &Signer)]) -> KeySet {
    let keys: Vec<Value> = signers.iter().map(|(kid, signer)| signer.jwk(kid)).collect();
    KeySet::parse(&json!({ "keys": keys }).to_string()).unwrap()
}

fn check(token: &str, keys: &KeySet) -> Result<(), Rejected> {
    check_for(token, keys, Some("pod-uid"))
}

fn check_for(token: &str, keys: &KeySet, pod_uid: Option<&str>) -> Result<(), Rejected> {
    let expected = Expected {
        audience: "paramant-operator",
        namespace: "transfers",
        service_account: "health",
        pod_uid,
    };
    verify(token, keys, &expected, Timestamp::from_second(NOW).unwrap())
}

#[test]
fn a_token_of_the_dialled_pod_is_accepted_with_either_algorithm() {
    for signer in [Signer::rsa(), Signer::ec()] {
        let other = Signer::ec();
        let keys = keys(&[("other", &other), ("k", &signer)]);
        assert_eq!(check(&signer.token("k", &claims()), &keys), Ok(()), "{}", signer.alg());
        let mut one_audience = claims();
        one_audience["aud"] = json!("paramant-operator");
        assert_eq!(check(&signer.token("k", &one_audience), &keys), Ok(()));
    }
}

#[test]
fn each_claim_wrong_once_is_refused() {
    let signer = Signer::ec();
    let keys = keys(&[("k", &signer)]);
    assert_eq!(
        check(&signer.token("k", &claims()), &keys),
        Ok(()),
        "the unchanged claims must pass, or the table shows nothing"
    );
    let subject = |found: &str| Rejected::Subject {
        found: found.to_owned(),
        expected: "system:serviceaccount:transfers:health".to_owned(),
    };
    let audience = || Rejected::Audience("paramant-operator".to_owned());
    let other = "system:serviceaccount:transfers:other";
    let rows = [
        ("another audience", "/aud", json!(["https://kubernetes.default.svc"]), audience()),
        ("no audience", "/aud", json!([]), audience()),
        ("another account", "/sub", json!(other), subject(other)),
        (
            "another namespace",
            "/kubernetes.io/namespace",
            json!("elsewhere"),
            subject("system:serviceaccount:transfers:health"),
        ),
        ("another pod", "/kubernetes.io/pod/uid", json!("other-uid"), Rejected::Pod),
        ("no pod", "/kubernetes.io/pod", Value::Null, Rejected::Pod),
        ("expired", "/exp", json!(NOW - 31), Rejected::Expired),
        ("not yet valid", "/nbf", json!(NOW + 31), Rejected::NotYet),
    ];
    for (sentence, pointer, value, expected) in rows {
        let mut wrong = claims();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert_eq!(check(&signer.token("k", &wrong), &keys), Err(expected), "{sentence}");
    }
    for (sentence, pointer, value) in [("just expired", "/exp", NOW - 30), ("almost valid", "/nbf", NOW + 30)]
    {
        let mut close = claims();
        *close.pointer_mut(pointer).unwrap() = json!(value);
        assert_eq!(check(&signer.token("k", &close), &keys), Ok(()), "{sentence}, within the leeway");
    }
}

#[test]
fn where_the_pod_is_not_known_the_token_must_be_bound_to_one_all_the_same() {
    let signer = Signer::ec();
    let keys = keys(&[("k", &signer)]);
    assert_eq!(check_for(&signer.token("k", &claims()), &keys, None), Ok(()));
    let mut unbound = claims();
    unbound["kubernetes.io"]["pod"] = Value::Null;
    assert_eq!(check_for(&signer.token("k", &unbound), &keys, None), Err(Rejected::Pod));
}

#[test]
fn a_signature_of_another_key_or_for_another_text_is_refused() {
    for (signer, stranger) in [(Signer::ec(), Signer::ec()), (Signer::rsa(), Signer::rsa())] {
        let keys = keys(&[("k", &signer)]);
        assert_eq!(check(&stranger.token("k", &claims()), &keys), Err(Rejected::Signature));
        assert_eq!(check(&signer.token("unpublished", &claims()), &keys), Err(Rejected::UnknownKey));
        assert!(!keys.knows_key_of(&signer.token("unpublished", &claims())));
        let mut stolen = claims();
        stolen["sub"] = json!("system:serviceaccount:transfers:other");
        let (good, bad) = (signer.token("k", &claims()), signer.token("k", &stolen));
        let (good, bad): (Vec<_>, Vec<_>) = (good.split('.').collect(), bad.split('.').collect());
        assert_eq!(check(&[good[0], good[1], bad[2]].join("."), &keys), Err(Rejected::Signature));
    }
}

#[test]
fn an_algorithm_is_never_taken_from_the_wrong_kind_of_key() {
    let (rsa, ec) = (Signer::rsa(), Signer::ec());
    let token = ec.token("k", &claims());
    assert_eq!(check(&token, &keys(&[("k", &rsa)])), Err(Rejected::UnknownKey));
    let unsigned =
        format!("{}.{}.", b64(json!({ "alg": "none", "kid": "k" }).to_string()), b64(claims().to_string()));
    assert_eq!(check(&unsigned, &keys(&[("k", &ec)])), Err(Rejected::Algorithm("none".to_owned())));
}

#[test]
fn what_is_no_token_is_called_so() {
    let signer = Signer::ec();
    let keys = keys(&[("k", &signer)]);
    for text in ["", "a.b", "a.b.c.d", "!.!.!", &"x".repeat(MAX_LENGTH + 1)] {
        assert!(matches!(check(text, &keys), Err(Rejected::Malformed(_))), "{text:.20}");
    }
}
