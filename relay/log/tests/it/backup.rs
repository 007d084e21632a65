//! A log read by another than its writer while it grows: what was read opens, and holds all that was durable before.

use crate::support::{Keys, entry, open, options};
use paramant_log::{Log, OpenError, backup};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Copies a log that may be open, as a program that unpacks a backup would find it.
fn copied(from: &Path, to: &Path) -> u64 {
    let mut write = |path: &Path, length: u64, bytes: &mut dyn Read| {
        let to = to.join(path);
        std::fs::create_dir_all(to.parent().unwrap())?;
        let written = std::io::copy(bytes, &mut std::fs::File::create(to)?)?;
        assert_eq!(written, length, "{path:?}");
        Ok(())
    };
    backup(from, &mut write).unwrap()
}

#[test]
fn a_copy_of_a_log_that_grows_opens_and_holds_what_was_acknowledged_before_it_began() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path());
    let ends = AtomicBool::new(false);
    let mut removed_once = false;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut number = 0;
            while !ends.load(Ordering::Relaxed) {
                // The appending thread also publishes, so that segments are derived and removed all the time.
                log.append_blocking(entry(number)).unwrap();
                number += 1;
                if number % 200 == 0 {
                    log.publish_now().unwrap();
                }
            }
        });
        for _ in 0..40 {
            while log.head().size < 200 {
                std::thread::yield_now();
            }
            let (before, published) =
                (log.head(), log.published().map_or(0, |published| published.head.size));
            let copy = tempfile::tempdir().unwrap();
            let size = copied(home.path(), copy.path());
            assert!(size >= published, "the checkpoint is not older than what was published before");
            removed_once |= !copy.path().join("wal/0000000000000001.wal").exists();
            let restored = open(copy.path());
            let head = restored.head();
            assert!(head.size >= before.size && head.size >= size);
            for tree in [paramant_log::Tree::Sha256, paramant_log::Tree::Sha3] {
                assert_eq!(restored.root(tree, before.size).unwrap(), log.root(tree, before.size).unwrap());
            }
            for index in [0, before.size / 2, before.size - 1] {
                assert_eq!(restored.entry(index).unwrap().unwrap().bytes, entry(index).bytes);
            }
            // It goes on as the log would.
            restored.append_blocking(entry(head.size)).unwrap();
            restored.publish_now().unwrap();
            restored.close().unwrap();
        }
        ends.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
    assert!(
        removed_once,
        "no segment was removed while copies were made: the test is too short to mean anything"
    );
}

#[test]
fn a_copy_that_lacks_its_end_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path());
    for number in 0..50 {
        log.append_blocking(entry(number)).unwrap();
    }
    log.publish_now().unwrap();
    let copy = tempfile::tempdir().unwrap();
    assert_eq!(copied(home.path(), copy.path()), 50);
    let segment = crate::support::last_segment(copy.path());
    let length = std::fs::metadata(&segment).unwrap().len();
    std::fs::File::options().write(true).open(&segment).unwrap().set_len(length - 1).unwrap();
    let keys: Arc<Keys> = Keys::new();
    let refused = Log::open(options(copy.path()), keys);
    assert!(matches!(refused, Err(OpenError::Corrupt(_))), "{:?}", refused.err());
}
