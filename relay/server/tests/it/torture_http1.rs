//! HTTP/1 as nobody should speak it, byte by byte: what is answered, whether the connection goes on, and what it costs the relay.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use futures::StreamExt as _;
use futures::future::join_all;
use paramant_relay::listener::Listener;
use paramant_relay::metrics::Metrics;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::frames::in_small_steps;
use crate::relay::{User, hash, noise, until};
use crate::spawned::Process;
use crate::vitals::Vitals;

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Another request on it is answered.
    GoesOn,
    /// The relay hangs up.
    Ends,
}
use Then::{Ends, GoesOn};

struct Row {
    what: String,
    sent: Vec<u8>,
    answers: Vec<u16>,
    then: Then,
}

fn row(what: &str, sent: impl Into<Vec<u8>>, answers: &[u16], then: Then) -> Row {
    Row { what: what.to_owned(), sent: sent.into(), answers: answers.to_vec(), then }
}

/// A request that would be answered with 200 were it read as one.
const ANOTHER: &str = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
const LAST: &str = "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// A POST of `{}` to a public route, which says 400 to that, with these headers and this body; a request follows.
fn posted(headers: &str, body: &str) -> String {
    format!("POST /v2/verify-receipt HTTP/1.1\r\nhost: x\r\n{headers}\r\n{body}{ANOTHER}")
}

/// The status of each answer in `bytes`.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    let heads = text.match_indices("HTTP/1.").filter_map(|(at, _)| text.get(at + 9..at + 12));
    heads.filter_map(|status| status.parse().ok()).collect()
}

/// Sends, and reads until the relay hangs up, or all of `expected` came and nothing more does.
async fn exchange(stream: &mut TcpStream, sent: &[u8], expected: usize) -> (Vec<u16>, bool) {
    let (mut from, mut to) = stream.split();
    let mut seen = Vec::new();
    let reading = async {
        let mut piece = [0; 4096];
        loop {
            let patience = if statuses(&seen).len() < expected { 20_000 } else { 300 };
            match timeout(Duration::from_millis(patience), from.read(&mut piece)).await {
                Err(_) => return false,
                Ok(Ok(0) | Err(_)) => return true,
                Ok(Ok(read)) => seen.extend_from_slice(&piece[..read]),
            }
        }
    };
    // The relay may hang up before all is sent.
    let sending = async { drop(to.write_all(sent).await) };
    let closed = tokio::select! {
        closed = async { tokio::join!(sending, reading).1 } => closed,
        () = sleep(Duration::from_secs(40)) => false,
    };
    (statuses(&seen), closed)
}

/// What is wrong with how this row went.
async fn judge(address: &str, row: &Row) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (answers, closed) = exchange(&mut stream, &row.sent, row.answers.len()).await;
    let then = if closed {
        Ends
    } else {
        let (more, _) = exchange(&mut stream, LAST.as_bytes(), 1).await;
        if more != [200] {
            return Some(format!("{}: {answers:?}, then neither answered nor closed: {more:?}", row.what));
        }
        GoesOn
    };
    let right = answers == row.answers && then == row.then;
    (!right).then(|| format!("{}: {answers:?} {then:?}, expected {:?} {:?}", row.what, row.answers, row.then))
}

