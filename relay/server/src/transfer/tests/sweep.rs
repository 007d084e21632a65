use std::time::Duration;

use crate::store::blob_rows::{self, BlobRow, State};
use crate::store::meta::MetaError;
use crate::test_relay::{TestRelay, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_ends_while_the_sweep_looks_at_it_is_counted_once() {
    let relay = TestRelay::start().await;
    let live = relay.upload(b"one payload").await.blob;
    let seen_before = BlobRow { state: State::Pending, log_index: None, ..live };
    let became_live = relay.transfers().settle_unfinished(seen_before).await.unwrap();
    assert!(!became_live, "it was live already, and counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_upload_whose_name_was_taken_is_counted_until_it_is_burned() {
    let relay = TestRelay::start().await;
    let expired = relay.upload_for(b"one payload", Duration::from_millis(1)).await.unwrap().blob;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let unread = relay.upload(b"one payload").await.blob;
    assert_ne!(expired.id, unread.id);

    let relay = relay.restart().await;
    let meta = relay.transfers().0.vault.meta.clone();
    let gone = || async {
        let row = meta.read(move |c| Ok::<_, MetaError>(blob_rows::by_id(c, expired.id)?)).await;
        row.unwrap().is_none()
    };
    until("the expired one is burned", gone).await;
    let counts = relay.transfers().in_flight();
    assert_eq!((counts.blobs, counts.bytes), (1, unread.size));
}
