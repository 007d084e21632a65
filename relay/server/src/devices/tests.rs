use super::*;
use crate::plans;
use crate::test_relay::{ACCOUNT, TestRelay, hang_up_when, until};

fn keys(device: &str) -> DeviceKeys {
    let request = RegisterKeys {
        device_id: device.to_owned(),
        keys: NamedKeys {
            kem_pub: Some("ab".repeat(1184)),
            sig_pub: Some("cd".repeat(1952)),
            ..NamedKeys::default()
        },
    };
    request.keys().unwrap()
}

fn free() -> &'static Plan {
    plans::in_force("community", false)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_nobody_waited_for_reaches_the_log() {
    let relay = TestRelay::start().await;
    let devices = &relay.app.store.devices;
    let row = |c: &Connection| -> Result<_, MetaError> { Ok(find(c, ACCOUNT, "phone")?) };
    let written = || async { devices.meta.read(row).await.unwrap().is_some() };
    hang_up_when(devices.register(ACCOUNT, keys("phone"), String::new(), free()), written).await;
    let logged = || async {
        devices.keys(ACCOUNT, "phone", free()).await.unwrap().is_some_and(|keys| keys.ct_index.is_some())
    };
    until("the keys are in the log", logged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_of_the_same_keys_at_once_are_one_entry() {
    let relay = TestRelay::start().await;
    let devices = &relay.app.store.devices;
    for round in 0..20 {
        let device = format!("phone {round}");
        let before = relay.app.core.log.head().size;
        let same = (0..8).map(|_| devices.register(ACCOUNT, keys(&device), String::new(), free()));
        let answers = futures::future::join_all(same).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|it| it.ct_index == Some(before))));
        assert_eq!(relay.app.core.log.head().size, before + 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_whose_place_was_not_noted_is_found_in_the_log_and_not_written_again() {
    let relay = TestRelay::start().await;
    let devices = &relay.app.store.devices;
    let first = devices.register(ACCOUNT, keys("phone"), String::new(), free()).await.unwrap();
    let forget = |c: &Connection| -> Result<usize, MetaError> {
        Ok(c.execute("UPDATE devices SET log_index = NULL", [])?)
    };
    devices.meta.write(forget).await.unwrap();
    assert!(
        devices.keys(ACCOUNT, "phone", free()).await.unwrap().is_none(),
        "not known to be logged: not shown"
    );
    let size = relay.app.core.log.head().size;
    let again = devices.register(ACCOUNT, keys("phone"), String::new(), free()).await.unwrap();
    assert_eq!((again.ct_index, relay.app.core.log.head().size), (first.ct_index, size));
}

#[test]
fn a_plan_bounds_how_many_devices_there_are_and_how_long_each_holds() {
    let community = plans::in_force("community", true);
    let mut c = Connection::open_in_memory().unwrap();
    crate::store::migrations::apply(&mut c, crate::store::migrations::Release::THIS).unwrap();
    let device = |name: &str, registered_ms| Registered {
        account: ACCOUNT,
        keys: keys(name),
        ecdh_text: String::new(),
        registered_ms,
        salt: Digest([0; 32]),
        entry: Entry { bytes: Vec::new(), legacy_leaf: [0; 32] },
        log_from: 0,
        log_index: None,
    };
    let week_ms = 7 * 24 * 3600 * 1000;
    for name in ["a", "b", "c", "d", "e"] {
        assert!(insert(&c, &device(name, 1), community).unwrap().is_none());
    }
    let sixth = insert(&c, &device("f", 2), community);
    assert!(matches!(sixth, Err(DeviceError::TooMany { limit: 5, plan: "community" })));
    assert!(insert(&c, &device("a", week_ms), community).unwrap().is_some(), "it still holds");
    assert!(insert(&c, &device("a", week_ms + 2), community).unwrap().is_none(), "it ran out: made anew");
    assert!(insert(&c, &device("f", week_ms + 2), community).unwrap().is_none(), "the others ran out too");
}
