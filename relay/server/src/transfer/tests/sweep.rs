use std::time::Duration;

use crate::store::blob_rows::{self, BlobRow, State};
use crate::store::meta::MetaError;
use crate::test_relay::{ACCOUNT, TestRelay, until};

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

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_pass_at_start_makes_live_is_told_of_as_any_other() {
    let relay = TestRelay::start().await;
    let lookup = relay.upload(b"one payload").await.blob.lookup;
    // As a crash leaves it between its log entry and its row: the same transaction would have told of it.
    let meta = relay.transfers().0.vault.meta.clone();
    let undo =
        "UPDATE blobs SET state = 0, log_index = NULL, device = 'd'; DELETE FROM audit; DELETE FROM activity;
                INSERT INTO accounts (id, created_ms) SELECT account, 0 FROM blobs;";
    meta.write(move |c| Ok::<_, MetaError>(c.execute_batch(undo)?)).await.unwrap();

    let relay = relay.restart().await;
    let views = &relay.app.store.views;
    let chain = views.audit(ACCOUNT, 10).await.unwrap();
    assert!(chain.valid);
    assert_eq!(chain.newest.iter().map(|row| &row.0["event"]).collect::<Vec<_>>(), ["inbound"]);
    let next = views.next_for_device(ACCOUNT, "d".to_owned()).await.unwrap();
    assert_eq!(next.map(|next| next.lookup), Some(lookup));
    assert_eq!(views.activity(ACCOUNT).await.unwrap().inbound, 1);
}
