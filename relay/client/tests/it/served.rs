//! A log of the real engine behind the published paths, in this process: audits over HTTP, copies, and reading from its end.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use paramant_client::archive::Archive;
use paramant_client::audit::{Baggage, Remembered, audit};
use paramant_client::directory::{self, Demands};
use paramant_client::logged::{self, Locator, Trust};
use paramant_client::relay::Progress;
use paramant_client::state::Seen;
use paramant_client::tail::Tail;
use paramant_client::{Category, ClientError, Device, Relay, RelayAddress, StateDir};
use paramant_protocol::device::{DeviceKeys, KeysAnswer};
use paramant_protocol::discovery::Identity;
use paramant_protocol::entry::body::{Body, Digest, KeyRegistered};
use paramant_protocol::entry::{Entry, Kind};
use paramant_protocol::leaf::{self, Purpose};
use paramant_protocol::path;
use paramant_protocol::transparency::{LogEntry, LogPage, ProofAnswer, SthAnswer, SthHistory, TreeHeadPage};
use paramant_tlog::Tree;
use paramant_tlog::keys::Signer as _;
use paramant_tlog::policy;
use paramant_tlog::tlog_proof::TlogProof;
use serde::Serialize;

use crate::copies::{audited, busy, holds};
use crate::made_log::MadeLog;

/// What is served, and what was asked for.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) made: Arc<Mutex<MadeLog>>,
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    /// A path that answers 404.
    pub(crate) hidden: Arc<Mutex<Option<String>>>,
    /// What the directory shows for any device.
    pub(crate) device: Arc<Mutex<Option<KeysAnswer>>>,
}

pub(crate) const RECEIPT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

