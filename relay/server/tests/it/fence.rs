//! The fence against old copies: what a relay signs before and after those who remember its log were heard.

use std::path::Path;
use std::time::Duration;

use paramant_protocol::control::{Directives, FenceState, LogMark};
use paramant_relay::log_service::Entry;
use paramant_relay::log_service::fence::Witnessed;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::control::{Authority, OPERATOR, directives, fingerprint, put, relay_over, spec, state};
use crate::log::copy;
use crate::relay::{Relay, noise, until};

/// A relay with its operator.
struct Pair {
    relay: Relay,
    operator: Client,
}

impl Pair {
    async fn over(dir: TempDir, authority: &Authority) -> Self {
        let relay = relay_over(dir, authority).await;
        let operator = authority.client(&relay, &OPERATOR());
        Self { relay, operator }
    }

    /// Directives that judge this relay's own log by this mark.
    fn judged(&self, seq: u64, mark: Option<LogMark>) -> Directives {
        let log_identity = Some(fingerprint(&self.relay));
        Directives { log_identity, log_high_water: mark, ..directives(seq, spec(false)) }
    }

    async fn tell(&self, directives: &Directives) {
        assert_eq!(put(&self.operator, &self.relay, directives).await.0, StatusCode::OK);
    }

    /// Waits for a state of the fence and answers its reason.
    async fn until(&self, wanted: FenceState) -> String {
        let mut reason = None;
        until(&format!("the fence is {wanted:?}"), async || {
            let fence = state(&self.operator, &self.relay).await.log.fence;
            reason = fence.reason;
            // The readiness follows the fence a moment later.
            let serves = self.ready().await.0 == StatusCode::OK;
            fence.state == wanted && serves == (wanted != FenceState::Refused)
        })
        .await;
        reason.unwrap_or_default()
    }

    /// The newest head, as an operator marks it.
    async fn mark(&self) -> LogMark {
        self.relay.running.app.core.log.engine().publish_now().unwrap();
        let log = state(&self.operator, &self.relay).await.log;
        LogMark { origin: Some(log.origin), size: log.size, root: log.root }
    }

    async fn upload(&self, seed: u64) -> Value {
        let user = self.relay.user_with(json!({})).await;
        let answer = user.upload(&noise(seed, 300), json!({})).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }

