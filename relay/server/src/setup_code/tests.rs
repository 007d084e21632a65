use super::*;
use crate::test_relay::{TestRelay, hang_up_when, until};

const CODE: &str = "ABCD-EFGH";

/// A relay without an admin token whose set-up code is known.
async fn waiting() -> TestRelay {
    let relay = TestRelay::start().await;
    know_code(&relay);
    relay
}

fn know_code(relay: &TestRelay) {
    let code = &relay.app.store.admin.0.code;
    assert!(code.lock().unwrap().replace(leaf::sha256(CODE.as_bytes())).is_some(), "no code was printed");
}

#[test]
fn base32_is_that_of_rfc_4648() {
    assert_eq!(base32(b"foobarfoobarfoobarfo"), "MZXW6YTBOJTG633CMFZGM33PMJQXEZTP");
    assert_eq!(grouped("ABCDEFGH"), "ABCD-EFGH");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_locks_nobody_out() {
    let relay = waiting().await;
    let admin = &relay.app.store.admin;
    let written =
        || async { admin.0.meta.read(|c| Ok::<_, MetaError>(stored_token(c)?)).await.unwrap().is_some() };
    hang_up_when(admin.redeem(CODE), written).await;
    let given = admin.redeem(CODE).await.unwrap();
    assert!(admin.is_admin(&given.token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_good_until_its_token_is_used_and_only_the_last_token_counts() {
    let relay = waiting().await;
    let admin = &relay.app.store.admin;
    assert!(matches!(admin.redeem("ABCD-EFGI").await, Err(SetupError::Refused)));
    let first = admin.redeem(CODE).await.unwrap();
    let second = admin.redeem(CODE).await.unwrap();
    assert!(!admin.is_admin(&first.token));
    assert!(admin.is_admin(&second.token));
    until("the code is spent", || async { !admin.awaits_setup() }).await;
    assert!(matches!(admin.redeem(CODE).await, Err(SetupError::Refused)));

    let relay = relay.restart().await;
    let admin = &relay.app.store.admin;
    assert!(!admin.awaits_setup() && admin.is_admin(&second.token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_before_the_token_was_used_prints_another_code() {
    let relay = waiting().await;
    let first = relay.app.store.admin.redeem(CODE).await.unwrap();
    let relay = relay.restart().await;
    know_code(&relay);
    let admin = &relay.app.store.admin;
    let second = admin.redeem(CODE).await.unwrap();
    assert!(admin.is_admin(&second.token) && !admin.is_admin(&first.token));
}
