//! Uploads in chunks over real sockets: any order, again, at once, wrong, cut, killed.

use std::sync::Arc;

use paramant_protocol::chunks::ChunkList;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::relay::{ADMIN, Relay, User, hash, keys_left, noise, payload_files, until};
use crate::spawned::Process;

pub const CHUNK: usize = 64 << 10;

/// The name of a blob in chunks.
pub fn list_hash(payload: &[u8], chunk: usize) -> String {
    let mut list = ChunkList::new(payload.len() as u64, chunk as u64);
    for piece in payload.chunks(chunk) {
        list.push(&Sha256::digest(piece).into());
    }
    list.finish().to_string()
}

impl User {
    pub async fn open_upload(&self, body: Value) -> Response {
        self.request(Method::POST, "/v3/uploads").body(body.to_string()).send().await.unwrap()
    }

    /// Opens an upload and answers its path.
    pub async fn opened(&self, size: usize, more: Value) -> String {
        let mut body = json!({ "size": size, "chunk_size": CHUNK, "ttl_ms": 600_000 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.open_upload(body).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        let place = answer.headers()["location"].to_str().unwrap().to_owned();
        let opened: Value = answer.json().await.unwrap();
        assert_eq!(place, format!("/v3/uploads/{}", opened["upload"].as_str().unwrap()));
        place
    }

    pub async fn chunk(&self, upload: &str, number: usize, bytes: &[u8], hash: &str) -> Response {
        self.request(Method::PUT, &format!("{upload}/chunks/{number}"))
            .header("X-Paramant-Chunk-Sha256", hash)
            .body(bytes.to_vec())
            .send()
            .await
            .unwrap()
    }

    pub async fn put(&self, upload: &str, payload: &[u8], number: usize) {
        let piece = payload.chunks(CHUNK).nth(number).unwrap();
        assert_eq!(self.chunk(upload, number, piece, &hash(piece)).await.status(), StatusCode::OK);
    }

    /// The same while others send to the upload as well, and may have completed it.
    async fn put_beside(&self, upload: &str, payload: &[u8], number: usize) {
        let piece = payload.chunks(CHUNK).nth(number).unwrap();
        let status = self.chunk(upload, number, piece, &hash(piece)).await.status();
        if status == StatusCode::CONFLICT {
            let state = self.progress(upload).await["state"].clone();
            assert!(state == "completing" || state == "done", "a chunk of an upload that is {state}");
        } else {
            assert_eq!(status, StatusCode::OK);
        }
    }

    pub async fn put_all(&self, upload: &str, payload: &[u8]) {
        for number in 0..payload.len().div_ceil(CHUNK) {
            self.put(upload, payload, number).await;
        }
    }

    pub async fn complete(&self, upload: &str) -> Response {
        self.request(Method::POST, &format!("{upload}/complete")).send().await.unwrap()
    }

    pub async fn progress(&self, upload: &str) -> Value {
        self.request(Method::GET, upload).send().await.unwrap().json().await.unwrap()
    }
}

async fn refused(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_in_any_order_become_one_blob_that_is_read_once() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    for (seed, len) in [(1, 1), (2, CHUNK), (3, CHUNK + 1), (4, 5 * CHUNK - 7)] {
        let payload = noise(seed, len);
        let upload = user.opened(len, json!({})).await;
        for number in (0..len.div_ceil(CHUNK)).rev() {
            user.put(&upload, &payload, number).await;
        }
        let answer = user.complete(&upload).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let answer: Value = answer.json().await.unwrap();
        let name = list_hash(&payload, CHUNK);
        assert_eq!((answer["hash"].as_str(), answer["size"].as_u64()), (Some(&*name), Some(len as u64)));
        assert_eq!(answer["ttl_ms"], 600_000);
        assert!(answer["merkle_proof"]["leaf_index"].is_u64() && answer["log_receipt"].is_string());

        let status = user.request(Method::GET, &format!("/v2/status/{name}")).send().await.unwrap();
        assert_eq!(status.json::<Value>().await.unwrap()["chunk_size"], CHUNK);
        let read = user.download(&name).await;
        assert_eq!(read.headers()["x-paramant-chunk-size"], CHUNK.to_string());
        assert_eq!(read.headers()["x-paramant-burned"], "true");
        assert_eq!(read.bytes().await.unwrap(), payload);
        assert_eq!(user.download(&name).await.status(), StatusCode::NOT_FOUND);
        relay.all_burned().await;

        // Asked again, after the blob is gone: the same answer.
        let again: Value = user.complete(&upload).await.json().await.unwrap();
        for field in ["hash", "size", "ttl_ms"] {
            assert_eq!(again[field], answer[field]);
        }
        assert_eq!(again["merkle_proof"]["leaf_index"], answer["merkle_proof"]["leaf_index"]);
        assert_eq!(user.progress(&upload).await["state"], "done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_told_and_changes_nothing() {
    let relay = Relay::start().await;
    let (user, stranger) = (relay.user().await, relay.user().await);
    let payload = noise(1, 3 * CHUNK);
    for (body, status) in [
        (json!({}), 400),
        (json!({ "size": 0 }), 400),
        (json!({ "size": 1, "chunk_size": 1 }), 400),
        (json!({ "size": 1, "chunk_size": 1_u64 << 40 }), 400),
        (json!({ "size": 1_u64 << 60 }), 413),
        (json!({ "size": -1 }), 400),
        (json!({ "size": 1, "max_view": 3 }), 400),
        (json!({ "size": 1, "hash": "AB" }), 400),
        (json!({ "size": 1, "disclosure": "often" }), 400),
    ] {
        assert_eq!(user.open_upload(body.clone()).await.status().as_u16(), status, "{body}");
    }

    let upload = user.opened(payload.len(), json!({})).await;
    let piece = &payload[..CHUNK];
    let good = hash(piece);
    assert_eq!(
        refused(user.chunk(&upload, 0, piece, &hash(b"else")).await).await,
        (400, "hash_mismatch".into())
    );
    assert_eq!(user.chunk(&upload, 0, piece, "nonsense").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        user.chunk(&upload, 3, piece, &good).await.status(),
        StatusCode::BAD_REQUEST,
        "beyond the last"
    );
    assert_eq!(
        user.chunk(&upload, 0, &piece[1..], &hash(&piece[1..])).await.status(),
        StatusCode::BAD_REQUEST
    );
    let long = [piece, b"x"].concat();
    assert_eq!(user.chunk(&upload, 0, &long, &hash(&long)).await.status(), StatusCode::BAD_REQUEST);
    let wire = [b"PQHB\x02\x00\x02\x00\x02\x00".to_vec(), vec![0; CHUNK - 10]].concat();
    assert_eq!(
        user.chunk(&upload, 0, &wire, &hash(&wire)).await.status().as_u16(),
        415,
        "another version of PQHB"
    );
    for path in [upload.clone(), format!("/v3/uploads/{}", "0".repeat(32)), "/v3/uploads/x".into()] {
        assert_eq!(stranger.chunk(&path, 0, piece, &good).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(stranger.complete(&path).await.status(), StatusCode::NOT_FOUND);
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(stranger.request(method, &path).send().await.unwrap().status(), StatusCode::NOT_FOUND);
        }
    }
    assert_eq!(user.progress(&upload).await["present"], json!([]));
    assert_eq!(relay.payload_files(), 0, "nothing of a refused chunk stays");

    user.put(&upload, &payload, 1).await;
    let early = user.complete(&upload).await;
    assert_eq!(early.status(), StatusCode::CONFLICT);
    assert_eq!(early.json::<Value>().await.unwrap()["missing"], json!([[0, 0], [2, 2]]));
    user.put_all(&upload, &payload).await;
    let wrong = json!({ "hash": hash(b"else") }).to_string();
    let path = format!("{upload}/complete");
    let wrong = user.request(Method::POST, &path).body(wrong).send().await.unwrap();
    assert_eq!(refused(wrong).await, (400, "hash_mismatch".into()));
    let right = json!({ "hash": list_hash(&payload, CHUNK) }).to_string();
    let right = user.request(Method::POST, &path).body(right).send().await.unwrap();
    assert_eq!(right.status(), StatusCode::OK);
    assert_eq!(user.chunk(&upload, 0, piece, &good).await.status(), StatusCode::CONFLICT, "it is complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_sent_again_is_kept_once_and_another_one_replaces_it() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 2 * CHUNK);
    let upload = user.opened(payload.len(), json!({})).await;
    user.put(&upload, &payload, 0).await;
    user.put(&upload, &payload, 0).await;
    assert_eq!(relay.payload_files(), 1);
    let other = noise(9, CHUNK);
    assert_eq!(user.chunk(&upload, 0, &other, &hash(&other)).await.status(), StatusCode::OK);
    let one = async || relay.payload_files() == 1;
    until("the replaced chunk is removed", one).await;
    user.put(&upload, &payload, 1).await;
    let payload = [&other, &payload[CHUNK..]].concat();
    assert_eq!(user.complete(&upload).await.status(), StatusCode::OK);
    assert_eq!(user.download(&list_hash(&payload, CHUNK)).await.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_on_one_upload_make_one_blob() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = Arc::new(noise(1, 12 * CHUNK));
    let upload = user.opened(payload.len(), json!({})).await;
    let clients = (0..2).map(|client: usize| {
        let (user, upload, payload) = (user.clone(), upload.clone(), Arc::clone(&payload));
        async move {
            let puts =
                (0..12).map(|n| user.put_beside(&upload, &payload, if client == 0 { n } else { 11 - n }));
            futures::future::join_all(puts).await;
            user.complete(&upload).await
        }
    });
    let mut entries = Vec::new();
    for answer in futures::future::join_all(clients).await {
        assert_eq!(answer.status(), StatusCode::OK);
        entries.push(answer.json::<Value>().await.unwrap()["merkle_proof"]["leaf_index"].clone());
    }
    assert_eq!(entries[0], entries[1]);
    until("one file for each chunk is left", async || relay.payload_files() == 12).await;
    assert_eq!(user.download(&list_hash(&payload, CHUNK)).await.bytes().await.unwrap(), **payload);
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_chunks_again_while_unread_get_the_first_answer_and_leave_nothing_of_their_own() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 2 * CHUNK);
    let mut entries = Vec::new();
    for ttl in [600_000, 1_000] {
        let upload = user.opened(payload.len(), json!({ "ttl_ms": ttl })).await;
        user.put_all(&upload, &payload).await;
        let answer: Value = user.complete(&upload).await.json().await.unwrap();
        assert_eq!(answer["ttl_ms"], 600_000);
        entries.push(answer["merkle_proof"]["leaf_index"].clone());
        // A repeat of the repeat.
        assert_eq!(user.complete(&upload).await.status(), StatusCode::OK);
    }
    assert_eq!(entries[0], entries[1]);
    assert_eq!(relay.payload_files(), 2);
    assert_eq!(user.download(&list_hash(&payload, CHUNK)).await.bytes().await.unwrap(), payload);
    relay.all_burned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_deleted_gives_back_its_room_and_leaves_nothing() {
    let relay = Relay::with(|settings| settings.limits.max_in_flight = 5 * CHUNK as u64).await;
    let user = relay.user().await;
    let payload = noise(1, 3 * CHUNK);
    let upload = user.opened(payload.len(), json!({})).await;
    user.put(&upload, &payload, 0).await;
    assert!(relay.payload_files() == 1 && keys_left(relay.dir.path()));
    let full = user.open_upload(json!({ "size": 3 * CHUNK })).await;
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE, "its whole size is set aside");
    assert!(full.headers().contains_key("retry-after"));
    let deleted = user.request(Method::DELETE, &upload).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::OK);
    assert_eq!(user.request(Method::GET, &upload).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert!(relay.payload_files() == 0 && !keys_left(relay.dir.path()));
    user.opened(payload.len(), json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_only_so_many_unfinished_uploads() {
    let relay = Relay::start().await;
    let (user, other) = (relay.user().await, relay.user().await);
    let mut uploads = Vec::new();
    for _ in 0..16 {
        uploads.push(user.opened(1, json!({})).await);
    }
    let refused = user.open_upload(json!({ "size": 1 })).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    other.opened(1, json!({})).await;
    user.put(&uploads[0], b"x", 0).await;
    assert_eq!(user.complete(&uploads[0]).await.status(), StatusCode::OK);
    user.opened(1, json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_sets_aside_only_so_much_room_and_leaves_others_theirs() {
    let relay = Relay::with(|settings| settings.limits.max_open_per_account = Some(5 * CHUNK as u64)).await;
    let (user, other) = (relay.user().await, relay.user().await);
    let payload = noise(1, 3 * CHUNK);
    let upload = user.opened(payload.len(), json!({})).await;
    let (status, why) = refused(user.open_upload(json!({ "size": 3 * CHUNK })).await).await;
    assert!(status == 429 && why.contains(&format!("hold {} bytes", 3 * CHUNK)), "{status} {why}");
    user.opened(2 * CHUNK, json!({})).await;
    other.opened(5 * CHUNK, json!({})).await;
    assert_eq!(other.open_upload(json!({ "size": 1 })).await.status(), StatusCode::TOO_MANY_REQUESTS);
    // What has become a blob is no open upload any more.
    user.put_all(&upload, &payload).await;
    assert_eq!(user.complete(&upload).await.status(), StatusCode::OK);
    user.opened(3 * CHUNK, json!({})).await;
}

#[test]
fn without_a_setting_an_account_leaves_half_of_the_room_but_can_always_send_the_largest_blob() {
    let limits = |max_in_flight, max_blob| paramant_relay::settings::Limits {
        max_in_flight,
        max_blob,
        ..Default::default()
    };
    assert_eq!(limits(1000, 10).open_per_account(), 500);
    assert_eq!(limits(1000, 900).open_per_account(), 900);
}

async fn read_with(user: &User, name: &str, password: &str) -> Response {
    let read = user.request(Method::GET, &format!("/v2/outbound/{name}"));
    read.header("X-Blob-Password", password).send().await.unwrap()
}

async fn through_link(relay: &Relay, token: &str, rest: &str, password: &str) -> Response {
    let link = relay.http.get(format!("{}/v2/dl/{token}{rest}", relay.url));
    link.header("X-Blob-Password", password).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_in_chunks_has_a_password_a_name_and_links_as_any_other() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    for wrong in [
        json!({ "password": "x".repeat(1025) }),
        json!({ "enc_meta": "no base64!" }),
        json!({ "password": 7 }),
    ] {
        let mut body = json!({ "size": 1 });
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_eq!(user.open_upload(body).await.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
    let payload = noise(7, 2 * CHUNK + 1);
    let terms = json!({ "password": "correct horse", "enc_meta": "QUJD", "max_views": 3 });
    let upload = user.opened(payload.len(), terms).await;
    user.put_all(&upload, &payload).await;
    let user = {
        let (key, account) = (user.key.clone(), user.account.clone());
        let relay_again = Relay::over(relay.stop().await, |_| ()).await;
        let user = User { url: relay_again.url.clone(), http: relay_again.http.clone(), key, account };
        (relay_again, user)
    };
    let (relay, user) = user;

    let mut tokens = Vec::new();
    for _ in 0..2 {
        let answer: Value = user.complete(&upload).await.json().await.unwrap();
        tokens.push(answer["download_token"].as_str().unwrap().to_owned());
    }
    assert_ne!(tokens[0], tokens[1], "a token is shown once");
    let name = list_hash(&payload, CHUNK);
    assert_eq!(user.download(&name).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(read_with(&user, &name, "battery staple").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(read_with(&user, &name, "correct horse").await.bytes().await.unwrap(), payload);
    for token in &tokens {
        let told: Value = through_link(&relay, token, "/info", "").await.json().await.unwrap();
        assert_eq!(
            (told["enc_meta"].as_str(), told["file_size"].as_u64()),
            (Some("QUJD"), Some(payload.len() as u64))
        );
        assert_eq!(
            through_link(&relay, token, "/get", "battery staple").await.status(),
            StatusCode::FORBIDDEN
        );
        let read = through_link(&relay, token, "/get", "correct horse").await;
        assert_eq!(read.headers()["x-paramant-chunk-size"], CHUNK.to_string());
        assert_eq!(read.bytes().await.unwrap(), payload);
    }
    relay.all_burned().await;
    let again: Value = user.complete(&upload).await.json().await.unwrap();
    assert_eq!(again["hash"], name);
    assert_eq!(again["download_token"], "", "nothing is left that a link could read");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_chunks_under_a_password_do_not_pass_for_those_without() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(8, CHUNK + 1);
    let name = list_hash(&payload, CHUNK);
    let open = user.opened(payload.len(), json!({})).await;
    user.put_all(&open, &payload).await;
    assert_eq!(user.complete(&open).await.status(), StatusCode::OK);

    let locked = user.opened(payload.len(), json!({ "password": "p" })).await;
    user.put_all(&locked, &payload).await;
    let (status, why) = refused(user.complete(&locked).await).await;
    assert!(status == 409 && why.contains("password"), "{status} {why}");
    assert_eq!(user.progress(&locked).await["state"], "open", "its chunks are kept");
    let cancelled = user.request(Method::DELETE, &format!("/v2/inbound/{name}")).send().await.unwrap();
    assert_eq!(cancelled.status(), StatusCode::OK);
    assert_eq!(user.complete(&locked).await.status(), StatusCode::OK);
    assert_eq!(user.download(&name).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(read_with(&user, &name, "p").await.bytes().await.unwrap(), payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_its_sender_calls_the_same_counts_once() {
    let relay = Relay::with(|settings| settings.limits.plan_quotas = true).await;
    let user = relay.user_with(json!({ "plan": "pro" })).await;
    for (seed, id) in [(1, "report"), (2, "report"), (3, "another")] {
        let payload = noise(seed, CHUNK);
        let upload = user.opened(payload.len(), json!({ "file_id": id })).await;
        user.put_all(&upload, &payload).await;
        assert_eq!(user.complete(&upload).await.status(), StatusCode::OK);
    }
    let usage = relay.admin(Method::GET, &format!("/v2/admin/usage/{}", user.account)).send().await.unwrap();
    let usage: Value = usage.json().await.unwrap();
    assert_eq!(usage["accounts"][0]["usage"]["transfers_this_month"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_not_counted_against_the_rate_but_repeats_are() {
    let relay = Relay::with(|settings| settings.limits.requests_per_minute = 10).await;
    let user = relay.user().await;
    let payload = noise(1, 40 * CHUNK);
    let upload = user.opened(payload.len(), json!({})).await;
    user.put_all(&upload, &payload).await;
    let piece = &payload[..CHUNK];
    let mut limited = false;
    for _ in 0..15 {
        limited |=
            user.chunk(&upload, 0, piece, &hash(piece)).await.status() == StatusCode::TOO_MANY_REQUESTS;
    }
    assert!(limited);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_order_keeps_what_was_acknowledged() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let payload = noise(1, 3 * CHUNK);
    let upload = user.opened(payload.len(), json!({})).await;
    user.put(&upload, &payload, 0).await;
    user.put(&upload, &payload, 2).await;
    let key = user.key;
    let relay = Relay::over(relay.stop().await, |_| ()).await;
    let user = User { url: relay.url.clone(), http: relay.http.clone(), key, account: user.account };
    assert_eq!(user.progress(&upload).await["present"], json!([[0, 0], [2, 2]]));
    user.put(&upload, &payload, 1).await;
    assert_eq!(user.complete(&upload).await.status(), StatusCode::OK);
    assert_eq!(user.download(&list_hash(&payload, CHUNK)).await.bytes().await.unwrap(), payload);
    relay.all_burned().await;
}

/// A relay that is killed again and again while chunks arrive: what was acknowledged is there, and the blob becomes whole.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_kills_and_loses_no_acknowledged_chunk() {
    const CHUNKS: usize = 60;
    let dir = TempDir::new().unwrap();
    let mut process = Process::start(dir.path());
    let made = Client::new()
        .post(format!("{}/v2/admin/keys", process.url))
        .header("X-Admin-Token", ADMIN)
        .send()
        .await
        .unwrap();
    let made: Value = made.json().await.unwrap();
    let mut user = User {
        url: process.url.clone(),
        http: Client::new(),
        key: made["key"].as_str().unwrap().to_owned(),
        account: String::new(),
    };
    let payload = Arc::new(noise(1, CHUNKS * CHUNK - 5));
    let upload = user.opened(payload.len(), json!({})).await;
    let mut acknowledged = [false; CHUNKS];
    let mut kills = 0;
    while acknowledged.iter().any(|kept| !kept) {
        // Another quarter with each round, so that however fast the relay is, there is something left to be killed in.
        let tasks: Vec<_> = (0..CHUNKS * (kills + 1) / 4)
            .filter(|n| !acknowledged[*n])
            .map(|number| {
                let (user, upload, payload) = (user.clone(), upload.clone(), Arc::clone(&payload));
                tokio::spawn(async move {
                    let piece = payload.chunks(CHUNK).nth(number).unwrap();
                    let sent = user
                        .request(Method::PUT, &format!("{upload}/chunks/{number}"))
                        .header("X-Paramant-Chunk-Sha256", hash(piece))
                        .body(piece.to_vec());
                    (number, sent.send().await.is_ok_and(|answer| answer.status() == StatusCode::OK))
                })
            })
            .collect();
        let mut running = futures::stream::FuturesUnordered::from_iter(tasks);
        let mut seen = 0;
        let mut alive = Some(process);
        while let Some(done) = futures::StreamExt::next(&mut running).await {
            let (number, kept) = done.unwrap();
            acknowledged[number] |= kept;
            seen += usize::from(kept);
            if seen == CHUNKS / 8
                && kills < 3
                && let Some(process) = alive.take()
            {
                process.kill();
                kills += 1;
            }
        }
        process = match alive {
            Some(process) => process,
            None => Process::start(dir.path()),
        };
        user.url.clone_from(&process.url);
        user.http = Client::new();
        let progress = user.progress(&upload).await;
        let present: Vec<[u64; 2]> = serde_json::from_value(progress["present"].clone()).unwrap();
        let has = |n: u64| present.iter().any(|[first, last]| (*first..=*last).contains(&n));
        for (number, kept) in acknowledged.iter().enumerate() {
            assert!(!kept || has(number as u64), "chunk {number} was acknowledged and is gone");
        }
        let files: u64 = present.iter().map(|[first, last]| last - first + 1).sum();
        assert_eq!(
            payload_files(dir.path()) as u64,
            files,
            "after a start, a file for each chunk that is kept"
        );
    }
    assert_eq!(kills, 3, "the relay was killed in the middle");
    assert_eq!(user.complete(&upload).await.status(), StatusCode::OK);
    process.kill();
    let process = Process::start(dir.path());
    user.url.clone_from(&process.url);
    user.http = Client::new();
    assert_eq!(user.complete(&upload).await.status(), StatusCode::OK, "asked again after a kill");
    assert_eq!(user.download(&list_hash(&payload, CHUNK)).await.bytes().await.unwrap(), **payload);
    until("nothing is left", async || payload_files(dir.path()) == 0 && !keys_left(dir.path())).await;
}
