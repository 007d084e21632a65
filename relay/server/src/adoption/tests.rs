//! An adoption that is cut off after, or inside, any step: the relay refuses to run, and another run brings it to its end. One that
//! a start began is brought to its end by the next start.

use std::collections::BTreeMap;

use paramant_protocol::entry::{Entry, Kind};
use tempfile::TempDir;

use super::*;
use crate::app::{Core, OpenError};
use crate::settings::{Settings, SettingsHandle};
use crate::test_relay::{TestRelay, read};

const PAYLOAD: &[u8] = b"unread when the log ended";

/// A directory with a log, an unread transfer, and its log's name.
async fn with_one_unread() -> (TempDir, String) {
    let relay = TestRelay::start().await;
    relay.upload(PAYLOAD).await;
    let name = relay.app.core.log.origin().to_owned();
    (relay.stop().await, name)
}

fn copied(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    copy(from, to.path());
    to
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() { copy(&from, &to) } else { std::fs::copy(from, to).map(drop).unwrap() }
    }
}

/// Every file below a directory.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn refuses_to_start(root: &Path) -> bool {
    let settings = SettingsHandle::fixed(Settings::default());
    matches!(Core::open(root, settings), Err(OpenError::Adoption(_)))
}

/// Where a run is cut off.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// After so many steps.
    After(usize),
    /// With one directory moved away and the others not.
    MidRetire,
    /// With one directory installed and the other not.
    MidInstall,
    /// With one private key destroyed and the other half overwritten.
    MidSeal,
}

fn cuts() -> impl Iterator<Item = Cut> {
    (0..Step::ALL.len()).map(Cut::After).chain([Cut::MidRetire, Cut::MidInstall, Cut::MidSeal])
}

fn cut_off(root: &Path, request: Request<'_>, cut: Cut) {
    let (data, plan) = begin(root, request).unwrap();
    cut_off_after(&data, &plan, cut);
}

fn cut_off_after(data: &DataDir, plan: &Plan, cut: Cut) {
    let steps = match cut {
        Cut::After(steps) => steps,
        Cut::MidRetire => 3,
        Cut::MidInstall => 4,
        Cut::MidSeal => 6,
    };
    for step in &Step::ALL[..steps] {
        take(*step, data, plan).unwrap();
    }
    let place = plan.retired_to(data);
    match cut {
        Cut::After(_) => {}
        Cut::MidRetire => {
            std::fs::create_dir_all(&place).unwrap();
            std::fs::rename(data.log(), place.join("log")).unwrap();
        }
        Cut::MidInstall => {
            let _ = std::fs::remove_dir(data.log());
            std::fs::rename(adopting(data).join("log"), data.log()).unwrap();
        }
        Cut::MidSeal => {
            std::fs::remove_file(place.join("log-keys/ed25519.seed")).unwrap();
            std::fs::write(place.join("log-keys/ml-dsa-44.seed"), [b'0'; 64]).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cut_off_anywhere_is_brought_to_its_end_by_the_next() {
    let (original, name) = with_one_unread().await;
    let request = Request { retire: &name, origin: Some("new.example/log") };
    let old_log = files(&original.path().join("log"));
    for cut in cuts() {
        let dir = copied(original.path());
        cut_off(dir.path(), request, cut);
        assert!(refuses_to_start(dir.path()), "{cut:?}");
        let other = Request { origin: Some("third.example/log"), ..request };
        assert!(matches!(adopt(dir.path(), other), Err(AdoptError::AnotherName { .. })), "{cut:?}");
        let done = adopt(dir.path(), Request { origin: None, ..request }).unwrap();
        assert_eq!(done.origin, "new.example/log", "{cut:?}");

        assert_eq!(files(&done.kept_in.join("log")), old_log, "{cut:?}: the old log is as it was");
        assert!(!adopting_left(dir.path()), "{cut:?}");
        let seeds = done.kept_in.join("log-keys");
        assert!(std::fs::read_dir(seeds).unwrap().next().is_none(), "{cut:?}: its private keys are gone");

        let relay = TestRelay::over(dir).await;
        let log = relay.app.core.log.clone();
        assert_eq!((log.origin(), log.retired()), ("new.example/log", [name.clone()].as_slice()));
        let kinds: Vec<Kind> = log
            .engine()
            .entries(0, 100)
            .unwrap()
            .iter()
            .map(|it| Entry::parse(&it.bytes).unwrap().kind())
            .collect();
        assert_eq!(kinds[..2], [Kind::LogAdopted, Kind::Transfer], "{cut:?}");
        let leased = relay.lease(PAYLOAD).await;
        assert_eq!(leased.blob.log_index, Some(1), "{cut:?}");
        assert_eq!(read(leased).await, PAYLOAD, "{cut:?}");
        relay.stop().await;
    }
}

/// A start after `log_closed` goes on by itself, and no other log begins on the way.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_start_began_is_brought_to_its_end_by_the_next_start() {
    let (original, name) = with_one_unread().await;
    for cut in cuts() {
        let dir = copied(original.path());
        {
            let data = DataDir::open(dir.path()).unwrap();
            let names = Names::read(&data).unwrap().unwrap();
            let plan = Plan { after_close: true, ..Plan::new(&data, &names, None).unwrap() };
            plan.write(&data).unwrap();
            cut_off_after(&data, &plan, cut);
        }
        let relay = TestRelay::over(dir).await;
        let log = relay.app.core.log.clone();
        let expected = (format!("{name}/2"), [name.clone()]);
        assert_eq!((log.origin(), log.retired()), (expected.0.as_str(), expected.1.as_slice()), "{cut:?}");
        assert_eq!(read(relay.lease(PAYLOAD).await).await, PAYLOAD, "{cut:?}");
        assert!(!adopting_left(relay.stop().await.path()), "{cut:?}");
    }
}

fn adopting_left(root: &Path) -> bool {
    root.join("adopting").exists() || root.join("adoption.json").exists()
}

/// The same adoption, not cut off: nothing to go on with, and the name is that of an ended log.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ended_leaves_nothing_to_go_on_with() {
    let (dir, name) = with_one_unread().await;
    let request = Request { retire: &name, origin: None };
    adopt(dir.path(), request).unwrap();
    assert!(!refuses_to_start(dir.path()));
    assert!(matches!(adopt(dir.path(), request), Err(AdoptError::AnotherLog { .. })));
}

/// What the operator saw last counts as known, though this copy never reached it.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_known_checkpoint_is_the_highest_that_anybody_told_of() {
    use paramant_protocol::control::{Directives, DrainDirective, LogMark};
    let (dir, name) = with_one_unread().await;
    let mark = |origin: &str, size| LogMark { origin: Some(origin.to_owned()), size, root: "ab".repeat(32) };
    for (told, expected) in
        [(mark(&name, 900), 900), (mark("another.example/log", 900), 1), (mark(&name, 0), 1)]
    {
        let dir = copied(dir.path());
        let directives = Directives {
            relay_uid: "u".to_owned(),
            epoch: 1,
            seq: 1,
            drain: DrainDirective::default(),
            log_high_water: Some(told),
            log_identity: None,
            log_refused: None,
            commit_schema: None,
            deleting: false,
            couriers: None,
            remote: None,
        };
        std::fs::write(dir.path().join("directives.json"), serde_json::to_vec(&directives).unwrap()).unwrap();
        assert_eq!(adopt(dir.path(), Request { retire: &name, origin: None }).unwrap().size, expected);
    }
}
