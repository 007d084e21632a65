//! The time that licences are judged by: never earlier than what the relay already knows has passed.
//!
//! effective = max(wall clock, floors). Floors are instants that are certain: the newest checkpoint this relay signed, the newest
//! reply it verified, and the build. A clock set back can therefore not stretch a licence; it only makes
//! [`EffectiveTime::regressed`] true. A clock that jumped ahead must not become a floor, or one wrong answer of a time server would
//! end every licence until that time really comes: [`Steady`] tells a jump from time that passed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Wall and monotonic clock may drift apart by so much before it is a jump.
pub const JUMP: SignedDuration = SignedDuration::from_hours(24);

/// Clocks of two machines agree within this; being behind by less is no news.
const APART: SignedDuration = SignedDuration::from_mins(5);

/// An instant to judge licences by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectiveTime {
    at: Timestamp,
    regressed: bool,
}

impl EffectiveTime {
    /// The wall clock, lifted to the highest floor.
    pub fn of(wall: Timestamp, floors: impl IntoIterator<Item = Timestamp>) -> Self {
        let floor = floors.into_iter().max();
        match floor {
            Some(floor) if floor > wall => Self { at: floor, regressed: floor.duration_since(wall) > APART },
            _ => Self { at: wall, regressed: false },
        }
    }

    /// The instant.
    pub fn at(self) -> Timestamp {
        self.at
    }

    /// Whether the wall clock is behind a floor by more than two machines' clocks are apart.
    pub fn regressed(self) -> bool {
        self.regressed
    }
}

/// Tells time that passed from a clock that was set: what the wall clock showed when the process started, or when a verified
/// reply last put it right.
#[derive(Debug, Clone, Copy)]
pub struct Steady {
    wall: Timestamp,
    monotonic: Duration,
}

impl Steady {
    /// The two clocks at one moment that is believed.
    pub fn at(wall: Timestamp, monotonic: Duration) -> Self {
        Self { wall, monotonic }
    }

    /// Whether the wall clock has moved away from time that passed, by more than [`JUMP`].
    pub fn jumped(self, wall: Timestamp, monotonic: Duration) -> bool {
        let passed = SignedDuration::try_from(monotonic.saturating_sub(self.monotonic));
        let moved = wall.duration_since(self.wall);
        passed.is_ok_and(|passed| moved.checked_sub(passed).is_none_or(|apart| apart.abs() > JUMP))
    }
}

/// The floor after a moment at which the newest signed checkpoint was `signed` old: it rises unless the clock has jumped.
pub fn raised(floor: Timestamp, signed: Option<Timestamp>, jumped: bool) -> Timestamp {
    match signed {
        Some(signed) if !jumped => floor.max(signed),
        _ => floor,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn day(days: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * (20_000 + days))
    }

    #[test]
    fn a_clock_set_back_stays_at_the_floor() {
        let (early, late): (Timestamp, Timestamp) =
            ("2026-01-01T00:00:00Z".parse().unwrap(), "2026-06-01T00:00:00Z".parse().unwrap());
        assert_eq!(EffectiveTime::of(late, [early]), EffectiveTime { at: late, regressed: false });
        assert_eq!(EffectiveTime::of(early, [early, late]), EffectiveTime { at: late, regressed: true });
        assert_eq!(EffectiveTime::of(early, []), EffectiveTime { at: early, regressed: false });
        let ahead = early + SignedDuration::from_mins(2);
        assert_eq!(EffectiveTime::of(early, [ahead]), EffectiveTime { at: ahead, regressed: false });
    }

    #[test]
    fn a_jump_ahead_is_no_floor_and_heals_when_it_is_taken_back() {
        let hours = |hours: u64| Duration::from_secs(3600 * hours);
        let steady = Steady::at(day(0), hours(1));
        assert!(!steady.jumped(day(3), hours(73)), "three days that passed");
        assert!(!steady.jumped(day(1), hours(2)), "23 hours ahead");
        assert!(steady.jumped(day(3650), hours(2)) && steady.jumped(day(-3650), hours(2)));
        let floor = raised(day(0), Some(day(3650)), steady.jumped(day(3650), hours(2)));
        assert_eq!(floor, day(0));
        assert_eq!(EffectiveTime::of(day(1), [floor]), EffectiveTime { at: day(1), regressed: false });
        assert_eq!(raised(day(0), Some(day(2)), false), day(2));
        assert_eq!(raised(day(2), Some(day(0)), false), day(2), "a floor never sinks by itself");
    }
}
