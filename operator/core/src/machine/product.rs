#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! Every step with every combination of facts that it looks at: the invariants in the head of `machine.rs` hold for all.

use super::tests::{at, closed, digest, in_step, rest, target};
use super::*;
use crate::gate::{Gate, Gates};

/// Before and after every threshold of [`rest`]'s timing.
const INSTANTS: [i64; 4] = [0, 70, 310, 2000];

fn pods() -> Vec<PodFact> {
    let mut pods = vec![PodFact::Unknown, PodFact::Absent];
    for uid in ["p1", "p2"].map(str::to_owned) {
        for (serving, terminating) in [(true, false), (false, false), (false, true)] {
            pods.push(PodFact::Old { uid: uid.clone(), serving, terminating });
        }
        for (unready_since, restarted) in [(None, false), (Some(at(0)), false), (None, true)] {
            let serving = unready_since.is_none();
            pods.push(PodFact::New { uid: uid.clone(), serving, unready_since, restarted });
        }
    }
    pods
}

fn gates() -> Vec<Gates> {
    let never = || Gate::Never { reason: "N", message: "edit".into() };
    let mut all = vec![Gates::OPEN];
    for gate in [closed("C"), never()] {
        all.push(Gates { verification: gate.clone(), ..Gates::OPEN });
        all.push(Gates { approval: gate.clone(), ..Gates::OPEN });
        all.push(Gates { window: gate.clone(), ..Gates::OPEN });
    }
    all.push(Gates { verification: never(), approval: never(), window: never() });
    all
}

