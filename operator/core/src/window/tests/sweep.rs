//! The schedule against the oracle: every zone that is compiled in, the days around each of its offset changes from 2024 to
//! 2040, and random schedules at random instants.
//!
//! Zones that are links of each other, or only go by the same rules, share their changes: what the clocks do in the days
//! around one is what is told apart. `PARAMANT_SWEEP=full` shares nothing and looks at more days and more random schedules.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::{DateTime, Time, Weekday, date};
use jiff::tz::{AmbiguousOffset, Offset, TimeZoneDatabase};
use proptest::prelude::*;

use super::oracle::{MINUTE, Plan, Walk, exclude, instant, runs};
use super::*;

/// No window of the sweep is longer; the walk begins so long before the part that is judged.
const LONGEST: usize = 24 * 60;

fn full() -> bool {
    std::env::var("PARAMANT_SWEEP").is_ok_and(|value| value == "full")
}

/// An offset change, with what tells the days around it apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Around {
    change: Timestamp,
    /// The offset long before, and every later one.
    offsets: Vec<(Timestamp, Offset)>,
    /// Left out where zones may share.
    zone: Option<String>,
}

/// Every offset change of every zone, with one zone that has it.
fn changes(share: bool) -> BTreeMap<Around, String> {
    let (from, to) = (at("2024-01-01T00:00:00Z"), at("2041-01-01T00:00:00Z"));
    let mut found = BTreeMap::new();
    for name in TimeZoneDatabase::bundled().available() {
        let zone = TimeZoneDatabase::bundled().get(name.as_str()).unwrap();
        let mut last = zone.to_offset(from);
        let mut changes: Vec<(Timestamp, Offset)> = Vec::new();
        for change in zone.following(from).take_while(|change| change.timestamp() < to) {
            if change.offset() != last {
                last = change.offset();
                changes.push((change.timestamp(), last));
            }
        }
        for (change, _) in &changes {
            let near = SignedDuration::from_hours(96);
            let start = *change - near;
            let mut offsets = vec![(start, zone.to_offset(start))];
            offsets.extend(changes.iter().filter(|(at, _)| at.duration_since(*change).abs() < near));
            let zone = (!share).then(|| name.to_string());
            found.insert(Around { change: *change, offsets, zone }, name.to_string());
        }
    }
    found
}

/// What is under test: from windows to what they leave open between two instants.
type Subject = dyn Fn(&[Plan], Timestamp, Timestamp) -> Vec<Stretch>;

fn real(plans: &[Plan], from: Timestamp, to: Timestamp) -> Vec<Stretch> {
    let windows = plans.iter().map(Plan::manifest).collect();
    pieces(&schedule(windows, json!([])), from, to)
}

/// Windows that begin where the clocks change: at, before and after both sides of the change, within it, and at midnight.
fn plans(zone_name: &str, zone: &TimeZone, change: Timestamp) -> Vec<Vec<Plan>> {
    let (before, after) = (zone.to_datetime(change - MINUTE) + MINUTE, zone.to_datetime(change));
    let middle = before + SignedDuration::from_mins(before.duration_until(after).as_mins() / 2);
    let starts = [before - MINUTE, before, before + MINUTE, middle, after - MINUTE, after, after + MINUTE];
    let plan = |start: DateTime, days: Vec<Weekday>, minutes| Plan {
        days,
        start: Time::new(start.hour(), start.minute(), 0, 0).unwrap(),
        minutes,
        zone: zone_name.to_owned(),
    };
    let mut all: Vec<Vec<Plan>> = Vec::new();
    for (start, minutes) in starts.into_iter().zip([5, 30, 45, 60, 90, 240, LONGEST]) {
        all.push(vec![plan(start, vec![start.weekday()], minutes)]);
    }
    let midnight = before.date().to_datetime(Time::midnight());
    all.push(vec![plan(before, vec![], 61), plan(middle, vec![], 7)]);
    all.push(vec![plan(midnight, vec![after.weekday()], 180), plan(midnight - MINUTE, vec![], 5)]);
    all
}

