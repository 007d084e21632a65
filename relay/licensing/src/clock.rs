//! The time that licences are judged by: never earlier than what the relay already knows has passed.
//!
//! effective = max(wall clock, floors). Floors are instants that are certain: the newest checkpoint this relay signed, and
//! the build. A clock set back can therefore not stretch a licence; it only makes [`EffectiveTime::regressed`] true.

use jiff::Timestamp;

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
            Some(floor) if floor > wall => Self { at: floor, regressed: true },
            _ => Self { at: wall, regressed: false },
        }
    }

    /// The instant.
    pub fn at(self) -> Timestamp {
        self.at
    }

    /// Whether the wall clock is behind a floor.
    pub fn regressed(self) -> bool {
        self.regressed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_clock_set_back_stays_at_the_floor() {
        let (early, late): (Timestamp, Timestamp) =
            ("2026-01-01T00:00:00Z".parse().unwrap(), "2026-06-01T00:00:00Z".parse().unwrap());
        assert_eq!(EffectiveTime::of(late, [early]), EffectiveTime { at: late, regressed: false });
        assert_eq!(EffectiveTime::of(early, [early, late]), EffectiveTime { at: late, regressed: true });
        assert_eq!(EffectiveTime::of(early, []), EffectiveTime { at: early, regressed: false });
    }
}
