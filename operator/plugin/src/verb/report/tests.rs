//! Canaries: one secret of each class in each place a bundle is made of. With nothing hidden each is found, so the search
//! works and the plants are there; with everything hidden none is, not as it is, not in base64, not in hex.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::Parser as _;
use serde_json::{Value, json};

use crate::cli::{Cli, Command, Report};
use crate::fake_api::{FakeApi, refused};
use crate::report::bundle::Bundle;
use crate::report::redact::Redactor;

use super::gather::gather;

/// A secret and how it stands in a text.
struct Canary {
    class: &'static str,
    /// What must not be found.
    secret: String,
    /// What is planted.
    planted: String,
}

fn canaries() -> Vec<Canary> {
    // 64 different hex digits for each class, so that one is not found for another.
    let hex_of = |class: &str| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(class));
    let plain = |class, secret: String| Canary { class, planted: secret.clone(), secret };
    let within = |class, secret: &str, text: &str| Canary {
        class,
        secret: secret.to_owned(),
        planted: text.replace("{}", secret),
    };
    let mut all: Vec<Canary> = ["pgp", "plk", "inv", "wst", "pss", "adm"]
        .into_iter()
        .map(|prefix| plain(prefix, format!("{prefix}_{}", &hex_of(prefix)[..48])))
        .collect();
    let code = "QX7A-MZ2K-P4TB-CANA-RYQ5-W3NE-HH6V-LDSU";
    let jwt =
        format!("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.{}", URL_SAFE_NO_PAD.encode(hex_of("jwt")));
    all.extend([
        plain("admin token", hex_of("admin")),
        within("set-up code", code, "no admin token yet: setup_code={}"),
        plain("totp secret", "CANARYJBSWY3DPEHPK3PXPZ2A4QW7Z3M".into()),
        plain("token of a service account", jwt),
        within("bearer", "canary-bearer.x1~", "Authorization: Bearer {}"),
        within("basic", "Y2FuYXJ5OmJhc2lj", "proxy said Basic {}"),
        within("header", "canary header value", "x-api-key: {}"),
        within("password", "canarypassword", "password={}"),
        within("password with spaces", "canary with spaces", r#"{"password":"{}"}"#),
        within("password in a string", "canaryescaped", r#"{\"db_password\":\"{}\"}"#),
        within("webhook secret", "canarywebhook", "webhook_secret: '{}'"),
        within("base64 behind a name", "Q2FuYXJ5QmVoaW5kTmFtZQ==", "token: {}"),
        plain("base64 alone", STANDARD.encode(hex_of("base64"))),
        plain("cloud key", "AKIACANARYCANARY1234".into()),
        plain("forge token", format!("ghp_{}", &hex_of("forge")[..36])),
        within(
            "private key",
            "MIIEvCanaryPrivateKey",
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
        ),
        within("who signs in at a URL", "canaryuser:canarypass", "https://{}@hooks.acme.example/"),
        within("path of a URL", "T0CANARY/B1", "https://hooks.acme.example/services/{}"),
        within("query of a URL", "canaryquery", "https://hooks.acme.example/?s={}"),
        plain("mail address", "canary.bird@example.org".into()),
        plain("IPv4 address", "198.51.100.77".into()),
        plain("IPv6 address", "2001:db8:ca:a7::77".into()),
        plain("hash of a payload", hex_of("payload")),
    ]);
    all
}

const ENV: &str = "canary of an environment";
const APPLIED: &str = "canary that was last applied";
const NOTE: &str = "canary of somebody's annotation";
const ARGUMENT: &str = "canary of an argument";
const BINARY: &str = "canary of binary data";

/// An API server with every canary in everything.
fn api() -> FakeApi {
    let lines: Vec<String> =
        canaries().iter().map(|canary| format!("INFO seen {}", canary.planted)).collect();
    let whole = lines.join("\n");
    FakeApi::new(move |asked| {
        let path = asked.path.split('?').next().unwrap_or_default();
        let list = |items: Value| (200, json!({ "metadata": {}, "items": items }).to_string().into_bytes());
        let metadata = |name: &str| {
            json!({
                "name": name,
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": format!(r#"{{"x":"{APPLIED}"}}"#),
                    "acme.example/note": NOTE,
                },
                "managedFields": [{ "manager": NOTE }],
            })
        };
        let said = json!({ "conditions": [{ "type": "Ready", "message": whole }], "message": whole });
        let pod = |name: &str, container: &str| {
            json!({
                "metadata": metadata(name),
                "spec": { "containers": [{
                    "name": container, "args": ["--token", ARGUMENT, whole],
                    "env": [{ "name": "COLOUR", "value": ENV }],
                }] },
                "status": { "containerStatuses": [{ "name": container, "restartCount": 1 }], "message": whole },
            })
        };
        let config = json!({
            "metadata": metadata("health-config"),
            "data": { "relay.yaml": whole, "state": json!({ "said": whole, "env": [{ "name": "C", "value": ENV }] }).to_string() },
            "binaryData": { "blob": STANDARD.encode(BINARY) },
        });
        match path {
            "/version" => (
                200,
                json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.1" }).to_string().into_bytes(),
            ),
            _ if path.ends_with("/log") || path.contains("/proxy/") => (200, whole.clone().into_bytes()),
            _ if path.contains("secrets") => panic!("a Secret was asked for"),
            _ if path.ends_with("/paramantlicenses") => refused(403, path),
            _ if path.contains("/namespaces/paramant-system/pods") => {
                list(json!([pod("operator-1", "operator")]))
            }
            _ if path.ends_with("/pods") => list(json!([pod("health-0", "relay")])),
            _ if path.ends_with("/configmaps") => list(json!([config])),
            _ if path.ends_with("/events") => list(
                json!([{ "involvedObject": { "name": "health" }, "message": whole, "metadata": metadata("health.1") }]),
            ),
            _ if path.ends_with("/paramantrelays/health") => {
                let relay = json!({ "kind": "ParamantRelay", "metadata": metadata("health"), "spec": { "image": "r.example/relay:1", "pod": { "annotations": { "note": NOTE } } }, "status": said });
                (200, relay.to_string().into_bytes())
            }
            _ => list(json!([{ "metadata": metadata("health"), "status": said }])),
        }
    })
}