/// Compares around one change; what differs, if anything does.
fn difference(zone_name: &str, change: Timestamp, hours: usize, subject: &Subject) -> Option<String> {
    let zone = TimeZoneDatabase::bundled().get(zone_name).unwrap();
    let (margin, judged) = (LONGEST + 60, 2 * hours * 60);
    let from = change - SignedDuration::from_mins(i64::try_from(margin + judged / 2).unwrap());
    let walk = Walk::new(&zone, from, margin + judged);
    plans(zone_name, &zone, change).into_iter().find_map(|plans| {
        let mut open = vec![false; margin + judged];
        plans.iter().for_each(|plan| walk.mark(plan, &mut open));
        let expected = runs(&open, from, margin, margin + judged);
        let found = subject(&plans, instant(from, margin), instant(from, margin + judged));
        (found != expected).then(|| format!("{plans:?} at {change}: {found:?} instead of {expected:?}"))
    })
}

#[test]
fn every_zone_opens_and_closes_as_the_clocks_show_around_each_of_its_changes() {
    let changes = changes(!full());
    assert!(changes.len() > 300, "only {} changes", changes.len());
    let hours = if full() { 72 } else { 18 };
    for (around, zone) in &changes {
        let difference = difference(zone, around.change, hours, &real);
        assert_eq!(difference, None, "{zone}");
    }
}

/// Rules that somebody might have written instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// The second of two starts.
    TakesTheSecond,
    /// A start that does not exist moves back.
    MovesBack,
    /// It is left out.
    SkipsTheDay,
    /// The end is a time of day as well.
    EndsByTheClock,
    /// Windows that adjoin stay two.
    KeepsApart,
    /// Starts in UTC by the offset of the day before.
    TrustsYesterdaysOffset,
}

fn wrong(rule: Wrong) -> impl Fn(&[Plan], Timestamp, Timestamp) -> Vec<Stretch> {
    move |plans, from, to| {
        let mut openings = Vec::new();
        for plan in plans {
            let zone = TimeZoneDatabase::bundled().get(&plan.zone).unwrap();
            let length = SignedDuration::from_mins(i64::try_from(plan.minutes).unwrap());
            let first = zone.to_datetime(from - length).date().yesterday().unwrap();
            for day in first.series(1.day()).take_while(|day| *day <= zone.to_datetime(to).date()) {
                let shown = day.to_datetime(plan.start);
                let ambiguous = zone.to_ambiguous_timestamp(shown);
                let start = match rule {
                    Wrong::TakesTheSecond if matches!(ambiguous.offset(), AmbiguousOffset::Fold { .. }) => {
                        ambiguous.later().unwrap()
                    }
                    Wrong::MovesBack if matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. }) => {
                        ambiguous.earlier().unwrap()
                    }
                    Wrong::SkipsTheDay if ambiguous.is_ambiguous() => continue,
                    Wrong::TrustsYesterdaysOffset => {
                        let noon = day.yesterday().unwrap().at(12, 0, 0, 0);
                        zone.to_offset(zone.to_timestamp(noon).unwrap()).to_timestamp(shown).unwrap()
                    }
                    _ => ambiguous.compatible().unwrap(),
                };
                let end = match rule {
                    Wrong::EndsByTheClock => zone.to_timestamp(shown + length).unwrap(),
                    _ => start + length,
                };
                if plan.days.is_empty() || plan.days.contains(&day.weekday()) {
                    openings.extend(Stretch { start, end }.within(Stretch { start: from, end: to }));
                }
            }
        }
        openings.sort_unstable();
        if rule == Wrong::KeepsApart { openings } else { merged(openings.into_iter()).collect() }
    }
}

