//! The clock that licences are judged by, and its floor: what `paramant_licensing::clock` decides, kept across restarts.
//!
//! The floor follows the newest signed checkpoint, but only once the process has run for a while without a jump: a machine that
//! wakes up in another decade and is put right minutes later leaves no trace. A verified reply to our own request puts the floor
//! right in both directions.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use paramant_licensing::clock::{EffectiveTime, Steady, raised};

use crate::world::World;

/// So long a process must have run before its clock is worth a floor.
const SETTLED: Duration = Duration::from_secs(600);
/// The floor on disk may lag by so much: a set-back by less gains nobody anything.
const STEP: SignedDuration = SignedDuration::from_mins(10);

#[derive(Debug)]
pub(super) struct Clock {
    world: World,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    floor: Timestamp,
    kept: Timestamp,
    steady: Steady,
}

/// Where the floor goes, and whether that puts something right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    floor: Timestamp,
    steady: Option<Timestamp>,
    corrects: bool,
}

impl Time {
    pub(crate) fn floor(self) -> Timestamp {
        self.floor
    }

    pub(crate) fn corrects(self) -> bool {
        self.corrects
    }
}

impl Clock {
    /// From the floor that was kept; without one, from the newest checkpoint.
    pub(super) fn new(world: World, kept: Option<Timestamp>, signed: Option<Timestamp>) -> Self {
        let wall = (world.wall)();
        let floor = kept.or(not_ahead(signed, wall)).unwrap_or(Timestamp::MIN).max(World::built());
        let state =
            State { floor, kept: kept.unwrap_or(Timestamp::MIN), steady: Steady::at(wall, Duration::ZERO) };
        Self { world, started: Instant::now(), state: Mutex::new(state) }
    }

    pub(super) fn now(&self) -> EffectiveTime {
        EffectiveTime::of((self.world.wall)(), [self.state().floor])
    }

    /// Lets the floor follow the newest signed checkpoint. Answers a floor that should be kept.
    pub(super) fn follow(&self, signed: Option<Timestamp>) -> Option<Timestamp> {
        self.follow_at(signed, self.started.elapsed())
    }

    fn follow_at(&self, signed: Option<Timestamp>, running: Duration) -> Option<Timestamp> {
        let mut state = self.state();
        let wall = (self.world.wall)();
        let jumped = running < SETTLED || state.steady.jumped(wall, running);
        state.floor = raised(state.floor, not_ahead(signed, wall), jumped);
        let due = state.floor.duration_since(state.kept) >= STEP;
        if due {
            state.kept = state.floor;
        }
        due.then_some(state.floor)
    }

    /// What a verified reply says of the time. Fresh from an exchange it puts the floor right in both directions; otherwise it only
    /// shows what has passed. Nothing moves before [`Clock::set`].
    pub(super) fn weigh(&self, issued: Timestamp, fresh: bool) -> Time {
        let (before, floor) = (self.now().at(), self.state().floor);
        if !fresh {
            return Time { floor: floor.max(issued), steady: None, corrects: false };
        }
        let hour = SignedDuration::from_hours(1);
        let corrects = floor.duration_since(issued) > hour || issued.duration_since(before) > hour;
        Time { floor: issued.max(World::built()), steady: Some(issued), corrects }
    }

    /// Lets it count.
    pub(super) fn set(&self, time: Time) {
        let mut state = self.state();
        state.floor = time.floor;
        state.kept = time.floor;
        if let Some(issued) = time.steady {
            // From here on time that passes is measured from what the reply said.
            state.steady = Steady::at(issued, self.started.elapsed());
        }
    }

    /// An admin says that the floor is wrong: it goes back to what signed documents say. Answers the floor to be kept.
    pub(super) fn reset(&self, issued: Option<Timestamp>) -> Timestamp {
        let mut state = self.state();
        state.floor = issued.unwrap_or(Timestamp::MIN).max(World::built());
        state.kept = state.floor;
        state.steady = Steady::at((self.world.wall)(), self.started.elapsed());
        state.floor
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A checkpoint that was signed while the clock was in another decade says nothing once it is put right.
fn not_ahead(signed: Option<Timestamp>, wall: Timestamp) -> Option<Timestamp> {
    signed.filter(|signed| *signed <= wall)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// A wall clock that the test sets, in days after the release.
    fn clock(kept: Option<i64>) -> (Clock, Arc<AtomicI64>) {
        let wall = Arc::new(AtomicI64::new(0));
        let shown = wall.clone();
        let world = World { wall: Arc::new(move || day(shown.load(Ordering::SeqCst))), ..World::default() };
        (Clock::new(world, kept.map(day), None), wall)
    }

    fn day(days: i64) -> Timestamp {
        World::built() + SignedDuration::from_hours(24 * days)
    }

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(3600 * hours)
    }

    #[test]
    fn the_floor_follows_signed_checkpoints_but_no_jump() {
        let (clock, wall) = clock(Some(1));
        wall.store(3, Ordering::SeqCst);
        assert_eq!(clock.follow_at(Some(day(3)), Duration::from_secs(60)), None, "too early to tell");
        assert_eq!(clock.follow_at(Some(day(3)), hours(72)), Some(day(3)));
        assert_eq!(clock.follow_at(Some(day(3)), hours(72)), None, "kept already");
        wall.store(3650, Ordering::SeqCst);
        assert_eq!(clock.follow_at(Some(day(3650)), hours(73)), None);
        assert_eq!(clock.now().at(), day(3650), "the clock is believed while it says so");
        wall.store(4, Ordering::SeqCst);
        assert_eq!((clock.now().at(), clock.now().regressed()), (day(4), false), "and it heals");
        // Until the next entry the newest checkpoint is one that was signed in the other decade.
        assert_eq!(clock.follow_at(Some(day(3650)), hours(74)), None);
        assert_eq!((clock.now().at(), clock.now().regressed()), (day(4), false));
        wall.store(2, Ordering::SeqCst);
        assert_eq!((clock.now().at(), clock.now().regressed()), (day(3), true));
    }

    #[test]
    fn a_reply_puts_the_floor_right_in_both_directions() {
        let (clock, wall) = clock(Some(3650));
        wall.store(1, Ordering::SeqCst);
        assert_eq!(clock.now().at(), day(3650), "locked out by a floor of another decade");
        let weigh = |days, fresh| {
            let time = clock.weigh(day(days), fresh);
            clock.set(time);
            (time.floor(), time.corrects())
        };
        assert_eq!(weigh(1, false), (day(3650), false), "an old reply lowers nothing");
        assert_eq!(weigh(1, true), (day(1), true));
        assert_eq!((clock.now().at(), clock.now().regressed()), (day(1), false));
        assert_eq!(weigh(1, true), (day(1), false), "nothing was wrong any more");
        assert_eq!(weigh(5, true), (day(5), true));
        assert!(clock.now().regressed());
        assert_eq!(weigh(7, false), (day(7), false), "it shows what has passed");
        wall.store(400, Ordering::SeqCst);
        assert_eq!(weigh(7, true), (day(7), false), "a clock ahead is not put right by a floor");
        assert_eq!(weigh(-400, true).0, World::built(), "never below the build");
    }

    #[test]
    fn an_admin_puts_the_floor_back_to_what_signed_documents_say() {
        let (clock, wall) = clock(Some(3650));
        wall.store(3, Ordering::SeqCst);
        assert!(clock.now().regressed());
        assert_eq!(clock.reset(Some(day(2))), day(2));
        assert_eq!((clock.now().at(), clock.now().regressed()), (day(3), false));
        assert_eq!(clock.reset(None), World::built());
    }
}
