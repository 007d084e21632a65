//! Very many connections that ask for nothing: what they cost, whom they keep out, and what is left of them.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rustix::process::{Resource, getrlimit};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::relay::{User, hash, noise, until};
use crate::spawned::Process;
use crate::vitals::Vitals;

/// Descriptors of the relay that come and go.
const SPARE: usize = 20;
/// Of the crowd: these ask something, and then nothing more.
const ASKED: usize = 2000;

/// Connections from several addresses of this machine: one may hold 5,000.
async fn connected(to: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(count);
    for first in (0..count).step_by(100) {
        let batch = (first..count.min(first + 100)).map(async |n| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from(([127, 0, 1, u8::try_from(n / 4000).unwrap() + 1], 0))).unwrap();
            socket.connect(to).await.unwrap()
        });
        streams.extend(join_all(batch).await);
    }
    streams
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_leave_room_and_time_for_others() {
    paramant_relay::process::allow_many_files();
    let descriptors =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    // Ours are in this process and the relay's in its own; it keeps a quarter for other things than connections.
    let count = 10_000.min(descriptors / 4 * 3 - 200);
    if count < 10_000 {
        eprintln!("only {descriptors} descriptors are allowed here: {count} connections instead of 10,000");
    }
    let dir = TempDir::new().unwrap();
    let process = Process::with_limits(dir.path(), "connections: 12000");
    let address = process.url.strip_prefix("http://").unwrap().parse().unwrap();
    let user = User::new(&process.url).await;
    user.upload_raw(noise(1, 100_000), "").await;
    let idle = Vitals::of(process.id());

    let began = Instant::now();
    let mut crowd = connected(address, count).await;
    until("all are inside", async || {
        Vitals::of(process.id()).descriptors + SPARE >= idle.descriptors + count
    })
    .await;
    let full = Vitals::of(process.id());
    let each = full.memory.saturating_sub(idle.memory) / count as u64;
    println!("{count} connections in {:?}, {each} bytes each", began.elapsed());
    assert!(each < 4 << 10, "{each} bytes for a connection that said nothing");
    let began = Instant::now();
    for stream in &mut crowd[..ASKED] {
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    }
    for stream in &mut crowd[..ASKED] {
        assert_eq!(stream.read_u8().await.unwrap(), b'H');
    }
    let each = Vitals::of(process.id()).memory.saturating_sub(full.memory) / ASKED as u64;
    println!("{ASKED} of them asked in {:?}, {each} bytes each", began.elapsed());
    assert!(each < 24 << 10, "{each} bytes more for a connection that waits for its next request");

    let began = Instant::now();
    let other = User { http: reqwest::Client::new(), ..user.clone() };
    assert_eq!(other.upload_raw(noise(2, 100_000), "").await.status(), 200);
    let read = other.download(&hash(&noise(2, 100_000))).await;
    assert_eq!(read.bytes().await.unwrap(), noise(2, 100_000));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?} for one upload and its read");
    assert!(
        Vitals::of(process.id()).descriptors + SPARE >= idle.descriptors + count,
        "and nobody was sent away for it"
    );

    drop(crowd);
    until("descriptors are back", async || Vitals::of(process.id()).descriptors <= idle.descriptors + SPARE)
        .await;
    let grown = Vitals::of(process.id()).memory.saturating_sub(idle.memory);
    assert!(grown < 64 << 20, "{grown} bytes more than before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_with_few_descriptors_keeps_some_for_its_work() {
    let dir = TempDir::new().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 1024; exec \"$@\"", "sh"]);
    let process = Process::traced(dir.path(), shell).unwrap();
    let address: SocketAddr = process.url.strip_prefix("http://").unwrap().parse().unwrap();
    let user = User::new(&process.url).await;
    let mut crowd = connected(address, 900).await;
    until("all places are taken", async || Vitals::of(process.id()).descriptors >= 600).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(Vitals::of(process.id()).descriptors < 950);
    // Those that are inside are served, files and all.
    let payload = noise(1, 300_000);
    let ask = format!(
        "PUT /v3/blobs/{} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        hash(&payload),
        user.key,
        payload.len()
    );
    let inside = &mut crowd[0];
    inside.write_all(&[ask.as_bytes(), &payload].concat()).await.unwrap();
    let mut answer = String::new();
    inside.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(crowd);
    until("a place is free", async || {
        let asked = reqwest::get(format!("{}/health", process.url)).await;
        asked.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}