#[test]
fn the_oracle_finds_each_wrong_rule_that_is_planted() {
    let spring = date(2026, 3, 29).at(1, 0, 0, 0).in_tz("UTC").unwrap().timestamp();
    let autumn = date(2026, 10, 25).at(1, 0, 0, 0).in_tz("UTC").unwrap().timestamp();
    let found = |rule, change| difference("Europe/Amsterdam", change, 18, &wrong(rule)).is_some();
    for (rule, change) in [
        (Wrong::TakesTheSecond, autumn),
        (Wrong::MovesBack, spring),
        (Wrong::SkipsTheDay, spring),
        (Wrong::SkipsTheDay, autumn),
        (Wrong::EndsByTheClock, spring),
        (Wrong::EndsByTheClock, autumn),
        (Wrong::KeepsApart, autumn),
        (Wrong::TrustsYesterdaysOffset, spring),
        (Wrong::TrustsYesterdaysOffset, autumn),
    ] {
        assert!(found(rule, change), "{rule:?} at {change} was not noticed");
    }
    // Half an hour, and a midnight that does not exist.
    for (zone, change) in [
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        ("Africa/Cairo", "2026-04-23T22:00:00Z"),
    ] {
        let rule = wrong(Wrong::EndsByTheClock);
        assert!(difference(zone, at(change), 18, &rule).is_some(), "{zone} {change} was not noticed");
    }
}

#[derive(Debug, Clone)]
struct Case {
    plans: Vec<Plan>,
    /// Minutes after `now` at which an exclusion begins, and how many it lasts.
    exclusions: Vec<(i64, i64)>,
    now: Timestamp,
    step: usize,
}

fn case() -> impl Strategy<Value = Case> {
    let zones: Vec<String> = TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect();
    let days = prop::collection::btree_set(0_i8..7, 0..7).prop_map(|days| {
        days.into_iter().map(|day| Weekday::from_monday_zero_offset(day).unwrap()).collect()
    });
    let minutes = prop_oneof![4 => 5_usize..300, 1 => 300_usize..168 * 60];
    let plan = (days, 0_i8..24, 0_i8..60, minutes).prop_map(|(days, hour, minute, minutes)| Plan {
        days,
        start: Time::new(hour, minute, 0, 0).unwrap(),
        minutes,
        zone: String::new(),
    });
    let first = at("2024-01-01T00:00:00Z").as_second() / 60;
    let last = at("2041-01-01T00:00:00Z").as_second() / 60;
    let exclusion = (-3 * 24 * 60_i64..8 * 24 * 60, prop_oneof![1_i64..120, 1_i64..6 * 24 * 60]);
    (
        prop::collection::vec(plan, 1..4),
        prop::collection::vec(prop::sample::select(zones), 3),
        prop::collection::vec(exclusion, 0..4),
        first..last,
        1_usize..400,
    )
        .prop_map(|(mut plans, zones, exclusions, minute, step)| {
            plans.iter_mut().zip(zones).for_each(|(plan, zone)| plan.zone = zone);
            Case { plans, exclusions, now: Timestamp::from_second(minute * 60).unwrap(), step }
        })
}

impl Case {
    /// The schedule, and for each minute of a walk from `before` minutes before `now` to `after` after it, whether it is open.
    fn laid_out(&self, before: usize, after: usize) -> (Schedule, Timestamp, Vec<bool>) {
        let from = self.now - SignedDuration::from_mins(i64::try_from(before).unwrap());
        let mut open = vec![false; before + after];
        for plan in &self.plans {
            let zone = TimeZoneDatabase::bundled().get(&plan.zone).unwrap();
            Walk::new(&zone, from, before + after).mark(plan, &mut open);
        }
        let mut exclusions = Vec::new();
        for (begins, lasts) in &self.exclusions {
            let start = self.now + SignedDuration::from_mins(*begins);
            let end = start + SignedDuration::from_mins(*lasts);
            exclude(from, start, end, &mut open);
            exclusions.push(json!({"from": start, "to": end}));
        }
        let windows: Vec<Value> = self.plans.iter().map(Plan::manifest).collect();
        (schedule(json!(windows), json!(exclusions)), from, open)
    }

