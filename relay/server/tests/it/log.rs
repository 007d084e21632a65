//! The public log from outside: what is published verifies with nothing but the tree mathematics and the published keys.

use paramant_protocol::entry::Entry;
use paramant_protocol::path;
use paramant_protocol::sth::SignedSth;
use paramant_protocol::transparency::{ConsistencyAnswer, LogPage, ProofAnswer, SthAnswer, SthHistory};
use paramant_tlog::note::Note;
use paramant_tlog::tlog_proof::TlogProof;
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::{Checkpoint, CompactRange, Tree, bundle, entry_leaf, verify};
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::relay::{Relay, noise, until};

pub async fn get(relay: &Relay, path: &str) -> reqwest::Response {
    relay.http.get(format!("{}{path}", relay.url)).send().await.unwrap()
}

pub async fn text(relay: &Relay, path: &str) -> String {
    get(relay, path).await.error_for_status().unwrap().text().await.unwrap()
}

pub async fn json_of<T: DeserializeOwned>(relay: &Relay, path: &str) -> T {
    get(relay, path).await.error_for_status().unwrap().json().await.unwrap()
}

pub async fn published(relay: &Relay) -> (Note, Checkpoint) {
    let note = Note::parse(text(relay, "/log/checkpoint").await.as_bytes()).unwrap();
    let checkpoint = Checkpoint::parse(&note.text).unwrap();
    (note, checkpoint)
}

pub async fn filled(relay: &Relay, uploads: u64) {
    let user = relay.user().await;
    for seed in 0..uploads {
        assert_eq!(user.upload(&noise(seed, 300), json!({})).await.status(), StatusCode::OK);
    }
    relay.running.app.core.log.engine().publish_now().unwrap();
}

