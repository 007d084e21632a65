//! When a witness is asked, and when a checkpoint is chosen for all of them. Pure: time and chance are passed in.
//!
//! All witnesses are asked about the same checkpoint, the *candidate*, or no quorum would ever come together; the next one is
//! chosen at a cadence of its own, far slower than local checkpoints, and only when the log holds more than summaries of earlier
//! pushes. A witness that fails is asked again with growing distance, about whatever is the candidate then.

use std::time::{Duration, Instant};

use super::verdict::WitnessVerdict;

/// The longest distance between two attempts.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// How often a witness may correct the size we say before that counts as a failure.
const CORRECTIONS: u32 = 2;

/// What this process knows of one witness.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// The last verdict.
    pub(super) verdict: Option<WitnessVerdict>,
    failures: u32,
    corrections: u32,
    not_before: Option<Instant>,
}

/// What to do with one witness now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask it.
    Now,
    /// Ask it then.
    At(Instant),
    /// It has said what there is to say.
    Never,
}

impl Standing {
    /// Whether to ask about the candidate. `has_signed` it, and `known` is the size it cosigned last. Each witness is asked once
    /// after a start even if it has signed: whether it has seen more is what the fence waits for.
    pub(super) fn due(&self, candidate: u64, known: u64, has_signed: bool, now: Instant) -> Due {
        // A checkpoint below what it saw can only be refused; the candidate moves on soon, unless the log itself is behind.
        let waits = known > candidate && !matches!(self.verdict, None | Some(WitnessVerdict::Ahead { .. }));
        let settled = has_signed && self.verdict.is_some() && self.failures == 0;
        if waits || settled {
            return Due::Never;
        }
        match self.not_before {
            Some(at) if at > now => Due::At(at),
            _ => Due::Now,
        }
    }

    /// Takes a verdict. `chance` in 0..1 spreads the attempts of many relays.
    pub(super) fn take(&mut self, verdict: WitnessVerdict, every: Duration, now: Instant, chance: f64) {
        match &verdict {
            WitnessVerdict::Cosigned { .. } => {
                (self.failures, self.corrections, self.not_before) = (0, 0, None);
            }
            WitnessVerdict::Behind { .. } if self.corrections < CORRECTIONS => {
                self.corrections += 1;
                self.not_before = None;
            }
            _ => {
                self.failures = self.failures.saturating_add(1);
                self.corrections = 0;
                self.not_before = Some(now + distance(self.failures, every, chance));
            }
        }
        self.verdict = Some(verdict);
    }

    /// The way to it is open again: it need not wait for its turn.
    pub(super) fn encourage(&mut self) {
        if matches!(self.verdict, Some(WitnessVerdict::Unreachable(_))) {
            self.not_before = None;
        }
    }
}

/// Doubles from `every` on; half of it is chance.
fn distance(failures: u32, every: Duration, chance: f64) -> Duration {
    let doubled = every.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let longest = doubled.min(LONGEST.max(every));
    longest.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

/// What decides on the next candidate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    /// The candidate's size, if there is one.
    pub(super) candidate: Option<u64>,
    /// When it was chosen, in this process.
    pub(super) chosen: Option<Instant>,
    /// Entries under the newest local checkpoint.
    pub(super) published: u64,
    /// One more than the index of the last entry that is worth a push: not a summary of pushes, nor an anchor of tree heads.
    pub(super) worth: u64,
    /// A witness has cosigned more than the candidate.
    pub(super) overtaken: bool,
}

