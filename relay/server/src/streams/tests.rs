use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::metrics::Metrics;

fn streams() -> Streams {
    Streams::new(CancellationToken::new(), Metrics::new().unwrap().streams)
}

fn who(account: u8) -> Principal {
    Principal {
        account: AccountId([account; 16]),
        kid: format!("k_{account}"),
        plan: "pro".to_owned(),
        is_primary: true,
    }
}

/// The bytes of a server's frame: these are short and not masked.
async fn frame(peer: &mut DuplexStream) -> Option<(u8, Vec<u8>)> {
    let kind = peer.read_u8().await.ok()? & 0x0f;
    let length = match peer.read_u8().await.ok()? {
        126 => usize::from(peer.read_u16().await.ok()?),
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    peer.read_exact(&mut payload).await.ok()?;
    Some((kind, payload))
}

/// A client's frame with a mask of zeros.
fn masked(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0x80 | kind, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A peer that heard the first word.
async fn connected(streams: &Streams, buffer: usize) -> DuplexStream {
    let (ours, mut theirs) = duplex(buffer);
    streams.serve(streams.take_seat(&who(1)).unwrap(), ours);
    let (kind, text) = frame(&mut theirs).await.unwrap();
    let text: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((kind, &text["type"]), (TEXT, &"connected".into()));
    theirs
}

/// The code that the peer is sent away with.
async fn close_code(peer: &mut DuplexStream) -> Option<u16> {
    loop {
        let (kind, payload) = frame(peer).await?;
        if kind == CLOSE {
            return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        }
    }
}

async fn all_gone(streams: &Streams) {
    for _ in 0..1000 {
        if streams.sockets().open == 0 {
            assert!(streams.sockets().by_account.is_empty(), "nothing is remembered of those who left");
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("a seat is still taken");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_let_go_and_one_that_does_stays() {
    let streams = streams();
    let began = tokio::time::Instant::now();
    let mut silent = connected(&streams, 1000).await;
    let mut living = connected(&streams, 1000).await;
    let answering = async {
        for _ in 0..20 {
            let (kind, payload) = frame(&mut living).await.unwrap();
            assert_eq!((kind, payload.len()), (PING, 0));
            living.write_all(&masked(PONG, &[])).await.unwrap();
        }
    };
    let waiting = async {
        while frame(&mut silent).await.is_some() {}
        began.elapsed()
    };
    let ((), gone_after) = tokio::join!(answering, waiting);
    assert_eq!(gone_after.as_secs(), 90);
    assert_eq!(began.elapsed().as_secs(), 600);
    assert_eq!(streams.sockets().open, 1);
    drop(living);
    all_gone(&streams).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_holds_nobody_up_and_is_sent_away() {
    let streams = streams();
    let mut stuck = connected(&streams, 100).await;
    let mut reading = connected(&streams, 1 << 20).await;
    for n in 0..INBOX + 2 {
        streams.tell(who(1).account, || format!("word {n} {}", "x".repeat(300)));
        tokio::task::yield_now().await;
    }
    // Telling never waited; the other reader has all of it.
    for n in 0..INBOX + 2 {
        let (kind, words) = frame(&mut reading).await.unwrap();
        assert_eq!(
            (kind, String::from_utf8(words).unwrap().starts_with(&format!("word {n} "))),
            (TEXT, true)
        );
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(streams.sockets().open, 1, "sent away at once, not after it was waited for");
    let mut rest = Vec::new();
    stuck.read_to_end(&mut rest).await.unwrap();
    streams.tell(AccountId([9; 16]), || panic!("nobody listens there"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_in_the_middle_of_a_word_is_sent_away_in_seconds() {
    let streams = streams();
    let _stuck = connected(&streams, 100).await;
    let began = tokio::time::Instant::now();
    streams.tell(who(1).account, || "x".repeat(300));
    while streams.sockets().open > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!((10..12).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_talks_is_sent_away() {
    let streams = streams();
    let mut large = connected(&streams, 1 << 16).await;
    // Only the announcement: nothing of it is waited for, nor room made for it.
    large.write_all(&[0x80 | 2, 0x80 | 127, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]).await.unwrap();
    assert_eq!(close_code(&mut large).await, Some(1009));

    let mut flooding = connected(&streams, 1 << 16).await;
    flooding.write_all(&masked(PING, b"!").repeat(100)).await.unwrap();
    assert_eq!(close_code(&mut flooding).await, Some(1009));

    let mut fragmenting = connected(&streams, 1 << 16).await;
    let begin = masked(TEXT, &[b'x'; 100]);
    let unfinished = [&[TEXT], &begin[1..]].concat();
    let more = [&[0], &begin[1..]].concat();
    fragmenting.write_all(&[unfinished, more.repeat(11)].concat()).await.unwrap();
    assert_eq!(close_code(&mut fragmenting).await, Some(1009));

    let mut unmasked = connected(&streams, 1 << 16).await;
    unmasked.write_all(&[0x81, 1, b'x']).await.unwrap();
    assert_eq!(close_code(&mut unmasked).await, Some(1002));
    drop((large, flooding, fragmenting, unmasked));
    all_gone(&streams).await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_and_the_end_of_the_relay_have_codes_of_their_own() {
    let streams = streams();
    let mut peer = connected(&streams, 1000).await;
    streams.keep_only(&HashSet::from(["k_2".to_owned()]));
    assert_eq!(close_code(&mut peer).await, Some(4401));
    let mut peer = connected(&streams, 1000).await;
    let _stuck = connected(&streams, 40).await;
    streams.0.closing.cancel();
    assert_eq!(close_code(&mut peer).await, Some(1001));
    peer.write_all(&masked(CLOSE, &1001_u16.to_be_bytes())).await.unwrap();
    streams.close().await;
    all_gone(&streams).await;
}

#[test]
fn places_are_bounded_for_each_account_and_altogether() {
    let streams = streams();
    let held: Vec<_> = (0..MOST_PER_ACCOUNT).map(|_| streams.take_seat(&who(1)).unwrap()).collect();
    assert_eq!(streams.take_seat(&who(1)).unwrap_err(), NoSeat::Account);
    let other = streams.take_seat(&who(2)).unwrap();
    drop(held);
    drop(streams.take_seat(&who(1)).unwrap());
    drop(other);
    streams.sockets().open = MOST;
    assert_eq!(streams.take_seat(&who(3)).unwrap_err(), NoSeat::Relay);
    streams.sockets().open = 0;
    assert!(streams.sockets().by_account.is_empty(), "nothing is remembered of those who left");
}
