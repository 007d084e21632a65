//! The crash matrix: every call that the engine makes to the disk × everything that can go wrong there.
//!
//! A workload ([`workload`]) runs on a disk in memory ([`vfs`], [`platter`]) and records every call, with the disk and
//! what the world had been told just before it. Then, for each call:
//!
//! - the process is killed before it (so also: after the one before it) and in the middle of a write;
//! - the machine loses power there: all that was not synced is lost, or kept, or any one sector or name is lost or
//!   kept alone, or any one block of reserved room, or some subset;
//! - the process is killed, restarts on what the page cache still has, and the power fails at each call of the restart;
//! - the call fails: `EIO`, `ENOSPC`, a short write, a reservation that is refused or half made; the engine goes on or ends itself; then a crash as above, and a
//!   failed sync has left stale sectors behind that the page cache hides until the power fails;
//! - the restart itself meets each of these faults.
//!
//! After each the log is opened, goes on, and an oracle ([`oracle`]) that shares no code with the engine compares it
//! with the [`journal`]: every acknowledged entry, every signature ever issued, every checkpoint ever shown, all files.
//! Each test runs in a process of its own, since [`turn`] has to know all threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod crossing;
mod journal;
mod oracle;
mod planted;
mod platter;
mod turn;
mod vfs;
mod workload;

use journal::{Journal, Seen};
use oracle::Base;
use platter::{Platter, Unit};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use vfs::{Call, Defect, Fault, Moment, Vfs};
use workload::{BURST, LIFE, RESTART, Session, Step};

/// Where every log of the matrix is.
const DIR: &str = "/volume/log";
/// Random subsets of what is not durable, at each point; everything else is exhaustive.
const SUBSETS: u64 = 3;
/// A log that survived is shown to the outside judge once in so many restarts.
const JUDGED: u64 = 250;

/// What was tried and what was found.
#[derive(Default)]
struct Matrix {
    cases: u64,
    restarts: u64,
    judged: u64,
    /// Disks that were looked at already, with what they had to keep.
    known: HashSet<(u64, usize, usize, u64, &'static str)>,
    /// Planned faults whose call never came.
    missed: u64,
    /// What a planted defect is to be found by; nothing more is tried then.
    wanted: Option<&'static str>,
    failures: Vec<String>,
    /// What each log began with.
    base: Base,
}

/// One run of a workload with every call and every moment.
struct Recorded {
    calls: Vec<Call>,
    moments: Vec<Moment>,
    end: (Platter, Seen),
}

fn fresh() -> Platter {
    Platter::new(Path::new(DIR).parent().unwrap())
}

fn record(steps: &[Step], defect: Option<Defect>) -> Recorded {
    record_from((&fresh(), &Seen::default()), steps, defect)
}

fn record_from(start: (&Platter, &Seen), steps: &[Step], defect: Option<Defect>) -> Recorded {
    let journal = Journal::new(start.1.clone());
    let vfs = Vfs::recording(start.0.clone(), &journal, defect, true);
    let mut session = Session::new(vfs.clone(), journal);
    session.run(steps).unwrap();
    let end = session.die();
    Recorded { calls: vfs.calls(), moments: vfs.moments(), end }
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// What a power cut may leave of a disk: the two extremes, each single change alone or missing, some subsets.
fn after_power_loss(platter: &Platter, seed: u64) -> Vec<(String, Platter)> {
    let units = platter.units();
    let mut found = vec![("all unsynced lost".to_owned(), platter.after_power_loss(|_| false))];
    if units.is_empty() {
        return found;
    }
    found.push(("all unsynced kept".to_owned(), platter.after_power_loss(|_| true)));
    for unit in units.iter().filter(|unit| counts(platter, unit)) {
        found.push((format!("{unit:?} lost"), platter.after_power_loss(|other| other != unit)));
        found.push((format!("only {unit:?} kept"), platter.after_power_loss(|other| other == unit)));
    }
    for block in platter.blocks() {
        found.push((
            format!("reserved block {block:?} lost"),
            platter.after_power_loss(|unit| !block.contains(unit)),
        ));
        found.push((
            format!("only reserved block {block:?} kept"),
            platter.after_power_loss(|unit| block.contains(unit)),
        ));
    }
    for subset in 0..SUBSETS {
        let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (seed * SUBSETS + subset + 1));
        let kept: BTreeSet<&Unit> = units.iter().filter(|_| random.next() >> 17 & 1 == 1).collect();
        found.push((format!("subset {subset}"), platter.after_power_loss(|unit| kept.contains(unit))));
    }
    found
}

/// Whether a change is tried alone. Of a file under a temporary name only the ends are: a start removes it unread.
fn counts(platter: &Platter, unit: &Unit) -> bool {
    let Unit::Data(file, change) = unit else { return true };
    let is_temporary = platter.name_of(*file).extension().is_some_and(|extension| extension == "tmp");
    !is_temporary || *change < 2
}

impl Matrix {
    /// Starts a log on what a crash left, lets it go on, and asks the oracle.
    fn restart(&mut self, disk: Platter, seen: &Seen, what: impl FnOnce() -> String) {
        if self.has_found_it() {
            return;
        }
        self.cases += 1;
        if !self.is_new(&disk, seen, "power cut") {
            return;
        }
        self.restarts += 1;
        let journal = Journal::new(seen.clone());
        let mut session = Session::new(Vfs::sound(disk, &journal), journal);
        let mut wrong = Vec::new();
        for step in RESTART {
            if let Err(ended) = session.step(*step) {
                wrong.push(format!("{step:?}: {}", ended.0));
                break;
            }
            let published = session.log.as_ref().and_then(crate::Log::published).map_or(0, |p| p.head.size);
            if session.log.is_some() && published < seen.published {
                wrong.push(format!("size {} was published, now it is {published}", seen.published));
            }
        }
        if session.log.is_some() {
            wrong.extend(session.judge(&self.base));
        }
        if wrong.is_empty() && self.restarts.is_multiple_of(JUDGED) {
            wrong.extend(self.ask_outside(&session));
        }
        if !wrong.is_empty() {
            self.failures.push(format!("{}: {}", what(), wrong.join("; ")));
        }
    }

