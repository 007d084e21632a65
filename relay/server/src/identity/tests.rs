#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::os::unix::fs::PermissionsExt;

use aws_lc_rs::signature::{ML_DSA_65, UnparsedPublicKey};

use super::*;

#[test]
fn the_identity_survives_a_restart_and_its_signatures_verify() {
    let temp = tempfile::tempdir().unwrap();
    let first = {
        let data = DataDir::open(temp.path()).unwrap();
        Identity::open(&data).unwrap()
    };
    let data = DataDir::open(temp.path()).unwrap();
    let second = Identity::open(&data).unwrap();
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_eq!(second.public_key().len(), 1952);
    let signature = second.sign(b"message").unwrap();
    assert_eq!(signature.len(), 3309);
    let key = UnparsedPublicKey::new(&ML_DSA_65, first.public_key());
    key.verify(b"message", &signature).unwrap();
    assert!(key.verify(b"massage", &signature).is_err());
    let mode = std::fs::metadata(data.identity().join("ml-dsa-65.seed")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_relay_with_a_log_but_without_its_identity_refuses_to_start() {
    let temp = tempfile::tempdir().unwrap();
    let data = DataDir::open(temp.path()).unwrap();
    Identity::open(&data).unwrap();
    std::fs::write(data.log().join("segment"), b"entries").unwrap();
    Identity::open(&data).unwrap();
    std::fs::remove_file(data.identity().join("ml-dsa-65.seed")).unwrap();
    assert!(matches!(Identity::open(&data), Err(KeyError::Missing { .. })));
}

#[test]
fn a_damaged_key_is_named_and_never_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let data = DataDir::open(temp.path()).unwrap();
    LogKeys::open(&data).unwrap();
    let path = data.log_keys().join("ed25519.seed");
    std::fs::write(&path, b"half a ke").unwrap();
    let refused = LogKeys::open(&data).unwrap_err().to_string();
    assert!(refused.contains("ed25519.seed"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), b"half a ke");
}

#[test]
fn the_control_key_stays_the_same_over_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let data = DataDir::open(temp.path()).unwrap();
    let first = ControlKey::open(&data).unwrap();
    let second = ControlKey::open(&data).unwrap();
    assert_eq!(first.spki_sha256(), second.spki_sha256());
    assert_eq!(first.spki_sha256().len(), 64);
}