fn framing() -> Vec<Row> {
    let chunked = "transfer-encoding: chunked\r\n";
    let mut rows = vec![
        row("a length", posted("content-length: 2\r\n", "{}"), &[400, 200], GoesOn),
        row("chunks", posted(chunked, "2\r\n{}\r\n0\r\n\r\n"), &[400, 200], GoesOn),
        row("no body", posted("", ""), &[400, 200], GoesOn),
        // One of the two is a lie. What counts are the chunks, and nothing after them is read on this connection.
        row(
            "a length and chunks",
            posted(&format!("content-length: 4\r\n{chunked}"), "0\r\n\r\n"),
            &[400],
            Ends,
        ),
        row(
            "chunks and a length",
            posted(&format!("{chunked}content-length: 4\r\n"), "0\r\n\r\n"),
            &[400],
            Ends,
        ),
        row(
            "one length twice",
            posted("content-length: 2\r\ncontent-length: 2\r\n", "{}"),
            &[400, 200],
            GoesOn,
        ),
        row("two lengths", posted("content-length: 2\r\ncontent-length: 40\r\n", "{}"), &[400], Ends),
        row("chunks named twice", posted(&format!("{chunked}{chunked}"), "0\r\n\r\n"), &[400, 200], GoesOn),
        row(
            "chunks, then another coding",
            posted(&format!("{chunked}transfer-encoding: identity\r\n"), "0\r\n\r\n"),
            &[400],
            Ends,
        ),
        row(
            "chunks in HTTP/1.0",
            format!("POST /v2/verify-receipt HTTP/1.0\r\n{chunked}\r\n0\r\n\r\n{ANOTHER}"),
            &[400],
            Ends,
        ),
        row("chunks in capitals", posted("Transfer-Encoding: CHUNKED\r\n", "0\r\n\r\n"), &[400, 200], GoesOn),
        row(
            "white space before chunked",
            posted("transfer-encoding: \t chunked\r\n", "0\r\n\r\n"),
            &[400, 200],
            GoesOn,
        ),
    ];
    for length in ["+2", "-2", "2 2", "2,2", "0x2", "2.0", "", "2e0", "184467440737095516160", "\u{664}"] {
        let headers = format!("content-length: {length}\r\n");
        rows.push(row(&format!("the length {length:?}"), posted(&headers, "{}"), &[400], Ends));
    }
    for name in
        ["content-length ", "content-length\t", " content-length", "content\u{0}length", "content-length:"]
    {
        let headers = format!("{name}: 2\r\n");
        rows.push(row(&format!("the header {name:?}"), posted(&headers, "{}"), &[400], Ends));
    }
    for coding in
        ["xchunked", "chunked, identity", "identity", "chunked;q=1", "chunked\u{b}", "\"chunked\"", "gzip"]
    {
        let headers = format!("transfer-encoding: {coding}\r\n");
        rows.push(row(&format!("the coding {coding:?}"), posted(&headers, "0\r\n\r\n"), &[400], Ends));
    }
    let extension = format!("0;{}\r\n\r\n", "x".repeat(20_000));
    let many_trailers = format!("0\r\n{}\r\n", "x: y\r\n".repeat(500));
    let long_trailer = format!("0\r\nx: {}\r\n\r\n", "y".repeat(40_000));
    for (what, body) in [
        ("a chunk larger than numbers go", "fffffffffffffffff\r\n{}"),
        ("a chunk of minus one", "-1\r\n{}\r\n0\r\n\r\n"),
        ("a chunk with a prefix", "0x2\r\n{}\r\n0\r\n\r\n"),
        ("a chunk with a sign", "+2\r\n{}\r\n0\r\n\r\n"),
        ("a chunk of no size", "\r\n{}\r\n0\r\n\r\n"),
        ("a chunk longer than it says", "1\r\n{}\r\n0\r\n\r\n"),
        ("a chunk whose line ends in a bare LF", "2\n{}\r\n0\r\n\r\n"),
        ("a chunk that ends in a bare LF", "2\r\n{}\n0\r\n\r\n"),
        ("chunk extensions without end", extension.as_str()),
        ("trailers without end", many_trailers.as_str()),
        ("a trailer without end", long_trailer.as_str()),
        ("a trailer that is none", "0\r\nno colon\r\n\r\n"),
    ] {
        rows.push(row(what, posted(chunked, body), &[413], Ends));
    }
    rows.push(row(
        "an extension and a trailer",
        posted(chunked, "2;a=b\r\n{}\r\n0\r\nx-a: b\r\n\r\n"),
        &[400, 200],
        GoesOn,
    ));
    let surplus = format!(
        "POST /v2/verify-receipt HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}surplus\r\n\r\n{ANOTHER}"
    );
    rows.push(row("bytes behind a body that are no request", surplus, &[400, 400], Ends));
    rows
}

