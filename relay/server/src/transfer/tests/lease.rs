use crate::test_relay::{TestRelay, read};

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
