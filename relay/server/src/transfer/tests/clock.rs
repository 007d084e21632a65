//! The clock set by somebody while payloads wait. The relay under test is swept by clocks of the test's own; its own sweep, which
//! goes by the machine's, is ended first.

use std::time::Duration;

use http_body_util::BodyExt as _;

use crate::store::now_ms;
use crate::test_relay::{ACCOUNT, TestRelay, hash, read};

const DAY_MS: i64 = 86_400_000;
const BOOTED: Duration = Duration::from_secs(1000);

async fn swept_by_hand() -> TestRelay {
    let relay = TestRelay::start().await;
    relay.transfers().end_sweep().await;
    relay
}

fn later(seconds: u64) -> (i64, Duration) {
    (now_ms() + i64::try_from(seconds * 1000).unwrap(), BOOTED + Duration::from_secs(seconds))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_ahead_and_right_again_burns_nothing_and_one_that_stays_ahead_does() {
    let relay = swept_by_hand().await;
    let transfers = relay.transfers();
    relay.upload_for(b"waits", Duration::from_secs(3 * 3600)).await.unwrap();
    let sweep = async |ahead_ms: i64, seconds: u64| {
        let (wall_ms, since_boot) = later(seconds);
        transfers.sweep_at(wall_ms + ahead_ms, since_boot).await.unwrap()
    };
    assert_eq!(sweep(0, 0).await, 0);
    assert_eq!(sweep(DAY_MS, 2).await, 0, "it has expired by the leap alone");
    let by = |wall_ms| transfers.status(ACCOUNT, hash(b"waits"), wall_ms);
    assert!(by(now_ms() + DAY_MS).await.unwrap().is_none(), "and is not readable meanwhile");
    assert_eq!(sweep(0, 4).await, 0);
    assert!(by(now_ms()).await.unwrap().is_some(), "it is readable again");

    assert_eq!(sweep(DAY_MS, 6).await, 0);
    assert_eq!(sweep(DAY_MS, 3000).await, 0);
    assert_eq!(sweep(DAY_MS, 3700).await, 1, "after an hour the clock is believed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_burns_nothing_early_and_what_has_expired_an_hour_after_it_is_right_again() {
    let relay = swept_by_hand().await;
    let transfers = relay.transfers();
    relay.upload_for(b"waits", Duration::from_secs(60)).await.unwrap();
    let steps = [(0, 0, 0), (-DAY_MS, 2, 0), (-DAY_MS, 50, 0), (0, 52, 0), (0, 61, 0), (0, 3700, 1)];
    for (ahead_ms, seconds, burned) in steps {
        let (wall_ms, since_boot) = later(seconds);
        let swept = transfers.sweep_at(wall_ms + ahead_ms, since_boot).await.unwrap();
        assert_eq!(swept, burned, "{ahead_ms} ms ahead after {seconds} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_reader_that_takes_nothing_for_so_long_is_cut_off() {
    let relay = swept_by_hand().await;
    let payload = vec![7; 2_000_000];
    relay.upload(&payload).await;
    let mut claimed = relay.lease(&payload).await;
    relay.transfers().cut_stalled(Duration::from_secs(60)).await;
    let first = claimed.body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(!first.is_empty());
    tokio::time::sleep(Duration::from_millis(50)).await;
    relay.transfers().cut_stalled(Duration::from_millis(20)).await;
    // As hyper does: the first error ends the body.
    while let Some(Ok(_)) = claimed.body.frame().await {}
    assert!(claimed.body.frame().await.is_some_and(|frame| frame.is_err()), "its lease has ended");
    drop(claimed);
    assert_eq!(read(relay.lease(&payload).await).await, payload, "and the view can be had again");
}
