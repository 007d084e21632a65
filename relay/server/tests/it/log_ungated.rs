//! The log cannot be gated: whatever a vendor sells, takes back or is silent about, and whatever an admin sets about it, the log takes
//! entries, publishes them, and answers anybody with the same bytes.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use paramant_authority::book::Licence;
use paramant_authority::decide::{Standing, usual};
use paramant_licensing::online::capability::{Tier, Word};
use paramant_licensing::online::request;
use paramant_protocol::control::{LicenseSource, RemoteAnswer};
use paramant_protocol::upload::UploadAnswer;
use paramant_protocol::{canonical, entry};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::relay::{Relay, User, hash, noise, until};
use crate::remote_actions::{count, rules, settled};
use crate::vendor::{Clock, Vendor, asking, licence_directory, online, report};

const DAY: i64 = 24 * 3600;
/// Entries that are there before the first state begins.
const SIZE: u64 = 8;
/// How many capability sets under each of the policy's answers: eight changes are as many as a vendor asks for in a day.
const SETS: [(RemoteAnswer, usize); 3] =
    [(RemoteAnswer::Allow, 6), (RemoteAnswer::Ask, 1), (RemoteAnswer::Refuse, 1)];

/// Answers that never change, however much the log grows: the tree of the first entries.
fn fixed() -> Vec<String> {
    let heads = format!("/v2/sth/consistency?from=1&to={SIZE}");
    let mut paths =
        vec![format!("/log/tile/0/000.p/{SIZE}"), format!("/log/tile/entries/000.p/{SIZE}"), heads];
    paths.push("/log/vkeys?all".into());
    paths.extend((0..SIZE).map(|index| format!("/v2/ct/proof?index={index}&tree_size={SIZE}")));
    paths
}

/// Answers that grow with the log. They are there in every state.
fn growing(receipt: &str) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/log/checkpoint",
        "/log/vkeys",
        "/log/proof/0",
        "/log/sth",
        "/log/feed.json",
        "/log/feed.atom",
        "/log/archive",
        "/v2/ct",
        "/v2/ct/log",
        "/v2/ct/log?kind=transfer",
        "/v2/ct/0",
        "/v2/ct/proof/0",
        "/v2/sth",
        "/v2/sth/history",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.push(format!("/log/receipt/{receipt}"));
    paths
}

/// What anybody is told of the log, who shows nothing.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    fixed: Vec<(String, StatusCode, Vec<u8>)>,
    growing: Vec<(String, StatusCode)>,
}

async fn listen(relay: &Relay, receipt: &str) -> Told {
    let get = async |path: &String| relay.http.get(format!("{}{path}", relay.url)).send().await.unwrap();
    let mut told = Told { fixed: Vec::new(), growing: Vec::new() };
    for path in fixed() {
        let answer = get(&path).await;
        told.fixed.push((path, answer.status(), answer.bytes().await.unwrap().to_vec()));
    }
    for path in growing(receipt) {
        let status = get(&path).await.status();
        told.growing.push((path, status));
    }
    told
}

/// Somebody sends and reads a file; both are in the log and under a checkpoint, and the receipts of both can be had.
async fn logs_a_transfer(relay: &Relay, user: &User, seed: u64) -> String {
    let log = &relay.running.app.core.log;
    let (before, transfers) = (log.head().size, count_transfers(relay));
    // So small and short-lived that no set refuses it.
    let payload = noise(seed, 300);
    let sent = user.upload(&payload, json!({})).await;
    assert_eq!(sent.status(), StatusCode::OK);
    let sent: UploadAnswer = sent.json().await.unwrap();
    assert!(sent.merkle_proof.is_some());
    let read = user.download(&hash(&payload)).await;
    assert!(read.headers().contains_key(paramant_protocol::receipt::HEADER), "with a receipt");
    assert_eq!(read.bytes().await.unwrap(), payload);
    assert_eq!(count_transfers(relay), transfers + 1);
    until("a checkpoint covers it", async || log.published().is_some_and(|it| it.head.size > before)).await;
    sent.log_receipt.unwrap().to_string()
}

fn count_transfers(relay: &Relay) -> usize {
    let log = &relay.running.app.core.log;
    let all = (0..log.head().size).map(|index| log.engine().entry(index).unwrap().unwrap());
    all.filter(|it| entry::Entry::parse(&it.bytes).unwrap().kind() == entry::Kind::Transfer).count()
}

fn word() -> impl Strategy<Value = Word> {
    let known =
        prop_oneof![Just("log"), Just("no_log"), Just("audit-export"), Just("transparency"), Just("none")];
    prop_oneof![known.prop_map(str::to_owned), "[a-z0-9_-]{1,32}"]
        .prop_map(|text| Word::parse(&text).unwrap())
}