fn wanted(line: &str) -> Report {
    match Cli::try_parse_from(line.split(' ')).unwrap().command {
        Command::Report(report) => report,
        other => panic!("{other:?}"),
    }
}

async fn bundle(redactor: Redactor) -> Bundle {
    gather(&api().cluster("transfers", false), &wanted("x report health"), Bundle::new(redactor))
        .await
        .unwrap()
}

/// Every way in which bytes can stand in text: as they are, in hex, in base64 at each of its three offsets.
fn guises(secret: &str) -> Vec<(&'static str, String)> {
    let bytes = secret.as_bytes();
    let mut guises = vec![
        ("as it is", secret.to_owned()),
        ("in lower-case hex", hex::encode(bytes)),
        ("in upper-case hex", hex::encode_upper(bytes)),
    ];
    for skip in 0..3 {
        // What stands before shifts the groups of three; only whole groups of the secret itself are looked for.
        let from = (3 - skip) % 3;
        let inner = &bytes[from.min(bytes.len())..];
        let inner = &inner[..inner.len() / 3 * 3];
        if inner.len() >= 6 {
            guises.push(("in base64", STANDARD.encode(inner)));
            guises.push(("in base64 for URLs", URL_SAFE_NO_PAD.encode(inner)));
        }
    }
    guises
}

/// In which files of an archive a secret is found, and in what guise.
fn found(files: &[(String, Vec<u8>)], secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (path, bytes) in files {
        let text = String::from_utf8_lossy(bytes);
        let seen = guises(secret).into_iter().filter(|(_, needle)| text.contains(needle));
        found.extend(seen.map(|(guise, _)| format!("{path} {guise}")));
    }
    found
}

/// What is in the archive that `report` writes, byte for byte.
fn unpacked(bundle: &Bundle) -> Vec<(String, Vec<u8>)> {
    use std::io::Read as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.tar.gz");
    bundle.write(&path).unwrap();
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_end(&mut raw).unwrap();
    let mut files = vec![("the whole archive".to_owned(), raw.clone())];
    for entry in tar::Archive::new(raw.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.push((name, bytes));
    }
    files
}

/// Places every canary of a text stands in, by the end of the file's name.
const PLACES: [&str; 12] = [
    "paramantrelays.json",
    "paramantpolicies.json",
    "events.json",
    "children/pods.json",
    "children/configmaps.json",
    "children/statefulsets.json",
    "logs/transfers-health-0-relay.log",
    "logs/transfers-health-0-relay-before.log",
    "metrics/health-0.txt",
    "logs/paramant-system-operator-1-operator.log",
    "operator/operator-1-state.txt",
    "operator/pods.json",
];