/// Waits until the newest head is signed, which is done beside appending.
pub async fn settled(relay: &Relay) {
    let log = &relay.running.app.core.log;
    let signed = async || log.tree_heads().newest().is_some_and(|sth| sth.tree_size == log.head().size);
    until("the newest head is signed", signed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_carries_three_signatures_that_verify_and_covers_the_bundles() {
    let relay = Relay::start().await;
    filled(&relay, 5).await;
    let (note, checkpoint) = published(&relay).await;
    let keys: Vec<VerifierKey> =
        text(&relay, "/log/vkeys").await.lines().map(|key| key.parse().unwrap()).collect();
    assert_eq!(note.open(&keys).unwrap().len(), 3);
    let mut forged = note.clone();
    forged.text =
        forged.text.replace(&format!("\n{}\n", checkpoint.size), &format!("\n{}\n", checkpoint.size + 1));
    assert!(forged.open(&keys).is_err(), "a changed size must not verify");

    let path = format!("/log/tile/entries/000.p/{}", checkpoint.size);
    let bytes = get(&relay, &path).await.error_for_status().unwrap().bytes().await.unwrap();
    let (mut sha256, mut sha3) = (CompactRange::new(Tree::Sha256), CompactRange::new(Tree::Sha3));
    for entry in bundle::decode(&bytes).unwrap() {
        sha256.append(entry_leaf(entry), |_, _| {});
        sha3.append(Entry::parse(entry).unwrap().leaf(), |_, _| {});
    }
    assert_eq!(sha256.root(), checkpoint.root);
    let page: LogPage = json_of(&relay, "/v2/ct/log?limit=1000").await;
    assert_eq!(page.entries.last().unwrap().tree_hash, page.root);
    assert_eq!(
        page.entries[usize::try_from(checkpoint.size).unwrap() - 1].tree_hash,
        hex::encode(sha3.root())
    );
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_stop_at_the_published_checkpoint_and_say_how_long_they_keep() {
    let relay = Relay::start().await;
    filled(&relay, 3).await;
    let size = published(&relay).await.1.size;
    for what in ["tile/0/000", "tile/entries/000"] {
        let there = get(&relay, &format!("/log/{what}.p/{size}")).await;
        assert_eq!(there.status(), StatusCode::OK, "{what}");
        assert_eq!(there.headers()["access-control-allow-origin"], "*");
        assert_eq!(there.headers()["content-type"], "application/octet-stream");
        for beyond in [format!("{what}.p/{}", size + 1), what.to_owned(), "tile/0/001.p/1".to_owned()] {
            let answer = get(&relay, &format!("/log/{beyond}")).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{beyond}");
            assert_eq!(answer.headers()["cache-control"], "no-store", "{beyond}");
        }
    }
    for odd in [
        "tile/0/0",
        "tile/0/x000/000",
        "tile/8/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/%30%30%30",
    ] {
        assert_eq!(get(&relay, &format!("/log/{odd}")).await.status(), StatusCode::NOT_FOUND, "{odd}");
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_tile_may_be_kept_for_ever() {
    let relay = Relay::start().await;
    for _ in 0..260 {
        let leaf = paramant_protocol::leaf::sha3(b"x");
        let entry = Entry::transfer(leaf, jiff::Timestamp::now());
        let entry =
            paramant_relay::log_service::Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() };
        relay.running.app.core.log.append_with(entry, |_| ());
    }
    filled(&relay, 0).await;
    for what in ["/log/tile/0/000", "/log/tile/entries/000", "/log/tile/1/000.p/1"] {
        let answer = get(&relay, what).await;
        assert_eq!(answer.status(), StatusCode::OK, "{what}");
        let cache = answer.headers()["cache-control"].to_str().unwrap();
        assert_eq!(cache.contains("immutable"), !what.contains(".p/"), "{what} {cache}");
    }
    let page: LogPage = json_of(&relay, "/v2/ct?from=255&limit=3").await;
    let roots: Vec<_> = page.entries.iter().map(|entry| entry.tree_hash.clone()).collect();
    for (size, root) in (256..).zip(roots) {
        let engine = relay.running.app.core.log.engine();
        assert_eq!(root, hex::encode(engine.root(Tree::Sha3, size).unwrap()), "{size}");
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offline_proof_holds_entry_path_and_checkpoint() {
    let relay = Relay::start().await;
    filled(&relay, 6).await;
    for index in [0, 3, 6] {
        let proof = TlogProof::parse(&text(&relay, &format!("/log/proof/{index}")).await).unwrap();
        let note = Note::parse(proof.checkpoint.as_bytes()).unwrap();
        let checkpoint = Checkpoint::parse(&note.text).unwrap();
        let leaf = entry_leaf(&proof.extra.unwrap());
        verify::inclusion(Tree::Sha256, &leaf, index, checkpoint.size, &proof.path, &checkpoint.root)
            .unwrap();
    }
    assert_eq!(get(&relay, "/log/proof/9999").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(get(&relay, "/log/proof/0x1").await.status(), StatusCode::NOT_FOUND);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_proofs_lead_from_each_leaf_to_the_root_they_name() {
    let relay = Relay::start().await;
    filled(&relay, 6).await;
    let size = relay.running.app.core.log.head().size;
    let hash = |text: &str| path::parse_hash(text).unwrap();
    for index in 0..size {
        let given: ProofAnswer = json_of(&relay, &format!("/v2/ct/{index}")).await;
        assert_eq!(given.tree_size, Some(index + 1));
        path::check(&hash(&given.leaf_hash), index, index + 1, &given.proof, &hash(&given.tree_hash))
            .unwrap();
        assert!(given.ts.ends_with(":00:00.000Z"));
        let later: ProofAnswer =
            json_of(&relay, &format!("/v2/ct/proof?index={index}&tree_size={size}")).await;
        path::check(&hash(&later.leaf_hash), index, size, &later.proof, &hash(&later.tree_hash)).unwrap();
    }
    assert_eq!(get(&relay, &format!("/v2/ct/{size}")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(get(&relay, "/v2/ct/proof/-1").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(get(&relay, "/v2/ct/proof/0?tree_size=0").await.status(), StatusCode::BAD_REQUEST);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tree_heads_verify_grow_and_are_all_served() {
    let relay = Relay::start().await;
    filled(&relay, 4).await;
    settled(&relay).await;
    let identity = relay.running.app.core.identity.public_key().to_vec();
    let signed_by_relay = move |message: &[u8], signature: &[u8]| {
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ML_DSA_65, &identity);
        key.verify(message, signature).is_ok()
    };
    let newest: SthAnswer = json_of(&relay, "/v2/sth").await;
    assert_eq!(newest.sth.tree_size, relay.running.app.core.log.head().size);
    let history: SthHistory = json_of(&relay, "/v2/sth/history").await;
    assert_eq!(history.total, history.count);
    assert_eq!(history.sths.last(), Some(&newest.sth));
    for pair in history.sths.windows(2) {
        assert!(pair[0].tree_size < pair[1].tree_size && pair[0].timestamp < pair[1].timestamp);
    }
    for sth in &history.sths {
        sth.verify(&signed_by_relay).unwrap();
        let found: SthAnswer = json_of(&relay, &format!("/v2/sth/{}", sth.timestamp)).await;
        assert_eq!(&found.sth, sth);
        let root = relay.running.app.core.log.engine().root(Tree::Sha3, sth.tree_size).unwrap();
        assert_eq!(sth.sha3_root, hex::encode(root));
    }
    let forged = SignedSth { tree_size: 99, ..newest.sth.clone() };
    assert!(forged.verify(&signed_by_relay).is_err());
    let late = newest.sth.timestamp + 1;
    assert_eq!(get(&relay, &format!("/v2/sth/{late}")).await.status(), StatusCode::NOT_FOUND);

    let (from, to) = (history.sths[0].tree_size, newest.sth.tree_size);
    let given: ConsistencyAnswer = json_of(&relay, &format!("/v2/sth/consistency?from={from}")).await;
    assert_eq!((given.from, given.to), (from, to));
    let hash = |text: &str| path::parse_hash(text).unwrap();
    let proof: Vec<_> = given.proof.iter().map(|node| hash(node)).collect();
    let roots = (hash(&history.sths[0].sha3_root), hash(&newest.sth.sha3_root));
    verify::consistency(Tree::Sha3, from, &roots.0, to, &roots.1, &proof).unwrap();
    for bad in ["from=9&to=3", "from=0&to=9999", "from=x", ""] {
        let answer = get(&relay, &format!("/v2/sth/consistency?{bad}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{bad}");
        let body: Value = answer.json().await.unwrap();
        assert!(body["error"].as_str().is_some_and(|error| error.len() > 20), "{bad}: {body}");
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_identity_origin_entries_and_tree_heads() {
    let relay = Relay::start().await;
    filled(&relay, 3).await;
    let core = relay.running.app.core.clone();
    let (fingerprint, origin) = (core.identity.fingerprint().to_owned(), core.log.origin().to_owned());
    drop(core);
    let dir = relay.stop().await;

    let relay = Relay::over(dir, |_| ()).await;
    let core = relay.running.app.core.clone();
    assert_eq!((core.identity.fingerprint(), core.log.origin()), (fingerprint.as_str(), origin.as_str()));
    let page: LogPage = json_of(&relay, "/v2/ct?limit=1000").await;
    let starts = page.entries.iter().filter(|entry| entry.kind.as_deref() == Some("relay_started")).count();
    assert_eq!(starts, 2);
    settled(&relay).await;
    let history: SthHistory = json_of(&relay, "/v2/sth/history").await;
    let (first, last) = (history.sths.first().unwrap(), history.sths.last().unwrap());
    assert!(first.tree_size < last.tree_size && last.tree_size == core.log.head().size);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_origin_is_refused_with_both_names() {
    let relay = Relay::with(|settings| settings.log_origin = Some("relay.example/log".into())).await;
    assert_eq!(published(&relay).await.1.origin, "relay.example/log");
    let dir = relay.stop().await;
    let mut settings = crate::relay::settings(dir.path());
    settings.log_origin = Some("other.example/log".into());
    let options = paramant_relay::process::Options {
        data: dir.path().join("data"),
        settings: paramant_relay::settings::SettingsHandle::fixed(settings),
        public_tls: None,
        world: Default::default(),
    };
    let refused = paramant_relay::process::Running::start(options).await.unwrap_err().to_string();
    assert!(refused.contains("relay.example/log") && refused.contains("other.example/log"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_shorter_than_a_signed_tree_head_is_refused() {
    let relay = Relay::start().await;
    let dir = relay.stop().await;
    let old = TempDir::new().unwrap();
    copy(&dir.path().join("data/log"), &old.path().join("log"));
    let relay = Relay::over(dir, |_| ()).await;
    filled(&relay, 4).await;
    let dir = relay.stop().await;
    std::fs::remove_dir_all(dir.path().join("data/log")).unwrap();
    copy(&old.path().join("log"), &dir.path().join("data/log"));
    let options = paramant_relay::process::Options {
        data: dir.path().join("data"),
        settings: paramant_relay::settings::SettingsHandle::fixed(crate::relay::settings(dir.path())),
        public_tls: None,
        world: Default::default(),
    };
    let refused = paramant_relay::process::Running::start(options).await.unwrap_err().to_string();
    assert!(refused.contains("signed a tree head"), "{refused}");
}

pub fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_needs_no_key_and_every_answer_carries_the_published_headers() {
    let relay = Relay::start().await;
    for path in ["/log/checkpoint", "/v2/ct", "/v2/sth", "/v2/sth/history"] {
        let answer = get(&relay, path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()["access-control-allow-origin"], "*", "{path}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
    }
    let options =
        relay.http.request(reqwest::Method::OPTIONS, format!("{}/v2/inbound", relay.url)).send().await;
    assert_eq!(options.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(get(&relay, "/v2/ct?k=pgp_secret").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(get(&relay, "/nothing").await.status(), StatusCode::UNAUTHORIZED);
    let user = relay.user().await;
    let known = user.request(reqwest::Method::GET, "/nothing").send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_FOUND);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_for_people_show_the_newest_entries_and_no_exact_time() {
    let relay = Relay::start().await;
    filled(&relay, 3).await;
    settled(&relay).await;
    let feed: Value = json_of(&relay, "/ct/feed").await;
    let entries = feed["entries"].as_array().unwrap();
    assert_eq!(feed["tree_size"].as_u64().unwrap(), relay.running.app.core.log.head().size);
    assert!(entries.iter().any(|entry| entry["type"] == "transfer"));
    assert!(entries.iter().all(|entry| entry["t"].as_str().unwrap().ends_with(":00:00.000Z")));
    let page = text(&relay, "/ct").await;
    assert!(page.contains("relay_started") && !page.contains("<script"));
    let rss = text(&relay, "/ct/feed.xml").await;
    assert!(rss.starts_with("<?xml") && rss.contains("/v2/sth?ts="));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_from_beyond_the_end_is_empty_however_far_beyond() {
    let relay = Relay::start().await;
    let page: LogPage = json_of(&relay, &format!("/v2/ct/log?from={}", u64::MAX)).await;
    assert!(page.entries.is_empty() && page.size > 0);
}

/// As after a wrong answer of a time server, since put right.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_is_an_entry_before_anything_dated_by_it() {
    let relay = Relay::start().await;
    let log = relay.running.app.core.log.clone();
    let ahead = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(72);
    let entry = Entry::transfer([7; 32], ahead);
    let entry = paramant_relay::log_service::Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() };
    log.append(entry).await.unwrap();
    let from = log.head().size;
    filled(&relay, 2).await;
    let told: Vec<(String, bool)> = log
        .engine()
        .entries(from, 100)
        .unwrap()
        .iter()
        .map(|entry| Entry::parse(&entry.bytes).unwrap())
        .map(|entry| (entry.kind().name().to_owned(), entry.hour() < &ahead.to_string()[..13]))
        .collect();
    assert_eq!(told[0], ("clock_corrected".to_owned(), true), "{told:?}");
    assert_eq!(told.iter().filter(|(kind, _)| kind == "clock_corrected").count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|(kind, _)| kind == "transfer").count(), 2, "{told:?}");
    relay.stop().await;
}
