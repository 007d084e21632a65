#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::collections::HashMap;

use paramant_tlog::keys::{Ed25519Key, MlDsa44Key, MlDsa65Key, Signer};
use paramant_tlog::note::Note;
use paramant_tlog::tile::{Coordinates, encode, nodes_at};
use paramant_tlog::{Checkpoint, CompactRange, Hash, Node, Tree, entry_leaf};
use serde_json::{Value, json};
use sha3::{Digest as _, Sha3_256};

use super::*;
use crate::fake_api::{Asked, FakeApi, refused};

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const OTHER: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const ORIGIN: &str = "relay.example/log";

/// A log of so many entries as a relay serves it, and its root at each size that is asked for.
pub(crate) struct Log {
    files: HashMap<String, Vec<u8>>,
    fingerprint: String,
    roots: HashMap<u64, Hash>,
}

pub(crate) fn log(size: u64, entry: impl Fn(u64) -> Vec<u8>, forgotten: Option<usize>) -> Log {
    let mut range = CompactRange::new(Tree::Sha256);
    let mut nodes: HashMap<Node, Hash> = HashMap::new();
    let mut roots = HashMap::from([(0, range.root())]);
    for index in 0..size {
        range.append(entry_leaf(&entry(index)), |node, hash| {
            nodes.insert(node, hash);
        });
        roots.insert(index + 1, range.root());
    }
    let keys: [Box<dyn Signer>; 3] = [
        Box::new(Ed25519Key::from_seed(ORIGIN, &[1; 32].into()).unwrap()),
        Box::new(MlDsa44Key::from_seed(ORIGIN, &[2; 32].into()).unwrap()),
        Box::new(MlDsa65Key::from_seed(ORIGIN, &[3; 32].into()).unwrap()),
    ];
    let mut signers: Vec<&dyn Signer> = keys.iter().map(AsRef::as_ref).collect();
    let vkeys: String = signers.iter().map(|key| format!("{}\n", key.verifier())).collect();
    let fingerprint = hex::encode(Sha3_256::digest(signers[2].verifier().public_key()));
    if let Some(forgotten) = forgotten {
        signers.remove(forgotten);
    }
    let text = Checkpoint::new(ORIGIN, size, range.root()).to_text();
    let note = Note::sign(&text, &signers, 1_700_000_000).unwrap();
    let mut files = HashMap::from([
        ("vkeys".to_owned(), vkeys.into_bytes()),
        ("checkpoint".to_owned(), note.to_text().into()),
    ]);
    for level in 0..3u8 {
        for index in 0..=nodes_at(level, size) / 256 {
            let tile = Coordinates { level, index };
            let width = tile.width_at(size);
            if width > 0 {
                let all = (0..u64::from(width))
                    .map(|at| nodes[&Node { level: level * 8, index: index * 256 + at }]);
                files.insert(tile.path(width), encode(&all.collect::<Vec<_>>()));
            }
        }
    }
    Log { files, fingerprint, roots }
}

pub(crate) fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

/// A relay that is as it should be; `spoil` may change that.
pub(crate) fn answers(
    log: Log,
    remembered: u64,
    spoil: impl Fn(&mut Value),
) -> impl Fn(&Asked) -> (u16, Vec<u8>) + Send + Sync + 'static {
    let mut scene = json!({
        "relay": {
            "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantRelay",
            "metadata": { "name": "health", "namespace": "transfers", "generation": 3, "resourceVersion": "41" },
            "spec": { "image": "r.example/relay:1" },
            "status": {
                "observedGeneration": 3,
                "image": { "current": DIGEST, "verified": { "key": "release", "at": "2026-01-01T00:00:00Z" } },
                "identity": { "fingerprint": log.fingerprint },
                "update": { "step": "Idle" },
                "log": { "origin": ORIGIN, "size": remembered, "root": hex::encode(log.roots[&remembered]), "consistent": true },
            },
        },
        "pod": {
            "metadata": { "name": "health-0", "labels": { "controller-revision-hash": "health-7" } },
            "spec": { "containers": [{ "name": "relay", "image": format!("r.example/relay@{DIGEST}") }] },
            "status": { "containerStatuses": [{ "name": "relay", "imageID": format!("r.example/relay@{DIGEST}") }] },
        },
        "set": { "status": { "updateRevision": "health-7" } },
    });
    spoil(&mut scene);
    move |asked| {
        if let Some((_, file)) = asked.path.split_once("/services/health:80/proxy/log/") {
            return log.files.get(file).map_or_else(|| (404, Vec::new()), |bytes| (200, bytes.clone()));
        }
        let object = match asked.path.rsplit('/').nth(1) {
            Some("paramantrelays") => &scene["relay"],
            Some("pods") => &scene["pod"],
            Some("statefulsets") => &scene["set"],
            _ => return refused(404, &asked.path),
        };
        if object.is_null() { refused(403, &asked.path) } else { (200, object.to_string().into_bytes()) }
    }
}

fn scene(log: Log, remembered: u64, spoil: impl Fn(&mut Value)) -> FakeApi {
    FakeApi::new(answers(log, remembered, spoil))
}

async fn failed(api: &FakeApi) -> Vec<(&'static str, String)> {
    let checks = checks(&api.cluster("transfers", false), "health").await.unwrap();
    let wrong = checks.0.into_iter().filter_map(|(what, answer)| match answer {
        Answer::Wrong(why) => Some((what, why)),
        _ => None,
    });
    wrong.collect()
}

