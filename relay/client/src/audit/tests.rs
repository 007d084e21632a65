#![allow(clippy::unwrap_used, clippy::panic)]
//! A log in memory, served path by path, then damaged in every way an auditor must notice.

mod bench_log;

use super::*;
use bench_log::TestLog;

async fn run(log: &TestLog, baggage: &Baggage) -> (Report, Option<Remembered>) {
    audit(log, baggage, &Progress::silent()).await.unwrap()
}

/// The audit must find something, and at this check.
async fn refused(log: &TestLog, baggage: &Baggage, name: &str) -> String {
    let (report, remembered) = run(log, baggage).await;
    let failure = report.failure().unwrap_or_else(|| panic!("nothing found: {report:#?}"));
    assert_eq!(failure.name, name, "{}", failure.evidence);
    assert!(!report.holds() && remembered.is_none());
    failure.evidence.clone()
}

#[tokio::test]
async fn a_sound_log_of_any_size_holds() {
    for size in [1, 2, 3, 255, 256, 257, 600] {
        let log = TestLog::new(size);
        let (report, remembered) = run(&log, &Baggage::default()).await;
        assert!(report.holds(), "{size} entries: {report:#?}");
        assert_eq!(report.head.unwrap().size, size as u64);
        let remembered = remembered.unwrap();
        assert_eq!(Remembered::parse(&remembered.to_bytes()).unwrap(), remembered);
    }
}

#[tokio::test]
async fn a_log_with_tiles_of_level_one_holds_and_those_are_read() {
    let mut log = TestLog::new(66_000);
    assert!(run(&log, &Baggage::default()).await.0.holds());
    log.flip("/log/tile/1/000", 17);
    let evidence = refused(&log, &Baggage::default(), "tiles").await;
    assert!(evidence.contains("tile 0 of level 1"), "{evidence}");
}

#[tokio::test]
async fn any_flipped_bit_anywhere_is_found() {
    let mut log = TestLog::new(300);
    assert!(run(&log, &Baggage::default()).await.0.holds());
    let paths: Vec<String> =
        log.paths().filter(|path| !path.starts_with("/v2/ct") && !path.starts_with("/v2/sth")).collect();
    assert!(paths.iter().any(|path| path.starts_with("/log/tile/entries/")));
    for path in paths {
        let length = log.length(&path);
        for at in (0..length).step_by((length / 12).max(1)).chain([length - 1]) {
            let restore = log.flip(&path, at);
            let (report, _) = run(&log, &Baggage::default()).await;
            assert!(!report.holds(), "byte {at} of {path} can be flipped");
            log.put(&path, restore);
        }
    }
}

#[tokio::test]
async fn any_flipped_value_of_the_json_interface_is_found() {
    let mut log = TestLog::new(40);
    for path in ["/v2/sth/history?limit=100", "/v2/sth", "/v2/ct/log?from=0&limit=1000", "/v2/ct/proof/39"] {
        for (name, start, end) in log.values(path) {
            for at in [start, (start + end) / 2, end - 1] {
                let restore = log.flip(path, at);
                let (report, _) = run(&log, &Baggage::default()).await;
                assert!(!report.holds(), "{name} in {path} can be flipped at {at}");
                log.put(path, restore);
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_was_given_must_be_among_those_shown() {
    let (log, other) = (TestLog::new(3), TestLog::with_seed(3, 9));
    let keys = |log: &TestLog| logged_keys(log);
    assert!(run(&log, &Baggage { pinned: keys(&log), remembered: None }).await.0.holds());
    refused(&log, &Baggage { pinned: keys(&other), remembered: None }, "keys").await;
}

fn logged_keys(log: &TestLog) -> Vec<VerifierKey> {
    crate::logged::parse_keys(&log.text("/log/vkeys")).unwrap()
}

#[tokio::test]
async fn every_key_must_sign_and_unknown_lines_do_not_matter() {
    let mut log = TestLog::new(5);
    let note = log.text("/log/checkpoint");
    let (body, lines) = note.split_once("\n\n").unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 3);
    for left_out in 0..3 {
        let kept: Vec<&str> =
            lines.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, line)| *line).collect();
        log.put("/log/checkpoint", format!("{body}\n\n{}\n", kept.join("\n")).into_bytes());
        let evidence = refused(&log, &Baggage::default(), "checkpoint").await;
        assert!(evidence.contains("is missing"), "{evidence}");
    }
    let stranger = "— witness.example AAAAAAECAwQ=";
    let shuffled = [stranger, lines[2], lines[0], lines[1]].join("\n");
    log.put("/log/checkpoint", format!("{body}\n\n{shuffled}\n").into_bytes());
    assert!(run(&log, &Baggage::default()).await.0.holds());
}

#[tokio::test]
async fn an_inner_node_shown_as_a_leaf_is_found() {
    let log = TestLog::hiding_a_subtree(20);
    let evidence = refused(&log, &Baggage::default(), "json log").await;
    assert!(evidence.contains("otherwise"), "{evidence}");
}

#[tokio::test]
async fn a_dropped_entry_and_a_reordered_pair_are_found() {
    for damage in [TestLog::without_entry as fn(usize, usize) -> TestLog, TestLog::with_swapped_entries] {
        // The first entry out of place is noticed before its tile is.
        refused(&damage(300, 120), &Baggage::default(), "json log").await;
    }
}

#[tokio::test]
async fn a_log_that_goes_back_or_forks_or_changes_keys_is_found() {
    let (_, remembered) = run(&TestLog::new(300), &Baggage::default()).await;
    let baggage = Baggage { pinned: Vec::new(), remembered };
    assert!(run(&TestLog::new(300), &baggage).await.0.holds());
    assert!(run(&TestLog::new(400), &baggage).await.0.holds());
    let evidence = refused(&TestLog::new(299), &baggage, "continuity").await;
    assert!(evidence.contains("went back"), "{evidence}");
    let evidence = refused(&TestLog::forked(400, 123), &baggage, "continuity").await;
    assert!(evidence.contains("forked"), "{evidence}");
    refused(&TestLog::with_seed(400, 9), &baggage, "keys").await;
}

#[tokio::test]
async fn a_tree_head_of_entries_that_nobody_shows_is_found() {
    let evidence = refused(&TestLog::with_head_beyond(10), &Baggage::default(), "tree heads").await;
    assert!(evidence.contains("does not hold"), "{evidence}");
}

#[tokio::test]
async fn whatever_is_missing_is_found() {
    let mut log = TestLog::new(300);
    let paths: Vec<String> = log.paths().collect();
    for path in paths {
        let kept = log.remove(&path);
        let (report, _) = run(&log, &Baggage::default()).await;
        assert!(!report.holds(), "{path} may be missing");
        log.put(&path, kept);
    }
}

#[tokio::test]
async fn entries_not_yet_under_the_checkpoint_are_walked_on_the_json_interface() {
    let (report, _) = run(&TestLog::ahead_of_its_checkpoint(20, 5), &Baggage::default()).await;
    assert!(report.holds(), "{report:#?}");
    let json = report.checks.iter().find(|check| check.name == "json log").unwrap();
    assert!(json.evidence.contains("5 of them not yet"), "{}", json.evidence);
}
