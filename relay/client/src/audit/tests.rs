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
    for path in [
        "/v2/sth/history?limit=100",
        "/v2/sth",
        "/v2/ct/log?from=0&limit=1000",
        "/v2/ct/proof/39",
        "/log/sth?from=0&limit=500",
    ] {
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
    let pinned = |log| Baggage { pinned: keys(log), ..Baggage::default() };
    assert!(run(&log, &pinned(&log)).await.0.holds());
    refused(&log, &pinned(&other), "keys").await;
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
    let baggage = Baggage { remembered, ..Baggage::default() };
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

#[tokio::test]
async fn a_second_run_goes_on_where_the_first_ended() {
    for (before, after) in [(300, 400), (256, 256), (300, 300), (100, 600), (512, 700), (1, 1000)] {
        let first = TestLog::new(before);
        let (_, remembered) = run(&first, &Baggage::default()).await;
        let bytes = remembered.unwrap().to_bytes();
        let baggage = Baggage { remembered: Some(Remembered::parse(&bytes).unwrap()), ..Baggage::default() };
        let second = TestLog::new(after);
        let (report, remembered) = run(&second, &baggage).await;
        assert!(report.holds(), "{before} to {after}: {report:#?}");
        assert_eq!(report.timing.entries, (after - before / 256 * 256) as u64);
        let asked = second.asked.lock().unwrap().clone();
        let again = asked.iter().filter(|path| path.starts_with("/log/tile/entries/000")).count();
        assert_eq!(again, usize::from(before < 256), "{asked:?}");
        // What is remembered then is what a run from the first entry on would remember.
        let (_, whole) = run(&second, &Baggage::default()).await;
        let (ours, whole) = (remembered.unwrap(), whole.unwrap());
        assert_eq!(
            (ours.size, &ours.sha256_root, &ours.sha3_root),
            (whole.size, &whole.sha256_root, &whole.sha3_root)
        );
        let (ours, whole) = (ours.resume.unwrap(), whole.resume.unwrap());
        assert_eq!((ours.edge, ours.rules), (whole.edge, whole.rules));
        // Signatures of each log made here differ, and so does the chain over them.
        let heads = |heads: heads::HeadsSoFar| (heads.count, heads.size, heads.timestamp, heads.chains.len());
        assert_eq!(heads(ours.heads), heads(whole.heads));
    }
}

#[tokio::test]
async fn damage_behind_the_first_run_is_found_by_the_second() {
    let (_, remembered) = run(&TestLog::new(300), &Baggage::default()).await;
    let baggage = Baggage { remembered, ..Baggage::default() };
    let mut log = TestLog::new(600);
    for path in ["/log/tile/entries/001", "/log/tile/0/002.p/88", "/log/tile/1/000.p/2", "/v2/sth"] {
        let restore = log.flip(path, 40);
        assert!(!run(&log, &baggage).await.0.holds(), "{path}");
        log.put(path, restore);
    }
    assert!(run(&log, &baggage).await.0.holds());
}

#[tokio::test]
async fn a_state_of_the_first_version_is_read_and_the_log_walked_again() {
    let log = TestLog::new(300);
    let (_, remembered) = run(&log, &Baggage::default()).await;
    let mut old: serde_json::Value = serde_json::from_slice(&remembered.unwrap().to_bytes()).unwrap();
    old["version"] = 1.into();
    old.as_object_mut().unwrap().remove("resume");
    let old = Remembered::parse(&serde_json::to_vec(&old).unwrap()).unwrap();
    let baggage = Baggage { remembered: Some(old), ..Baggage::default() };
    let (report, _) = run(&log, &baggage).await;
    assert!(report.holds() && report.timing.entries == 300, "{report:#?}");
    refused(&TestLog::forked(400, 123), &baggage, "continuity").await;
}
