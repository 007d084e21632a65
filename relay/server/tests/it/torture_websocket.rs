//! WebSockets as nobody should speak them: by hand over real sockets, against a relay in a process of its own.

use std::time::Duration;

use futures::future::join_all;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::relay::{User, noise, until};
use crate::spawned::Process;
use crate::vitals::{Vitals, forget_peak};

const FIN: u8 = 0x80;
const MORE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A client's frame with a mask of zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match u8::try_from(payload.len()) {
        Ok(short) if short < 126 => vec![0x80 | short],
        _ => [&[0x80 | 126][..], &u16::try_from(payload.len()).unwrap().to_be_bytes()].concat(),
    };
    [&[first][..], &length, &[0; 4], payload].concat()
}

/// Only the head of a frame, which says that so many bytes follow.
fn announced(first: u8, bytes: u64) -> Vec<u8> {
    [&[first, 0x80 | 127][..], &bytes.to_be_bytes(), &[0; 4]].concat()
}

fn hello(key: &str) -> String {
    format!(
        "GET /v2/stream HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A stream that is open and has said so; what was sent along with the question for it is already under way.
async fn open(address: &str, key: &str, along: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[hello(key).as_bytes(), along].concat()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    let (kind, said) = frame(&mut stream).await.unwrap();
    assert!(kind == TEXT && String::from_utf8(said).unwrap().contains("connected"));
    stream
}

/// The next frame of the server.
async fn frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()? & 0x0f;
    let length = match stream.read_u8().await.ok()? {
        126 => usize::from(stream.read_u16().await.ok()?),
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, payload))
}

/// How a stream ended: with a code, or 0 without. `None`: it did not.
async fn ended(stream: &mut TcpStream) -> Option<u16> {
    let waiting = async {
        let mut code = 0;
        while let Some((kind, payload)) = frame(stream).await {
            if kind == CLOSE {
                code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
            }
        }
        code
    };
    timeout(Duration::from_secs(3), waiting).await.ok()
}

fn rows() -> Vec<(&'static str, Vec<u8>, Option<u16>)> {
    let text = |payload: &[u8]| masked(FIN | TEXT, payload);
    vec![
        ("a word", text(b"hello"), None),
        ("a ping", masked(FIN | PING, b"!"), None),
        ("a pong nobody asked for", masked(FIN | PONG, b"!"), None),
        ("a word in two parts", [masked(TEXT, b"he"), masked(FIN | MORE, b"llo")].concat(), None),
        ("half a frame", vec![FIN | TEXT], None),
        ("no mask", vec![FIN | TEXT, 1, b'x'], Some(1002)),
        ("an extension that was not agreed on", masked(FIN | 0x40 | TEXT, b"x"), Some(1002)),
        ("a kind that does not exist", masked(FIN | 3, b"x"), Some(1002)),
        ("a control frame that does not exist", masked(FIN | 11, b"x"), Some(1002)),
        ("a ping of 126 bytes", masked(FIN | PING, &[b'x'; 126]), Some(1002)),
        ("a pong that says it is huge", announced(FIN | PONG, u64::MAX / 2), Some(1009)),
        ("a ping in parts", masked(PING, b"x"), Some(1002)),
        ("a continuation of nothing", masked(FIN | MORE, b"x"), Some(1002)),
        ("a word inside another", [masked(TEXT, b"x"), text(b"y")].concat(), Some(1002)),
        ("a word that is not UTF-8", text(b"\xff\xfe"), Some(1002)),
        ("a close of one byte", masked(FIN | CLOSE, &[3]), Some(1002)),
        ("a close of 126 bytes", masked(FIN | CLOSE, &[3; 126]), Some(1002)),
        ("a message over the limit", masked(FIN | BINARY, &[0; 1025]), Some(1009)),
        ("a message of two to the 62nd", announced(FIN | BINARY, 1 << 62), Some(1009)),
        ("a message of two to the 64th", announced(FIN | BINARY, u64::MAX), Some(1009)),
        (
            "parts without end",
            [masked(TEXT, &[b'x'; 100]), masked(MORE, &[b'x'; 100]).repeat(20)].concat(),
            Some(1009),
        ),
        ("pings without end", masked(FIN | PING, b"!").repeat(200), Some(1009)),
        ("pongs without end", masked(FIN | PONG, b"").repeat(200), Some(1009)),
        ("words without end", text(b"x").repeat(200), Some(1009)),
        ("a goodbye", masked(FIN | CLOSE, &1000_u16.to_be_bytes()), Some(1000)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_the_protocol_loses_its_stream_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let process = Process::start(dir.path());
    let address = process.url.strip_prefix("http://").unwrap();
    let user = User::new(&process.url).await;
    let rows = rows();
    let faults = join_all(rows.iter().map(async |(what, bytes, expected)| {
        let mut stream = open(address, &user.key, b"").await;
        // The relay may end it before all is sent.
        drop(stream.write_all(bytes).await);
        let mut found = ended(&mut stream).await;
        if found == Some(0) {
            // It hung up while frames of ours were still on their way, which takes its last word back.
            found = *expected;
        }
        (found != *expected).then(|| format!("{what}: {found:?}, expected {expected:?}"))
    }))
    .await;
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), rows.len(), faults.join("\n"));

    // What comes in the same segment as the handshake is not lost, and not read as HTTP.
    let mut stream = open(address, &user.key, &masked(FIN | PING, b"early")).await;
    assert_eq!(frame(&mut stream).await, Some((PONG, b"early".to_vec())));
    drop(stream);
    let mut listener = open(address, &user.key, b"").await;
    assert_eq!(user.upload_raw(noise(1, 100), "").await.status(), 200);
    let (_, told) = frame(&mut listener).await.unwrap();
    assert!(String::from_utf8(told).unwrap().contains("blob_ready"));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_say_much_and_finish_nothing_cost_little() {
    let dir = TempDir::new().unwrap();
    let process = Process::start(dir.path());
    let address = process.url.strip_prefix("http://").unwrap();
    let users = join_all((0..4).map(|_| User::new(&process.url))).await;
    drop(open(address, &users[0].key, b"").await);
    let idle = Vitals::of(process.id());
    forget_peak(process.id());
    // As many as accounts may have, each with the largest message that is not one yet.
    let parts =
        [masked(TEXT, &[b'x'; 500]), masked(MORE, &[b'x'; 500]), masked(MORE, b"").repeat(1000)].concat();
    let opened = users.iter().flat_map(|user| std::iter::repeat_n(user, 64)).map(async |user| {
        let mut stream = open(address, &user.key, &parts).await;
        stream.write_all(&[FIN | TEXT, 0x80 | 126, 3]).await.unwrap();
        stream
    });
    let streams = join_all(opened).await;
    let held = Vitals::of(process.id());
    assert!(held.descriptors + 10 >= idle.descriptors + streams.len());
    let each = held.peak.saturating_sub(idle.memory) / streams.len() as u64;
    println!("a stream takes {each} bytes");
    assert!(each < 64 << 10, "{each} bytes for each stream");
    drop(streams);
    until("descriptors are back", async || Vitals::of(process.id()).descriptors <= idle.descriptors + 4)
        .await;
    open(address, &users[0].key, b"").await;
}
