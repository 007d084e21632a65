//! Histories that cannot be, each seen as what it is, beside the nearest one that can.

use std::time::Duration;

use super::{Blob, Did, Ended, Fault, OWN_BUFFERS, Op, SETTLES, UNDER_WAY, Uploaded, faults_of};

const fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Acknowledged after 10 ms, for an hour.
fn blob(len: usize, views: usize, strict: bool, ops: Vec<Op>) -> Blob {
    let payload = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let uploaded = Uploaded { from: at(0), to: at(10), acknowledged: true };
    Blob { payload, views, strict, ttl: at(3_600_000), uploaded, ops }
}

fn op(from: u64, to: u64, life: usize, did: Did) -> Op {
    Op { from: at(from), to: at(to), life, did }
}

fn read(from: u64, life: usize, range: std::ops::Range<usize>, ended: Ended) -> Op {
    let bytes = range.clone().map(|n| u8::try_from(n % 251).unwrap()).collect();
    op(from, from + 5, life, Did::Read { at: range.start, bytes, ended })
}

fn won(from: u64, life: usize) -> Op {
    read(from, life, 0..1000, Ended::Whole)
}

#[track_caller]
fn expect(deaths: &[u64], blob: &Blob, faults: &[Fault]) {
    let deaths: Vec<_> = deaths.iter().copied().map(at).collect();
    assert_eq!(faults_of(blob, &deaths), faults);
}

#[test]
fn an_acknowledged_upload_that_nobody_read_and_that_is_gone_is_seen() {
    let gone = op(200, 210, 1, Did::Absent);
    let lost = [Fault::AcknowledgedIsLost];
    expect(&[100], &blob(1000, 1, false, vec![gone.clone()]), &lost);
    expect(&[100], &blob(1000, 1, false, vec![op(200, 210, 1, Did::NothingToTakeBack)]), &lost);
    expect(&[100], &blob(1000, 3, true, vec![gone.clone()]), &lost);

    let mut unknown = blob(1000, 1, false, vec![gone.clone()]);
    unknown.uploaded.acknowledged = false;
    expect(&[100], &unknown, &[]);
    let mut expired = blob(1000, 1, false, vec![gone.clone()]);
    expired.ttl = at(205);
    expect(&[100], &expired, &[]);
    expect(&[100], &blob(1000, 1, false, vec![op(50, 60, 0, Did::MayHaveTakenBack), gone]), &[]);
}

#[test]
fn a_view_that_two_readers_got_is_seen() {
    expect(&[], &blob(1000, 1, false, vec![won(20, 0), won(21, 0)]), &[Fault::TooManyWinners]);
    expect(&[], &blob(1000, 2, false, vec![won(20, 0), won(21, 0)]), &[]);
    // A relay killed a moment after the first read may not have written down that it ended; later it has.
    expect(&[50], &blob(1000, 1, false, vec![won(20, 0), won(100, 1)]), &[]);
    let late = u64::try_from(SETTLES.as_millis()).unwrap() + 100;
    let two = vec![won(20, 0), won(late + 100, 1)];
    expect(&[late], &blob(1000, 1, false, two), &[Fault::TooManyWinners]);
    // Even then not one more of each: the first may be had again, the second may not.
    let three = vec![won(20, 0), won(100, 1), won(late + 200, 2)];
    expect(&[50, late + 150], &blob(1000, 1, false, three), &[Fault::TooManyWinners]);
}

#[test]
fn a_byte_after_it_was_taken_back_or_had_expired_is_seen() {
    let taken = op(20, 30, 0, Did::TookBack);
    let first_byte = |from| read(from, 0, 0..1, Ended::ByRelay);
    expect(&[], &blob(1000, 1, false, vec![taken.clone(), first_byte(31)]), &[Fault::AfterBurn]);
    // Whoever asked before the answer may have been first.
    expect(&[], &blob(1000, 1, false, vec![taken.clone(), first_byte(29)]), &[]);
    expect(&[40], &blob(1000, 1, false, vec![taken, won(50, 1)]), &[Fault::AfterBurn]);

    let mut short = blob(1000, 1, false, vec![first_byte(111)]);
    short.ttl = at(100);
    expect(&[], &short, &[Fault::AfterExpiry]);
    short.ops = vec![first_byte(110)];
    expect(&[], &short, &[]);
}

