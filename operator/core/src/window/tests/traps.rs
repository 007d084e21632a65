//! Days on which clocks do what nobody expects, each worked out by hand.

use super::*;

/// The one window, on some days in one zone, and when it is really open around a trap: pairs of instants in UTC.
fn opens(
    zone: &str,
    days: &[&str],
    start: &str,
    duration: &str,
    from: &str,
    to: &str,
    expected: &[[&str; 2]],
) {
    let window = json!([{"days": days, "start": start, "duration": duration, "timeZone": zone}]);
    let found = pieces(&schedule(window, json!([])), at(from), at(to));
    let expected: Vec<Stretch> =
        expected.iter().map(|[start, end]| Stretch { start: at(start), end: at(end) }).collect();
    assert_eq!(found, expected, "{zone} {days:?} {start} {duration}");
}

#[test]
fn amsterdam_when_summer_time_begins() {
    let (zone, from, to) = ("Europe/Amsterdam", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
    // 02:30 does not exist: it is 03:30 of summer time, and as long as ever.
    opens(zone, &[], "02:30", "1h", from, to, &[["2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"]]);
    // Four real hours: it closes at 06:00 and not at 05:00.
    opens(zone, &[], "01:00", "4h", from, to, &[["2026-03-29T00:00:00Z", "2026-03-29T04:00:00Z"]]);
    // The first minute that does not exist and the first that does again.
    opens(zone, &[], "02:00", "5m", from, to, &[["2026-03-29T01:00:00Z", "2026-03-29T01:05:00Z"]]);
    opens(zone, &[], "03:00", "5m", from, to, &[["2026-03-29T01:00:00Z", "2026-03-29T01:05:00Z"]]);
}

#[test]
fn amsterdam_when_summer_time_ends() {
    let (zone, from, to) = ("Europe/Amsterdam", "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z");
    // 02:30 exists twice: the first counts, and the second opens nothing.
    opens(zone, &[], "02:30", "1h", from, to, &[["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]]);
    opens(zone, &[], "02:30", "30m", from, to, &[["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"]]);
    opens(zone, &[], "01:00", "4h", from, to, &[["2026-10-24T23:00:00Z", "2026-10-25T03:00:00Z"]]);
}

#[test]
fn lord_howe_changes_by_half_an_hour() {
    let zone = "Australia/Lord_Howe";
    let (from, to) = ("2026-10-03T10:00:00Z", "2026-10-03T20:00:00Z");
    opens(zone, &[], "02:15", "1h", from, to, &[["2026-10-03T15:45:00Z", "2026-10-03T16:45:00Z"]]);
    let (from, to) = ("2026-04-04T10:00:00Z", "2026-04-04T20:00:00Z");
    opens(zone, &[], "01:45", "20m", from, to, &[["2026-04-04T14:45:00Z", "2026-04-04T15:05:00Z"]]);
}

#[test]
fn cairo_beirut_and_santiago_have_days_without_a_midnight() {
    let (from, to) = ("2026-04-23T12:00:00Z", "2026-04-24T12:00:00Z");
    opens(
        "Africa/Cairo",
        &["Fri"],
        "00:00",
        "1h",
        from,
        to,
        &[["2026-04-23T22:00:00Z", "2026-04-23T23:00:00Z"]],
    );
    opens("Africa/Cairo", &["Thu"], "00:30", "1h", from, to, &[]);
    let (from, to) = ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
    opens(
        "Asia/Beirut",
        &["Sun"],
        "00:15",
        "1h",
        from,
        to,
        &[["2026-03-28T22:15:00Z", "2026-03-28T23:15:00Z"]],
    );
    let (from, to) = ("2026-09-05T12:00:00Z", "2026-09-06T12:00:00Z");
    opens(
        "America/Santiago",
        &["Sun"],
        "00:00",
        "2h",
        from,
        to,
        &[["2026-09-06T04:00:00Z", "2026-09-06T06:00:00Z"]],
    );
}

#[test]
fn cairo_has_a_last_hour_of_a_thursday_twice() {
    let (from, to) = ("2026-10-29T12:00:00Z", "2026-10-30T12:00:00Z");
    opens(
        "Africa/Cairo",
        &["Thu"],
        "23:30",
        "15m",
        from,
        to,
        &[["2026-10-29T20:30:00Z", "2026-10-29T20:45:00Z"]],
    );
    opens(
        "Africa/Cairo",
        &["Fri"],
        "00:00",
        "1h",
        from,
        to,
        &[["2026-10-29T22:00:00Z", "2026-10-29T23:00:00Z"]],
    );
}

#[test]
fn apia_skipped_a_friday_so_its_window_opened_on_saturday() {
    let (from, to) = ("2011-12-29T00:00:00Z", "2012-01-01T00:00:00Z");
    let moved = [["2011-12-30T12:00:00Z", "2011-12-30T13:00:00Z"]];
    opens("Pacific/Apia", &["Fri"], "02:00", "1h", from, to, &moved);
    opens("Pacific/Apia", &["Fri", "Sat"], "02:00", "1h", from, to, &moved);
}

#[test]
fn a_window_goes_on_over_midnight_and_the_end_of_the_week() {
    let (from, to) = ("2026-11-28T00:00:00Z", "2026-12-01T00:00:00Z");
    opens("UTC", &["Sun"], "22:00", "6h", from, to, &[["2026-11-29T22:00:00Z", "2026-11-30T04:00:00Z"]]);
    // It is Sunday's window, also on Monday morning.
    let sunday = schedule(json!([{"days": ["Sun"], "start": "22:00", "duration": "6h"}]), json!([]));
    assert!(matches!(sunday.gate(at("2026-11-30T03:00:00Z"), minutes(60)), Admission::Open { .. }));
    assert!(matches!(sunday.gate(at("2026-11-29T03:00:00Z"), minutes(60)), Admission::Closed { .. }));
}

#[test]
fn windows_that_overlap_or_adjoin_are_one_and_those_a_minute_apart_are_two() {
    let two = |start: &str| {
        let windows = json!([
            {"days": ["Sat"], "start": "22:00", "duration": "2h"},
            {"days": ["Sun"], "start": start, "duration": "2h"},
        ]);
        schedule(windows, json!([])).gate(at("2026-11-28T22:00:00Z"), minutes(180))
    };
    assert_eq!(two("00:00"), Admission::Open { until: Some(at("2026-11-29T02:00:00Z")) });
    assert!(
        matches!(two("00:01"), Admission::Never { because: Unreachable::TooShort { longest } } if longest == minutes(120))
    );
    let inside = json!([{"start": "01:00", "duration": "6h"}, {"start": "02:00", "duration": "1h"}]);
    let gate = schedule(inside, json!([])).gate(at("2026-11-28T02:30:00Z"), minutes(240));
    assert_eq!(gate, Admission::Open { until: Some(at("2026-11-28T07:00:00Z")) });
}

#[test]
fn windows_of_two_zones_may_be_long_enough_together_only_in_spring_and_autumn() {
    // Six hours lie between the two for most of the year, five while only one of them has summer time.
    let windows = json!([
        {"start": "02:00", "duration": "2h", "timeZone": "Europe/Amsterdam"},
        {"start": "23:00", "duration": "2h", "timeZone": "America/New_York"},
    ]);
    let gate = schedule(windows, json!([])).gate(at("2026-05-01T12:00:00Z"), minutes(180));
    let until = at("2026-10-26T01:00:00Z");
    assert_eq!(gate, Admission::Closed { until, because: Closed::OutsideWindow });
}

#[test]
fn a_window_of_a_week_leaves_an_hour_when_summer_time_ends_and_none_otherwise() {
    let (from, to) = ("2026-10-01T00:00:00Z", "2026-11-30T00:00:00Z");
    opens(
        "Europe/Amsterdam",
        &["Mon"],
        "00:00",
        "168h",
        from,
        to,
        &[[from, "2026-10-25T22:00:00Z"], ["2026-10-25T23:00:00Z", to]],
    );
    let always = schedule(json!([{"start": "00:00", "duration": "168h"}]), json!([]));
    assert_eq!(always.gate(at(from), minutes(60)), Admission::Open { until: None });
    assert_eq!(always.next_opening(at(from), minutes(60)), None);
}

#[test]
fn an_exclusion_in_the_middle_leaves_two_pieces_and_each_needs_room() {
    let schedule = schedule(
        json!([{"days": ["Sat"], "start": "02:00", "duration": "4h"}]),
        json!([{"from": "2026-11-28T03:00:00Z", "to": "2026-11-28T05:00:00Z", "reason": "audit"}]),
    );
    let excluded = || Closed::Excluded(Some("audit".into()));
    assert_eq!(
        schedule.gate(at("2026-11-28T02:00:00Z"), minutes(60)),
        Admission::Open { until: Some(at("2026-11-28T03:00:00Z")) }
    );
    assert_eq!(
        schedule.gate(at("2026-11-28T02:00:01Z"), minutes(60)),
        Admission::Closed {
            until: at("2026-11-28T05:00:00Z"),
            because: Closed::TooLittleTimeLeft { closes: at("2026-11-28T03:00:00Z") }
        }
    );
    assert_eq!(
        schedule.gate(at("2026-11-28T03:00:00Z"), minutes(60)),
        Admission::Closed { until: at("2026-11-28T05:00:00Z"), because: excluded() }
    );
    // A longer step fits neither piece, but the whole window a week later.
    assert_eq!(
        schedule.gate(at("2026-11-28T04:59:59Z"), minutes(61)),
        Admission::Closed { until: at("2026-12-05T02:00:00Z"), because: excluded() }
    );
    assert_eq!(schedule.closes(at("2026-11-28T02:30:00Z")), Some(at("2026-11-28T03:00:00Z")));
    assert_eq!(schedule.closes(at("2026-11-28T04:00:00Z")), None);
}

#[test]
fn a_step_needs_room_to_the_second() {
    let schedule = schedule(json!([{"start": "02:00", "duration": "1h"}]), json!([]));
    let closes = at("2026-11-28T03:00:00Z");
    assert_eq!(
        schedule.gate(at("2026-11-28T02:29:00Z"), minutes(31)),
        Admission::Open { until: Some(closes) }
    );
    let late = schedule.gate(at("2026-11-28T02:29:00.001Z"), minutes(31));
    let until = at("2026-11-29T02:00:00Z");
    assert_eq!(late, Admission::Closed { until, because: Closed::TooLittleTimeLeft { closes } });
    // Its first moment belongs to a window, its last does not.
    assert!(matches!(schedule.gate(at("2026-11-28T02:00:00Z"), minutes(60)), Admission::Open { .. }));
    let closed = schedule.gate(closes, Duration::ZERO);
    assert_eq!(closed, Admission::Closed { until, because: Closed::OutsideWindow });
}

#[test]
fn exclusions_that_overlap_are_one_and_the_reason_is_that_of_the_one_that_ends_last() {
    let schedule = schedule(
        json!([]),
        json!([
            {"from": "2026-12-20T00:00:00Z", "to": "2027-01-04T00:00:00Z", "reason": "year end"},
            {"from": "2026-12-24T00:00:00Z", "to": "2026-12-27T00:00:00Z", "reason": "holidays"},
            {"from": "2027-01-04T00:00:00Z", "to": "2027-01-05T00:00:00Z"},
        ]),
    );
    let because = Closed::Excluded(Some("year end".into()));
    let until = at("2027-01-05T00:00:00Z");
    assert_eq!(schedule.gate(at("2026-12-25T00:00:00Z"), minutes(31)), Admission::Closed { until, because });
    // Just before a freeze there is no room for a step either.
    let closes = at("2026-12-20T00:00:00Z");
    let because = Closed::TooLittleTimeLeft { closes };
    assert_eq!(schedule.gate(at("2026-12-19T23:45:00Z"), minutes(31)), Admission::Closed { until, because });
}

#[test]
fn a_window_beyond_a_long_freeze_is_found_and_one_beyond_the_end_of_time_is_not() {
    let frozen = |to: &str| {
        let exclusions = json!([{"from": "2026-01-01T00:00:00Z", "to": to}]);
        let windows = json!([{"days": ["Sat"], "start": "02:00", "duration": "4h"}]);
        schedule(windows, exclusions).gate(at("2026-11-26T00:00:00Z"), minutes(31))
    };
    let until = at("2101-01-01T02:00:00Z");
    assert_eq!(frozen("2101-01-01T00:00:00Z"), Admission::Closed { until, because: Closed::Excluded(None) });
    for never in ["9999-12-30T00:00:00Z", "9999-12-30T22:00:00Z"] {
        assert_eq!(frozen(never), Admission::Never { because: Unreachable::Excluded }, "{never}");
    }
}

#[test]
fn the_ends_of_the_calendar_are_no_trouble() {
    let schedule = schedule(
        json!([{"start": "00:00", "duration": "168h", "timeZone": "Pacific/Kiritimati"}]),
        json!([]),
    );
    for now in [Timestamp::MIN, Timestamp::MAX] {
        for step in [Duration::ZERO, Duration::MAX] {
            let _ = (schedule.gate(now, step), schedule.outlook(now, step));
        }
    }
}

/// 400 days after a minute inside a window another is open: where the search ends, a window does not.
#[test]
fn windows_that_are_too_short_are_so_at_any_hour() {
    let daily = |start: &str, hours: u8| json!({"start": start, "duration": format!("{hours}h"), "timeZone": "Etc/UTC"});
    let never = |windows: Value, hours: u64, longest: u64| {
        let schedule = schedule(windows, json!([]));
        for quarter in 0..4 * 24 * 8 {
            let now = at("2026-09-21T00:00:00Z") + SignedDuration::from_mins(quarter * 15);
            let Admission::Never { because: Unreachable::TooShort { longest: found } } =
                schedule.gate(now, minutes(hours * 60))
            else {
                panic!("{now}: {:?}", schedule.gate(now, minutes(hours * 60)));
            };
            assert_eq!(found, minutes(longest * 60), "{now}");
            assert_eq!(schedule.next_opening(now, minutes(hours * 60)), None, "{now}");
        }
    };
    never(json!([daily("13:00", 5)]), 12, 5);
    never(json!([daily("13:00", 5), daily("17:00", 5)]), 10, 9);
    let always = schedule(json!([daily("13:00", 24)]), json!([]));
    assert_eq!(always.gate(at("2026-09-21T14:00:00Z"), minutes(169 * 60)), Admission::Open { until: None });
}
