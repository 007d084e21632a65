use crate::test_relay::{ACCOUNT, TestRelay, hash};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_taken_back_while_its_key_is_still_there() {
    let relay = TestRelay::start().await;
    relay.upload(b"one payload").await;
    relay.transfers().0.vault.keys.close();
    let taken_back = relay.transfers().cancel(ACCOUNT, hash(b"one payload")).await;
    assert!(taken_back.is_err(), "the slot was not overwritten: {taken_back:?}");
}
