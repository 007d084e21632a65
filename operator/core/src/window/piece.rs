//! Stretches of time, half open: the start belongs to it, the end does not. Pure arithmetic on instants.

use std::iter;
use std::time::Duration;

use jiff::Timestamp;

/// From one instant up to a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stretch {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

impl Stretch {
    pub(super) fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// What both have in common, if that is anything.
    pub(super) fn within(self, other: Self) -> Option<Self> {
        let common = Self { start: self.start.max(other.start), end: self.end.min(other.end) };
        (common.start < common.end).then_some(common)
    }
}

/// A stretch in which steps may start, as long as it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: Timestamp,
    /// `None` if no end is in sight.
    pub(super) end: Option<Timestamp>,
}

impl Piece {
    pub(super) fn length(&self) -> Duration {
        self.end.map_or(Duration::MAX, |end| {
            Duration::try_from(end.duration_since(self.start)).unwrap_or_default()
        })
    }

    pub(super) fn has_room(&self, step: Duration) -> bool {
        self.length() >= step
    }
}

/// The union of stretches that come in the order of their starts: what overlaps or adjoins is one.
pub(super) fn merged(stretches: impl Iterator<Item = Stretch>) -> impl Iterator<Item = Stretch> {
    let mut stretches = stretches.peekable();
    iter::from_fn(move || {
        let mut union = stretches.next()?;
        while let Some(next) = stretches.next_if(|next| next.start <= union.end) {
            union.end = union.end.max(next.end);
        }
        Some(union)
    })
}

/// What these leave of all time.
pub(super) fn complement(mut stretches: Vec<Stretch>) -> Vec<Stretch> {
    stretches.sort_unstable();
    let mut left = Vec::new();
    let mut from = Timestamp::MIN;
    for stretch in merged(stretches.into_iter()) {
        if from < stretch.start {
            left.push(Stretch { start: from, end: stretch.start });
        }
        from = stretch.end;
    }
    // What is written in whole seconds cannot name the very last instant.
    if from.as_second() < Timestamp::MAX.as_second() {
        left.push(Stretch { start: from, end: Timestamp::MAX });
    }
    left
}
