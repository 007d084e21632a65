#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;

fn data(entries: &[(&str, &str)]) -> BTreeMap<String, ByteString> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), bytes(value))).collect()
}

fn secret(data: BTreeMap<String, ByteString>) -> Secret {
    let mut secret = Secret { data: Some(data), ..Secret::default() };
    secret.metadata.resource_version = Some("7".to_owned());
    secret
}

fn read(secret: &Secret) -> Stored {
    Stored::read(secret).unwrap().expect("the Secret is not empty")
}

/// The Secret after a merge patch, as an API server makes it.
fn patched(secret: &Secret, patch: &Value) -> Secret {
    assert_eq!(patch["metadata"]["resourceVersion"], "7", "every write is on what was read");
    let mut data = secret.data.clone().unwrap_or_default();
    for (key, value) in patch["data"].as_object().unwrap() {
        match value {
            Value::Null => drop(data.remove(key)),
            value => drop(data.insert(key.clone(), serde_json::from_value(value.clone()).unwrap())),
        }
    }
    let mut after = self::secret(data);
    after.metadata.annotations.clone_from(&secret.metadata.annotations);
    after
}

#[test]
fn a_made_authority_reads_back_and_damage_is_named() {
    let (certificate, key) = generate(Timestamp::now()).unwrap();
    let (other_certificate, other_key) = generate(Timestamp::now()).unwrap();
    let whole = authority(&data(&[(CERTIFICATE, &certificate), (KEY, &key)])).unwrap();
    assert_eq!(whole.bundle_pem(), certificate);
    let good = [(CERTIFICATE, certificate.as_str()), (KEY, key.as_str())];
    let with = |more: &[(&'static str, &'static str)]| data(&[&good[..], more].concat());
    let damaged = [
        (KEY, data(&[(CERTIFICATE, &certificate)])),
        (CERTIFICATE, data(&[(KEY, &key)])),
        (CERTIFICATE, data(&[(CERTIFICATE, "x"), (KEY, &key)])),
        (KEY, data(&[(CERTIFICATE, &certificate), (KEY, "x")])),
        (KEY, data(&[(CERTIFICATE, &certificate), (KEY, &other_key)])),
        (BUNDLE, with(&[(BUNDLE, "-----BEGIN CERTIFICATE-----\nx")])),
        (NEXT_KEY, with(&[(NEXT_CERTIFICATE, "x")])),
    ];
    for (expected, damaged) in damaged {
        match authority(&damaged) {
            Err(Error::Unusable { key, .. } | Error::UnusableNext { key, .. }) => assert_eq!(key, expected),
            other => panic!("expected `{expected}` to be refused, found {other:?}"),
        }
    }
    let mut undated = data(&good);
    undated.extend(data(&[(NEXT_CERTIFICATE, &other_certificate), (NEXT_KEY, &other_key)]));
    assert!(matches!(Stored::read(&secret(undated)), Err(Error::UnusableNext { key: NEXT_SINCE, .. })));
}

#[test]
fn a_replacement_publishes_both_then_signs_with_the_new_one_then_publishes_it_alone() {
    let now = Timestamp::now();
    let empty = secret(BTreeMap::new());
    assert!(Stored::read(&empty).unwrap().is_none());
    let mut first = patched(&empty, &fill(&empty, None).unwrap());
    first.metadata.annotations = Some([(ASKED.to_owned(), "monday".to_owned())].into());
    let alone = read(&first);
    assert_eq!((alone.record.stage, alone.record.granted.as_deref()), (Stage::Alone, None));
    assert_eq!(alone.record.asked.as_deref(), Some("monday"));
    assert!(alone.switch().is_none());

    let introduced = patched(&first, &alone.introduce(now).unwrap());
    let beside = read(&introduced);
    assert_eq!(beside.record.stage, Stage::Beside { since: now });
    assert_eq!(beside.record.granted.as_deref(), Some("monday"));
    assert!(beside.authority.signs_as(&alone.authority));
    assert_eq!(beside.authority.inner.published, 2);
    assert!(beside.authority.bundle_pem().ends_with(alone.authority.bundle_pem()), "the new one is first");

    let switched = patched(&introduced, &beside.switch().unwrap());
    let after = read(&switched);
    assert_eq!(after.record.stage, Stage::Switched);
    assert_eq!(after.authority.bundle_pem(), beside.authority.bundle_pem(), "nothing new for relays");
    assert!(!after.authority.signs_as(&alone.authority));

    let retired = read(&patched(&switched, &after.retire(now)));
    assert_eq!(retired.record.stage, Stage::Alone);
    assert!(retired.authority.signs_as(&after.authority));
    assert!(beside.authority.bundle_pem().starts_with(retired.authority.bundle_pem()));
    assert_eq!(retired.record.granted.as_deref(), Some("monday"), "granted once");
}

#[test]
fn an_emptied_secret_gets_back_what_is_in_use() {
    let in_use = Authority::ephemeral().unwrap();
    let empty = secret(BTreeMap::new());
    let filled = read(&patched(&empty, &fill(&empty, Some(&in_use)).unwrap()));
    assert!(filled.authority.signs_as(&in_use));
    assert_eq!(filled.authority.bundle_pem(), in_use.bundle_pem());
}