#[test]
fn a_recoverable_view_that_is_gone_without_a_reader_is_seen() {
    let len = 3 * OWN_BUFFERS;
    let gone = op(2000, 2010, 9, Did::Absent);
    let cut = |life: usize| read(100 * u64::try_from(life).unwrap() + 20, life, 0..1000, Ended::ByRelay);
    let deaths = [100, 200, 300, 400, 500];
    let with = |cuts: usize| -> Vec<Op> { (0..cuts).map(cut).chain([gone.clone()]).collect() };
    expect(&deaths, &blob(len, 1, false, with(1)), &[Fault::ViewIsLost]);
    expect(&deaths, &blob(len, 1, false, with(3)), &[Fault::ViewIsLost]);
    expect(&deaths, &blob(len, 1, false, with(4)), &[]);
    expect(&deaths, &blob(len, 2, false, with(4)), &[Fault::ViewIsLost]);
    // Strict: the first takes the view with it.
    expect(&deaths, &blob(len, 1, true, with(1)), &[]);
    // No answer is no reader either.
    let unanswered = vec![op(20, 30, 0, Did::NoAnswer), gone.clone()];
    expect(&deaths, &blob(len, 1, false, unanswered), &[Fault::ViewIsLost]);
    // Whoever had nearly all of it may have been sent the rest.
    let nearly = vec![read(20, 0, 0..len - 1000, Ended::ByRelay), gone.clone()];
    expect(&deaths, &blob(len, 1, false, nearly), &[]);
    let hung_up = vec![read(20, 0, 0..1000, Ended::ByClient), gone.clone()];
    expect(&deaths, &blob(len, 1, false, hung_up.clone()), &[]);
    expect(&deaths, &blob(2 * UNDER_WAY, 1, false, hung_up), &[Fault::ViewIsLost]);
    // And while somebody reads, it is not there for others.
    let reading = vec![read(20, 0, 0..1000, Ended::ByRelay), op(22, 24, 0, Did::Absent)];
    expect(&deaths, &blob(len, 1, false, reading), &[]);
}

#[test]
fn a_strict_view_that_goes_out_twice_is_seen() {
    let twice = vec![read(20, 0, 0..1, Ended::ByRelay), read(200, 1, 500..501, Ended::ByRelay)];
    expect(&[100], &blob(1000, 1, true, twice.clone()), &[Fault::DisclosedTwice]);
    expect(&[100], &blob(1000, 2, true, twice.clone()), &[]);
    expect(&[100], &blob(1000, 1, false, twice), &[]);
}

#[test]
fn a_byte_that_goes_out_more_often_than_a_view_may_is_seen() {
    let reads = |count: usize, ranges: &dyn Fn(usize) -> std::ops::Range<usize>| -> Vec<Op> {
        (0..count).map(|n| read(20 + 100 * n as u64, n, ranges(n), Ended::ByRelay)).collect()
    };
    let deaths = [100, 200, 300, 400, 500];
    let often = [Fault::DisclosedTooOften];
    expect(&deaths, &blob(1000, 1, false, reads(5, &|_| 0..10)), &often);
    expect(&deaths, &blob(1000, 1, false, reads(4, &|_| 0..10)), &[]);
    expect(&deaths, &blob(1000, 2, false, reads(5, &|_| 0..10)), &[]);
    // Five reads, and no byte of it more than once.
    expect(&deaths, &blob(1000, 1, false, reads(5, &|n| 10 * n..10 * n + 10)), &[]);
}

#[test]
fn other_bytes_than_those_sent_are_seen() {
    let mut changed = won(20, 0);
    if let Did::Read { bytes, .. } = &mut changed.did {
        bytes[999] ^= 1;
    }
    expect(&[], &blob(1000, 1, false, vec![changed]), &[Fault::OtherBytes]);
    expect(&[], &blob(1001, 1, false, vec![won(20, 0)]), &[Fault::OtherBytes]);
    expect(&[], &blob(999, 1, false, vec![won(20, 0)]), &[Fault::OtherBytes]);
    expect(&[], &blob(1000, 1, false, vec![read(20, 0, 500..1000, Ended::Whole)]), &[]);
    expect(&[], &blob(1000, 1, false, vec![won(20, 0)]), &[]);
}
