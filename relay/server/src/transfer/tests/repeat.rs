use std::time::Duration;

use crate::test_relay::{TestRelay, read};

const PAYLOAD: &[u8] = b"one payload";

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_sent_during_their_last_read_are_kept_anew() {
    let relay = TestRelay::start().await;
    let first = relay.upload(PAYLOAD).await.blob;
    let claimed = relay.lease(PAYLOAD).await;
    let reading = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        read(claimed).await
    };
    let (second, bytes) = tokio::join!(relay.upload(PAYLOAD), reading);
    assert_eq!(bytes, PAYLOAD);
    assert_ne!(second.blob.id, first.id);
    assert_eq!(read(relay.lease(PAYLOAD).await).await, PAYLOAD, "what was acknowledged can be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_sent_after_a_read_broke_off_are_still_the_first_upload() {
    let relay = TestRelay::start().await;
    let first = relay.upload(PAYLOAD).await.blob;
    drop(relay.lease(PAYLOAD).await);
    assert_eq!(relay.upload(PAYLOAD).await.blob.id, first.id);
}