fn requests() -> Vec<Row> {
    let with = |line: &str| format!("{line}\r\nhost: x\r\n\r\n");
    vec![
        row("one after another", ANOTHER.repeat(3), &[200; 3], GoesOn),
        row("a hundred at once", ANOTHER.repeat(100), &[200; 100], GoesOn),
        row("empty lines before it", format!("\r\n\r\n{ANOTHER}"), &[200], GoesOn),
        row("bare LF at the ends of lines", "GET /health HTTP/1.1\nhost: x\n\n", &[200], GoesOn),
        row("a bare CR in a header", "GET /health HTTP/1.1\r\nhost: x\r\nx: a\rb: c\r\n\r\n", &[400], Ends),
        row("a folded header", "GET /health HTTP/1.1\r\nhost: x\r\nx: a\r\n b\r\n\r\n", &[400], Ends),
        row("a header without colon", "GET /health HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n", &[400], Ends),
        row("NUL in a header", b"GET /health HTTP/1.1\r\nhost: x\r\nx: a\0b\r\n\r\n".to_vec(), &[400], Ends),
        row("NUL in the path", b"GET /hea\0lth HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), &[400], Ends),
        row("NUL in the method", b"G\0T /health HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), &[400], Ends),
        row("only NUL", vec![0; 4096], &[400], Ends),
        row("a TLS client", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20), &[400], Ends),
        row("no version", "GET /health\r\n\r\n", &[400], Ends),
        row("version 0.9", with("GET /health HTTP/0.9"), &[400], Ends),
        row("version 1.2", with("GET /health HTTP/1.2"), &[400], Ends),
        row("version 2.0", with("GET /health HTTP/2.0"), &[400], Ends),
        row("version 1.0", with("GET /health HTTP/1.0"), &[200], Ends),
        row("version 1.0 to go on", "GET /health HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", &[200], GoesOn),
        row("no preface after all", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &[400], Ends),
        row("a path in absolute form", with("GET http://elsewhere.example/health HTTP/1.1"), &[200], GoesOn),
        row("a host and no path", with("GET elsewhere.example:80 HTTP/1.1"), &[401], GoesOn),
        row("a tunnel", with("CONNECT elsewhere.example:443 HTTP/1.1"), &[401], GoesOn),
        row("a path without a slash", with("GET health HTTP/1.1"), &[401], GoesOn),
        row("a star", with("OPTIONS * HTTP/1.1"), &[204], GoesOn),
        row("a star for another method", with("GET * HTTP/1.1"), &[401], GoesOn),
        row("a path that climbs", with("GET /v2/../../etc/passwd HTTP/1.1"), &[401], GoesOn),
        row(
            "a path that is not UTF-8",
            b"GET /v2/outbound/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            &[400],
            Ends,
        ),
        row("a broken escape", with("GET /v2/status/%zz HTTP/1.1"), &[401], GoesOn),
        row("an unknown method", with("BREW /health HTTP/1.1"), &[405], GoesOn),
        row("a method in small letters", with("get /health HTTP/1.1"), &[405], GoesOn),
        row("a method without end", vec![b'A'; 200_000], &[431], Ends),
        row(
            "a path without end",
            format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(200_000)),
            &[431],
            Ends,
        ),
        row("a path of 33 KB", with(&format!("GET /{} HTTP/1.1", "a".repeat(33_000))), &[431], Ends),
        row("a path of 30 KB", with(&format!("GET /{} HTTP/1.1", "a".repeat(30_000))), &[401], GoesOn),
        row("64 headers", format!("GET /health HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(64)), &[200], GoesOn),
        row("65 headers", format!("GET /health HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(65)), &[431], Ends),
        row(
            "a header of 33 KB",
            format!("GET /health HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(33_000)),
            &[431],
            Ends,
        ),
        row(
            "a header without end",
            format!("GET /health HTTP/1.1\r\nx: {}", "y".repeat(500_000)),
            &[431],
            Ends,
        ),
        row(
            "an upgrade to HTTP/2",
            "GET /health HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
            &[200],
            GoesOn,
        ),
        row(
            "an upgrade to nothing known",
            "GET /health HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: \u{1},,;\r\n\r\n",
            &[400],
            Ends,
        ),
        row(
            "a WebSocket without a key",
            "GET /v2/stream HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            &[401],
            GoesOn,
        ),
        row(
            "an expectation nobody can meet",
            format!("GET /health HTTP/1.1\r\nhost: x\r\nexpect: miracles\r\n\r\n{ANOTHER}"),
            &[200, 200],
            GoesOn,
        ),
    ]
}

/// Rows that need an account: uploads that are announced, cut short, or followed by something.
fn uploads(key: &str) -> Vec<Row> {
    let payload = "nothing in particular";
    let name = hash(payload.as_bytes());
    let put = |headers: &str, body: &str| {
        format!("PUT /v3/blobs/{name} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n{headers}\r\n{body}")
    };
    let length = payload.len();
    let whole = format!("content-length: {length}\r\n");
    vec![
        row(
            "an upload and a request behind it",
            put(&whole, &format!("{payload}{ANOTHER}")),
            &[200, 200],
            GoesOn,
        ),
        row(
            "an upload that asks whether to go on",
            put(&format!("{whole}expect: 100-continue\r\n"), payload),
            &[100, 200],
            GoesOn,
        ),
        row(
            "the same in chunks",
            put("transfer-encoding: chunked\r\n", &format!("{length:x}\r\n{payload}\r\n0\r\n\r\n{ANOTHER}")),
            &[200, 200],
            GoesOn,
        ),
        row("bytes behind an upload", put(&whole, &format!("{payload}{payload}\r\n\r\n")), &[200, 400], Ends),
        row("a length beyond all limits", put("content-length: 18446744073709551614\r\n", ""), &[431], Ends),
        row(
            "a length of many terabytes",
            put("content-length: 9223372036854775807\r\n", payload),
            &[413],
            Ends,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_answered_or_cut_as_the_table_says_and_leave_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let process = Process::start(dir.path());
    let address = process.url.strip_prefix("http://").unwrap();
    let user = User::new(&process.url).await;
    let rows: Vec<Row> = [framing(), requests(), uploads(&user.key)].into_iter().flatten().collect();
    // Once before it is measured: what the first use of a thing allocates is no leak.
    let faults: Vec<String> =
        join_all(rows.iter().map(|row| judge(address, row))).await.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), rows.len(), faults.join("\n"));

    let idle = Vitals::of(process.id());
    let held = join_all((0..20).map(|_| TcpStream::connect(address))).await;
    until("open connections are seen", async || {
        Vitals::of(process.id()).descriptors >= idle.descriptors + 10
    })
    .await;
    drop(held);
    for _ in 0..5 {
        join_all(rows.iter().map(|row| judge(address, row))).await;
    }
    let spare = 4;
    until("every descriptor is back", async || {
        Vitals::of(process.id()).descriptors <= idle.descriptors + spare
    })
    .await;
    let grown = Vitals::of(process.id()).memory.saturating_sub(idle.memory);
    assert!(grown < 16 << 20, "{} rows cost {grown} bytes for good", 5 * rows.len());
    assert_eq!(user.upload_raw(noise(1, 5000), "").await.status(), 200);
}

/// A listener over handlers of this file, with a clock that runs ahead.
async fn start() -> std::net::SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let large = || async {
        let piece = Bytes::from(vec![b'x'; 64 << 10]);
        Body::from_stream(futures::stream::repeat(piece).take(1000).map(Ok::<_, std::io::Error>))
    };
    let router = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/large", get(large))
        .route("/length", post(|body: Bytes| async move { body.len().to_string() }));
    let listener = Listener {
        socket,
        router,
        tls: None,
        altogether: Arc::new(|| 100),
        per_address: Arc::new(|_| None),
        upgrades: true,
        connections: Metrics::new().unwrap().connections("public"),
    };
    tokio::spawn(listener.serve(CancellationToken::new(), Duration::from_secs(1)));
    address
}

/// Sends a byte of `drip` each second behind `first`; how long until the relay hangs up.
async fn dripped(first: &str, drip: u8) -> (Duration, String) {
    let mut stream = TcpStream::connect(start().await).await.unwrap();
    stream.write_all(first.as_bytes()).await.unwrap();
    let began = Instant::now();
    let (mut from, mut to) = stream.split();
    let mut said = Vec::new();
    let dripping = async {
        while to.write_all(&[drip]).await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        _ = from.read_to_end(&mut said) => {}
        () = dripping => {}
        () = sleep(Duration::from_secs(3600)) => {}
    }
    (began.elapsed(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(start_paused = true)]
async fn a_request_that_drips_in_is_cut() {
    in_small_steps();
    let (after, said) = dripped("GET / HTTP/1.1\r\nhost: x\r\nx: ", b'y').await;
    assert!((25..=35).contains(&after.as_secs()), "header: {after:?}");
    assert!(!said.contains(" 200 "), "{said}");
    let (after, said) =
        dripped("POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n", b'y').await;
    assert!((18..=40).contains(&after.as_secs()), "body: {after:?}");
    assert!(!said.contains(" 200 "), "{said}");
    // A chunk of one byte has five bytes around it; only the one counts.
    let chunked = "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5000\r\n";
    let (after, said) = dripped(chunked, b'y').await;
    assert!((18..=40).contains(&after.as_secs()), "chunk: {after:?}");
    assert!(!said.contains(" 200 "), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_drips_out_is_cut_and_one_that_is_taken_slowly_is_not() {
    in_small_steps();
    let read_at = async |bytes_a_second: usize, seconds: u64| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(start().await).await.unwrap();
        stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut piece = vec![0; bytes_a_second];
        for second in 0..seconds {
            // What the kernels hold between us is read on after the relay hung up.
            if stream.read_exact(&mut piece).await.is_err() {
                return Some(second);
            }
            sleep(Duration::from_secs(1)).await;
        }
        None
    };
    let cut = read_at(100, 400_000).await;
    assert!(cut.is_some(), "100 bytes a second were given for days");
    assert_eq!(read_at(8192, 1200).await, None, "8 KiB a second are enough");
}
