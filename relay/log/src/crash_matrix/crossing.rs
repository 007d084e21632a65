//! The 65,536th entry: the first full tile of level 1, and a segment that begins right there.
//!
//! A log of a few entries less is made once; each case begins with a copy of it. What was judged then is not
//! judged again unless it was changed ([`Base`]).

use super::journal::{Id, Journal, Seen};
use super::oracle::Base;
use super::platter::Platter;
use super::vfs::{Call, Defect, Operation, Vfs};
use super::workload::{Session, Step};
use super::{Matrix, Recorded, alone, fresh, record_from};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// Entries of the log's first life, in one large segment that is gone by the end of the second.
const FIRST: usize = 65_100;
const SECOND: usize = 430;

/// To entry 65,535, which fills its segment, so that the next segment begins at the boundary; then over it, and two
/// restarts from tiles.
const CROSSING: &[Step] = {
    use Step::{Close, Long, One, Open, Publish, Together};
    &[Open, Together(5), Long, One, Publish, One, Close, Open, One, Publish]
};

/// The log before the boundary.
struct Image {
    platter: Platter,
    seen: Seen,
}

impl Image {
    fn new() -> Self {
        let mut image = Self { platter: fresh(), seen: Seen::default() };
        let lives = [(16 << 20, FIRST), (super::workload::SEGMENT, SECOND)];
        for (segment_bytes, count) in lives {
            let journal = Journal::new(image.seen.clone());
            let mut session = Session::new(Vfs::sound(image.platter.clone(), &journal), journal);
            session.segment_bytes = segment_bytes;
            session.run(&[Step::Open, Step::Together(count), Step::Publish]).unwrap();
            let wrong = session.judge(&Base::default());
            assert!(wrong.is_empty(), "{wrong:?}");
            session.run(&[Step::Close]).unwrap();
            (image.platter, image.seen) = session.die();
        }
        // All of it is durable now. What is in full groups is looked at as files from here on.
        image.platter = image.platter.after_power_loss(|_| true);
        image.seen.acknowledged = image.seen.acknowledged.split_off(&((FIRST + SECOND) as u64 / 256 * 256));
        image
    }

    fn base(&self) -> Base {
        let life = |life, count: usize| (0..count as u32).map(move |serial| Id { life, serial });
        Base::new(life(0, FIRST).chain(life(1, SECOND)).collect(), self.platter.clone())
    }

    fn start(&self) -> (&Platter, &Seen) {
        (&self.platter, &self.seen)
    }
}

/// The run from the 65,536th acknowledgement on: what comes before is nothing new.
fn over_the_boundary(image: &Image, defect: Option<Defect>) -> Recorded {
    let mut run = record_from(image.start(), CROSSING, defect);
    run.moments.retain(|moment| moment.seen.acknowledged.contains_key(&65_535));
    let first = run.moments.first().map(|moment| moment.before.clone());
    let first = run.calls.iter().position(|call| Some(call) == first.as_ref()).unwrap();
    run.calls.drain(..first);
    run
}

/// Calls that change something, and of those that read, which are many, the first and the last of each kind.
fn telling(calls: Vec<Call>) -> Vec<Call> {
    let (mut telling, reads): (Vec<Call>, Vec<Call>) =
        calls.into_iter().partition(|call| call.operation.changes_something());
    let mut kinds: BTreeMap<_, Vec<Call>> = BTreeMap::new();
    for call in reads {
        kinds.entry((call.thread.clone(), call.operation, call.class)).or_default().push(call);
    }
    for mut kind in kinds.into_values() {
        telling.extend(kind.pop());
        telling.extend(kind.into_iter().next());
    }
    telling
}

#[test]
fn a_crash_at_any_call_around_entry_65536_takes_nothing_back() {
    if !alone("crossing::a_crash_at_any_call_around_entry_65536_takes_nothing_back") {
        return;
    }
    let started = Instant::now();
    let image = Image::new();
    let run = over_the_boundary(&image, None);
    let kinds: Vec<String> = run.moments.iter().map(|moment| moment.before.to_string()).collect();
    for kind in ["WriteAt of upper tile", "Rename of upper tile", "Remove of segment"] {
        assert!(kinds.iter().any(|found| found.starts_with(kind)), "no {kind}: {kinds:?}");
    }
    let mut matrix = Matrix { base: image.base(), ..Matrix::default() };
    matrix.kill_everywhere(&run);
    println!("crash matrix, {} moments, {} calls", run.moments.len(), run.calls.len());
    matrix.fail_everywhere(CROSSING, image.start(), &telling(run.calls), "");
    matrix.conclude("around entry 65,536", started);
}

#[test]
fn a_wrong_disk_around_entry_65536_is_found() {
    if !alone("crossing::a_wrong_disk_around_entry_65536_is_found") {
        return;
    }
    let image = Image::new();
    for defect in [Defect::TilesNotSynced, Defect::TileNamesNotSynced] {
        let mut run = over_the_boundary(&image, Some(defect));
        // Harmless until the segment is gone.
        let removed = run.moments.iter().position(|moment| moment.before.operation == Operation::Remove);
        run.moments.drain(..removed.unwrap());
        let mut matrix = Matrix { base: image.base(), wanted: Some("tile"), ..Matrix::default() };
        matrix.kill_everywhere(&run);
        let found = matrix.failures.last().filter(|_| matrix.has_found_it());
        println!("crash matrix, planted {defect:?}: found in case {}: {}", matrix.cases, found.unwrap());
    }
    // The oracle looks at tiles of level 1 too: missing, or with one wrong byte.
    let run = record_from(image.start(), CROSSING, None);
    for tile in ["tile/1/000", "sha3/tile/1/000"] {
        let journal = Journal::new(run.end.1.clone());
        let mut session = Session::new(Vfs::sound(run.end.0.clone(), &journal), journal);
        session.run(&[Step::Open]).unwrap();
        assert_eq!(session.judge(&image.base()), Vec::<String>::new());
        let path = Path::new(super::DIR).join(tile);
        session.vfs.change(|disk| {
            let file = disk.file(&path).unwrap();
            disk.write_at(file, b"wrong", 4000);
        });
        let wrong = session.judge(&image.base());
        assert!(wrong.contains(&format!("{tile} is not what the entries lead to")), "{wrong:?}");
        session.vfs.change(|disk| disk.remove(&path));
        let wrong = session.judge(&image.base());
        assert!(wrong.contains(&format!("{tile} is missing")), "{wrong:?}");
    }
}