    async fn append(&self, byte: u8) {
        let entry = paramant_protocol::entry::Entry::transfer([byte; 32], jiff::Timestamp::now());
        let entry = Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() };
        self.relay.running.app.core.log.append(entry).await.unwrap();
    }

    async fn ready(&self) -> (StatusCode, String) {
        let url = format!("http://{}/readyz", self.relay.running.addresses.probes);
        let answer = self.relay.http.get(url).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn metric(&self, state: &str) -> String {
        let url = format!("http://{}/metrics", self.relay.running.addresses.probes);
        let text = self.relay.http.get(url).send().await.unwrap().text().await.unwrap();
        let name = format!("paramant_log_fence_state{{state=\"{state}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(name.as_str())).unwrap().to_owned()
    }
}

/// Signatures of a log, as far as they lie in its directory: the checkpoint, and the number of tree heads.
fn signed(relay: &Relay) -> (Option<Vec<u8>>, u64) {
    let checkpoint = std::fs::read(relay.dir.path().join("data/log/checkpoint")).ok();
    (checkpoint, relay.running.app.core.log.tree_heads().total())
}

fn copied(dir: &Path) -> TempDir {
    let other = TempDir::new().unwrap();
    copy(dir, other.path());
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_nothing_is_signed_before_the_operator_has_judged_the_log() {
    let authority = Authority::new();
    let pair = Pair::over(TempDir::new().unwrap(), &authority).await;
    let why = pair.until(FenceState::Waiting).await;
    assert!(why.contains("operator"), "{why}");
    let answer = pair.upload(1).await;
    assert_eq!(answer["merkle_proof"]["sth"], Value::Null, "acknowledged, and proven under no signature");
    pair.tell(&directives(1, spec(false))).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(signed(&pair.relay), (None, 0), "directives that judge nothing open nothing");
    let path = format!("{}/log/checkpoint", pair.relay.url);
    assert_eq!(pair.relay.http.get(&path).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(pair.ready().await.0, StatusCode::OK, "a relay that waits serves");
    assert_eq!((pair.metric("Waiting").await, pair.metric("Signing").await), ("1".into(), "0".into()));

    pair.tell(&pair.judged(2, None)).await;
    pair.until(FenceState::Signing).await;
    assert_eq!(pair.metric("Signing").await, "1");
    pair.upload(2).await;
    let log = pair.relay.running.app.core.log.clone();
    log.settle_heads(Duration::from_secs(60)).await;
    assert_eq!(log.tree_heads().newest().unwrap().tree_size, log.head().size);
    assert_eq!(pair.relay.http.get(&path).send().await.unwrap().status(), StatusCode::OK);
    pair.relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_volume_signs_nothing_and_the_right_one_signs() {
    let authority = Authority::new();
    let pair = Pair::over(TempDir::new().unwrap(), &authority).await;
    pair.tell(&pair.judged(1, None)).await;
    pair.until(FenceState::Signing).await;
    pair.upload(1).await;
    let dir = pair.relay.stop().await;
    let old = copied(dir.path());

    let pair = Pair::over(dir, &authority).await;
    pair.tell(&pair.judged(2, None)).await;
    pair.until(FenceState::Signing).await;
    pair.upload(2).await;
    pair.upload(3).await;
    let mark = pair.mark().await;
    let right = pair.relay.stop().await;

    let pair = Pair::over(old, &authority).await;
    let before = signed(&pair.relay);
    pair.upload(4).await;
    let held = pair.relay.running.app.core.log.head().size;
    assert!(held < mark.size, "the copy is behind: {held} {}", mark.size);
    pair.tell(&pair.judged(3, Some(mark.clone()))).await;
    let why = pair.until(FenceState::Refused).await;
    assert!(why.contains("old copy") && why.contains(&mark.size.to_string()), "{why}");
    pair.upload(5).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(signed(&pair.relay), before, "neither a checkpoint nor a tree head");
    let (status, said) = pair.ready().await;
    assert_eq!((status, said.lines().count()), (StatusCode::SERVICE_UNAVAILABLE, 1));
    assert!(said.contains("old copy"), "{said}");
    assert_eq!(pair.metric("Refused").await, "1");
    // It also forgets nothing of this over a restart, before anybody is heard.
    let pair = Pair::over(pair.relay.stop().await, &authority).await;
    pair.until(FenceState::Refused).await;
    assert_eq!(signed(&pair.relay), before);
    pair.relay.stop().await;

    let pair = Pair::over(right, &authority).await;
    let before = signed(&pair.relay);
    pair.until(FenceState::Waiting).await;
    pair.tell(&pair.judged(3, Some(mark))).await;
    pair.until(FenceState::Signing).await;
    pair.upload(6).await;
    assert!(signed(&pair.relay).1 > before.1);
    pair.relay.stop().await;
}

/// As long as the mark, but not the log it is of: the copy went on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_went_on_by_itself_is_another_log_whatever_its_length() {
    let authority = Authority::new();
    let pair = Pair::over(TempDir::new().unwrap(), &authority).await;
    pair.tell(&pair.judged(1, None)).await;
    let dir = pair.relay.stop().await;
    let old = copied(dir.path());
    let pair = Pair::over(dir, &authority).await;
    pair.tell(&pair.judged(2, None)).await;
    pair.until(FenceState::Signing).await;
    pair.upload(1).await;
    let mark = pair.mark().await;
    pair.relay.stop().await;

    let pair = Pair::over(old, &authority).await;
    for seed in 10..20 {
        pair.append(seed).await;
    }
    assert!(pair.relay.running.app.core.log.head().size > mark.size);
    pair.tell(&pair.judged(2, Some(mark))).await;
    let why = pair.until(FenceState::Refused).await;
    assert!(why.contains("another log"), "{why}");
    pair.relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_the_operator_refuses_signs_nothing_and_says_whose_it_is() {
    let authority = Authority::new();
    let pair = Pair::over(TempDir::new().unwrap(), &authority).await;
    let why = "the relay other/twin has the same identity";
    pair.tell(&Directives { log_refused: Some(why.into()), ..directives(1, spec(false)) }).await;
    assert_eq!(pair.until(FenceState::Refused).await, why);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(signed(&pair.relay), (None, 0));
    assert!(pair.ready().await.1.contains(why));
    pair.tell(&pair.judged(2, None)).await;
    pair.until(FenceState::Signing).await;
    assert_eq!(pair.ready().await.0, StatusCode::OK);
    // Noticed only later: it stops.
    pair.tell(&Directives { log_refused: Some(why.into()), ..directives(3, spec(false)) }).await;
    pair.until(FenceState::Refused).await;
    let before = signed(&pair.relay);
    pair.upload(1).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(signed(&pair.relay), before);
    pair.relay.stop().await;
}

/// The identity was moved to another volume: a new log under an old name.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_without_its_log_begins_no_second_history() {
    let authority = Authority::new();
    let pair = Pair::over(TempDir::new().unwrap(), &authority).await;
    pair.tell(&pair.judged(1, None)).await;
    pair.until(FenceState::Signing).await;
    pair.upload(1).await;
    let (mark, identity) = (pair.mark().await, fingerprint(&pair.relay));
    let dir = pair.relay.stop().await;
    let moved = TempDir::new().unwrap();
    copy(&dir.path().join("data/identity"), &moved.path().join("data/identity"));
    let pair = Pair::over(moved, &authority).await;
    assert_eq!(fingerprint(&pair.relay), identity);
    pair.tell(&pair.judged(2, Some(mark))).await;
    pair.until(FenceState::Refused).await;
    assert_eq!(signed(&pair.relay), (None, 0));
    pair.relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_has_seen_more_stops_the_signing_of_a_relay_on_its_own() {
    let relay = Relay::start().await;
    let log = relay.running.app.core.log.clone();
    assert!(log.guard().may_sign().is_ok(), "nobody to ask: it signs at once");
    let held = log.head().size;
    log.guard().witness_says("w.example", Witnessed::Size(held), held);
    assert!(log.guard().may_sign().is_ok());
    log.guard().witness_says("w.example", Witnessed::Size(held + 1), held);
    assert!(log.guard().may_sign().unwrap_err().contains("w.example"));
    let before = signed(&relay);
    relay.user().await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(signed(&relay), before);
    relay.stop().await;
}

/// The rest of the directory is newer than the log: what was put back was not one copy.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_said_in_an_earlier_run_shows_that_a_log_is_old_without_any_operator() {
    let relay = Relay::start().await;
    let origin = relay.running.app.core.log.origin().to_owned();
    let dir = relay.stop().await;
    let mark = LogMark { origin: Some(origin), size: 1000, root: "ab".repeat(32) };
    let directives = Directives { log_high_water: Some(mark), ..directives(1, spec(false)) };
    std::fs::write(dir.path().join("data/directives.json"), serde_json::to_vec(&directives).unwrap())
        .unwrap();
    let relay = Relay::over(dir, |_| ()).await;
    assert!(relay.running.app.core.log.guard().may_sign().unwrap_err().contains("old copy"));
    relay.stop().await;
}
