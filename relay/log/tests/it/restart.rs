//! What a restart finds.

use crate::support::{Keys, append, assert_holds, expected_head, open, options, wait_derived};
use paramant_log::{Log, OpenError};
use paramant_tlog::Tree;

#[test]
fn an_empty_log_has_the_empty_roots_and_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert_eq!(log.head(), expected_head(0));
    assert!(log.published().is_none());
    assert!(log.entry(0).unwrap().is_none());
    assert!(log.tile(0, 0, 1).unwrap().is_none());
}

#[test]
fn entries_survive_a_drop_without_close() {
    let dir = tempfile::tempdir().unwrap();
    let mut size = 0;
    for step in [1, 5, 250, 300, 1000, 3] {
        let log = open(dir.path());
        assert_holds(&log, size);
        append(&log, size..size + step);
        size += step;
        assert_holds(&log, size);
    }
    assert_holds(&open(dir.path()), size);
}

#[test]
fn entries_survive_a_restart_with_derived_files_and_removed_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut size = 0;
    for step in [700, 0, 2000, 1, 4000] {
        let log = open(dir.path());
        assert_holds(&log, size);
        append(&log, size..size + step);
        size += step;
        let published = log.publish_now().unwrap();
        assert_eq!(published.head, expected_head(size));
        wait_derived(&log);
        assert_holds(&log, size);
    }
    let log = open(dir.path());
    assert_holds(&log, size);
    assert_eq!(log.published().unwrap().head, expected_head(size));
    for old in [1, 255, 256, 257, 700, 2700, 6000] {
        let expected = expected_head(old);
        assert_eq!(log.root(Tree::Sha256, old).unwrap(), expected.sha256_root);
        assert_eq!(log.root(Tree::Sha3, old).unwrap(), expected.sha3_root);
    }
    let segments = std::fs::read_dir(dir.path().join("wal")).unwrap().count();
    assert!(segments <= 4, "{segments} files are left in wal/, the derived ones should be gone");
}

#[test]
fn closing_publishes_what_was_appended() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..300);
    log.close().unwrap();
    let log = open(dir.path());
    assert_eq!(log.published().unwrap().head, expected_head(300));
    assert!(log.published().unwrap().note.starts_with("relay.example.org/log\n300\n"));
}

#[test]
fn many_restarts_do_not_pile_up_segments() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..40 {
        let log = open(dir.path());
        append(&log, number..number + 1);
        log.close().unwrap();
    }
    let segments = std::fs::read_dir(dir.path().join("wal")).unwrap().count();
    assert!(segments <= 2, "{segments} files in wal/ after 40 restarts with one entry each");
    assert_holds(&open(dir.path()), 40);
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let refused = Log::open(options(dir.path()), Keys::new());
    assert!(matches!(refused, Err(OpenError::Locked(_))), "{refused:?}");
    drop(log);
    open(dir.path());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut bad = options(dir.path());
    bad.segment_bytes = 1000;
    assert!(matches!(Log::open(bad, Keys::new()), Err(OpenError::Settings(_))));
}
