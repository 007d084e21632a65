//! WebSockets of account holders, with a real client over real sockets.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::relay::{Relay, User, hash, inbound, noise, until};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(user: &User, query: &str, with_key: bool) -> Result<Socket, Error> {
    let address = format!("{}/v2/stream{query}", user.url.replace("http://", "ws://"));
    let mut request = address.into_client_request().unwrap();
    if with_key {
        request.headers_mut().insert("X-Api-Key", user.key.parse().unwrap());
    }
    connect_async(request).await.map(|(socket, _)| socket)
}

async fn status(user: &User, query: &str, with_key: bool) -> u16 {
    match open(user, query, with_key).await {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

async fn said(socket: &mut Socket) -> Value {
    let word = tokio::time::timeout(Duration::from_secs(30), socket.next()).await.expect("a word").unwrap();
    match word.unwrap() {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The code that the client is sent away with.
async fn sent_away(socket: &mut Socket) -> u16 {
    loop {
        match tokio::time::timeout(Duration::from_secs(30), socket.next()).await.expect("an end") {
            Some(Ok(Message::Close(frame))) => return frame.unwrap().code.into(),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn ticket(user: &User) -> String {
    let answer = user.request(Method::POST, "/v2/ws-ticket").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["ok"], &answer["expires_in"]), (&json!(true), &json!(30)));
    answer["ticket"].as_str().unwrap().to_owned()
}

fn open_now(relay: &Relay) -> i64 {
    relay.running.app.core.metrics.streams.open.get()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_socket_of_the_account_hears_of_each_upload_and_no_other() {
    let relay = Relay::start().await;
    let (user, other) = (relay.user().await, relay.user().await);
    let second = relay.user_with(json!({ "account_id": user.account })).await;
    let mut by_key = open(&user, "", true).await.unwrap();
    let mut by_ticket = open(&user, &format!("?ticket={}", ticket(&user).await), false).await.unwrap();
    let mut same_account = open(&second, "", true).await.unwrap();
    let mut foreign = open(&other, "", true).await.unwrap();
    for socket in [&mut by_key, &mut by_ticket, &mut same_account, &mut foreign] {
        let first = said(socket).await;
        assert_eq!(first["type"], "connected");
        assert!(first["ts"].as_str().unwrap().ends_with('Z'));
    }
    let payload = noise(30, 700);
    user.upload(&payload, json!({ "meta": { "device_id": "d" } })).await;
    for socket in [&mut by_key, &mut by_ticket, &mut same_account] {
        let mut ready = said(socket).await;
        assert!(ready.as_object_mut().unwrap().remove("ts").unwrap().is_string());
        let expected = json!({ "type": "blob_ready", "hash": hash(&payload), "size": 700, "device": "d", "sig_valid": false });
        assert_eq!(ready, expected);
    }
    // Repeated while unread it is the same upload, and a drop is for whoever has its words: neither is told of.
    user.upload(&payload, json!({})).await;
    user.post_inbound(&inbound(&hash(b"words"), b"left", json!({ "meta": { "drop": true } }))).await;
    other.upload(&noise(31, 9), json!({})).await;
    user.upload(&noise(32, 9), json!({})).await;
    assert_eq!(said(&mut by_key).await["hash"], hash(&noise(32, 9)));
    assert_eq!(said(&mut foreign).await["hash"], hash(&noise(31, 9)));
    assert_eq!(open_now(&relay), 4);
    drop((by_key, by_ticket, same_account));
    until("their places are free", async || open_now(&relay) == 1).await;

    let asked = std::time::Instant::now();
    let stopping = tokio::spawn(relay.stop());
    assert_eq!(sent_away(&mut foreign).await, 1001, "told that the relay ends");
    while foreign.next().await.is_some() {}
    stopping.await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_or_an_unused_ticket_there_is_no_socket() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    assert_eq!(status(&user, "", false).await, 401);
    assert_eq!(status(&user, "?ticket=wst_0", false).await, 401);
    assert_eq!(status(&user, &format!("?k={}", user.key), false).await, 400, "a key in a URL is refused");
    let once = ticket(&user).await;
    let plain = user.http.get(format!("{}/v2/stream?ticket={once}", relay.url)).send().await.unwrap();
    assert_eq!(plain.status(), StatusCode::UNAUTHORIZED, "and the ticket is not used up by it");
    let mut opened = open(&user, &format!("?ticket={once}"), false).await.unwrap();
    said(&mut opened).await;
    assert_eq!(status(&user, &format!("?ticket={once}"), false).await, 401, "used");
    let no_upgrade = user.request(Method::GET, "/v2/stream").send().await.unwrap();
    assert_eq!(no_upgrade.status(), StatusCode::UPGRADE_REQUIRED);
    let nobody = relay.http.post(format!("{}/v2/ws-ticket", relay.url)).send().await.unwrap();
    assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_loses_its_sockets_and_tickets_at_once() {
    let relay = Relay::start().await;
    let (user, other) = (relay.user().await, relay.user().await);
    let mut socket = open(&user, "", true).await.unwrap();
    let mut unharmed = open(&other, "", true).await.unwrap();
    said(&mut socket).await;
    said(&mut unharmed).await;
    let ticket = ticket(&user).await;
    let revoke =
        relay.admin(Method::POST, "/v2/admin/keys/revoke").body(json!({ "key": user.key }).to_string());
    assert_eq!(revoke.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(sent_away(&mut socket).await, 4401);
    assert_eq!(status(&user, &format!("?ticket={ticket}"), false).await, 401);
    assert_eq!(status(&user, "", true).await, 401);
    other.upload(&noise(33, 9), json!({})).await;
    assert_eq!(said(&mut unharmed).await["type"], "blob_ready");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_has_so_many_sockets_and_a_client_that_talks_loses_its_own() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(open(&user, "", true).await.unwrap());
    }
    assert_eq!(status(&user, "", true).await, 429);
    let neighbour = relay.user().await;
    said(&mut open(&neighbour, "", true).await.unwrap()).await;
    let mut large = held.pop().unwrap();
    said(&mut large).await;
    // The client may lose its connection before it is done sending.
    let _ = large.send(Message::Binary(vec![0; 1 << 20].into())).await;
    let ended = async {
        while let Some(Ok(word)) = large.next().await {
            if let Message::Close(frame) = word {
                return frame.map(|frame| u16::from(frame.code));
            }
        }
        None
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await.expect("an end");
    assert!(matches!(ended, None | Some(1009)), "{ended:?}");
    until("there is a place again", async || open(&user, "", true).await.is_ok()).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_delays_no_upload_and_loses_its_socket() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    // By hand, with the smallest window the kernel gives: what the relay says piles up at once.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    let address = relay.running.addresses.public;
    let mut stuck = socket.connect(address).await.unwrap();
    let hello = format!(
        "GET /v2/stream HTTP/1.1\r\nHost: {address}\r\nX-Api-Key: {}\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        user.key
    );
    stuck.write_all(hello.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stuck.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the answer of RFC 6455's example: {head}");
    let mut reader = open(&user, "", true).await.unwrap();
    said(&mut reader).await;
    until("both are open", async || open_now(&relay) == 2).await;

    let account = paramant_relay::store::AccountId::parse(&user.account).unwrap();
    let mut blob = None;
    for n in 0..10_u64 {
        user.upload(&noise(100 + n, 10), json!({})).await;
        let ready = said(&mut reader).await;
        blob = Some(ready["hash"].as_str().unwrap().to_owned());
    }
    assert!(blob.is_some());
    // As many words as an account with thousands of uploads a second would have, without making the uploads.
    let flood = tokio::task::spawn_blocking({
        let streams = relay.running.app.core.streams.clone();
        move || {
            let began = std::time::Instant::now();
            for n in 0..200_000_u32 {
                streams.tell(account, || json!({ "type": "test", "n": n }).to_string());
            }
            began.elapsed()
        }
    });
    let listening = async { while let Some(Ok(_)) = reader.next().await {} };
    let (took, ()) = tokio::join!(flood, listening);
    println!("200,000 words to two readers, one of them stuck: {:?}", took.unwrap());
    until("neither is left: one reads nothing, the other not fast enough", async || open_now(&relay) == 0)
        .await;
    user.upload(&noise(200, 10), json!({})).await;
    relay.stop().await;
}
