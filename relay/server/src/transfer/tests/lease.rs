use crate::store::now_ms;
use crate::test_relay::{ACCOUNT, TestRelay, hash, read, until};

const PAYLOAD: &[u8] = b"one payload";

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_were_sent_no_byte_use_up_no_view() {
    let relay = TestRelay::start().await;
    relay.upload(PAYLOAD).await;
    for _ in 0..6 {
        drop(relay.lease(PAYLOAD).await);
    }
    assert_eq!(read(relay.lease(PAYLOAD).await).await, PAYLOAD);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_is_reading_is_not_available_until_the_read_breaks_off() {
    let relay = TestRelay::start().await;
    relay.upload(PAYLOAD).await;
    let available =
        async || relay.transfers().status(ACCOUNT, hash(PAYLOAD), now_ms()).await.unwrap().is_some();
    assert!(available().await);
    let claimed = relay.lease(PAYLOAD).await;
    assert!(!available().await, "a GET would answer 404 now");
    drop(claimed);
    until("it is available again", available).await;
}