/// Any set that a reply can carry.
fn sold() -> impl Strategy<Value = paramant_authority::decide::Sold> {
    let tier = prop_oneof![Just(Tier::Community), Just(Tier::Pro), Just(Tier::Enterprise)];
    let number = || prop_oneof![Just(0), Just(1), 0..1_u64 << 40, Just((1 << 53) - 1)];
    let rest = (proptest::collection::btree_set(word(), 0..=32), word(), any::<bool>(), any::<bool>());
    (tier, number(), number(), number(), rest).prop_map(
        |(tier, users, blob, time, (addons, level, signed, brand))| {
            let mut sold = usual(tier);
            let set = &mut sold.capabilities;
            (set.max_users, set.max_blob_size_mb, set.retention_max_seconds) = (users, blob, time);
            (set.addons_allowed, set.support_level) = (addons, level);
            (set.ml_dsa_required, set.custom_branding) = (signed, brand);
            sold
        },
    )
}

async fn relay_over(vendor: &Vendor, clock: &Clock, dir: TempDir, rule: RemoteAnswer) -> Relay {
    let directory = licence_directory(&dir);
    Relay::in_world(vendor.world(clock), dir, |settings| {
        asking(vendor, settings, directory);
        rules(rule)(settings);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_set_no_state_of_a_licence_and_no_policy_changes_what_the_log_takes_and_tells() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    // Without any licence first: that is what all else is compared with.
    let mut relay = Relay::start().await;
    let mut user = relay.user().await;
    let mut receipt = String::new();
    while relay.running.app.core.log.head().size < SIZE {
        receipt = logs_a_transfer(&relay, &user, relay.running.app.core.log.head().size).await;
    }
    let alone = listen(&relay, &receipt).await;
    let there = |status: &StatusCode| *status == StatusCode::OK;
    assert!(alone.fixed.iter().all(|(_, status, _)| there(status)), "{:?}", alone.fixed);
    assert!(alone.growing.iter().all(|(_, status)| there(status)), "{:?}", alone.growing);

    let (mut runner, mut seed, mut tiers) = (TestRunner::deterministic(), 1000, Vec::new());
    let mut same = async |relay: &Relay, user: &User, state: &str| {
        seed += 1;
        let receipt = logs_a_transfer(relay, user, seed).await;
        let told = listen(relay, &receipt).await;
        let differs = |(now, then): (&(String, StatusCode, Vec<u8>), _)| (now != then).then(|| now.0.clone());
        let other: Vec<String> = told.fixed.iter().zip(&alone.fixed).filter_map(differs).collect();
        assert_eq!(other, Vec::<String>::new(), "other bytes with {state}");
        let gone: Vec<_> = told.growing.iter().filter(|(_, status)| !there(status)).collect();
        assert!(gone.is_empty(), "gone with {state}: {gone:?}");
    };
    for (rule, sets) in SETS {
        clock.set(0);
        relay = relay_over(&vendor, &clock, relay.stop().await, rule).await;
        user.url.clone_from(&relay.url);
        online(&relay).await;
        same(&relay, &user, &format!("a set in force and {rule:?}")).await;
        // By now every set is over but the newest, which serves as the last word.
        clock.set(13 * 3600);
        for _ in 0..sets {
            let sold = sold().new_tree(&mut runner).unwrap().current();
            let change = |licence: &mut Licence| licence.sold = sold.clone();
            vendor.authority.book.change(&vendor.key, "sold", Timestamp::now(), change).unwrap();
            settled(&relay).await;
            tiers.push((report(&relay).tier, report(&relay).max_users));
            same(&relay, &user, &format!("{:?} and {rule:?}", sold.capabilities)).await;
        }
    }
    tiers.dedup();
    assert!(tiers.len() > 3, "these sets changed nothing: {tiers:?}");

    let shown = relay.admin(Method::GET, "/v2/admin/telemetry/preview").send().await.unwrap();
    let digest = request::digest(&shown.bytes().await.unwrap());
    let consent = json!({ "enabled": true, "schema": 1, "previewSha256": digest });
    relay.admin(Method::POST, "/v2/admin/telemetry").json(&consent).send().await.unwrap();
    assert!(relay.running.app.store.check_ins.sends_telemetry());
    same(&relay, &user, "telemetry").await;
    for standing in [Standing::Unpaid, Standing::Active, Standing::Revoked] {
        vendor.stand(standing);
        settled_or_revoked(&relay, standing).await;
        same(&relay, &user, &format!("{standing:?}")).await;
    }
    clock.set(9 * DAY);
    until("nothing counts any more", async || report(&relay).source == LicenseSource::None).await;
    same(&relay, &user, "a vendor who was silent for days").await;
    assert!(count(&relay, entry::Kind::VendorRequest) > 0, "changes of sets were asked for");
    relay.stop().await;
}

/// A key that was revoked is asked about no more.
async fn settled_or_revoked(relay: &Relay, standing: Standing) {
    if standing != Standing::Revoked {
        return settled(relay).await;
    }
    crate::vendor::ask(relay).await;
    until("it is known", async || report(relay).check_in.is_some_and(|it| it.revoked)).await;
}

/// The reply to a request, with capabilities that no release knows.
fn with_more(vendor: &Vendor, asked: &[u8], more: &Value) -> Vec<u8> {
    let mut reply: Value =
        serde_json::from_slice(&vendor.authority.answer(asked, None).unwrap().body).unwrap();
    let fields = reply.as_object_mut().unwrap();
    fields.remove("signature");
    let known = fields["capabilities"].as_object_mut().unwrap();
    known.extend(more.as_object().unwrap().clone());
    let message = canonical::value_to_vec(&reply).unwrap();
    let signature = vendor.authority.signer().unwrap().sign(&message).unwrap();
    let signature = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, signature);
    reply.as_object_mut().unwrap().insert("signature".into(), signature.into());
    canonical::value_to_vec(&reply).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_that_no_release_knows_say_nothing_to_the_log() {
    let (vendor, clock, mut relay) = (Vendor::start().await, Clock::default(), Relay::start().await);
    let mut user = relay.user().await;
    let mut receipt = String::new();
    while relay.running.app.core.log.head().size < SIZE {
        receipt = logs_a_transfer(&relay, &user, relay.running.app.core.log.head().size).await;
    }
    let alone = listen(&relay, &receipt).await;
    let dir = relay.stop().await;
    let (directory, file) = (licence_directory(&dir), dir.path().join("reply.json"));
    let carried = file.clone();
    relay = Relay::in_world(vendor.world(&clock), dir, |settings| {
        asking(&vendor, settings, directory);
        settings.online = None;
        settings.air_gap = Some(carried);
    })
    .await;
    user.url.clone_from(&relay.url);
    let asked = async || relay.running.app.store.check_ins.next_request().await.unwrap();
    until("a request is frozen", async || asked().await.is_some()).await;
    let more = json!({
        "log": false, "log_enabled": false, "transparency_log": "none", "max_log_entries": 0, "log_retention_seconds": 0,
        "receipts": [], "public_proofs": null, "checkpoint": { "signed": false },
    });
    let reply = with_more(&vendor, &asked().await.unwrap().bytes, &more);
    std::fs::write(&file, &reply).unwrap();
    until("it counts", async || report(&relay).source == LicenseSource::AirGap).await;
    let receipt = logs_a_transfer(&relay, &user, 900).await;
    let told = listen(&relay, &receipt).await;
    assert_eq!((told.fixed, told.growing.len()), (alone.fixed, alone.growing.len()));
    assert!(told.growing.iter().all(|(_, status)| *status == StatusCode::OK), "{:?}", told.growing);
    relay.stop().await;
}

/// Where the log is written, signed and served.
fn of_the_log() -> Vec<PathBuf> {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../log/src")];
    found.push(source.join("log_service"));
    for name in [
        "log_service.rs",
        "log_search.rs",
        "entries.rs",
        "receipts.rs",
        "receipts",
        "public/ct.rs",
        "public/ct_pages.rs",
    ] {
        found.push(source.join(name));
    }
    let public = std::fs::read_dir(source.join("public")).unwrap().map(|file| file.unwrap().path());
    found.extend(public.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("log_")));
    found
}

/// Lines of code that could ask what is licensed.
fn asks_the_licence(source: &str) -> Vec<&str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.filter(|line| {
        ["licenses", "license_report", "grant()", "paramant_licensing"].iter().any(|it| line.contains(it))
    })
    .collect()
}

fn below(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    std::fs::read_dir(path).unwrap().flat_map(|file| below(&file.unwrap().path())).collect()
}

#[test]
fn nothing_that_writes_or_serves_the_log_can_ask_what_is_licensed() {
    let planted = "// licenses\nif app.store.licenses.grant().custom_branding { return absent(); }\nuse paramant_licensing::Grant;";
    assert_eq!(asks_the_licence(planted).len(), 2);
    let files: Vec<PathBuf> = of_the_log().iter().flat_map(|path| below(path)).collect();
    assert!(files.len() > 40, "{}", files.len());
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        assert_eq!(asks_the_licence(&source), Vec::<&str>::new(), "{}", file.display());
    }
}
