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
