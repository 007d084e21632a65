#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const YEAR: i64 = 365 * 24 * 60 * 60;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn record(stage: Stage) -> Record {
    Record { stage, expires: at(5 * YEAR), asked: None, granted: None, bundle_sha256: "both".into() }
}

fn relay(configured: Option<&str>, accepts: Accepts) -> Relay {
    Relay { name: "n/r".into(), configured_sha256: configured.map(str::to_owned), accepts }
}

fn reported(bundle: &str) -> Accepts {
    Accepts::Reported(bundle.into())
}

#[test]
fn at_rest_only_a_new_wish_or_the_last_year_begins_a_replacement() {
    let rest = record(Stage::Alone);
    let wish = |asked: &str, granted: Option<&str>| Record {
        asked: Some(asked.into()),
        granted: granted.map(str::to_owned),
        ..rest.clone()
    };
    for (record, now, expected) in [
        (rest.clone(), at(0), Next::Rest),
        (wish("", None), at(0), Next::Rest),
        (wish("monday", None), at(0), Next::Introduce),
        (wish("monday", Some("monday")), at(0), Next::Rest),
        (wish("tuesday", Some("monday")), at(0), Next::Introduce),
        (rest.clone(), at(4 * YEAR - 1), Next::Rest),
        (rest.clone(), at(4 * YEAR), Next::Introduce),
        (rest.clone(), at(6 * YEAR), Next::Introduce),
    ] {
        assert_eq!(next(&record, &[], &[], &mut Unheard::default(), now), expected, "{record:?} at {now}");
    }
}

#[test]
fn the_new_one_signs_only_after_every_relay_has_taken_up_both() {
    let beside = record(Stage::Beside { since: at(0) });
    let waits = || Next::Await(vec!["n/r".to_owned()]);
    for (relay, now, expected) in [
        (relay(Some("both"), reported("both")), 60, Next::Switch),
        (relay(Some("both"), reported("old")), 60, waits()),
        (relay(Some("both"), reported("old")), 24 * 3600, waits()),
        (relay(Some("old"), reported("both")), 60, waits()),
        (relay(Some("both"), Accepts::NotRunning), 60, Next::Switch),
        (relay(Some("old"), Accepts::NotRunning), 24 * 3600, waits()),
        (relay(None, Accepts::NotRunning), 60, Next::Switch),
        (relay(Some("both"), Accepts::Unheard), 24 * 3600, waits()),
        // A clock that was set back.
        (relay(Some("both"), reported("both")), -60, Next::Await(Vec::new())),
        (relay(Some("both"), reported("both")), 34, Next::Await(Vec::new())),
    ] {
        let seen = [relay];
        assert_eq!(
            next(&beside, &seen, &[], &mut Unheard::default(), at(now)),
            expected,
            "{seen:?} at {now}"
        );
    }
}

#[test]
fn a_relay_that_cannot_be_heard_counts_an_hour_after_its_configuration_is_there() {
    let beside = record(Stage::Beside { since: at(0) });
    let mut unheard = Unheard::default();
    let mut look = |configured: Option<&str>, accepts: Accepts, now: i64| {
        next(&beside, &[relay(configured, accepts)], &[], &mut unheard, at(now)) == Next::Switch
    };
    let mut silent = |configured, now| look(configured, Accepts::Unheard, now);
    assert!(!silent(Some("old"), 100));
    assert!(!silent(Some("old"), 7200), "without the new configuration no time counts");
    assert!(!silent(None, 7200));
    assert!(!silent(Some("both"), 7300));
    assert!(!silent(Some("both"), 7300 + 3599));
    assert!(silent(Some("both"), 7300 + 3600));
    assert!(!silent(Some("old"), 11_000), "somebody put the old one back");
    assert!(!silent(Some("both"), 11_001));
    assert!(look(Some("both"), reported("both"), 11_002));
    assert!(!look(Some("both"), Accepts::Unheard, 24 * 3600), "heard in between: it waits anew");
}