/// Calls with every roll that the machine can store, and all facts that matter to its step.
fn everything(mut judge: impl FnMut(&Roll, &Facts, Timestamp)) -> u64 {
    let templates = [None, Some(1), Some(2)];
    let mut count = 0;
    for step in STEPS {
        let drains = [DrainProgress::Running, DrainProgress::Done, DrainProgress::GoOn];
        let drains = if step == Step::Draining { &drains[..] } else { &drains[..1] };
        let probes = [Probe::Wait, Probe::Unasked, Probe::Pass, Probe::Fail("lost".into())];
        let watched = matches!(step, Step::Probing | Step::Settling);
        let probes = if watched { &probes[..] } else { &probes[..1] };
        let before = matches!(
            step,
            Step::Idle | Step::Verifying | Step::WaitingForApproval | Step::WaitingForWindow | Step::Draining
        );
        let gates = if before { gates() } else { vec![Gates::OPEN] };
        let began = matches!(step, Step::Draining | Step::Replacing | Step::Probing);
        let closings = if began { &[None, Some(at(50))][..] } else { &[None][..] };
        for (rolled, desired, last_good) in triples(&templates) {
            for pod in pods() {
                for bits in 0..4 {
                    let facts = Facts {
                        rolled: rolled.map(digest),
                        desired: desired.map(target),
                        last_good: last_good.map(digest),
                        rejected: bits & 1 == 1,
                        refused: (bits & 2 == 2).then(|| "no".to_owned()),
                        pod: pod.clone(),
                        ..rest()
                    };
                    for gates in &gates {
                        for drain in drains {
                            for probe in probes {
                                for closes in closings {
                                    let facts = Facts {
                                        gates: gates.clone(),
                                        drain: *drain,
                                        probe: probe.clone(),
                                        closes: *closes,
                                        ..facts.clone()
                                    };
                                    for now in INSTANTS {
                                        judge(&in_step(step), &facts, at(now));
                                        count += 1;
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    count
}

fn triples(templates: &[Option<u8>]) -> Vec<(Option<u8>, Option<u8>, Option<u8>)> {
    let mut all = Vec::new();
    for rolled in templates {
        for desired in templates.iter().chain([&Some(3)]) {
            for last_good in templates {
                all.push((*rolled, *desired, *last_good));
            }
        }
    }
    all
}

#[test]
fn the_invariants_hold_for_every_step_with_every_fact() {
    let judged = everything(|roll, facts, now| {
        let after = next(roll, facts, now);
        let moved = after.step != roll.step;
        let said = || format!("{roll:?} under {facts:?} at {now}: {after:?}");

        // A step that is stored knows where it leads, and how long it has lasted.
        assert!(after.step == Step::Idle || after.target.is_some(), "{}", said());
        assert!(after.since == if moved { now } else { after.since }, "{}", said());
        assert!(after.since <= now.max(roll.since), "{}", said());

        // No gate is passed that is not open.
        if moved && roll.step != Step::Replacing && after.step == Step::Replacing && facts.pod.serves() {
            let watched = matches!(roll.step, Step::Probing | Step::Settling);
            assert!(watched || facts.gates.verification.is_open(), "{}", said());
            assert!(watched || facts.gates.approval.is_open(), "{}", said());
            assert!(watched || roll.step == Step::Draining, "what serves is drained first: {}", said());
        }
        if matches!(after.step, Step::Draining) && moved {
            let Gates { verification, approval, window } = &facts.gates;
            assert!(verification.is_open() && approval.is_open() && window.is_open(), "{}", said());
        }

        // There is a way back, or there is no going back.
        if after.step == Step::RollingBack && moved {
            let watched = matches!(roll.step, Step::Replacing | Step::Probing | Step::Settling);
            // Or it was gone half of already, and what is left of what failed serves nobody.
            let left = matches!(facts.pod, PodFact::Old { serving: false, terminating: false, .. });
            let failed = facts.rejected || facts.pod_rejected;
            let half_way = roll.step == Step::Idle && left && failed && facts.rolled == facts.last_good;
            assert!(watched && facts.has_way_back() || half_way, "{}", said());
        }
        // Only what was seen to be healthy is watched, and only what was watched comes to rest as good.
        if after.step == Step::Settling && moved {
            assert!(
                matches!(facts.pod, PodFact::New { unready_since: None, restarted: false, .. }),
                "{}",
                said()
            );
            assert_eq!(facts.probe, Probe::Pass, "{}", said());
        }

        // What a stored step does. Only what `next` confirms is ever done.
        let act = act(roll, facts, now);
        match &act {
            Act::WriteTarget => {
                assert_eq!(roll.step, Step::Replacing, "{}", said());
                assert_ne!(facts.rolled, roll.target.as_ref().map(|target| target.template.clone()));
            }
            Act::WriteLastGood => {
                let untouched = roll.step == Step::Replacing && facts.pod == PodFact::Unknown;
                assert!(untouched || roll.step == Step::RollingBack, "{}", said());
                assert!(facts.has_way_back(), "{}", said());
            }
            Act::Delete { uid } => {
                assert!(matches!(roll.step, Step::Replacing | Step::RollingBack), "{}", said());
                assert_eq!(roll.victim.as_ref(), Some(uid), "only the recorded one: {}", said());
                assert!(matches!(facts.pod, PodFact::Old { terminating: false, .. }), "{}", said());
                let in_place = match roll.step {
                    Step::Replacing => roll.target.as_ref().map(|target| &target.template),
                    _ => facts.last_good.as_ref(),
                };
                assert_eq!(facts.rolled.as_ref(), in_place, "only once the template is in place: {}", said());
            }
            Act::Confirm => {
                assert_eq!(roll.step, Step::Settling, "{}", said());
                let healthy = matches!(facts.pod, PodFact::New { unready_since: None, restarted: false, .. });
                assert!(healthy && now >= later(roll.since, facts.timing.settle), "{}", said());
            }
            Act::Hold => {}
        }
        if !matches!(roll.step, Step::Replacing | Step::RollingBack | Step::Settling) {
            assert_eq!(act, Act::Hold, "{}", said());
        }

        // What time alone changes is looked at in time: between now and the next wake nothing happens.
        if after == *roll
            && let Some(later) = INSTANTS.iter().map(|it| at(*it)).find(|it| *it > now)
            && wake(roll, facts, now).is_none_or(|wake| wake > later)
        {
            assert_eq!(next(roll, facts, later), after, "nobody would have looked at {later}: {}", said());
            assert_eq!(super::act(roll, facts, later), act, "{}", said());
        }
    });
    assert!(judged > 500_000, "{judged}");
}