    /// Whether this disk, with these promises to keep, meets this fate for the first time.
    fn is_new(&mut self, disk: &Platter, seen: &Seen, fate: &'static str) -> bool {
        let key = (disk.fingerprint(), seen.acknowledged.len(), seen.signed.len(), seen.published, fate);
        self.known.insert(key)
    }

    fn has_found_it(&self) -> bool {
        self.wanted.is_some_and(|wanted| self.failures.last().is_some_and(|found| found.contains(wanted)))
    }

    /// Shows a log to Tessera's fsck, when its program is there.
    fn ask_outside(&mut self, session: &Session) -> Option<String> {
        let judges = std::env::var_os("PARAMANT_JUDGES")?;
        let dir = tempfile::tempdir().unwrap();
        session.log.as_ref()?.export(dir.path()).unwrap();
        self.judged += 1;
        let output = Command::new(Path::new(&judges).join("judge-fsck"))
            .arg("-log")
            .arg(dir.path())
            .args(["-vkey", &journal::vkey()])
            .output()
            .unwrap();
        (!output.status.success()).then(|| format!("fsck: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Killed or without power before every call of a recorded run, and after its last.
    fn kill_everywhere(&mut self, run: &Recorded) {
        for (number, moment) in (0..).zip(&run.moments) {
            if self.has_found_it() {
                return;
            }
            let at = || format!("killed before call {number}, {}", moment.before);
            for (left, disk) in after_power_loss(&moment.platter, number) {
                self.restart(disk, &moment.seen, || format!("{}, {left}", at()));
            }
            for torn in &moment.torn {
                let what = || format!("killed in the middle of call {number}, {}", moment.before);
                self.restart(torn.after_power_loss(|_| true), &moment.seen, what);
            }
        }
        for (left, disk) in after_power_loss(&run.end.0, 0) {
            self.restart(disk, &run.end.1, || format!("killed at the end, {left}"));
        }
    }

    /// Killed before every call, restarted on what the page cache has, then without power at each call of the restart.
    fn kill_twice(&mut self, run: &Recorded) {
        for (number, moment) in (0..).zip(&run.moments) {
            let before = || format!("killed before call {number}, {}, restarted", moment.before);
            self.restart_and_lose_power(&moment.platter, &moment.seen, &before, true);
        }
        self.restart_and_lose_power(
            &run.end.0,
            &run.end.1,
            &|| "killed at the end, restarted".to_owned(),
            true,
        );
    }

    /// A restart of a process on a machine that ran on; then the power fails: at its end, or before each of its calls too.
    fn restart_and_lose_power(
        &mut self,
        platter: &Platter,
        seen: &Seen,
        before: &dyn Fn() -> String,
        at_each_call: bool,
    ) {
        self.cases += 1;
        if !self.is_new(platter, seen, "restart, then power cut") {
            return;
        }
        self.restarts += 1;
        let journal = Journal::new(seen.clone());
        let vfs = Vfs::recording(platter.clone(), &journal, None, false);
        let mut session = Session::new(vfs.clone(), journal);
        if let Err(ended) = session.run_through(RESTART) {
            self.failures.push(format!("{}: {}", before(), ended.0));
        }
        let (platter, seen) = session.die();
        for moment in vfs.moments().iter().filter(|_| at_each_call) {
            let disk = moment.platter.after_power_loss(|_| false);
            self.restart(disk, &moment.seen, || {
                format!("{}, without power before {}", before(), moment.before)
            });
        }
        self.restart(platter.after_power_loss(|_| false), &seen, || format!("{}, without power", before()));
    }

    /// Every call of a recorded run fails in every way that fits it; then a crash.
    fn fail_everywhere(&mut self, steps: &[Step], start: (&Platter, &Seen), calls: &[Call], context: &str) {
        for call in calls {
            for fault in Fault::ALL.into_iter().filter(|fault| fault.fits(call.operation)) {
                self.fail_once(steps, start, call, fault, context);
            }
        }
    }

    fn fail_once(
        &mut self,
        steps: &[Step],
        start: (&Platter, &Seen),
        call: &Call,
        fault: Fault,
        context: &str,
    ) {
        let journal = Journal::new(start.1.clone());
        let vfs = Vfs::failing(start.0.clone(), &journal, call.clone(), fault);
        let mut session = Session::new(vfs.clone(), journal);
        // A process may end itself after a fault; it may as well go on.
        let ended = session.run(steps).err();
        let end = session.die();
        let Some(struck) = vfs.struck() else {
            self.missed += 1;
            return;
        };
        let how = ended.map_or_else(|| "went on".to_owned(), |ended| ended.0);
        let what = format!("{context}{fault:?} at {call} ({how})");
        for (when, (platter, seen)) in [("at once", &struck), ("at the end", &end)] {
            for (left, keep) in [("lost", false), ("kept", true)] {
                let disk = platter.after_power_loss(|_| keep);
                self.restart(disk, seen, || format!("{what}, killed {when}, all unsynced {left}"));
            }
            let before = || format!("{what}, killed {when}, restarted");
            self.restart_and_lose_power(platter, seen, &before, false);
        }
    }

    /// The restart after a kill before one call of each kind fails at each of its own calls.
    fn fail_restarts(&mut self, run: &Recorded) {
        let mut kinds = BTreeMap::new();
        for moment in &run.moments {
            kinds.insert((moment.before.operation, moment.before.class), moment);
        }
        for moment in kinds.values() {
            let journal = Journal::new(moment.seen.clone());
            let vfs = Vfs::recording(moment.platter.clone(), &journal, None, false);
            let mut session = Session::new(vfs.clone(), journal);
            session.run_through(RESTART).unwrap();
            drop(session.die());
            let context = format!("killed before {}, then ", moment.before);
            self.fail_everywhere(RESTART, (&moment.platter, &moment.seen), &vfs.calls(), &context);
        }
    }

    /// Says what was tried, and fails when anything was found.
    fn conclude(self, name: &str, started: Instant) {
        println!(
            "crash matrix, {name}: {} cases, {} different ones restarted, {} shown to fsck, {} faults missed, {:.1} s",
            self.cases,
            self.restarts,
            self.judged,
            self.missed,
            started.elapsed().as_secs_f64()
        );
        let shown = self.failures.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
        assert!(self.failures.is_empty(), "{} of {} fail:\n{shown}", self.failures.len(), self.cases);
    }
}

/// Runs the calling test again in a process of its own; true there.
fn alone(test: &str) -> bool {
    const ALONE: &str = "PARAMANT_CRASH_MATRIX_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("crash_matrix::{test}"), "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("running 1 test"), "there is no test crash_matrix::{test}");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said.lines().filter(|line| line.contains("crash matrix")).for_each(|line| println!("{line}"));
    false
}

#[test]
fn a_crash_at_any_call_takes_nothing_back() {
    if !alone("a_crash_at_any_call_takes_nothing_back") {
        return;
    }
    let started = Instant::now();
    let mut matrix = Matrix::default();
    for steps in [LIFE, BURST] {
        matrix.kill_everywhere(&record(steps, None));
    }
    matrix.conclude("killed at each call", started);
}

#[test]
fn a_crash_of_the_restart_after_a_crash_takes_nothing_back() {
    if !alone("a_crash_of_the_restart_after_a_crash_takes_nothing_back") {
        return;
    }
    let started = Instant::now();
    let mut matrix = Matrix::default();
    matrix.kill_twice(&record(LIFE, None));
    matrix.conclude("killed twice", started);
}

#[test]
fn any_call_may_fail_and_a_crash_may_follow() {
    if !alone("any_call_may_fail_and_a_crash_may_follow") {
        return;
    }
    let started = Instant::now();
    let mut matrix = Matrix::default();
    for steps in [LIFE, BURST] {
        let run = record(steps, None);
        matrix.fail_everywhere(steps, (&fresh(), &Seen::default()), &run.calls, "");
    }
    matrix.conclude("each call fails", started);
}

#[test]
fn any_call_of_a_restart_may_fail() {
    if !alone("any_call_of_a_restart_may_fail") {
        return;
    }
    let started = Instant::now();
    let mut matrix = Matrix::default();
    matrix.fail_restarts(&record(LIFE, None));
    matrix.conclude("each call of a restart fails", started);
}

#[test]
fn the_same_workload_makes_the_same_calls_each_time() {
    if !alone("the_same_workload_makes_the_same_calls_each_time") {
        return;
    }
    let first = record(LIFE, None).calls;
    for _ in 0..5 {
        assert_eq!(record(LIFE, None).calls, first);
    }
    let kinds: BTreeSet<_> = first.iter().map(|call| (call.operation, call.class)).collect();
    println!("crash matrix, calls: {} of {} kinds: {kinds:?}", first.len(), kinds.len());
}
