//! Log receipts: given to uploader and claimant alone, found after a restart, and nothing to see for anybody else.

use paramant_protocol::download::LOG_RECEIPT_HEADER;
use paramant_protocol::entry::Entry;
use paramant_protocol::id::ReceiptId;
use paramant_protocol::receipt::HEADER as DELIVERY_RECEIPT;
use paramant_protocol::upload::UploadAnswer;
use paramant_tlog::note::Note;
use paramant_tlog::tlog_proof::TlogProof;
use paramant_tlog::vkey::VerifierKey;
use paramant_tlog::{Checkpoint, Tree, entry_leaf, verify};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::log::{get, text};
use crate::relay::{Relay, hash, noise};

/// Checks a proof offline; answers the entry's leaf and index.
async fn checked(relay: &Relay, proof: &str) -> (String, u64) {
    let proof = TlogProof::parse(proof).unwrap();
    let note = Note::parse(proof.checkpoint.as_bytes()).unwrap();
    let keys: Vec<VerifierKey> =
        text(relay, "/log/vkeys").await.lines().map(|key| key.parse().unwrap()).collect();
    assert_eq!(note.open(&keys).unwrap().len(), 3);
    let checkpoint = Checkpoint::parse(&note.text).unwrap();
    let bytes = proof.extra.unwrap();
    let leaf = entry_leaf(&bytes);
    verify::inclusion(Tree::Sha256, &leaf, proof.index, checkpoint.size, &proof.path, &checkpoint.root)
        .unwrap();
    (hex::encode(Entry::parse(&bytes).unwrap().leaf()), proof.index)
}

fn header(answer: &Response) -> String {
    answer.headers()[LOG_RECEIPT_HEADER].to_str().unwrap().to_owned()
}

fn publish(relay: &Relay) {
    relay.running.app.core.log.engine().publish_now().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn uploader_and_claimant_each_hold_an_id_for_the_transfers_entry() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 300);
    let sent: UploadAnswer = user.upload(&payload, json!({})).await.json().await.unwrap();
    let proof = sent.merkle_proof.unwrap();
    let mine = sent.log_receipt.unwrap();
    let raw = user.upload_raw(noise(2, 300), "").await;
    let in_header = header(&raw);
    assert_eq!(raw.json::<UploadAnswer>().await.unwrap().log_receipt.unwrap().to_string(), in_header);
    let read = user.download(&hash(&payload)).await;
    let theirs = header(&read);
    assert!(read.headers().contains_key(DELIVERY_RECEIPT));
    read.bytes().await.unwrap();
    assert!(mine.to_string() != theirs && theirs != in_header);
    publish(&relay);
    for id in [mine.to_string(), theirs, format!("{mine}.tlog-proof")] {
        let answer = get(&relay, &format!("/log/receipt/{id}")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
        let (leaf, index) = checked(&relay, &answer.text().await.unwrap()).await;
        assert_eq!((leaf, index), (proof.leaf_hash.clone(), proof.leaf_index));
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_an_unread_upload_gets_an_id_of_its_own_for_the_same_entry() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let sent: UploadAnswer = user.upload(&noise(3, 300), json!({})).await.json().await.unwrap();
        seen.push(sent.log_receipt.unwrap().to_string());
    }
    assert_ne!(seen[0], seen[1]);
    publish(&relay);
    let (first, again) = (
        text(&relay, &format!("/log/receipt/{}", seen[0])).await,
        text(&relay, &format!("/log/receipt/{}", seen[1])).await,
    );
    assert_eq!(first, again);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_for_an_id_without_a_published_entry_is_the_same() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    // Nothing is published while the test looks: the id is known and its entry is not shown yet.
    let mut shapes = Vec::new();
    let (mut unpublished, mut tries) = (None, 0);
    while unpublished.is_none() && tries < 20 {
        tries += 1;
        let sent: UploadAnswer = user.upload(&noise(100 + tries, 300), json!({})).await.json().await.unwrap();
        let answer = get(&relay, &format!("/log/receipt/{}", sent.log_receipt.unwrap())).await;
        if answer.status() == StatusCode::NOT_FOUND {
            unpublished = Some(answer);
        }
    }
    shapes.push(shape(unpublished.expect("twenty uploads were all published at once")).await);
    for id in [
        ReceiptId::from_random([9; 32]).to_string(),
        "AB".repeat(32),
        "ab".repeat(31),
        "x".to_owned(),
        "..%2f..%2fetc".to_owned(),
        format!("{}.tlog-proof.tlog-proof", "ab".repeat(32)),
    ] {
        shapes.push(shape(get(&relay, &format!("/log/receipt/{id}")).await).await);
    }
    assert_eq!(shapes[0].0, 404);
    assert!(shapes[0].1.iter().any(|(name, value)| name == "cache-control" && value == "no-store"));
    assert!(shapes[0].1.iter().any(|(name, _)| name == "retry-after"));
    for other in &shapes[1..] {
        assert_eq!(*other, shapes[0]);
    }
    relay.stop().await;
}

async fn shape(answer: Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut headers: Vec<_> = answer
        .headers()
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (answer.status().as_u16(), headers, answer.bytes().await.unwrap().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_good_after_a_restart_and_after_the_file_is_gone() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(4, 300);
    let sent: UploadAnswer = user.upload(&payload, json!({})).await.json().await.unwrap();
    let id = sent.log_receipt.unwrap().to_string();
    user.download(&hash(&payload)).await.bytes().await.unwrap();
    relay.all_burned().await;
    let dir = relay.stop().await;
    for file in ["data/meta.db", "data/meta.db-wal"] {
        let stored = std::fs::read(dir.path().join(file)).unwrap_or_default();
        let raw = hex::decode(&id).unwrap();
        assert!(!stored.windows(32).any(|window| window == raw), "{file} holds the id itself");
    }
    let relay = Relay::over(dir, |_| ()).await;
    let proof = text(&relay, &format!("/log/receipt/{id}")).await;
    assert_eq!(checked(&relay, &proof).await.1, sent.merkle_proof.unwrap().leaf_index);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_fields_of_an_upload_answer_are_there_as_before() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let sent: Value = user.upload(&noise(5, 300), json!({})).await.json().await.unwrap();
    let mut names: Vec<_> = sent.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let published =
        ["download_token", "hash", "log_receipt", "merkle_proof", "ok", "sig_verified", "size", "ttl_ms"];
    assert_eq!(names, published);
    relay.stop().await;
}