#[tokio::test]
async fn a_sound_relay_passes_every_check() {
    for (size, remembered) in [(1, 1), (300, 7), (700, 256), (70_000, 69_999)] {
        let api = scene(log(size, entry, None), remembered, |_| {});
        let found = checks(&api.cluster("transfers", false), "health").await.unwrap();
        assert!(
            found.0.iter().all(|(_, answer)| matches!(answer, Answer::Good(_))),
            "{size}: {}",
            found.text()
        );
        assert_eq!(found.0.len(), 9, "{}", found.text());
    }
}

#[tokio::test]
async fn each_thing_that_is_wrong_turns_its_check_red_and_no_other() {
    type Spoil = fn(&mut Value);
    let rows: [(&str, &str, Spoil); 11] = [
        ("status is about this spec", "generation 4", |it| it["relay"]["metadata"]["generation"] = json!(4)),
        ("somebody vouches for the image", "no signature", |it| {
            it["relay"]["status"]["image"]["verified"] = Value::Null
        }),
        ("the pod runs that image", "the node started", |it| {
            it["pod"]["status"]["containerStatuses"][0]["imageID"] =
                json!(format!("r.example/relay@{OTHER}"));
        }),
        ("the pod runs that image", "the pod asks for", |it| {
            it["pod"]["spec"]["containers"][0]["image"] = json!("r.example/relay:1");
        }),
        ("the pod runs that image", "has not started", |it| it["pod"]["status"] = json!({})),
        ("the pod has the rolled template", "no update goes on", |it| {
            it["pod"]["metadata"]["labels"]["controller-revision-hash"] = json!("health-6");
        }),
        ("the pod has the rolled template", "may not get statefulsets (apps)", |it| it["set"] = Value::Null),
        ("the log's keys are the relay's", "the relay signs as", |it| {
            it["relay"]["status"]["identity"]["fingerprint"] = json!("0".repeat(64));
        }),
        ("the log has its name", "status.log.origin", |it| {
            it["relay"]["status"]["log"]["origin"] = json!("other/log")
        }),
        ("the log continues what status remembers", "are not those", |it| {
            it["relay"]["status"]["log"]["root"] = json!("0".repeat(64));
        }),
        ("the operator found the log consistent", "false", |it| {
            it["relay"]["status"]["log"]["consistent"] = json!(false)
        }),
    ];
    for (check, why, spoil) in rows {
        let found = failed(&scene(log(300, entry, None), 260, spoil)).await;
        assert_eq!(found.len(), 1, "{check}: {found:?}");
        assert!(found[0].0 == check && found[0].1.contains(why), "{check}: {found:?}");
    }
}

#[tokio::test]
async fn an_older_copy_of_the_log_and_another_log_are_told() {
    let mut remembered = log(300, entry, None);
    let older = log(280, entry, None);
    remembered.files = older.files;
    let found = failed(&scene(remembered, 300, |_| {})).await;
    assert!(found.len() == 1 && found[0].1.contains("280 entries, status remembers 300"), "{found:?}");

    let mut remembered = log(300, entry, None);
    let rewritten = log(310, |index| if index == 5 { b"another".to_vec() } else { entry(index) }, None);
    remembered.files = rewritten.files;
    let found = failed(&scene(remembered, 300, |_| {})).await;
    assert!(found.len() == 1 && found[0].1.contains("are not those that status remembers"), "{found:?}");
}

#[tokio::test]
async fn a_checkpoint_that_one_of_the_keys_has_not_signed_is_none() {
    for forgotten in 0..3 {
        let found = failed(&scene(log(20, entry, Some(forgotten)), 20, |_| {})).await;
        assert!(found.len() == 1 && found[0].1.contains("has not signed it"), "{forgotten}: {found:?}");
    }
}

#[tokio::test]
async fn tiles_that_do_not_fit_prove_nothing() {
    let mut lying = log(300, entry, None);
    for (path, bytes) in &mut lying.files {
        if path.starts_with("tile/") {
            bytes[0] ^= 1;
        }
    }
    let found = failed(&scene(lying, 255, |_| {})).await;
    assert!(found.len() == 1 && found[0].0 == "the log continues what status remembers", "{found:?}");
    let mut silent = log(300, entry, None);
    silent.files.retain(|path, _| !path.starts_with("tile/"));
    let found = failed(&scene(silent, 255, |_| {})).await;
    assert!(found.len() == 1 && found[0].1.contains("not seen"), "{found:?}");
}

#[tokio::test]
async fn during_a_roll_the_pod_is_not_held_against_status() {
    let api = scene(log(20, entry, None), 20, |it| {
        it["relay"]["status"]["update"]["step"] = json!("Replacing");
        it["pod"]["metadata"]["labels"]["controller-revision-hash"] = json!("health-6");
        it["pod"]["spec"]["containers"][0]["image"] = json!(format!("r.example/relay@{OTHER}"));
    });
    assert_eq!(failed(&api).await, []);
}

#[tokio::test]
async fn a_failed_check_is_exit_code_1() {
    let good = scene(log(20, entry, None), 20, |_| {}).run("x verify health").await.unwrap();
    let bad = scene(log(20, entry, Some(0)), 20, |_| {}).run("x verify health").await.unwrap();
    assert_eq!(format!("{good:?}"), format!("{:?}", ExitCode::SUCCESS));
    assert_eq!(format!("{bad:?}"), format!("{:?}", ExitCode::FAILURE));
}