#[test]
fn where_nobody_can_look_there_may_be_relays() {
    let beside = record(Stage::Beside { since: at(0) });
    let unseen = ["namespace b".to_owned()];
    assert_eq!(next(&beside, &[], &unseen, &mut Unheard::default(), at(YEAR)), Next::Await(unseen.to_vec()));
    assert_eq!(next(&beside, &[], &[], &mut Unheard::default(), at(60)), Next::Switch);
}

#[test]
fn the_old_one_goes_once_the_new_one_signs() {
    assert_eq!(next(&record(Stage::Switched), &[], &[], &mut Unheard::default(), at(0)), Next::Retire);
}

// A world of authorities that are numbers, relays that take up ConfigMaps late, and operators that die at any moment.

/// What is on record, and what an operator has in memory of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    signer: u32,
    beside: Option<u32>,
    bundle: Vec<u32>,
    since: i64,
    granted: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct Pod {
    accepts: Vec<u32>,
    reported: Option<Vec<u32>>,
    reachable: bool,
}

#[derive(Debug)]
struct World {
    stored: Known,
    operator: Known,
    config: BTreeMap<usize, Vec<u32>>,
    pods: BTreeMap<usize, Pod>,
    asked: Option<String>,
    made: u32,
    now: i64,
    unheard: Unheard,
}

fn sha(bundle: &[u32]) -> String {
    format!("{bundle:?}")
}

impl World {
    fn new() -> Self {
        let first = Known { signer: 0, beside: None, bundle: vec![0], since: 0, granted: None };
        Self {
            stored: first.clone(),
            operator: first,
            config: BTreeMap::new(),
            pods: BTreeMap::new(),
            asked: None,
            made: 0,
            now: 0,
            unheard: Unheard::default(),
        }
    }

    fn relays(&self) -> Vec<Relay> {
        let names: std::collections::BTreeSet<_> = self.config.keys().chain(self.pods.keys()).collect();
        let relay = |name: &usize| Relay {
            name: name.to_string(),
            configured_sha256: self.config.get(name).map(|bundle| sha(bundle)),
            accepts: match self.pods.get(name) {
                None => Accepts::NotRunning,
                Some(Pod { reported: Some(bundle), reachable: true, .. }) => Accepts::Reported(sha(bundle)),
                Some(_) => Accepts::Unheard,
            },
        };
        names.into_iter().map(relay).collect()
    }

    /// One look of the operator: what is on record first, then one step. `remembers`: it lives to see its own write.
    fn look(&mut self, remembers: bool) -> Next {
        self.operator = self.stored.clone();
        let known = &self.operator;
        let stage = match known.beside {
            Some(_) => Stage::Beside { since: at(known.since) },
            None if known.bundle.len() > 1 => Stage::Switched,
            None => Stage::Alone,
        };
        let record = Record {
            stage,
            expires: at(100 * YEAR),
            asked: self.asked.clone(),
            granted: known.granted.clone(),
            bundle_sha256: sha(&known.bundle),
        };
        let relays = self.relays();
        let step = next(&record, &relays, &[], &mut self.unheard, at(self.now));
        let stored = &mut self.stored;
        match &step {
            Next::Rest | Next::Await(_) => {}
            Next::Introduce => {
                self.made += 1;
                stored.bundle = vec![self.made, stored.signer];
                (stored.beside, stored.since) = (Some(self.made), self.now);
                stored.granted = self.asked.clone();
            }
            Next::Switch => {
                stored.signer = stored.beside.take().unwrap();
            }
            Next::Retire => stored.bundle = vec![stored.signer],
        }
        if remembers {
            self.operator = self.stored.clone();
        }
        step
    }

