//! What account holders see of what happened: the audit chain, the numbers, the device queue, acknowledgements.

use paramant_protocol::canonical;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha3::{Digest as _, Sha3_256};

use crate::relay::{Relay, User, hash, inbound, noise, until};

async fn get(user: &User, path: &str) -> Value {
    let answer = user.request(Method::GET, path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.json().await.unwrap()
}

async fn post(user: &User, path: &str, body: Value) -> (StatusCode, Value) {
    let answer = user.request(Method::POST, path).body(body.to_string()).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// The events of an account, oldest first, once there are so many. Checks the chain as an outsider would.
async fn events(user: &User, count: usize) -> Vec<Value> {
    let mut audit = Value::Null;
    until("the rows are there", async || {
        audit = get(user, "/v2/audit?limit=1000").await;
        audit["entries"].as_array().unwrap().len() >= count
    })
    .await;
    assert_eq!((audit["ok"].as_bool(), audit["chain_valid"].as_bool()), (Some(true), Some(true)));
    let mut entries = audit["entries"].as_array().unwrap().clone();
    entries.reverse();
    assert_eq!(audit["count"], entries.len());
    let mut prev = "0".repeat(64);
    for entry in &entries {
        assert_eq!(entry["prev_hash"], prev);
        let mut hashed = entry.as_object().unwrap().clone();
        let chain = hashed.remove("chain_hash").unwrap();
        prev = hex::encode(Sha3_256::digest(canonical::to_vec(&hashed).unwrap()));
        assert_eq!(chain, prev, "{entry}");
    }
    assert_eq!(entries.len(), count, "{entries:?}");
    entries
}

fn said(entry: &Value) -> (String, String, Option<u64>) {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    (text("event"), text("hash"), entry["views_left"].as_u64())
}

fn short(hash: &str) -> String {
    format!("{}...", &hash[..16])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_a_transfer_is_a_row_that_whoever_reads_the_chain_can_recompute() {
    let relay = Relay::start().await;
    let (user, other) = (relay.user().await, relay.user().await);
    let (twice, aborted) = (noise(1, 3000), noise(2, 100));
    let named = json!({ "max_views": 2, "meta": { "device_id": "phone-é" } });
    assert_eq!(user.upload(&twice, named).await.status(), StatusCode::OK);
    assert_eq!(user.upload(&aborted, json!({})).await.status(), StatusCode::OK);
    for _ in 0..2 {
        let read = user.download(&hash(&twice)).await;
        assert_eq!(read.bytes().await.unwrap(), twice);
    }
    let path = format!("/v2/inbound/{}", hash(&aborted));
    assert_eq!(user.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::OK);
    let acked = post(&user, "/v2/ack", json!({ "hash": hash(&twice), "device_id": "phone-é" })).await;
    assert_eq!(acked, (StatusCode::OK, json!({ "ok": true, "hash": hash(&twice) })));
    let named_in_path = post(&user, &format!("/v2/ack/{}", hash(&aborted)), json!({})).await;
    assert_eq!(named_in_path.0, StatusCode::OK);

    let rows = events(&user, 7).await;
    let mut said: Vec<_> = rows.iter().map(said).collect();
    said.sort();
    let row = |event: &str, payload: &[u8], left| (event.to_owned(), short(&hash(payload)), left);
    let mut expected = vec![
        row("inbound", &twice, None),
        row("inbound", &aborted, None),
        row("outbound_view", &twice, Some(1)),
        row("outbound_burn", &twice, Some(0)),
        row("inbound_aborted", &aborted, None),
        row("ack_received", &twice, None),
        row("ack_received", &aborted, None),
    ];
    expected.sort();
    assert_eq!(said, expected);
    assert_eq!((&rows[0]["device"], &rows[0]["bytes"]), (&json!("phone-é"), &json!(3000)));
    assert_eq!((&rows[0]["sig"], rows[1].get("device")), (&json!("unsigned"), None));

    let newest = get(&user, "/v2/audit?limit=2").await;
    assert_eq!((newest["count"].as_u64(), newest["total"].as_u64()), (Some(2), Some(7)));
    let csv = user.request(Method::GET, "/v2/audit?format=csv&limit=3").send().await.unwrap();
    assert_eq!(csv.headers()["content-type"], "text/csv; charset=utf-8");
    let csv = csv.text().await.unwrap();
    assert_eq!(csv.lines().next(), Some("ts,event,hash,bytes,device,chain_hash"));
    assert_eq!(csv.lines().count(), 4);
    let last = rows.last().unwrap();
    assert!(csv.lines().nth(1).unwrap().ends_with(last["chain_hash"].as_str().unwrap()), "newest first");
    for wrong in ["limit=0", "limit=1001", "limit=x", "format=xml"] {
        let refused = user.request(Method::GET, &format!("/v2/audit?{wrong}")).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{wrong}");
        assert!(refused.json::<Value>().await.unwrap()["error"].is_string());
    }

    let seen = get(&user, "/v2/monitor").await;
    assert_eq!(seen["stats"], json!({ "inbound": 2, "burned": 2, "webhooks_sent": 0 }));
    let delivery = &seen["delivery"];
    assert_eq!(
        (&delivery["total"], &delivery["acked"], &delivery["pending"]),
        (&json!(2), &json!(2), &json!(0))
    );
    assert_eq!((&delivery["success_rate"], &seen["blobs_in_flight"]), (&json!(100), &json!(0)));
    assert!(delivery["avg_latency_ms"].is_u64());

    assert_eq!(get(&other, "/v2/audit").await["entries"], json!([]), "another account sees its own");
    assert_eq!(get(&other, "/v2/monitor").await["stats"]["inbound"], 0);
    for path in ["/v2/audit", "/v2/monitor", "/v2/stream-next?device=d"] {
        let nobody = relay.http.get(format!("{}{path}", relay.url)).send().await.unwrap();
        assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    let no_hash = post(&user, "/v2/ack", json!({})).await;
    assert_eq!(no_hash.0, StatusCode::BAD_REQUEST);

    // The chain goes on after a restart where it was.
    let chain = last["chain_hash"].clone();
    let relay = Relay::over(relay.stop().await, |_| ()).await;
    let user = User { url: relay.url.clone(), ..user };
    user.upload(&noise(3, 10), json!({})).await;
    assert_eq!(events(&user, 8).await.last().unwrap()["prev_hash"], chain);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_breaks_off_is_no_row_and_a_drop_read_by_another_account_is_one_for_both() {
    let relay = Relay::start().await;
    let (user, other) = (relay.user().await, relay.user().await);
    // Larger than what the network takes at once, so that a reader can leave in the middle.
    let large = noise(4, 5_000_000);
    user.upload(&large, json!({})).await;
    let mut cut = user.download(&hash(&large)).await;
    cut.chunk().await.unwrap();
    drop(cut);
    until("it may be read again", async || user.available(&hash(&large)).await).await;
    assert_eq!(events(&user, 1).await.len(), 1);
    assert_eq!(user.download(&hash(&large)).await.bytes().await.unwrap().len(), large.len());

    let words = hash(b"the words of a drop");
    let body = inbound(&words, b"left", json!({ "meta": { "drop": true, "device_id": "d" } }));
    assert_eq!(user.post_inbound(&body).await.status(), StatusCode::OK);
    assert_eq!(
        get(&user, "/v2/stream-next?device=d").await["available"],
        false,
        "a listener would destroy it"
    );
    assert_eq!(other.download(&words).await.bytes().await.unwrap(), "left");
    let rows = events(&user, 4).await;
    let last = rows.last().unwrap();
    assert_eq!(said(last), ("outbound_burn".to_owned(), short(&words), Some(0)));
    assert_eq!(said(&events(&other, 1).await[0]).0, "outbound_burn");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_queue_is_first_in_first_out_and_gives_each_upload_once() {
    let relay = Relay::start().await;
    let (user, other) = (relay.user().await, relay.user().await);
    let next = async |user: &User| get(user, "/v2/stream-next?device=d&seq=17").await;
    assert_eq!(next(&user).await, json!({ "ok": true, "device": "d", "hash": null, "available": false }));
    let payloads: Vec<Vec<u8>> = (10..14).map(|seed| noise(seed, 500)).collect();
    let to_d = |views: u32| json!({ "max_views": views, "meta": { "device_id": "d" } });
    user.upload(&payloads[0], to_d(3)).await;
    user.upload(&payloads[1], to_d(1)).await;
    user.upload(&payloads[2], json!({ "meta": { "device_id": "another" } })).await;
    user.upload(&payloads[3], json!({})).await;
    // Sent again while it is unread: it waits once.
    user.upload(&payloads[0], to_d(3)).await;

    let first = next(&user).await;
    assert_eq!((&first["available"], &first["hash"]), (&json!(true), &json!(hash(&payloads[0]))));
    assert_eq!(first["blob_hash"], first["hash"]);
    assert!(first["queued_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(next(&user).await["hash"], first["hash"], "asking takes nothing");
    assert_eq!(next(&other).await["available"], false, "a device belongs to its account");
    let by_header =
        user.request(Method::GET, "/v2/stream-next").header("X-Device-Id", "another").send().await;
    assert_eq!(by_header.unwrap().json::<Value>().await.unwrap()["hash"], hash(&payloads[2]));
    let nameless = user.request(Method::GET, "/v2/stream-next").send().await.unwrap();
    assert_eq!(nameless.status(), StatusCode::BAD_REQUEST);

    // Durable, and in its order.
    let relay = Relay::over(relay.stop().await, |_| ()).await;
    let user = User { url: relay.url.clone(), ..user };
    assert_eq!(next(&user).await["hash"], hash(&payloads[0]));

    // One complete fetch is enough, though more views are left.
    assert_eq!(user.download(&hash(&payloads[0])).await.bytes().await.unwrap(), payloads[0]);
    until("the next is shown", async || next(&user).await["hash"] == hash(&payloads[1])).await;
    assert!(user.available(&hash(&payloads[0])).await);
    // What is read by its last view is passed over, and gone afterwards.
    assert_eq!(user.download(&hash(&payloads[1])).await.bytes().await.unwrap(), payloads[1]);
    until("nothing is left", async || next(&user).await["available"] == false).await;
    // Sent anew it waits anew.
    user.upload(&payloads[1], to_d(1)).await;
    until("it is there again", async || next(&user).await["hash"] == hash(&payloads[1])).await;
    // Expired: the head does not block what comes after it.
    user.upload(&payloads[1], to_d(1)).await;
    user.upload(&noise(20, 9), json!({ "ttl_ms": 1000, "meta": { "device_id": "short" } })).await;
    user.upload(&noise(21, 9), json!({ "meta": { "device_id": "short" } })).await;
    until("the one behind it is shown", async || {
        get(&user, "/v2/stream-next?device=short").await["hash"] == hash(&noise(21, 9))
    })
    .await;
    relay.stop().await;
}