fn of_one_place() -> [(&'static str, String, &'static str); 5] {
    [
        ("environment", ENV.into(), "children/pods.json"),
        ("last applied", APPLIED.into(), "children/pods.json"),
        ("annotation", NOTE.into(), "paramantrelays.json"),
        ("argument", ARGUMENT.into(), "children/pods.json"),
        ("binary data", BINARY.into(), "children/configmaps.json"),
    ]
}

#[tokio::test]
async fn every_planted_canary_is_found_when_nothing_is_hidden_and_none_when_all_is() {
    let open = unpacked(&bundle(Redactor::transparent().unwrap()).await);
    // As the planted text stands in JSON, quotes and line ends are escaped; the secrets have none.
    for canary in canaries() {
        let hits = found(&open, &canary.secret);
        for place in PLACES {
            let here = hits.iter().any(|hit| hit.contains(place));
            assert!(here, "{} was planted in {place} and not found: {hits:?}", canary.class);
        }
    }
    for (class, secret, place) in of_one_place() {
        assert!(
            found(&open, &secret).iter().any(|hit| hit.contains(place)),
            "{class} was not found in {place}"
        );
    }

    let hidden = unpacked(&bundle(Redactor::new().unwrap()).await);
    assert_eq!(hidden.len(), open.len(), "nothing is hidden by leaving it out");
    for canary in canaries() {
        assert_eq!(found(&hidden, &canary.secret), Vec::<String>::new(), "{}", canary.class);
    }
    for (class, secret, _) in of_one_place() {
        assert_eq!(found(&hidden, &secret), Vec::<String>::new(), "{class}");
    }
}

#[tokio::test]
async fn canaries_in_base64_and_hex_are_found_and_hidden_too() {
    let secret = "canary in disguise, long enough";
    let text = format!("seen {} and {}", STANDARD.encode(secret), hex::encode(secret));
    let mut open = Bundle::new(Redactor::transparent().unwrap());
    open.text("a.log", Ok(text.as_bytes()));
    assert_eq!(
        found(&unpacked(&open), secret).len(),
        6,
        "hex, and base64 in two alphabets, in the file and the archive"
    );
    let mut hidden = Bundle::new(Redactor::new().unwrap());
    hidden.text("a.log", Ok(text.as_bytes()));
    assert_eq!(found(&unpacked(&hidden), secret), Vec::<String>::new());
}

#[tokio::test]
async fn the_manifest_names_what_is_there_and_which_right_was_missing() {
    let bundle = bundle(Redactor::new().unwrap()).await;
    let files = bundle.files();
    let manifest = String::from_utf8(files[0].1.clone()).unwrap();
    for (path, bytes) in &files[1..] {
        assert!(manifest.contains(&format!("{:>9} {path}\n", bytes.len())), "{path}");
    }
    assert!(
        manifest.contains(
            "paramantlicenses.json: you may not list paramantlicenses (paramant.app) in namespace transfers"
        ),
        "{manifest}"
    );
}

#[tokio::test]
async fn no_secret_is_ever_asked_for_and_nothing_is_changed() {
    let api = api();
    gather(&api.cluster("transfers", false), &wanted("x report"), Bundle::new(Redactor::new().unwrap()))
        .await
        .unwrap();
    let asked = api.asked();
    assert!(asked.len() > 15, "{}", asked.len());
    for asked in asked {
        assert!(asked.method == "GET" && !asked.path.contains("secrets"), "{asked:?}");
    }
}

#[tokio::test]
async fn a_bundle_never_overwrites_and_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle(Redactor::new().unwrap()).await;
    for name in ["a.tar.gz", "b"] {
        let path = folder.path().join(name);
        bundle.write(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
        assert!(bundle.write(&path).unwrap_err().to_string().contains("there already"));
    }
    let inner = folder.path().join("b/children/pods.json");
    assert_eq!(std::fs::metadata(inner).unwrap().permissions().mode() & 0o077, 0);
    assert!(bundle.write(&folder.path().join("c.zip")).is_err());
}

#[tokio::test]
async fn a_relay_that_is_not_there_is_no_bundle() {
    let api = FakeApi::holding(vec![("/version", json!({ "major": "1", "minor": "33" }))]);
    let said = format!("{:#}", api.run("x report health -o /nowhere/x.tar.gz").await.unwrap_err());
    assert!(said.contains("there is no relay health in namespace transfers"), "{said}");
}
