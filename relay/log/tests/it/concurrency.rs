//! Many callers at once.

use crate::support::{Keys, entry, open, options};
use paramant_log::{Entry, Log};
use paramant_tlog::{CompactRange, Tree, entry_leaf, verify};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

#[test]
fn concurrent_appenders_get_each_index_once_and_the_roots_are_those_of_the_order() {
    const THREADS: u64 = 16;
    const EACH: u64 = 250;
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.checkpoint_every = Duration::from_millis(10);
    let log = Log::open(options, Keys::new()).unwrap();
    let acknowledged: Arc<Mutex<Vec<(u64, Entry, paramant_log::Head)>>> = Arc::default();
    let barrier = Arc::new(Barrier::new(THREADS as usize));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (log, acknowledged, barrier) = (log.clone(), Arc::clone(&acknowledged), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                for number in thread * EACH..(thread + 1) * EACH {
                    let appended = log.append_blocking(entry(number)).unwrap();
                    assert!(appended.index < appended.head.size);
                    acknowledged.lock().unwrap().push((appended.index, entry(number), appended.head));
                }
            })
        })
        .collect();
    // Readers look on while tiles move from memory into files.
    while log.head().size < THREADS * EACH {
        let head = log.head();
        if head.size > 0 {
            for tree in Tree::BOTH {
                let root = if tree == Tree::Sha256 { head.sha256_root } else { head.sha3_root };
                let index = head.size * 2 / 3;
                let found = log.entry(index).unwrap().unwrap();
                let leaf = if tree == Tree::Sha256 { entry_leaf(&found.bytes) } else { found.legacy_leaf };
                let path = log.inclusion(tree, index, head.size).unwrap();
                verify::inclusion(tree, &leaf, index, head.size, &path, &root).unwrap();
            }
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());

    let mut acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    acknowledged.sort_by_key(|(index, ..)| *index);
    let mut ranges = Tree::BOTH.map(CompactRange::new);
    let mut roots = vec![ranges.each_ref().map(CompactRange::root)];
    for (position, (index, entry, _)) in (0..).zip(&acknowledged) {
        assert_eq!(*index, position, "each index is given once");
        assert_eq!(log.entry(*index).unwrap().unwrap(), *entry);
        ranges[0].append(entry_leaf(&entry.bytes), |_, _| ());
        ranges[1].append(entry.legacy_leaf, |_, _| ());
        roots.push(ranges.each_ref().map(CompactRange::root));
    }
    for (_, _, head) in &acknowledged {
        let expected = roots[usize::try_from(head.size).unwrap()];
        assert_eq!(
            [head.sha256_root, head.sha3_root],
            expected,
            "the head given with an append is a real one"
        );
    }
    let batches = log.counters().batches;
    assert!(batches < THREADS * EACH, "{batches} syncs: appends that wait together share one");
    log.close().unwrap();
}

#[test]
fn checkpoints_come_at_their_cadence_and_only_when_the_head_moved() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.checkpoint_every = Duration::from_millis(20);
    let log = Log::open(options, Keys::new()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(log.published().is_none(), "an empty log has nothing to publish");
    for size in 1..=3 {
        log.append_blocking(entry(size)).unwrap();
        let give_up = std::time::Instant::now() + Duration::from_secs(20);
        while log.published().is_none_or(|published| published.head.size < size) {
            assert!(std::time::Instant::now() < give_up);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let before = log.counters().checkpoints;
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(log.counters().checkpoints, before, "an idle log signs nothing");
}

#[test]
fn a_callback_that_panics_or_drops_the_last_handle_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(entry(0), |_| panic!("on purpose"));
    assert_eq!(log.append_blocking(entry(1)).unwrap().index, 1);
    let (sender, receiver) = std::sync::mpsc::channel();
    let held = log.clone();
    drop(log);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    held.clone().append(entry(2), {
        let slot = Mutex::new(Some(held));
        move |outcome| {
            wait.recv().unwrap();
            drop(slot.lock().unwrap().take());
            sender.send(outcome).unwrap();
        }
    });
    go.send(()).unwrap();
    assert_eq!(receiver.recv().unwrap().unwrap().index, 2);
    let give_up = std::time::Instant::now() + Duration::from_secs(20);
    let log = loop {
        match Log::open(options(dir.path()), Keys::new()) {
            Ok(log) => break log,
            Err(error) => assert!(std::time::Instant::now() < give_up, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(log.head().size, 3);
}
