//! Relays killed in the middle of everything, one after another over the same directory, and the history that their clients
//! made. Rows and files are compared after each start, the log at the end.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{JoinHandle, block_in_place};

use super::drive::{Alive, Made, Plan, World};
use super::{faults_of, left};
use crate::relay::{User, noise};
use crate::spawned::{Process, said};
use crate::struck::told::wrong_with_log;

/// A relay in trouble may keep a client waiting until the next one comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// One relay, from its start to its death.
pub struct Life {
    /// `strace` that becomes the relay and strikes it, if it is to be struck.
    pub tracer: Option<Command>,
    /// What clients begin in it.
    pub plans: Vec<Plan>,
    /// When it is killed; none: when its clients are done, or it has died by itself.
    pub ends: Option<Duration>,
}

/// What came of a row of lives.
#[derive(Debug, Default)]
pub struct Outcome {
    pub wrong: Vec<String>,
    pub uploads: usize,
    pub acknowledged: usize,
    pub ops: usize,
    pub cut: usize,
    /// Lives that ended by themselves.
    pub died: usize,
}

impl Outcome {
    pub fn add(&mut self, other: Self) {
        self.wrong.extend(other.wrong);
        self.uploads += other.uploads;
        self.acknowledged += other.acknowledged;
        self.ops += other.ops;
        self.cut += other.cut;
        self.died += other.died;
    }
}

/// Runs these lives and a last one, which is not disturbed, in `dir`.
pub async fn run(dir: &Path, lives: Vec<Life>) -> Outcome {
    let first = block_in_place(|| Process::start(dir));
    let key = User::new(&first.url).await.key;
    block_in_place(|| first.kill());

    let (announce, alive) = watch::channel(Alive::default());
    let world = World::new(alive, key);
    let (mut outcome, mut deaths, mut clients) = (Outcome::default(), Vec::new(), Vec::new());
    for (life, Life { tracer, plans, ends }) in lives.into_iter().enumerate() {
        let traced = tracer.is_some();
        let started = block_in_place(|| match tracer {
            Some(tracer) => Process::traced(dir, tracer),
            None => Process::try_start(dir),
        });
        match started {
            Ok(process) => {
                if !traced {
                    outcome.wrong.extend(not_left_in_order(dir).await);
                }
                let url = Some(process.url.clone());
                announce.send_replace(Alive { life, url, over: false });
                clients.extend(plans.into_iter().map(|plan| tokio::spawn(world.clone().live(plan))));
                match ends {
                    Some(after) => tokio::time::sleep(after).await,
                    None => outcome.died += usize::from(dies_before(&process.url, &clients).await),
                }
                announce.send_replace(Alive { life, url: None, over: false });
                block_in_place(|| process.kill());
            }
            Err(_) if traced => {
                outcome.died += 1;
                // Nothing of this life's was begun; it is in the next.
                clients.extend(plans.into_iter().map(|plan| tokio::spawn(world.clone().live(plan))));
            }
            Err(ended) => {
                outcome.wrong.push(format!("it does not start again ({ended}): {}", said(dir)));
                return outcome;
            }
        }
        deaths.push(world.began.elapsed());
    }
    match block_in_place(|| Process::try_start(dir)) {
        Ok(process) => last_life(dir, process, &announce, world, clients, deaths, &mut outcome).await,
        Err(ended) => outcome.wrong.push(format!("it does not start again ({ended}): {}", said(dir))),
    }
    outcome
}

async fn last_life(
    dir: &Path,
    process: Process,
    announce: &watch::Sender<Alive>,
    mut world: World,
    clients: Vec<JoinHandle<Made>>,
    deaths: Vec<Duration>,
    outcome: &mut Outcome,
) {
    outcome.wrong.extend(not_left_in_order(dir).await);
    announce.send_replace(Alive { life: deaths.len(), url: Some(process.url.clone()), over: false });
    let mut acknowledged = Vec::new();
    for client in clients {
        let mut made = client.await.unwrap();
        world.drain(&mut made).await;
        outcome.uploads += 1;
        outcome.ops += made.blob.ops.len();
        outcome.cut += made.blob.ops.iter().filter(|op| op.is_cut()).count();
        acknowledged.extend(made.told.map(|told| (told.index, told.leaf)));
        for fault in faults_of(&made.blob, &deaths) {
            let told = made.blob.told();
            outcome.wrong.push(format!("{fault:?} of {}\n{told}\ndeaths: {deaths:?}", made.plan.told()));
        }
    }
    outcome.acknowledged += acknowledged.len();
    let since = Instant::now();
    while left::rows(dir) > 0 {
        if since.elapsed() > PATIENCE {
            outcome.wrong.push(format!("{} rows are left of what was read or has expired", left::rows(dir)));
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    outcome.wrong.extend(not_left_in_order(dir).await);
    let log = wrong_with_log(&process.url, &acknowledged).await;
    outcome.wrong.extend(log.unwrap_or_else(|missing| vec![missing]));
    block_in_place(|| process.kill());
}

/// What does not belong together on disk, and is not put right in a while: expired blobs may be on their way out.
async fn not_left_in_order(dir: &Path) -> Vec<String> {
    let mut wrong = left::mismatches(dir);
    for _ in 0..100 {
        if wrong.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        wrong = left::mismatches(dir);
    }
    wrong
}

/// Waits until the clients are done, or the relay has died; which.
async fn dies_before(url: &str, clients: &[JoinHandle<Made>]) -> bool {
    let (http, since) = (reqwest::Client::new(), Instant::now());
    while !clients.iter().all(JoinHandle::is_finished) && since.elapsed() < PATIENCE {
        if http.get(format!("{url}/health")).send().await.is_err() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

/// Four relays killed at instants that follow from the seed, with new clients in each.
fn killed_four_times(seed: u64) -> Vec<Life> {
    let life = |n: u64| {
        let plans = (0..20).map(|blob| Plan::new(seed * 1000 + n * 100 + blob)).collect();
        let instant = u64::from(noise(seed * 10 + n, 1)[0]) * 4;
        Life { tracer: None, plans, ends: Some(Duration::from_millis(30 + instant)) }
    };
    (0..4).map(life).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn relays_killed_in_the_middle_of_everything_keep_every_promise() {
    let histories: u64 =
        std::env::var("PARAMANT_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let mut all = Outcome::default();
    for seed in 0..histories {
        let dir = TempDir::new().unwrap();
        let outcome = run(dir.path(), killed_four_times(seed)).await;
        let wrong = outcome.wrong.iter().map(|wrong| format!("history {seed}: {wrong}"));
        wrong.for_each(|wrong| println!("{wrong}"));
        all.add(outcome);
    }
    println!(
        "{histories} histories, {} kills: {} uploads, {} acknowledged, {} later operations, {} reads cut",
        histories * 4,
        all.uploads,
        all.acknowledged,
        all.ops,
        all.cut
    );
    assert_eq!(all.wrong, Vec::<String>::new());
    // However slow the machine is: uploads in chunks come to their end, whoever is killed.
    assert!(all.acknowledged * 5 > all.uploads, "too few were acknowledged to say anything");
    assert!(all.acknowledged < all.uploads || all.cut > 0, "the kills cut nothing");
}