impl Served {
    pub(crate) async fn start(made: MadeLog) -> (Self, Relay) {
        let served = Self {
            made: Arc::new(Mutex::new(made)),
            asked: Arc::default(),
            hidden: Arc::default(),
            device: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(served.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let key = "pgp_0123456789abcdef0123456789abcdef".parse().unwrap();
        (served, Relay::new(RelayAddress::parse(&address, false).unwrap(), Some(key), None).unwrap())
    }

    fn asked_for(&self, prefix: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.starts_with(prefix)).count()
    }
}

async fn answer(State(served): State<Served>, uri: Uri) -> Response {
    let path = uri.path_and_query().unwrap().as_str().to_owned();
    served.asked.lock().unwrap().push(path.clone());
    if path.starts_with("/v2/pubkey/") {
        return axum::Json(served.device.lock().unwrap().clone().unwrap()).into_response();
    }
    let hidden = served.hidden.lock().unwrap().clone();
    let bytes =
        if hidden.as_ref() == Some(&path) { None } else { bytes(&served.made.lock().unwrap(), &path) };
    match bytes {
        Some(bytes) => HttpBody::from(bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn json(value: &impl Serialize) -> Option<Vec<u8>> {
    Some(serde_json::to_vec(value).unwrap())
}

fn query(path: &str, name: &str) -> u64 {
    let query = path.split_once('?').unwrap().1;
    query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).unwrap().parse().unwrap()
}

/// What a relay answers.
fn bytes(made: &MadeLog, path: &str) -> Option<Vec<u8>> {
    let published = made.log.published();
    let size = published.as_ref().map_or(0, |published| published.head.size);
    let total = made.heads.len() as u64;
    if path == "/log/checkpoint" {
        return Some(published?.note.clone().into_bytes());
    }
    if path == "/log/vkeys" {
        return Some(
            made.keys.verifiers().iter().map(|key| format!("{key}\n")).collect::<String>().into_bytes(),
        );
    }
    if path == "/log/policy" {
        return Some(made.policy().to_text().into_bytes());
    }
    if path.starts_with("/log/sth?") {
        let (from, limit) = (query(path, "from"), query(path, "limit"));
        let sths = made.heads.iter().skip(from as usize).take(limit as usize).cloned().collect();
        return json(&TreeHeadPage { total, from, sths });
    }
    if let Some(rest) = path.strip_prefix("/log/proof/") {
        return proof(made, rest.parse().ok()?, size);
    }
    if path == format!("/log/receipt/{RECEIPT}") {
        return proof(made, 3, size);
    }
    if let Some(name) = path.strip_prefix("/log/") {
        return match paramant_tlog::tile::parse_path(name)? {
            paramant_tlog::tile::Resource::Tile(tile, width) => {
                made.log.tile(tile.level, tile.index, width).unwrap()
            }
            paramant_tlog::tile::Resource::Bundle(index, width) => {
                made.log.entry_bundle(index, width).unwrap()
            }
        };
    }
    if path == "/v2/pubkey" {
        return json(&Identity::of(made.identity.verifier().public_key()));
    }
    if path == "/v2/sth" {
        return json(&SthAnswer { ok: true, sth: made.heads.last()?.clone(), pk_hash: None });
    }
    if path.starts_with("/v2/sth/history") {
        let sths = made.heads[made.heads.len().saturating_sub(100)..].to_vec();
        return json(&SthHistory { ok: true, count: sths.len() as u64, total, sths });
    }
    if path.starts_with("/v2/ct/log?kind=") {
        return json(&of_kind(made, path));
    }
    if path.starts_with("/v2/ct/log?") {
        return json(&log_page(made, query(path, "from"), query(path, "limit")));
    }
    if let Some(index) = path.strip_prefix("/v2/ct/proof/") {
        return legacy_proof(made, index.parse().unwrap());
    }
    None
}

fn proof(made: &MadeLog, index: u64, size: u64) -> Option<Vec<u8>> {
    let entry = made.log.entry(index).unwrap().filter(|_| index < size)?;
    let path = made.log.inclusion(Tree::Sha256, index, size).unwrap();
    let checkpoint = made.log.published()?.note.clone();
    Some(TlogProof { extra: Some(entry.bytes), index, path, checkpoint }.to_text().into_bytes())
}

fn log_page(made: &MadeLog, from: u64, limit: u64) -> LogPage {
    let head = made.log.head();
    let entries = made.log.entries(from, limit as usize).unwrap();
    let entries = (from..).zip(entries).map(|(index, entry)| {
        let parsed = Entry::parse(&entry.bytes).unwrap();
        LogEntry {
            index,
            kind: Some(parsed.kind().name().into()),
            leaf_hash: hex::encode(entry.legacy_leaf),
            tree_hash: hex::encode(made.log.root(Tree::Sha3, index + 1).unwrap()),
            ts: parsed.hour().into(),
        }
    });
    let (size, root) = (head.size, hex::encode(head.sha3_root));
    let entries: Vec<LogEntry> = entries.collect();
    // From JSON, so that fields which a relay may add do not matter here.
    let page =
        serde_json::json!({"ok": true, "size": size, "tree_size": size, "root": root, "entries": entries});
    serde_json::from_value(page).unwrap()
}

/// The entries of a kind, looked for in 256 of them at once.
fn of_kind(made: &MadeLog, path: &str) -> LogPage {
    let kind = path.split_once("kind=").unwrap().1.split('&').next().unwrap();
    let from = query(path, "from");
    let mut page = log_page(made, from, 256);
    page.entries.retain(|entry| entry.kind.as_deref() == Some(kind));
    page.next_from = Some(from + 256).filter(|next| *next < page.size);
    page
}

fn legacy_proof(made: &MadeLog, index: u64) -> Option<Vec<u8>> {
    let size = index + 1;
    let entry = made.log.entry(index).unwrap()?;
    let siblings = made.log.inclusion(Tree::Sha3, index, size).unwrap();
    let steps = path::steps(index, size, &siblings).unwrap();
    let root = hex::encode(made.log.root(Tree::Sha3, size).unwrap());
    json(&ProofAnswer {
        ok: true,
        index,
        leaf_hash: hex::encode(entry.legacy_leaf),
        tree_hash: root.clone(),
        proof: steps.clone(),
        ts: Entry::parse(&entry.bytes).unwrap().hour().into(),
        audit_path: Some(steps),
        root: Some(root),
        tree_size: Some(size),
    })
}

async fn audited_url(
    relay: &Relay,
    baggage: &Baggage,
) -> (paramant_client::audit::Report, Option<Remembered>) {
    audit(relay, baggage, &Progress::silent()).await.unwrap()
}

#[tokio::test]
async fn a_second_audit_over_http_asks_only_for_what_is_new() {
    let made = busy();
    made.log.publish_now().unwrap();
    let (served, relay) = Served::start(made).await;
    let (report, remembered) = audited_url(&relay, &Baggage::default()).await;
    holds(&report);
    assert_eq!(served.asked_for("/log/tile/entries/"), 5);
    served.asked.lock().unwrap().clear();
    {
        let mut made = served.made.lock().unwrap();
        made.transfers(600, "").head().anchor();
        made.log.publish_now().unwrap();
    }
    let baggage = Baggage { remembered, ..Baggage::default() };
    let (report, _) = audited_url(&relay, &baggage).await;
    holds(&report);
    assert_eq!((served.asked_for("/log/tile/entries/"), report.timing.heads), (3, 1));
}

#[tokio::test]
async fn tree_heads_that_are_kept_back_are_found() {
    let made = busy();
    made.log.publish_now().unwrap();
    let (served, relay) = Served::start(made).await;
    *served.hidden.lock().unwrap() = Some("/log/sth?from=0&limit=500".into());
    let (report, _) = audited_url(&relay, &Baggage::default()).await;
    assert_eq!(report.failure().unwrap().evidence, "/log/sth is not there");
    *served.hidden.lock().unwrap() = None;
    let dropped = served.made.lock().unwrap().heads.remove(1);
    let (report, _) = audited_url(&relay, &Baggage::default()).await;
    assert_eq!(report.failure().unwrap().name, "anchors", "{report:#?}");
    served.made.lock().unwrap().heads.insert(1, dropped);
    holds(&audited_url(&relay, &Baggage::default()).await.0);
}

#[tokio::test]
async fn a_copy_holds_the_relays_policy_also_when_another_is_pinned() {
    let made = busy();
    made.log.publish_now().unwrap();
    let policy = policy::Policy::threshold(made.policy().logs().to_vec(), [], 0).unwrap();
    let (_served, relay) = Served::start(made).await;
    let root = tempfile::tempdir().unwrap();
    let archive = Archive::open(&relay, root.path()).unwrap();
    let baggage = Baggage { policy: Some(policy), ..Baggage::default() };
    let (report, remembered) = audit(&archive, &baggage, &Progress::silent()).await.unwrap();
    holds(&report);
    archive.finish(&remembered.unwrap()).unwrap();
    let kept = std::fs::read_to_string(root.path().join("policy")).unwrap();
    assert!(kept.contains("witness w2"), "{kept}");
}

async fn archived(relay: &Relay, root: &std::path::Path) -> Option<Remembered> {
    let archive = Archive::open(relay, root).unwrap();
    let (report, remembered) = audit(&archive, &Baggage::default(), &Progress::silent()).await.ok()?;
    if !report.holds() {
        return None;
    }
    archive.finish(remembered.as_ref().unwrap()).unwrap();
    remembered
}

#[tokio::test]
async fn a_copy_goes_on_where_it_stopped_and_grows_with_the_log() {
    let made = busy();
    made.log.publish_now().unwrap();
    let (served, relay) = Served::start(made).await;
    let root = tempfile::tempdir().unwrap();
    // The last bundle is not there at first: the copy stops, without a checkpoint.
    *served.hidden.lock().unwrap() = Some("/log/tile/entries/004.p/19".into());
    assert!(archived(&relay, root.path()).await.is_none());
    assert!(root.path().join("tile/entries/003").is_file() && !root.path().join("checkpoint").exists());
    *served.hidden.lock().unwrap() = None;
    served.asked.lock().unwrap().clear();
    let remembered = archived(&relay, root.path()).await.unwrap();
    assert_eq!(served.asked_for("/log/tile/entries/"), 1, "only what was missing");
    let (report, again) = audited(root.path(), &Baggage::default()).await;
    holds(&report);
    assert_eq!(again.unwrap(), remembered);

    {
        let mut made = served.made.lock().unwrap();
        made.transfers(300, "").head().anchor();
        made.log.publish_now().unwrap();
    }
    served.asked.lock().unwrap().clear();
    archived(&relay, root.path()).await.unwrap();
    assert_eq!(served.asked_for("/log/tile/entries/"), 2);
    assert!(!root.path().join("tile/entries/004.p").exists(), "a partial bundle was left behind");
    let (report, _) = audited(root.path(), &Baggage::default()).await;
    holds(&report);
    assert_eq!(report.timing.heads, 5);
    for name in ["README.txt", "vkeys", "policy"] {
        assert!(root.path().join(name).is_file(), "{name}");
    }
}

#[tokio::test]
async fn a_copy_of_one_log_is_never_gone_on_with_from_another() {
    let made = busy();
    made.log.publish_now().unwrap();
    let (_served, relay) = Served::start(made).await;
    let root = tempfile::tempdir().unwrap();
    let archive = Archive::open(&relay, root.path()).unwrap();
    archive.same_log().await.unwrap();
    archived(&relay, root.path()).await.unwrap();
    archive.same_log().await.unwrap();
    let path = root.path().join("checkpoint");
    let renamed = std::fs::read_to_string(&path).unwrap().replacen("relay.example/log", "old.example/log", 1);
    std::fs::write(&path, renamed).unwrap();
    let error = archive.same_log().await.unwrap_err();
    assert_eq!(error.category(), Category::Usage);
    assert!(error.to_string().contains("a copy of the log old.example/log"), "{error}");
}

#[tokio::test]
async fn a_damaged_copy_is_not_finished() {
    let made = busy();
    made.log.publish_now().unwrap();
    let (_served, relay) = Served::start(made).await;
    let root = tempfile::tempdir().unwrap();
    archived(&relay, root.path()).await.unwrap();
    let tile = root.path().join("tile/0/001");
    let mut bytes = std::fs::read(&tile).unwrap();
    bytes[77] ^= 1;
    std::fs::write(&tile, bytes).unwrap();
    assert!(archived(&relay, root.path()).await.is_none());
    std::fs::remove_file(&tile).unwrap();
    assert!(archived(&relay, root.path()).await.is_some());
}

fn trust(served: &Served) -> Trust {
    Trust::Keys(served.made.lock().unwrap().keys.verifiers())
}

#[tokio::test]
async fn the_end_of_a_log_is_read_under_its_checkpoint_and_followed() {
    let made = busy();
    made.log.publish_now().unwrap();
    let (served, relay) = Served::start(made).await;
    let (mut tail, entries) = Tail::open(&relay, trust(&served), 20).await.unwrap();
    let indexes = |entries: &[(u64, Entry)]| (entries[0].0, entries[entries.len() - 1].0, entries.len());
    assert_eq!(indexes(&entries), (768, 1042, 275));
    assert_eq!(entries.last().unwrap().1.kind(), Kind::SthAnchor);
    assert_eq!(indexes(&tail.earlier(2).await.unwrap()), (256, 767, 512));
    assert_eq!(indexes(&tail.earlier(9).await.unwrap()), (0, 255, 256));
    assert!(tail.earlier(1).await.unwrap().is_empty());
    assert!(tail.newer().await.unwrap().is_empty());
    for count in [1, 5, 300] {
        let before = {
            let mut made = served.made.lock().unwrap();
            let before = made.log.head().size;
            made.transfers(count, "");
            made.log.publish_now().unwrap();
            before
        };
        let entries = tail.newer().await.unwrap();
        assert_eq!(indexes(&entries), (before, before + count - 1, count as usize));
    }
    // All entries are of one hour here.
    assert_eq!(tail.find("2027-01-01T00:00:00.000Z").await.unwrap(), 5 * 256);
    assert_eq!(tail.find("2026-01-01T00:00:00.000Z").await.unwrap(), 0);
}

#[tokio::test]
async fn entries_that_are_not_under_the_checkpoint_are_not_shown() {
    let made = busy();
    made.log.publish_now().unwrap();
    let (served, relay) = Served::start(made).await;
    let (mut tail, _) = Tail::open(&relay, trust(&served), 20).await.unwrap();
    // Another log of the same keys takes its place.
    let mut other = MadeLog::new();
    other.transfers(2000, "another");
    other.log.publish_now().unwrap();
    *served.made.lock().unwrap() = other;
    assert!(tail.earlier(1).await.is_err());
    let error = tail.newer().await.unwrap_err().to_string();
    assert!(error.contains("does not go on"), "{error}");
}

#[tokio::test]
async fn keys_seen_first_are_followed_through_a_rotation_that_the_log_bears_out() {
    let home = tempfile::tempdir().unwrap();
    let state = StateDir::open(home.path()).unwrap();
    let mut made = MadeLog::new();
    made.transfers(300, "");
    made.log.publish_now().unwrap();
    let (served, relay) = Served::start(made).await;
    let change = |change: fn(&mut MadeLog)| {
        let mut made = served.made.lock().unwrap();
        change(&mut made);
        made.log.publish_now().unwrap();
        made.keys.verifiers()
    };
    let first = change(|_| ());
    assert_eq!(logged::keys(&relay, &[], &state).await.unwrap(), first);
    let both = change(|made| drop(made.add_key(50)));
    assert_eq!(logged::keys(&relay, &[], &state).await.unwrap(), both);
    let new = change(|made| drop(made.retire_first_key()));
    assert_eq!(logged::keys(&relay, &[], &state).await.unwrap(), new);
    logged::entry(&relay, 7, &new).await.unwrap();
    // Somebody who was away the whole time.
    let late = StateDir::open(&home.path().join("late")).unwrap();
    let remember = |seen: &mut Seen| {
        let keys = first.iter().map(ToString::to_string).collect();
        seen.relay(relay.address().as_str()).log_keys = keys;
        Ok(())
    };
    late.update_seen(remember).unwrap();
    assert_eq!(logged::keys(&relay, &[], &late).await.unwrap(), new);
    // A key given by hand is never replaced; that it signs no more is told with what to do.
    let error = logged::entry(&relay, 7, &first[..1]).await.unwrap_err().to_string();
    assert!(error.contains("learn the new ones from the relay's operator"), "{error}");

    let swapped = change(|made| {
        made.swap_first_key(60);
        made.transfers(1, "");
    });
    let error = logged::keys(&relay, &[], &state).await.unwrap_err().to_string();
    assert!(
        error.contains("no entry of the log adds ML-DSA-44") || error.contains("adds Ed25519"),
        "{error}"
    );
    assert_eq!(state.seen().unwrap().relays[relay.address().as_str()].log_keys.len(), swapped.len());
    // The key that was retired, back in another's place.
    change(|made| {
        made.swap_first_key(1);
        made.transfers(1, "");
    });
    let error = logged::keys(&relay, &[], &late).await.unwrap_err().to_string();
    assert!(error.contains("has retired"), "{error}");
    // Another log with keys of its own.
    let mut other = MadeLog::with_seed(70);
    other.transfers(3, "");
    other.log.publish_now().unwrap();
    *served.made.lock().unwrap() = other;
    let error = logged::keys(&relay, &[], &state).await.unwrap_err().to_string();
    assert!(error.contains("none of the keys"), "{error}");
}

#[tokio::test]
async fn an_address_without_a_log_is_no_verdict_unless_a_key_is_known() {
    let made = busy();
    made.log.publish_now().unwrap();
    let (served, relay) = Served::start(made).await;
    *served.hidden.lock().unwrap() = Some("/log/vkeys".into());
    let error = audit(&relay, &Baggage::default(), &Progress::silent()).await.unwrap_err();
    assert_eq!(
        (error.category(), error.to_string().contains("address of a relay")),
        (Category::Network, true)
    );
    let pinned = served.made.lock().unwrap().keys.verifiers();
    let (report, _) = audited_url(&relay, &Baggage { pinned, ..Baggage::default() }).await;
    assert_eq!(report.failure().unwrap().evidence, "/log/vkeys is not there");
}

#[tokio::test]
async fn a_proof_is_looked_up_by_index_and_by_receipt_and_believed_by_keys_or_policy() {
    let made = busy();
    made.log.publish_now().unwrap();
    let (served, relay) = Served::start(made).await;
    let by_index = logged::proof(&relay, &Locator::Index(3)).await.unwrap().unwrap();
    let by_receipt = logged::proof(&relay, &RECEIPT.parse().unwrap()).await.unwrap().unwrap();
    let trust = trust(&served);
    for proof in [&by_index, &by_receipt] {
        let logged = logged::check_by(proof, None, &trust).unwrap();
        assert_eq!((logged.index, logged.entry.kind()), (3, Kind::Transfer));
    }
    assert!(logged::check_by(&by_receipt, Some(4), &trust).is_err());
    let policy = served.made.lock().unwrap().policy();
    let policy = Trust::Policy(Box::new(policy));
    let error = logged::check_by(&by_index, None, &policy).unwrap_err().to_string();
    assert!(error.contains("no quorum"), "{error}");
    let (body, lines) = {
        let text = String::from_utf8(by_index).unwrap();
        let proof = TlogProof::parse(&text).unwrap();
        let note = paramant_tlog::note::Note::parse(proof.checkpoint.as_bytes()).unwrap();
        let mut note = note.clone();
        for number in [0, 2] {
            let key = crate::made_log::witness(number);
            let line = paramant_tlog::note::Note::sign(&note.text, &[&key], crate::made_log::AT).unwrap();
            note.signatures.extend(line.signatures);
        }
        (proof, note)
    };
    let witnessed = TlogProof { checkpoint: lines.to_text(), ..body };
    let logged = logged::check_by(witnessed.to_text().as_bytes(), None, &policy).unwrap();
    assert!(logged.signers.contains("w0, w2"), "{}", logged.signers);
    for bad in ["", "01", "-1", "abc", &RECEIPT[1..], &RECEIPT.to_uppercase()] {
        assert!(bad.parse::<Locator>().is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_devices_keys_are_taken_only_with_the_entry_that_registers_these_very_keys() {
    let device = || Device::generate("bob".parse().unwrap()).unwrap().public();
    let (bob, mallory, salt) = (device(), device(), [7; 32]);
    let digest = leaf::device_key_digest(&bob.kem_pub, &bob.sig_pub);
    let mut made = MadeLog::new();
    made.transfers(300, "");
    let key = Digest(leaf::commit(Purpose::DeviceKey, &salt, &digest));
    let index = made.body(Body::KeyRegistered(KeyRegistered { key }));
    made.log.publish_now().unwrap();
    let (served, relay) = Served::start(made).await;
    let find = async |keys: &DeviceKeys, index: u64, salt: [u8; 32]| {
        let mut answer = KeysAnswer::of(keys, "2026-01-02T03:04:05.678Z".into(), Some(index));
        answer.ct_salt = Some(hex::encode(salt));
        *served.device.lock().unwrap() = Some(answer);
        // Each time for the first time: nothing is pinned.
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(home.path()).unwrap();
        directory::find(&relay, &keys.device, &Demands::default(), &state).await
    };
    assert_eq!(find(&bob, index, salt).await.unwrap().entry, Some(index));
    for (what, keys, index, salt) in [
        ("other keys", &mallory, index, salt),
        ("another entry", &bob, 7, salt),
        ("another salt", &bob, index, [8; 32]),
    ] {
        let error = find(keys, index, salt).await.unwrap_err();
        assert!(matches!(&error, ClientError::NotLogged(_)), "{what}: {error}");
        assert!(error.to_string().contains("is not the registration"), "{what}: {error}");
    }
}
