#![allow(clippy::unwrap_used)]

use jiff::SignedDuration;
use paramant_protocol::control::{DrainSource, DrainState};

use super::*;

fn spec(drain: bool) -> DrainDirective {
    DrainDirective { spec: Some(drain), deadline_seconds: 60, ..DrainDirective::default() }
}

#[test]
fn an_upload_that_began_before_the_drain_runs_to_its_end() {
    let drain = Drain::new(false);
    let upload = drain.begin_upload().unwrap();
    drain.direct(spec(true));
    assert!(drain.begin_upload().is_err());
    let report = drain.report();
    assert_eq!((report.state, report.uploads), (DrainState::Draining, 1));
    assert!(report.since.is_some() && report.deadline > report.since);
    drop(upload);
    assert_eq!(drain.report().state, DrainState::Drained);
    drain.direct(spec(false));
    assert_eq!(drain.report().state, DrainState::Serving);
    drop(drain.begin_upload().unwrap());
}

#[test]
fn a_claim_is_never_refused_and_holds_back_drained() {
    let drain = Drain::new(false);
    drain.direct(spec(true));
    let claim = drain.begin_claim();
    assert_eq!(drain.report().state, DrainState::Draining);
    drop(claim);
    assert_eq!(drain.report().state, DrainState::Drained);
}

#[test]
fn unread_blobs_hold_back_drained_only_when_they_live_in_memory() {
    for (in_memory, expected) in [(true, DrainState::Draining), (false, DrainState::Drained)] {
        let drain = Drain::new(in_memory);
        drain.set_unclaimed(1);
        drain.direct(spec(true));
        assert_eq!(drain.report().state, expected);
        drain.set_unclaimed(0);
        assert_eq!(drain.report().state, DrainState::Drained);
    }
}

async fn ends(drain: &Drain) -> bool {
    tokio::time::timeout(Duration::from_millis(300), drain.idle()).await.is_ok()
}

#[tokio::test]
async fn a_process_that_ends_waits_for_what_runs_and_for_readers_of_what_ends_with_it() {
    for in_memory in [true, false] {
        let drain = Drain::new(in_memory);
        drain.set_unclaimed(1);
        let (upload, claim) = (drain.begin_upload().unwrap(), drain.begin_claim());
        drain.shut_down();
        assert!(drain.begin_upload().is_err());
        assert!(!ends(&drain).await, "an upload and a claim run");
        drop(upload);
        assert!(!ends(&drain).await, "a claim runs");
        drop(claim);
        assert_eq!(ends(&drain).await, !in_memory);
        drain.set_unclaimed(0);
        assert!(ends(&drain).await);
    }
}

#[tokio::test]
async fn readers_of_what_is_in_memory_are_waited_for_until_the_deadline_of_the_drain() {
    let drain = Drain::new(true);
    drain.set_unclaimed(1);
    drain.direct(DrainDirective { deadline_seconds: 1, ..spec(true) });
    assert!(!ends(&drain).await);
    tokio::time::timeout(Duration::from_secs(10), drain.idle()).await.unwrap();
    assert!(drain.report().deadline.unwrap() <= Timestamp::now(), "not before");
    let claim = drain.begin_claim();
    assert!(!ends(&drain).await, "a read that runs has no such end");
    drop(claim);
}

#[test]
fn the_settle_time_starts_again_with_each_piece_of_work() {
    let mut progress = Progress::new(false);
    let at = |second: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
    progress.requests.operator =
        DrainDirective { spec: Some(true), settle_seconds: 10, ..DrainDirective::default() };
    progress.advance(at(0));
    assert_eq!(progress.report(at(9)).state, DrainState::Draining);
    assert_eq!(progress.next_change(at(9)), Some(at(10)));
    progress.claims = 1;
    progress.advance(at(9));
    assert_eq!(progress.report(at(100)).state, DrainState::Draining);
    progress.claims = 0;
    progress.advance(at(100));
    assert_eq!(progress.report(at(109)).state, DrainState::Draining);
    assert_eq!(progress.report(at(110)).state, DrainState::Drained);
    assert_eq!(progress.report(at(110)).since, Some(at(0)));
}

#[tokio::test]
async fn an_update_drain_ends_alone_and_says_so() {
    let drain = Drain::new(false);
    tokio::spawn(drain.clone().keep_time());
    let mut news = drain.subscribe();
    let until = Timestamp::now() + SignedDuration::from_millis(300);
    drain.direct(DrainDirective { update_until: Some(until), ..DrainDirective::default() });
    let begun = news.wait_for(|report| report.state != DrainState::Serving).await.unwrap().clone();
    assert_eq!(begun.requested_by, [DrainSource::Update]);
    assert!(drain.begin_upload().is_err());
    tokio::time::timeout(Duration::from_secs(3), news.wait_for(|report| report.state == DrainState::Serving))
        .await
        .unwrap()
        .unwrap();
    drop(drain.begin_upload().unwrap());
}

#[test]
fn serving_traffic_announces_nothing() {
    let drain = Drain::new(false);
    let mut news = drain.subscribe();
    news.mark_unchanged();
    for _ in 0..3 {
        drop(drain.begin_upload().unwrap());
        drop(drain.begin_claim());
    }
    assert!(!news.has_changed().unwrap());
    drain.direct(spec(true));
    assert!(news.has_changed().unwrap());
}
