//! Makes the order of calls of several threads the same in every run, whatever the threads are and do.
//!
//! A background thread's call begins only when every other thread sleeps or waits for its own turn, and threads that
//! wait get their turns in the order of their names. The kernel says who sleeps (`/proc/self/task/*/stat`): a thread
//! that was woken counts as running from that moment on. Works only where no other test runs in the process.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long threads may stay busy: far above any step of a workload.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_micros(15);

/// The turns of one file system's callers.
pub(super) struct Turns {
    /// The thread that drives the test.
    driver: u32,
    driver_waits: AtomicBool,
    /// Threads that wait for their turn: name and number.
    waiting: Mutex<BTreeSet<(String, u32)>>,
}

impl Turns {
    /// Made by the thread that drives the test.
    pub(super) fn new() -> Self {
        Self { driver: this_thread(), driver_waits: AtomicBool::new(false), waiting: Mutex::default() }
    }

    pub(super) fn is_driver(&self) -> bool {
        this_thread() == self.driver
    }

    /// Waits until the calling thread may go on alone.
    pub(super) fn take(&self) {
        let me = (thread_name(), this_thread());
        self.waiting.lock().unwrap().insert(me.clone());
        let since = Instant::now();
        while !self.may_go(&me) {
            assert!(since.elapsed() < PATIENCE, "{} never gets its turn", me.0);
            std::thread::sleep(PAUSE);
        }
        self.waiting.lock().unwrap().remove(&me);
    }

    fn may_go(&self, me: &(String, u32)) -> bool {
        let waiting: Vec<u32> = {
            let waiting = self.waiting.lock().unwrap();
            if waiting.first() != Some(me) {
                return false;
            }
            waiting.iter().map(|(_, thread)| *thread).collect()
        };
        let idle_driver = self.driver_waits.load(Ordering::SeqCst).then_some(self.driver);
        let asleep =
            |thread: &u32| waiting.contains(thread) || idle_driver == Some(*thread) || sleeps(*thread);
        threads().iter().all(asleep)
    }

    /// Waits until every thread but the driver sleeps and none waits for a turn.
    pub(super) fn settle(&self) {
        self.driver_waits.store(true, Ordering::SeqCst);
        let since = Instant::now();
        let mut before = None;
        loop {
            let now = self.all_asleep();
            // Asleep twice, and none of them ran in between.
            if now.is_some() && now == before {
                break;
            }
            before = now;
            assert!(since.elapsed() < PATIENCE, "the threads never come to rest");
            std::thread::sleep(PAUSE);
        }
        self.driver_waits.store(false, Ordering::SeqCst);
    }

    /// How often and how long each other thread ran so far, when all of them sleep.
    fn all_asleep(&self) -> Option<Vec<String>> {
        if !self.waiting.lock().unwrap().is_empty() {
            return None;
        }
        let others: Vec<u32> = threads().into_iter().filter(|thread| *thread != self.driver).collect();
        others.iter().all(|thread| sleeps(*thread)).then(|| {
            others
                .iter()
                .map(|thread| std::fs::read_to_string(task(*thread, "schedstat")).unwrap_or_default())
                .collect()
        })
    }
}

/// The name under which a thread's calls are counted.
pub(super) fn thread_name() -> String {
    let current = std::thread::current();
    let name = current.name().filter(|name| name.starts_with("log-")).unwrap_or("caller");
    // Two threads write in turns; which of them comes first makes no difference, and differs.
    name.trim_end_matches("-1").trim_end_matches("-2").to_owned()
}

fn this_thread() -> u32 {
    thread_local!(static NUMBER: u32 = {
        let link = std::fs::read_link("/proc/thread-self").unwrap();
        link.file_name().unwrap().to_string_lossy().parse().unwrap()
    });
    NUMBER.with(|number| *number)
}

fn threads() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.filter_map(|task| task.ok()?.file_name().to_string_lossy().parse().ok()).collect()
}

fn task(thread: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/task/{thread}/{file}"))
}

/// Whether a thread waits for something, or is gone.
fn sleeps(thread: u32) -> bool {
    // The name in parentheses may hold anything; the state is the letter behind it.
    let Ok(stat) = std::fs::read_to_string(task(thread, "stat")) else { return true };
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('S' | 'X' | 'Z') | None)
}
