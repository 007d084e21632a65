use std::io::Read as _;

use super::*;
use crate::data_dir::RESTORING;
use crate::test_relay::{TestRelay, until};

fn names(backup: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(backup);
    archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
}

async fn backed_up() -> (TestRelay, Vec<u8>) {
    let relay = TestRelay::start().await;
    relay.upload(b"waits to be read").await;
    until("a checkpoint covers it", || async { relay.app.core.log.published().is_some() }).await;
    let mut bytes = Vec::new();
    backup(relay.app.core.data.root(), &mut bytes).unwrap();
    (relay, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_holds_keys_rows_and_log_and_neither_payloads_nor_their_keys() {
    let (relay, bytes) = backed_up().await;
    let names = names(&bytes);
    for expected in ["backup.json", "meta.db", "log-origin", "log/checkpoint"] {
        assert!(names.iter().any(|name| name == expected), "{expected} in {names:?}");
    }
    assert_eq!(names.last().unwrap(), SUMS);
    let kept = ["blobs", "keys.slots", "lock"];
    for absent in kept {
        assert!(relay.app.core.data.root().join(absent).exists(), "it is there to be left out");
        assert!(!names.iter().any(|name| name.starts_with(absent)), "{absent} in {names:?}");
    }
    assert!(!relay.app.core.data.root().join(format!("backup-{}.tmp", std::process::id())).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_tells_what_is_lost_and_takes_no_directory_that_holds_anything() {
    let (_relay, bytes) = backed_up().await;
    let home = tempfile::tempdir().unwrap();
    let restored = restore(home.path(), bytes.as_slice()).unwrap();
    assert_eq!(restored.unread.iter().map(|lost| lost.size).collect::<Vec<_>>(), [16]);
    assert!(!home.path().join(RESTORING).exists());
    assert!(matches!(restore(home.path(), bytes.as_slice()), Err(RestoreError::NotEmpty(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_cut_or_changed_anywhere_is_not_put_in_force_and_can_be_replaced() {
    let (_relay, bytes) = backed_up().await;
    let home = tempfile::tempdir().unwrap();
    let member_byte = |member: &str| {
        let mut archive = tar::Archive::new(bytes.as_slice());
        let found =
            archive.entries().unwrap().map(Result::unwrap).find(|e| e.path().unwrap() == Path::new(member));
        usize::try_from(found.unwrap().raw_file_position()).unwrap() + 3
    };
    // Behind its sums a tar has only zeros.
    let end = member_byte(SUMS);
    let mut bad: Vec<Vec<u8>> = (0..end).step_by(end / 40).map(|end| bytes[..end].to_vec()).collect();
    for member in ["meta.db", "log/checkpoint", "log-origin", SUMS] {
        let mut flipped = bytes.clone();
        flipped[member_byte(member)] ^= 1;
        bad.push(flipped);
    }
    for bytes in bad {
        let refused = restore(home.path(), bytes.as_slice());
        assert!(refused.is_err(), "{} bytes", bytes.len());
        assert!(home.path().join(RESTORING).exists());
    }
    restore(home.path(), bytes.as_slice()).unwrap();
}

#[test]
fn a_member_outside_of_what_a_backup_is_made_of_is_refused() {
    for (path, kind) in [
        ("../etc/passwd", tar::EntryType::Regular),
        ("/etc/passwd", tar::EntryType::Regular),
        ("log/../../x", tar::EntryType::Regular),
        ("blobs/ab/cd", tar::EntryType::Regular),
        ("keys.slots", tar::EntryType::Regular),
        ("log", tar::EntryType::Directory),
        ("log/checkpoint", tar::EntryType::Symlink),
    ] {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o600);
        header.set_cksum();
        let mut tar = tar::Builder::new(Vec::new());
        tar.append(&header, io::empty()).unwrap();
        let bytes = tar.into_inner().unwrap();
        let home = tempfile::tempdir().unwrap();
        let refused = restore(&home.path().join("data"), bytes.as_slice());
        assert!(matches!(refused, Err(RestoreError::Damaged { .. })), "{path}: {refused:?}");
        let mut left = String::new();
        std::fs::File::open(home.path().join("data/restoring")).unwrap().read_to_string(&mut left).unwrap();
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "{path}");
    }
}
