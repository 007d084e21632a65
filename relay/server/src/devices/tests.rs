use super::*;
use crate::test_relay::{ACCOUNT, TestRelay, hang_up_when, until};

fn keys(device: &str) -> DeviceKeys {
    let request = RegisterKeys {
        device_id: device.to_owned(),
        kem_pub: Some("ab".repeat(1184)),
        sig_pub: Some("cd".repeat(1952)),
        ..RegisterKeys::default()
    };
    request.keys().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_nobody_waited_for_reaches_the_log() {
    let relay = TestRelay::start().await;
    let devices = &relay.app.store.devices;
    let row = |c: &Connection| -> Result<_, MetaError> { Ok(find(c, ACCOUNT, "phone")?) };
    let written = || async { devices.meta.read(row).await.unwrap().is_some() };
    hang_up_when(devices.register(ACCOUNT, keys("phone"), String::new()), written).await;
    let logged = || async {
        devices.keys(ACCOUNT, "phone").await.unwrap().is_some_and(|keys| keys.ct_index.is_some())
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
        let same = (0..8).map(|_| devices.register(ACCOUNT, keys(&device), String::new()));
        let answers = futures::future::join_all(same).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|it| it.ct_index == Some(before))));
        assert_eq!(relay.app.core.log.head().size, before + 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_whose_place_was_not_noted_is_found_in_the_log_and_not_written_again() {
    let relay = TestRelay::start().await;
    let devices = &relay.app.store.devices;
    let first = devices.register(ACCOUNT, keys("phone"), String::new()).await.unwrap();
    let forget = |c: &Connection| -> Result<usize, MetaError> {
        Ok(c.execute("UPDATE devices SET log_index = NULL", [])?)
    };
    devices.meta.write(forget).await.unwrap();
    assert!(devices.keys(ACCOUNT, "phone").await.unwrap().is_none(), "not known to be logged: not shown");
    let size = relay.app.core.log.head().size;
    let again = devices.register(ACCOUNT, keys("phone"), String::new()).await.unwrap();
    assert_eq!((again.ct_index, relay.app.core.log.head().size), (first.ct_index, size));
}
