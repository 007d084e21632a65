use super::*;
use crate::test_relay::{ACCOUNT, TestRelay, hang_up_when, until};

fn principal(account: AccountId) -> Principal {
    Principal { account, kid: "k_000000000000".to_owned(), plan: "community".to_owned(), is_primary: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_without_its_entry_gets_it_at_the_next_start_once() {
    let relay = TestRelay::start().await;
    let who = principal(ACCOUNT);
    let dids = &relay.app.store.dids;
    let did = dids.register(&who, "plc-1".into(), "04aa".into()).await.unwrap().did;
    dids.register(&who, "plc-2".into(), "04bb".into()).await.unwrap();
    dids.revoke(ACCOUNT, did).await.unwrap().unwrap();
    let size = relay.app.core.log.head().size;
    let forget = |c: &rusqlite::Connection| -> Result<usize, MetaError> {
        Ok(c.execute("UPDATE dids SET log_index = NULL, revoke_index = NULL", [])?)
    };
    dids.meta.write(forget).await.unwrap();
    assert!(dids.find(did).await.unwrap().is_none(), "not known to be logged: not shown");
    dids.recover().await.unwrap();
    assert_eq!(
        relay.app.core.log.head().size,
        size,
        "both entries of one and the one of the other are found"
    );
    assert!(dids.find(did).await.unwrap().unwrap().revocation.unwrap().logged);
    assert_eq!(dids.of(ACCOUNT).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_nobody_waited_for_reaches_the_log() {
    let relay = TestRelay::start().await;
    let dids = &relay.app.store.dids;
    let did = dids.register(&principal(ACCOUNT), "plc-1".into(), "04aa".into()).await.unwrap().did;
    let revoked = || async { dids.find(did).await.unwrap().unwrap().revocation.is_some() };
    hang_up_when(dids.revoke(ACCOUNT, did), revoked).await;
    let logged = || async { dids.find(did).await.unwrap().unwrap().revocation.is_some_and(|it| it.logged) };
    until("the revocation is in the log", logged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_did_is_its_first_account_s_and_a_revoked_one_stays_revoked() {
    let relay = TestRelay::start().await;
    let dids = &relay.app.store.dids;
    let other = AccountId([9; 16]);
    let register = async |account| dids.register(&principal(account), "plc-1".into(), "04aa".into()).await;
    let first = register(ACCOUNT).await.unwrap();
    assert_eq!(register(ACCOUNT).await.unwrap().log_index, first.log_index);
    assert!(matches!(register(other).await, Err(DidError::Taken)));
    assert!(dids.revoke(other, first.did).await.unwrap().is_none());
    let revoked = dids.revoke(ACCOUNT, first.did).await.unwrap().unwrap();
    let again = dids.revoke(ACCOUNT, first.did).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at(), again.revoked_at());
    assert!(matches!(register(ACCOUNT).await, Err(DidError::Taken)));
    for bad in ["", "0", "zz", &"a".repeat(MAX_PUBLIC_KEY + 2)] {
        let refused = dids.register(&principal(ACCOUNT), "plc-1".into(), bad.to_owned()).await;
        assert!(matches!(refused, Err(DidError::NotHex)), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_has_so_many_in_force_and_revoking_makes_room() {
    let relay = TestRelay::start().await;
    let dids = &relay.app.store.dids;
    let row = |n: i64, kid: &str| {
        let (kid, device) = (kid.to_owned(), format!("plc-{n}"));
        let entry = entries::did_registered(&device, "04aa", Digest([0; 32])).unwrap();
        let did = Did::of(&device, "04aa");
        Registered {
            did,
            account: ACCOUNT,
            kid,
            device,
            public_key: "04aa".to_owned(),
            created_ms: 0,
            salt: Digest([0; 32]),
            entry,
            log_from: 0,
            log_index: None,
            revocation: None,
        }
    };
    let insert = async |n: i64, kid: &str| {
        let row = row(n, kid);
        dids.meta.write(move |c| rows::insert(c, &row, 3, 5)).await
    };
    for n in 0..3 {
        assert!(insert(n, "a").await.is_ok());
    }
    assert!(matches!(insert(3, "a").await, Err(DidError::TooMany { limit: 3 })));
    assert!(insert(3, "b").await.is_ok());
    assert!(insert(4, "b").await.is_ok());
    assert!(matches!(insert(5, "b").await, Err(DidError::TooMany { limit: 5 })), "whatever the key");
}
