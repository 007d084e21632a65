//! Named traps by hand, and everything else against an oracle that walks minute by minute.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod oracle;
mod sweep;
mod traps;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn schedule(windows: Value, exclusions: Value) -> Schedule {
    let updates = serde_json::from_value(json!({"windows": windows, "exclusions": exclusions}));
    Schedule::of(&updates.unwrap()).unwrap()
}

/// The pieces from one instant up to another, cut at both.
fn pieces(schedule: &Schedule, from: Timestamp, to: Timestamp) -> Vec<Stretch> {
    let pieces = schedule.pieces(from).take_while(|piece| piece.start < to);
    pieces.map(|piece| Stretch { start: piece.start, end: piece.end.unwrap_or(to).min(to) }).collect()
}
