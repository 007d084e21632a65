//! The accept loop against clients that are slow, silent or greedy, with a clock that runs ahead whenever all wait.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use paramant_relay::control::public_tls;
use paramant_relay::listener::{Listener, TlsSource};
use paramant_relay::metrics::Metrics;
use reqwest::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::relay::{Relay, noise};

async fn start(tls: Option<TlsSource>) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener {
        socket,
        router: Router::new()
            .route("/", get(|| async { "here" }))
            .route("/length", post(|body: Bytes| async move { body.len().to_string() })),
        tls,
        altogether: Arc::new(|| 100),
        per_address: Arc::new(|_| None),
        upgrades: false,
        connections: Metrics::new().unwrap().connections("public"),
    };
    tokio::spawn(listener.serve(CancellationToken::new(), Duration::from_secs(1)));
    address
}

/// What comes back until the relay hangs up, and after how long it does.
async fn until_cut(address: SocketAddr, sent: &[u8]) -> (io::Result<String>, Duration) {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    (read.map(|_| String::from_utf8_lossy(&answer).into_owned()), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_finishes_what_it_began_is_cut_off() {
    let address = start(None).await;
    for sent in [
        b"".as_slice(),
        b"P",
        b"PRI * HTTP/2.0\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx-a: ",
        b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf",
    ] {
        let (answer, after) = until_cut(address, sent).await;
        let what = String::from_utf8_lossy(sent);
        assert!(after >= Duration::from_secs(15) && after < Duration::from_secs(70), "{what:?}: {after:?}");
        assert!(answer.map_or(true, |answer| !answer.contains("200 OK")), "{what:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_its_last_answer() {
    let address = start(None).await;
    let (answer, after) = until_cut(address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.unwrap().ends_with("here"));
    assert!(after >= Duration::from_secs(15) && after < Duration::from_secs(70), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_taken_as_long_as_it_keeps_a_pace() {
    let address = start(None).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let header = "POST /length HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 200000\r\n\r\n";
    stream.write_all(header.as_bytes()).await.unwrap();
    for _ in 0..10 {
        // Two KiB a second, four minutes in all but a few seconds each time.
        tokio::time::sleep(Duration::from_secs(10)).await;
        stream.write_all(&noise(1, 20_000)).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("200000"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_are_refused() {
    let address = start(None).await;
    let many: String = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(1 << 20));
    for headers in [many, long] {
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The relay may hang up before everything is sent.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_can_end_at_the_relay_and_speaks_http_2() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["relay.example".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    assert!(public_tls(&key, &certificate).is_err(), "swapped files are refused");
    let config = public_tls(&certificate, &key).unwrap();
    let address = start(Some(Arc::new(move || Some(config.clone())))).await;
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()])
        .resolve("relay.example", address)
        .build()
        .unwrap();
    let answer = client.get(format!("https://relay.example:{}/", address.port())).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "here");
    let plain = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let clear = start(None).await;
    let answer = plain.get(format!("http://{clear}/")).send().await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_routes_and_never_what_is_in_a_path() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let hash = crate::relay::hash(b"nobody sent this");
    user.download(&hash).await;
    relay.http.get(format!("{}/device-name-in-a-path", relay.url)).send().await.unwrap();
    let metrics = format!("http://{}/metrics", relay.running.addresses.probes);
    let text = relay.http.get(metrics).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("route=\"/v2/outbound/{hash}\",status=\"404\""), "{text}");
    assert!(!text.contains(&hash) && !text.contains("device-name"));
    assert!(text.contains("paramant_log_entries 1\n") || text.contains("paramant_log_entries 2\n"), "{text}");
    relay.stop().await;
}
