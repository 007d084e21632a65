//! `/log/gossip`: what strangers saw, judged; and a second history of our own keys is an alarm that stays.

use jiff::Timestamp;
use paramant_protocol::path::parse_hash;
use paramant_protocol::sth::Sth;
use paramant_protocol::transparency::{GossipAnswer, GossipEvidence, GossipVerdict, MAX_GOSSIP, SthHistory};
use paramant_relay::data_dir::DataDir;
use paramant_relay::identity::LogKeys;
use paramant_tlog::keys::Signer;
use paramant_tlog::note::Note;
use paramant_tlog::{Checkpoint, Tree, verify};
use reqwest::{Response, StatusCode};

use crate::log::{filled, json_of, published, settled, text};
use crate::relay::Relay;

async fn tell(relay: &Relay, document: impl Into<reqwest::Body>) -> Response {
    relay.http.post(format!("{}/log/gossip", relay.url)).body(document).send().await.unwrap()
}

async fn verdict(relay: &Relay, document: impl Into<reqwest::Body>) -> GossipAnswer {
    tell(relay, document).await.error_for_status().unwrap().json().await.unwrap()
}

async fn metrics(relay: &Relay) -> String {
    let url = format!("http://{}/metrics", relay.running.addresses.probes);
    relay.http.get(url).send().await.unwrap().text().await.unwrap()
}

/// A checkpoint of another history under this relay's own keys, as whoever stole them would sign it.
async fn forged(relay: &Relay, size: u64) -> String {
    // The keys are on disk; the directory's lock is the relay's own, so they are copied first.
    let copy = tempfile::tempdir().unwrap();
    let keys = relay.dir.path().join("data/log-keys");
    let data = DataDir::open(copy.path()).unwrap();
    for key in std::fs::read_dir(keys).unwrap() {
        let key = key.unwrap();
        std::fs::copy(key.path(), data.log_keys().join(key.file_name())).unwrap();
    }
    let origin = relay.running.app.core.log.origin().to_owned();
    let (ed25519, _) = LogKeys::open(&data).unwrap().checkpoint_keys(&origin).unwrap();
    let text = Checkpoint::new(origin, size, [0x66; 32]).to_text();
    Note::sign(&text, &[&ed25519 as &dyn Signer], 0).unwrap().to_text()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_head_is_consistent_and_the_proof_leads_on_to_ours() {
    let relay = Relay::start().await;
    filled(&relay, 2).await;
    let (old_note, old) = (text(&relay, "/log/checkpoint").await, published(&relay).await.1);
    let history: SthHistory = json_of(&relay, "/v2/sth/history").await;
    filled(&relay, 3).await;
    settled(&relay).await;
    let judged = verdict(&relay, old_note).await;
    assert_eq!(judged.verdict, GossipVerdict::Consistent);
    let hash = |text: &String| parse_hash(text).unwrap();
    let proof: Vec<_> = judged.proof.iter().map(hash).collect();
    assert!(!proof.is_empty());
    verify::consistency(
        Tree::Sha256,
        old.size,
        &old.root,
        judged.ours.size,
        &hash(&judged.ours.root),
        &proof,
    )
    .unwrap();

    let sth = &history.sths[0];
    let judged = verdict(&relay, serde_json::to_string(sth).unwrap()).await;
    assert_eq!(judged.verdict, GossipVerdict::Consistent);
    let proof: Vec<_> = judged.proof.iter().map(hash).collect();
    let (from, to) = (sth.tree_size, judged.ours.size);
    verify::consistency(Tree::Sha3, from, &hash(&sth.sha3_root), to, &hash(&judged.ours.root), &proof)
        .unwrap();
    let newest = verdict(&relay, text(&relay, "/log/checkpoint").await).await;
    assert_eq!((newest.verdict, newest.proof.len()), (GossipVerdict::Consistent, 0));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_our_keys_did_not_sign_accuses_nobody() {
    let relay = Relay::start().await;
    filled(&relay, 2).await;
    let note = text(&relay, "/log/checkpoint").await;
    let (own, checkpoint) = published(&relay).await;
    let size = checkpoint.size;
    let changed = note.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size - 1), 1);
    let mut foreign = own.clone();
    foreign.signatures.iter_mut().for_each(|line| line.key_id ^= 1);
    let other = note.replacen(&checkpoint.origin, "other.example/log", 1);
    let history: SthHistory = json_of(&relay, "/v2/sth/history").await;
    let mut sth = history.sths[0].clone();
    sth.sha3_root = "00".repeat(32);
    for document in [changed, foreign.to_text(), other, serde_json::to_string(&sth).unwrap()] {
        let judged = verdict(&relay, document.clone()).await;
        assert_eq!((judged.verdict, judged.proof.len()), (GossipVerdict::Unverifiable, 0), "{document}");
    }
    for nonsense in ["", "hello", "{}", "{\"ok\":true}", "a\n1\nAA==\n\n— a AAAAAAA=\n", "\u{0}"] {
        assert_eq!(tell(&relay, nonsense).await.status(), StatusCode::BAD_REQUEST, "{nonsense:?}");
    }
    assert_eq!(tell(&relay, vec![b'a'; MAX_GOSSIP + 1]).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let evidence: GossipEvidence = json_of(&relay, "/log/gossip").await;
    assert!(evidence.evidence.is_empty());
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_history_of_our_own_keys_is_an_alarm_that_survives_a_restart() {
    let relay = Relay::start().await;
    filled(&relay, 3).await;
    let size = relay.running.app.core.log.head().size;
    assert!(metrics(&relay).await.contains("paramant_log_contradictions 0"));
    let before = relay.running.app.core.log.head();
    let (second, beyond) = (forged(&relay, size - 1).await, forged(&relay, size + 100).await);
    let judged = verdict(&relay, second.clone()).await;
    assert_eq!((judged.verdict, judged.proof.len()), (GossipVerdict::Inconsistent, 0));
    assert_eq!(verdict(&relay, second.clone()).await.verdict, GossipVerdict::Inconsistent);
    assert_eq!(verdict(&relay, beyond).await.verdict, GossipVerdict::Ahead);
    let identity = &relay.running.app.core.identity;
    let sth = Sth::new("x", &[0x77; 32], size, Timestamp::now().as_millisecond());
    let signature = identity.sign(&sth.sign_bytes().unwrap()).unwrap();
    let sth = serde_json::to_string(&sth.signed(&signature)).unwrap();
    assert_eq!(verdict(&relay, sth).await.verdict, GossipVerdict::Inconsistent);
    assert_eq!(relay.running.app.core.log.head(), before, "nothing that strangers send is appended");
    let shown = metrics(&relay).await;
    for line in [
        "paramant_log_gossip_total{verdict=\"inconsistent\"} 3",
        "paramant_log_gossip_total{verdict=\"ahead\"} 1",
        "paramant_log_contradictions 3",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    let relay = Relay::over(relay.stop().await, |_| ()).await;
    assert!(metrics(&relay).await.contains("paramant_log_contradictions 3"));
    let evidence: GossipEvidence = json_of(&relay, "/log/gossip").await;
    assert_eq!(evidence.evidence.len(), 3);
    assert_eq!(evidence.evidence[0].document, second);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_is_limited_for_each_address() {
    let relay = Relay::with(|settings| settings.limits.requests_per_minute = 5).await;
    let mut refused = 0;
    for _ in 0..10 {
        let answer = tell(&relay, "x").await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.headers().contains_key("retry-after"));
            refused += 1;
        }
    }
    assert_eq!(refused, 5);
    relay.stop().await;
}