    fn step(&self) -> Duration {
        minutes(u64::try_from(self.step).unwrap())
    }
}

/// What the oracle says of a start at one minute: when the window closes, or else when one with room opens.
fn judged(open: &[bool], now: usize, step: usize) -> Result<usize, usize> {
    let room = |minute: usize| open[minute..].iter().take_while(|open| **open).count();
    if open[now] && room(now) >= step {
        return Ok(now + room(now));
    }
    let opens = |minute: &usize| open[*minute] && !open[*minute - 1] && room(*minute) >= step;
    Err((now + 1..open.len()).find(opens).unwrap_or(open.len()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if full() { 2000 } else { 32 }))]

    #[test]
    fn any_schedule_at_any_instant_is_as_the_clocks_show(case in case()) {
        let (before, after) = (8 * 24 * 60, 9 * 24 * 60);
        let (schedule, from, open) = case.laid_out(before, after);
        let excluded = case.exclusions.iter().any(|(begins, lasts)| *begins <= 0 && 0 < begins + lasts);

        let end = instant(from, before + after);
        prop_assert_eq!(pieces(&schedule, case.now, end), runs(&open, from, before, before + after));
        let gate = schedule.gate(case.now, case.step());
        // Beyond its walk the oracle knows nothing.
        let known = |minute: usize| (minute < open.len()).then(|| instant(from, minute));
        let within = |at: Option<Timestamp>| at.filter(|at| *at < end);
        match (judged(&open, before, case.step), &gate) {
            (Ok(closes), Admission::Open { until }) => prop_assert_eq!(within(*until), known(closes)),
            (Err(opens), Admission::Closed { until, because }) => {
                if opens + case.step < open.len() {
                    prop_assert_eq!(Some(*until), known(opens));
                }
                let expected = match because {
                    Closed::Excluded(_) => excluded,
                    Closed::TooLittleTimeLeft { .. } => open[before] && !excluded,
                    Closed::OutsideWindow => !open[before] && !excluded,
                };
                prop_assert!(expected, "{:?}", because);
            }
            (Err(opens), Admission::Never { .. }) => prop_assert!(opens + case.step >= open.len()),
            (oracle, gate) => prop_assert!(false, "{:?} instead of {:?}", gate, oracle),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if full() { 500 } else { 8 }))]

    #[test]
    fn the_time_ahead_of_any_schedule_is_as_the_clocks_show(case in case()) {
        let (before, after) = (9 * 24 * 60, 33 * 24 * 60);
        let (schedule, from, open) = case.laid_out(before, after);
        let minute_of_day = usize::try_from((case.now.as_second() / 60).rem_euclid(24 * 60)).unwrap();
        let edge = |minute: &usize| open[*minute] != open[*minute - 1];
        let since = (before - minute_of_day..=before).rev().find(edge).unwrap_or(before - minute_of_day);
        let ahead = &open[since..since + 32 * 24 * 60];
        let outlook = schedule.outlook(case.now, case.step());
        prop_assert_eq!(usize::try_from(outlook.reachable_minutes).unwrap(), ahead.iter().filter(|it| **it).count());
        let next_edge = (before + 1..open.len()).find(edge).map(|minute| instant(from, minute));
        prop_assert_eq!(outlook.edge.filter(|edge| *edge < instant(from, before + after)), next_edge);
        prop_assert_eq!(outlook.next_window, schedule.next_opening(case.now, case.step()));
        let room = |minute: usize| open[minute..].iter().take_while(|open| **open).count() >= case.step;
        // A piece at the end of the walk may go on beyond it.
        if outlook.admits != (since..since + ahead.len()).any(room) {
            prop_assert!(outlook.admits && *open.last().unwrap());
        }
    }
}