impl Round {
    /// Whether the newest checkpoint becomes the candidate.
    pub(super) fn next(&self, every: Duration, now: Instant) -> Due {
        if self.published == 0 {
            return Due::Never;
        }
        let Some(candidate) = self.candidate else { return Due::Now };
        if self.published <= candidate || (self.worth <= candidate && !self.overtaken) {
            return Due::Never;
        }
        match self.chosen.map(|chosen| chosen + every) {
            Some(at) if at > now => Due::At(at),
            _ => Due::Now,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]

    use super::*;
    use crate::outbound::OutboundError;
    use proptest::prelude::*;

    const EVERY: Duration = Duration::from_secs(20);

    fn standing(verdicts: &[WitnessVerdict], now: Instant) -> Standing {
        let mut standing = Standing::default();
        for verdict in verdicts {
            standing.take(verdict.clone(), EVERY, now, 1.0);
        }
        standing
    }

    fn lost() -> WitnessVerdict {
        WitnessVerdict::Unreachable(OutboundError::NoCourier)
    }

    #[test]
    fn each_witness_is_asked_once_after_a_start_and_then_only_about_what_it_has_not_signed() {
        let now = Instant::now();
        let fresh = Standing::default();
        assert_eq!(fresh.due(9, 9, true, now), Due::Now, "it has signed, but may have seen more since");
        assert_eq!(fresh.due(9, 12, false, now), Due::Now, "also when it is known to be ahead");
        let signed = standing(&[WitnessVerdict::Cosigned { size: 9 }], now);
        assert_eq!(signed.due(9, 9, true, now), Due::Never);
        assert_eq!(signed.due(12, 9, false, now), Due::Now);
    }

    #[test]
    fn failures_grow_apart_up_to_a_quarter_of_an_hour_and_a_cosignature_ends_them() {
        let now = Instant::now();
        let mut waits = Vec::new();
        let mut failing = Standing::default();
        for _ in 0..9 {
            failing.take(WitnessVerdict::Later(503), EVERY, now, 1.0);
            let Due::At(at) = failing.due(9, 0, false, now) else { panic!("it must wait") };
            waits.push((at - now).as_secs());
        }
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 900, 900, 900]);
        failing.take(WitnessVerdict::Cosigned { size: 9 }, EVERY, now, 1.0);
        assert_eq!(failing.due(10, 9, false, now), Due::Now);
    }

    #[test]
    fn a_size_that_was_wrong_is_corrected_at_once_but_not_for_ever() {
        let now = Instant::now();
        let behind = |n| vec![WitnessVerdict::Behind { size: 3 }; n];
        assert_eq!(standing(&behind(1), now).due(9, 3, false, now), Due::Now);
        assert_eq!(standing(&behind(2), now).due(9, 3, false, now), Due::Now);
        assert!(matches!(standing(&behind(3), now).due(9, 3, false, now), Due::At(_)), "it plays with us");
        assert_eq!(
            standing(&behind(1), now).due(9, 11, false, now),
            Due::Never,
            "until the candidate reaches it"
        );
    }

    #[test]
    fn a_courier_that_comes_ends_the_wait_of_those_it_was_missed_by() {
        let now = Instant::now();
        let mut waiting = standing(&[lost(), lost()], now);
        assert!(matches!(waiting.due(9, 0, false, now), Due::At(_)));
        waiting.encourage();
        assert_eq!(waiting.due(9, 0, false, now), Due::Now);
        let mut refused = standing(&[WitnessVerdict::UnknownLog], now);
        refused.encourage();
        assert!(
            matches!(refused.due(9, 0, false, now), Due::At(_)),
            "a refusal has nothing to do with the way"
        );
    }

    fn round(candidate: Option<u64>, published: u64, worth: u64) -> Round {
        Round { candidate, chosen: None, published, worth, overtaken: false }
    }

    #[test]
    fn a_candidate_is_chosen_at_its_cadence_and_only_for_something_worth_it() {
        let now = Instant::now();
        assert_eq!(round(None, 0, 0).next(EVERY, now), Due::Never, "nothing is published");
        assert_eq!(round(None, 1, 1).next(EVERY, now), Due::Now);
        assert_eq!(round(Some(5), 5, 9).next(EVERY, now), Due::Never, "no new checkpoint");
        assert_eq!(round(Some(5), 7, 5).next(EVERY, now), Due::Never, "two summaries alone are no reason");
        assert_eq!(round(Some(5), 7, 6).next(EVERY, now), Due::Now);
        let soon = Round { chosen: Some(now), ..round(Some(5), 7, 7) };
        assert_eq!(soon.next(EVERY, now), Due::At(now + EVERY));
        assert_eq!(soon.next(EVERY, now + EVERY), Due::Now);
        assert_eq!(Round { overtaken: true, ..round(Some(5), 7, 5) }.next(EVERY, now), Due::Now);
    }

    proptest! {
        #[test]
        fn distances_never_exceed_the_longest_and_never_vanish(failures in 1u32.., chance in 0.0f64..1.0) {
            let distance = distance(failures, EVERY, chance);
            prop_assert!(distance >= EVERY / 2 && distance <= LONGEST);
        }
    }
}
