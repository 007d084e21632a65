#![allow(clippy::unwrap_used)]

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn start(max_connections: usize, per_address: u32) -> (SocketAddr, CancellationToken) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let end = CancellationToken::new();
    let listener = Listener {
        socket,
        router: Router::new().route("/", get(|| async { "here" })),
        tls: None,
        altogether: Arc::new(move || max_connections),
        per_address: Arc::new(move |_| Some(per_address)),
        upgrades: false,
        connections: crate::metrics::Metrics::new().unwrap().connections("public"),
    };
    tokio::spawn(listener.serve(end.clone(), Duration::from_secs(1)));
    (address, end)
}

async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let (address, end) = start(100, 2).await;
    let held = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(ask(address).await.map_or(true, |answer| answer.is_empty()), "the third is cut off");
    drop(held);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(ask(address).await.unwrap().ends_with("here"));
    end.cancel();
}

#[tokio::test]
async fn half_a_preface_is_told_from_http_1_when_the_rest_comes() {
    let (address, end) = start(100, 100).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"P").await.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    stream.write_all(b"UT / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    end.cancel();
}

#[tokio::test]
async fn a_listener_that_ends_refuses_new_connections() {
    let (address, end) = start(100, 100).await;
    assert!(ask(address).await.unwrap().ends_with("here"));
    end.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(TcpStream::connect(address).await.is_err());
}
