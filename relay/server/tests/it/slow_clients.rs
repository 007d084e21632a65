//! Clients that send or take next to nothing: cut off in time, with nothing lost and nothing left behind.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::frames::{
    END_HEADERS, Frame, Frames, HEADERS, RST_STREAM, WHOLE, WINDOW_UPDATE, literal, request,
};
use crate::relay::{Relay, User, hash, noise, until};
use crate::spawned::Process;
use crate::vitals::Vitals;

const CANCEL: u32 = 8;
/// Far above what the relay gives, for a busy machine.
const TOO_LONG: Duration = Duration::from_secs(150);

fn question(user: &User, method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\n{more}\r\n", user.key)
}

fn over_http2(user: &User, method: &str, path: &str) -> Vec<u8> {
    [request(method, path), literal("x-api-key", &user.key)].concat()
}

/// Sends one byte of an upload a second; how long until the relay has enough of it.
async fn sends_a_byte_a_second(address: SocketAddr, user: &User) -> Duration {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let path = format!("/v3/blobs/{}", hash(b"never to come"));
    stream.write_all(question(user, "PUT", &path, "content-length: 100000\r\n").as_bytes()).await.unwrap();
    let began = Instant::now();
    let (mut from, mut to) = stream.split();
    let mut said = Vec::new();
    let dripping = async {
        while to.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        _ = from.read_to_end(&mut said) => {}
        () = dripping => {}
        () = sleep(TOO_LONG) => {}
    }
    assert!(!said.starts_with(b"HTTP/1.1 200"));
    began.elapsed()
}

/// Takes one byte of a download a second, through the smallest window there is; until the relay lets go of the view.
async fn takes_a_byte_a_second(address: SocketAddr, user: &User, payload: &[u8]) -> Duration {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let name = hash(payload);
    stream.write_all(question(user, "GET", &format!("/v2/outbound/{name}"), "").as_bytes()).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'H');
    let began = Instant::now();
    assert!(!user.available(&name).await, "the view is taken");
    while began.elapsed() < TOO_LONG && !user.available(&name).await {
        sleep(Duration::from_secs(1)).await;
        let mut byte = [0];
        drop(timeout(Duration::from_millis(100), stream.read(&mut byte)).await);
    }
    began.elapsed()
}

/// Asks for a download over HTTP/2 and never has room for it; until the relay lets go of the view.
async fn opens_no_window(address: SocketAddr, user: &User, payload: &[u8]) -> Duration {
    let mut frames = Frames::connect(address, &[(4, 0)]).await;
    let name = hash(payload);
    frames.send(HEADERS, WHOLE, 1, &over_http2(user, "GET", &format!("/v2/outbound/{name}"))).await;
    assert!(frames.until(Duration::from_secs(10), Frame::is_ok).await.is_some());
    let began = Instant::now();
    assert!(!user.available(&name).await, "the view is taken");
    while began.elapsed() < TOO_LONG && !user.available(&name).await {
        sleep(Duration::from_secs(1)).await;
    }
    began.elapsed()
}

/// Begins an upload over HTTP/2 and sends nothing more.
async fn sends_no_body(address: SocketAddr, user: &User) -> Duration {
    let mut frames = Frames::connect(address, &[]).await;
    let path = format!("/v3/blobs/{}", hash(b"never to come"));
    frames.send(HEADERS, END_HEADERS, 1, &over_http2(user, "PUT", &path)).await;
    let began = Instant::now();
    let said = frames.until(TOO_LONG, |frame| frame.stream == 1).await.expect("some end");
    assert!(!said.is_ok());
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_a_second_is_too_slow_either_way_and_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let process = Process::start(dir.path());
    let address = process.url.strip_prefix("http://").unwrap().parse().unwrap();
    let user = User::new(&process.url).await;
    let (large, small) = (noise(1, 5_000_000), noise(2, 5_000));
    for payload in [&large, &small] {
        assert_eq!(user.upload_raw(payload.clone(), "").await.status(), StatusCode::OK);
    }
    // The connection of `user` stays.
    let idle = Vitals::of(process.id());
    let (sent, taken, windowless, bodyless) = tokio::join!(
        sends_a_byte_a_second(address, &user),
        takes_a_byte_a_second(address, &user, &large),
        opens_no_window(address, &user, &small),
        sends_no_body(address, &user),
    );
    println!(
        "cut after {sent:?} and {bodyless:?} of sending, {taken:?} and {windowless:?} of taking nothing"
    );
    assert!(sent.as_secs() < 60 && bodyless.as_secs() < 60, "{sent:?} {bodyless:?}");
    assert!(taken.as_secs() < 100 && windowless.as_secs() < 100, "{taken:?} {windowless:?}");
    for payload in [large, small] {
        assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload, "nothing was lost");
    }
    until("descriptors are back", async || Vitals::of(process.id()).descriptors <= idle.descriptors + 4)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_used_over_http_2_only_when_the_reader_had_room_for_all_of_it() {
    let relay = Relay::start().await;
    let user = relay.user().await;
    let address = relay.running.addresses.public;
    for (size, window, used) in [
        (5000_usize, 0_u32, false),
        (5000, 4999, false),
        (5000, 5000, true),
        (200_000, 199_999, false),
        (200_000, 200_000, true),
    ] {
        let payload = noise(u64::from(window) + 1, size);
        let name = hash(&payload);
        assert_eq!(user.upload(&payload, json!({})).await.status(), StatusCode::OK);
        let mut frames = Frames::connect(address, &[(4, window)]).await;
        frames.send(WINDOW_UPDATE, 0, 0, &1_000_000_u32.to_be_bytes()).await;
        frames.send(HEADERS, WHOLE, 1, &over_http2(&user, "GET", &format!("/v2/outbound/{name}"))).await;
        assert!(frames.until(Duration::from_secs(10), Frame::is_ok).await.is_some());
        let mut came = 0;
        while came < window as usize {
            let piece = frames.until(Duration::from_secs(10), |frame| frame.stream == 1).await.unwrap();
            came += piece.payload.len();
        }
        // As a reader that breaks off here.
        sleep(Duration::from_millis(50)).await;
        frames.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()).await;
        if used {
            until("it is burned", async || relay.payload_files() == 0).await;
        } else {
            until("the view is back", async || user.available(&name).await).await;
            assert_eq!(user.download(&name).await.bytes().await.unwrap(), payload, "{window} of {size}");
        }
        relay.all_burned().await;
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stop_do_not_make_the_kernel_hold_their_answers() {
    let dir = TempDir::new().unwrap();
    let process = Process::start(dir.path());
    let address: SocketAddr = process.url.strip_prefix("http://").unwrap().parse().unwrap();
    let user = User::new(&process.url).await;
    let payload = noise(1, 5_000_000);
    user.upload_raw(payload.clone(), "").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let port = stream.local_addr().unwrap().port();
    let ask = question(&user, "GET", &format!("/v2/outbound/{}", hash(&payload)), "");
    stream.write_all(ask.as_bytes()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let held = send_queue(address.port(), port);
    assert!(
        (10_000..400_000).contains(&held),
        "{held} bytes wait in the kernel for a reader that takes none"
    );
}

/// Bytes in the kernel between these two ports that the peer has not taken.
fn send_queue(from: u16, to: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |field: &str| field.split_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
    let row = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (port(fields.get(1)?) == Some(from) && port(fields.get(2)?) == Some(to)).then(|| fields[4].to_owned())
    });
    u64::from_str_radix(row.expect("the connection is in the table").split_once(':').unwrap().0, 16).unwrap()
}
