use jiff::{Timestamp, ToSpan};
use paramant_protocol::entry::body::{AdminChange, AdminChanged};
use paramant_protocol::entry::{Body, Entry as Written};

use super::*;
use crate::test_relay::TestRelay;

const START: &str = "2026-01-02T00:00:00Z";

fn hour(number: i64) -> String {
    let start: Timestamp = START.parse().unwrap();
    paramant_protocol::moment::hour(start + number.hours())
}

/// Ten entries an hour for a hundred hours, the first of each hour of another kind. The log begins at hour 0.
async fn log_of_hours() -> TestRelay {
    let relay = TestRelay::start().await;
    let start: Timestamp = START.parse().unwrap();
    let mut waiting = Vec::new();
    for number in 0..1000_i64 {
        let at = start + (number / 10).hours();
        let entry = if number % 10 == 0 {
            Written::with_body(Body::AdminChanged(AdminChanged { what: AdminChange::KeyCreated }), at)
                .unwrap()
        } else {
            Written::transfer(paramant_protocol::leaf::sha3(&number.to_be_bytes()), at)
        };
        waiting
            .push(relay.app.core.log.append(Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() }));
    }
    for appended in futures::future::join_all(waiting).await {
        appended.unwrap();
    }
    relay
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_is_found_by_halving() {
    let relay = log_of_hours().await;
    let log = &relay.app.core.log;
    assert_eq!(log.head().size, 1000, "the test relay writes nothing by itself");
    for (at, index) in [(-5, 0), (0, 0), (1, 10), (50, 500), (99, 990), (100, 1000)] {
        assert_eq!(first_at_or_after(log, &hour(at), 1000).unwrap(), index, "{at}");
    }
    let filter = Filter { since: Some(hour(20)), until: Some(hour(22)), ..Filter::default() };
    assert_eq!(filter.bounds(log, 1000).unwrap(), (200, 220));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_that_fit_come_first_and_the_rest_follows() {
    let relay = log_of_hours().await;
    let log = &relay.app.core.log;
    let admin = Filter { kind: Some(Kind::AdminChanged), ..Filter::default() };
    let found = newest(log, &admin, 1000, u64::MAX, 3).unwrap();
    let indices: Vec<_> = found.entries.iter().map(|(index, _)| *index).collect();
    assert_eq!((indices, found.before), (vec![990, 980, 970], Some(970)));
    let (mut all, mut before) = (Vec::new(), Some(u64::MAX));
    while let Some(at) = before {
        let found = newest(log, &admin, 1000, at, 7).unwrap();
        all.extend(found.entries.into_iter().map(|(index, _)| index));
        before = found.before;
    }
    assert_eq!(all, (0..100).rev().map(|hour| hour * 10).collect::<Vec<_>>());
    let hours = Filter { since: Some(hour(5)), until: Some(hour(6)), kind: Some(Kind::Transfer) };
    let found = newest(log, &hours, 1000, u64::MAX, 100).unwrap();
    let indices: Vec<_> = found.entries.iter().map(|(index, _)| *index).collect();
    assert_eq!((indices, found.before), ((51..60).rev().collect(), None));
    let none = Filter { since: Some(hour(500)), ..Filter::default() };
    assert!(newest(log, &none, 1000, u64::MAX, 5).unwrap().entries.is_empty());
}