    fn nobody_refuses(&self) -> Result<(), String> {
        for (name, pod) in self.pods.iter().filter(|(_, pod)| pod.reachable) {
            if !pod.accepts.contains(&self.operator.signer) {
                return Err(format!("relay {name} accepts {:?}: {self:?}", pod.accepts));
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Happening {
    Look { remembers: bool },
    Ask(u8),
    Publish(usize),
    Mount(usize),
    Report(usize),
    Start(usize),
    Stop(usize),
    Lose(usize),
    Find(usize),
    Later(i64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let relay = || 0..3_usize;
    prop_oneof![
        4 => any::<bool>().prop_map(|remembers| Happening::Look { remembers }),
        1 => (0..4_u8).prop_map(Happening::Ask),
        3 => relay().prop_map(Happening::Publish),
        3 => relay().prop_map(Happening::Mount),
        3 => relay().prop_map(Happening::Report),
        2 => relay().prop_map(Happening::Start),
        1 => relay().prop_map(Happening::Stop),
        1 => relay().prop_map(Happening::Lose),
        2 => relay().prop_map(Happening::Find),
        3 => prop_oneof![1..40_i64, Just(3600)].prop_map(Happening::Later),
    ]
}

fn happen(world: &mut World, what: &Happening) {
    match *what {
        Happening::Look { remembers } => {
            world.look(remembers);
        }
        Happening::Ask(text) => world.asked = Some(text.to_string()),
        Happening::Publish(name) => {
            world.config.insert(name, world.operator.bundle.clone());
        }
        Happening::Mount(name) => {
            // A node that is cut off is cut off from its ConfigMaps too.
            if let (Some(pod), Some(config)) = (world.pods.get_mut(&name), world.config.get(&name))
                && pod.reachable
            {
                pod.accepts.clone_from(config);
            }
        }
        Happening::Report(name) => {
            if let Some(pod) = world.pods.get_mut(&name).filter(|pod| pod.reachable) {
                pod.reported = Some(pod.accepts.clone());
            }
        }
        Happening::Start(name) => {
            if let Some(config) = world.config.get(&name) {
                let pod = Pod { accepts: config.clone(), reported: None, reachable: true };
                world.pods.entry(name).or_insert(pod);
            }
        }
        Happening::Stop(name) => {
            world.pods.remove(&name);
        }
        Happening::Lose(name) => {
            if let Some(pod) = world.pods.get_mut(&name) {
                (pod.reachable, pod.reported) = (false, None);
            }
        }
        Happening::Find(name) => {
            if let (Some(pod), Some(config)) = (world.pods.get_mut(&name), world.config.get(&name)) {
                pod.accepts.clone_from(config);
                pod.reachable = true;
            }
        }
        Happening::Later(seconds) => {
            world.now += seconds;
            // Kubelets that work bring a ConfigMap within two minutes.
            if seconds >= 120 {
                (0..3).for_each(|name| happen(world, &Happening::Mount(name)));
            }
        }
    }
}

/// Everything works for a while.
fn calm(world: &mut World) -> Result<(), String> {
    for _ in 0..8 {
        for name in 0..3 {
            for what in [
                Happening::Publish(name),
                Happening::Find(name),
                Happening::Mount(name),
                Happening::Report(name),
                Happening::Later(40),
                Happening::Look { remembers: true },
            ] {
                happen(world, &what);
                world.nobody_refuses()?;
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn at_no_instant_does_a_reachable_relay_refuse_the_operator(
        happenings in proptest::collection::vec(happening(), 0..160)
    ) {
        let mut world = World::new();
        for what in &happenings {
            happen(&mut world, what);
            world.nobody_refuses().map_err(|why| TestCaseError::fail(format!("after {what:?}: {why}")))?;
        }
        calm(&mut world).map_err(TestCaseError::fail)?;
        prop_assert_eq!(world.look(true), Next::Rest);
        prop_assert_eq!(&world.stored.bundle, &vec![world.stored.signer]);
        prop_assert!(world.asked.is_none() || world.stored.granted == world.asked);
    }
}

#[test]
fn the_model_can_tell_a_replacement_that_does_not_wait() {
    let mut world = World::new();
    for what in [Happening::Publish(0), Happening::Start(0), Happening::Report(0), Happening::Ask(1)] {
        happen(&mut world, &what);
    }
    world.look(true);
    assert_eq!(world.nobody_refuses(), Ok(()));
    world.stored.signer = world.stored.beside.take().unwrap();
    world.operator = world.stored.clone();
    assert!(world.nobody_refuses().is_err());
}
