//! HTTP/2 as nobody should speak it. Each attack is tried against a server without our limits first, where it must succeed: what
//! cannot harm anybody proves nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use paramant_relay::control::public_tls;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::boundless::{Inside, both, limited};
use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WHOLE, WINDOW_UPDATE, frame, in_small_steps, literal, request, text,
};

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

const SOON: Duration = Duration::from_secs(5);

fn odd(number: u32) -> u32 {
    2 * number + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_reset_as_fast_as_they_are_opened_end_the_connection() {
    let attack = async |address, _| {
        let mut frames = Frames::connect(address, &[]).await;
        let pairs: Vec<u8> = (0..1000)
            .flat_map(|n| {
                let opened = frame(HEADERS, WHOLE, odd(n), &request("GET", "/never"));
                [opened, frame(RST_STREAM, 0, odd(n), &CANCEL.to_be_bytes())].concat()
            })
            .collect();
        frames.raw(&pairs).await;
        let lives = frames.answers(odd(1000)).await;
        (lives, if lives { None } else { frames.ended(SOON).await })
    };
    let (without, with) = both(attack).await;
    assert_eq!(without, (true, None), "without a limit nobody minds");
    assert!(!with.0 && with.1.is_some(), "{with:?}");
}

#[tokio::test(start_paused = true)]
async fn streams_given_up_one_after_another_end_the_connection_and_a_page_that_is_left_does_not() {
    in_small_steps();
    let give_up = async |frames: &mut Frames, inside: &Inside, from: u32, count: u32| {
        for n in from..from + count {
            if !frames.get(odd(n), "/never").await {
                return;
            }
            let seen = async || {
                while inside.now() == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            drop(tokio::time::timeout(SOON, seen()).await);
            frames.send(RST_STREAM, 0, odd(n), &CANCEL.to_be_bytes()).await;
            while inside.now() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let attack = async |address, inside: Inside| {
        let mut frames = Frames::connect(address, &[]).await;
        give_up(&mut frames, &inside, 0, 90).await;
        let after_a_page = frames.answers(odd(90)).await;
        give_up(&mut frames, &inside, 91, 300).await;
        (after_a_page, frames.answers(odd(400)).await)
    };
    let (without, with) = both(attack).await;
    assert_eq!((without, with), ((true, true), (true, false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_without_end_is_cut() {
    for piece in [vec![], literal("x-a", &"y".repeat(500))] {
        let attack = async |address, _| {
            let mut frames = Frames::connect(address, &[]).await;
            frames.settled().await;
            frames.send(HEADERS, END_STREAM, 1, &request("GET", "/")).await;
            for _ in 0..5000 {
                if !frames.send(CONTINUATION, 0, 1, &piece).await {
                    break;
                }
            }
            frames.ended(Duration::from_secs(1)).await
        };
        let (without, with) = both(attack).await;
        assert_eq!(without, None, "without a limit it goes on and on");
        assert_eq!(with, Some(Some(ENHANCE_YOUR_CALM)), "{} bytes a frame", piece.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_bytes_that_stand_for_megabytes_of_headers_are_refused() {
    let attack = async |address, _| {
        let mut frames = Frames::connect(address, &[]).await;
        frames.settled().await;
        // Put into the table once, then named two thousand times by one byte each.
        let kept = [&[0x40][..], &text("x-a"), &text(&"y".repeat(3900))].concat();
        let block = [&request("GET", "/")[..], &kept, &vec![0x80 | 62; 2000]].concat();
        frames.send(HEADERS, WHOLE, 1, &block).await;
        frames.until(Duration::from_secs(10), |frame| frame.stream == 1 && frame.is_ok()).await.is_some()
    };
    assert_eq!(both(attack).await, (true, false));
    // Just over the limit, and nothing else wrong: an answer says so, and the connection goes on.
    let attack = async |address, _| {
        let mut frames = Frames::connect(address, &[]).await;
        let kept = [&[0x40][..], &text("x-a"), &text(&"y".repeat(1000))].concat();
        let block = [&request("GET", "/")[..], &kept, &[0x80 | 62; 17]].concat();
        frames.send(HEADERS, WHOLE, 1, &block).await;
        let told = frames.until(SOON, |frame| frame.stream == 1).await;
        (told.is_some_and(|frame| frame.is_ok()), frames.answers(3).await)
    };
    assert_eq!(both(attack).await, ((true, true), (false, true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_has_sixty_four_streams_at_once() {
    let attack = async |address, inside: Inside| {
        let mut frames = Frames::connect(address, &[]).await;
        // The server's limit is in force once it was acknowledged.
        frames.settled().await;
        for n in 0..120 {
            frames.get(odd(n), "/never").await;
        }
        let mut refused = async || {
            let like = |frame: &Frame| frame.kind == RST_STREAM && frame.code() == REFUSED_STREAM;
            frames.until(Duration::from_secs(1), like).await.is_some()
        };
        let mut count = 0;
        while count < 56 && refused().await {
            count += 1;
        }
        sleep(Duration::from_millis(500)).await;
        (count, inside.now())
    };
    assert_eq!(both(attack).await, ((0, 120), (56, 64)));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_without_content_end_the_connection() {
    for (what, piece, count) in [("empty", &b""[..], 200_000), ("a byte each", b"x", 200_000)] {
        let inside = Inside::default();
        let mut frames = Frames::connect(limited(&inside, None).await, &[]).await;
        frames.send(HEADERS, END_HEADERS, 1, &request("POST", "/never")).await;
        let flood = frame(DATA, 0, 1, piece).repeat(1000);
        for _ in 0..count / 1000 {
            if !frames.raw(&flood).await {
                break;
            }
        }
        let ended = frames.ended(SOON).await;
        assert!(ended.is_some(), "{what}: not ended");
        crate::relay::until("its handler is let go", async || inside.now() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_merely_useless_is_borne() {
    let settings: Vec<u8> = [&4_u16.to_be_bytes()[..], &65_535_u32.to_be_bytes()].concat();
    for (what, useless) in [
        ("settings", frame(SETTINGS, 0, 0, &settings)),
        ("pings", frame(PING, 0, 0, &[7; 8])),
        ("priorities", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16])),
        ("window updates", frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        ("frames of no known kind", frame(77, 0, 0, &[1; 100])),
    ] {
        let inside = Inside::default();
        let address = limited(&inside, None).await;
        let mut frames = Frames::connect(address, &[]).await;
        frames.answers(1).await;
        assert!(frames.raw(&useless.repeat(20_000)).await, "{what}");
        assert!(frames.answers(3).await, "{what}: the connection goes on");
        let began = Instant::now();
        assert!(Frames::connect(address, &[]).await.answers(1).await);
        assert!(began.elapsed() < SOON, "{what}: others wait {:?}", began.elapsed());
    }
}

/// What a server must say to frames that break a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The connection ends with this code.
    Away(u32),
    /// The stream does, and the connection goes on.
    Reset(u32),
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_a_rule_loses_the_stream_or_the_connection() {
    // h2 says PROTOCOL_ERROR where the specification has a more precise code, and ends a connection where a stream would do.
    let get = || request("GET", "/");
    let with = |more: &[u8]| frame(HEADERS, WHOLE, 1, &[&get()[..], more].concat());
    let window = |stream, more: u32| frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    let setting =
        |id: u16, value: u32| frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    let open = || frame(HEADERS, END_HEADERS, 1, &request("POST", "/never"));
    let without_path = [&[0x02][..], &text("GET"), &[0x86, 0x01], &text("relay.example")].concat();
    let rows: Vec<(&str, Vec<u8>, Told)> = vec![
        ("a window that grows by nothing", window(0, 0), Told::Away(PROTOCOL_ERROR)),
        (
            "a stream's window that grows by nothing",
            [open(), window(1, 0)].concat(),
            Told::Away(PROTOCOL_ERROR),
        ),
        ("a window that overflows", window(0, 0x7fff_ffff), Told::Away(FLOW_CONTROL_ERROR)),
        (
            "a stream's window that overflows",
            [open(), window(1, 0x7fff_ffff)].concat(),
            Told::Reset(FLOW_CONTROL_ERROR),
        ),
        ("a first window that is too large", setting(4, 0x8000_0000), Told::Away(PROTOCOL_ERROR)),
        ("a frame size that is too small", setting(5, 100), Told::Away(PROTOCOL_ERROR)),
        ("half a setting", frame(SETTINGS, 0, 0, &[0; 5]), Told::Away(PROTOCOL_ERROR)),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[]), Told::Away(PROTOCOL_ERROR)),
        ("a ping of seven bytes", frame(PING, 0, 0, &[0; 7]), Told::Away(PROTOCOL_ERROR)),
        ("a ping of a stream", frame(PING, 0, 1, &[0; 8]), Told::Away(PROTOCOL_ERROR)),
        ("a frame larger than allowed", frame(DATA, 0, 1, &vec![0; 16_385]), Told::Away(FRAME_SIZE_ERROR)),
        ("data of no stream", frame(DATA, 0, 0, b"x"), Told::Away(PROTOCOL_ERROR)),
        ("data of a stream that was never opened", frame(DATA, 0, 1, b"x"), Told::Away(PROTOCOL_ERROR)),
        ("headers of no stream", frame(HEADERS, WHOLE, 0, &get()), Told::Away(PROTOCOL_ERROR)),
        ("a stream of the server's", frame(HEADERS, WHOLE, 2, &get()), Told::Away(PROTOCOL_ERROR)),
        (
            "a promise by the client",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &get()].concat()),
            Told::Away(PROTOCOL_ERROR),
        ),
        (
            "a continuation of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &get()),
            Told::Away(PROTOCOL_ERROR),
        ),
        (
            "something else inside a header",
            [frame(HEADERS, 0, 1, &get()), frame(PING, 0, 0, &[0; 8])].concat(),
            Told::Away(PROTOCOL_ERROR),
        ),
        ("padding longer than its frame", frame(DATA, 8, 1, &[200, 1]), Told::Away(PROTOCOL_ERROR)),
        (
            "a header that refers to nothing",
            frame(HEADERS, WHOLE, 1, &[0xff, 0xff, 0xff, 0x7f]),
            Told::Away(PROTOCOL_ERROR),
        ),
        ("an integer without end", frame(HEADERS, WHOLE, 1, &[0xff; 200]), Told::Away(PROTOCOL_ERROR)),
        (
            "a string longer than its frame",
            frame(HEADERS, WHOLE, 1, &[0, 0x7f, 0xff, 0x7f, b'x']),
            Told::Away(PROTOCOL_ERROR),
        ),
        ("a name in capitals", with(&literal("X-A", "b")), Told::Away(PROTOCOL_ERROR)),
        (
            "a header of another protocol",
            with(&literal("transfer-encoding", "chunked")),
            Told::Reset(PROTOCOL_ERROR),
        ),
        (
            "a pseudo-header behind others",
            with(&[literal("x-a", "b"), literal(":path", "/")].concat()),
            Told::Reset(PROTOCOL_ERROR),
        ),
        ("a path twice", with(&literal(":path", "/")), Told::Reset(PROTOCOL_ERROR)),
        ("no path", frame(HEADERS, WHOLE, 1, &without_path), Told::Reset(PROTOCOL_ERROR)),
        (
            "less than it said",
            [
                frame(
                    HEADERS,
                    END_HEADERS,
                    1,
                    &[&request("POST", "/length")[..], &literal("content-length", "9")].concat(),
                ),
                frame(DATA, END_STREAM, 1, b"four"),
            ]
            .concat(),
            Told::Reset(PROTOCOL_ERROR),
        ),
        (
            "more than it said",
            [
                frame(
                    HEADERS,
                    END_HEADERS,
                    1,
                    &[&request("POST", "/length")[..], &literal("content-length", "2")].concat(),
                ),
                frame(DATA, END_STREAM, 1, b"four"),
            ]
            .concat(),
            Told::Reset(PROTOCOL_ERROR),
        ),
    ];
    let mut faults = Vec::new();
    for (what, bytes, expected) in &rows {
        let inside = Inside::default();
        let address = limited(&inside, None).await;
        let mut frames = Frames::connect(address, &[]).await;
        frames.settled().await;
        frames.raw(bytes).await;
        let told = frames.until(SOON, |frame| matches!(frame.kind, GOAWAY | RST_STREAM)).await;
        let told = told.map(|frame| match frame.kind {
            GOAWAY => Told::Away(frame.code()),
            _ => Told::Reset(frame.code()),
        });
        let goes_on = frames.answers(5).await;
        if told != Some(*expected) || goes_on != matches!(expected, Told::Reset(_)) {
            faults.push(format!("{what}: {told:?}, goes on: {goes_on}; expected {expected:?}"));
        }
        if !Frames::connect(address, &[]).await.answers(1).await {
            faults.push(format!("{what}: others are not answered"));
        }
    }
    assert!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), rows.len(), faults.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_opens_no_window_is_reset_and_one_that_opens_a_little_is_not() {
    in_small_steps();
    let attack = async |address, inside: Inside| {
        let mut frames = Frames::connect(address, &[(4, 0)]).await;
        for n in 0..20 {
            frames.get(odd(n), "/large").await;
        }
        // The connection has room; the streams have none.
        frames.send(WINDOW_UPDATE, 0, 0, &1_000_000_000_u32.to_be_bytes()).await;
        let slow = odd(20);
        frames.get(slow, "/large").await;
        for _ in 0..50 {
            sleep(Duration::from_secs(4)).await;
            frames.send(WINDOW_UPDATE, 0, slow, &10_000_u32.to_be_bytes()).await;
        }
        let after_200_s = inside.now();
        sleep(Duration::from_secs(100)).await;
        (after_200_s, inside.now(), frames.answers(odd(21)).await)
    };
    let ((without, ..), with) = both(attack).await;
    assert_eq!((without, with), (21, (1, 0, true)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_left_half_open_is_no_place_taken() {
    in_small_steps();
    // Answered without its end being waited for: these make room by themselves.
    let inside = Inside::default();
    let mut frames = Frames::connect(limited(&inside, None).await, &[]).await;
    for n in 0..300 {
        frames.send(HEADERS, END_HEADERS, odd(n), &request("GET", "/")).await;
        let answered = frames.until(SOON, |frame| frame.stream == odd(n) && frame.is_ok()).await;
        assert!(answered.is_some(), "stream {n}");
    }
    // Whose body is waited for: cut when its sender is slower than the pace.
    let began = Instant::now();
    for n in 300..364 {
        frames.send(HEADERS, END_HEADERS, odd(n), &request("POST", "/length")).await;
    }
    let over = frames.until(Duration::from_secs(120), |frame| frame.stream == odd(363)).await;
    assert!(over.is_some_and(|frame| !frame.is_ok()));
    assert!((15..60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(frames.answers(odd(400)).await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_only_answers_pings_is_ended() {
    in_small_steps();
    let attack = async |address, _| {
        let mut frames = Frames::connect(address, &[]).await;
        assert!(frames.answers(1).await);
        let began = Instant::now();
        let ended = frames.ended(Duration::from_secs(600)).await;
        (ended, began.elapsed().as_secs(), frames.pings_answered.load(Ordering::SeqCst))
    };
    let ((without, ..), (with, after, pings)) = both(attack).await;
    assert_eq!((without, with), (None, Some(Some(NO_ERROR))));
    assert!((55..80).contains(&after) && pings >= 2, "{after} s, {pings} pings");
}

#[tokio::test(start_paused = true)]
async fn who_chooses_http_2_and_does_not_begin_it_is_cut() {
    in_small_steps();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["relay.example".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let config = public_tls(&certificate, &key).unwrap();
    let address = limited(&Inside::default(), Some(Arc::new(move || Some(config.clone())))).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    for protocol in [&b"h2"[..], b"http/1.1"] {
        let mut config =
            rustls::ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        for begun in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = "relay.example".try_into().unwrap();
            let mut stream = connector.connect(name, stream).await.unwrap();
            let began = Instant::now();
            tokio::io::AsyncWriteExt::write_all(&mut stream, begun).await.unwrap();
            let mut said = Vec::new();
            let reading = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut said);
            let ended = tokio::time::timeout(Duration::from_secs(600), reading).await;
            let (protocol, after) = (String::from_utf8_lossy(protocol), began.elapsed().as_secs());
            assert!(ended.is_ok() && after < 45, "{protocol}, {} bytes sent: {after} s", begun.len());
        }
    }
}
