use super::*;
use crate::test_relay::{TestRelay, hang_up_when, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_revocation_nobody_waited_for_stops_working_all_the_same() {
    let relay = TestRelay::start().await;
    let accounts = &relay.app.store.accounts;
    let (key, row) = accounts.create(NewKey::default()).await.unwrap();
    let revoked_in_the_database = || async { !accounts.list().await.unwrap()[0].active };
    hang_up_when(accounts.revoke(&row.kid), revoked_in_the_database).await;
    until("the key is refused", || async { accounts.authenticate(key.reveal()).is_none() }).await;
}
