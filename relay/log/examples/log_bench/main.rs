//! Figures of the log engine, each beside what the disk can do in the same minute.
//!
//! `log_bench NAME --dir DIR [--seconds N] [--waiters N] [--bytes N] [--entries N]`, where NAME is `log-append`,
//! `log-latency`, `log-proof` or `log-restart`. Prints one JSON line per figure: `{"name","value","unit","goal","meets"}`.
//! Rounds of the engine and of the baseline alternate because disks vary from minute to minute; ratios are taken within
//! the run. Memory file systems are refused: a sync there is free. `cargo xtask bench NAME` runs it.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod append;
mod figure;
mod fixture;
mod floor;
mod latency;
mod load;
mod process;
mod proof;
mod restart;

use std::path::{Path, PathBuf};

pub(crate) struct Arguments {
    dir: PathBuf,
    seconds: u64,
    waiters: u64,
    bytes: usize,
    entries: Option<u64>,
}

fn main() {
    let mut words = std::env::args().skip(1);
    let name = words.next().expect("which? log-append, log-latency, log-proof or log-restart");
    let arguments = arguments(words);
    std::fs::create_dir_all(&arguments.dir).expect("create the directory");
    refuse_memory(&arguments.dir);
    if name == fixture::NAME {
        return fixture::write(&arguments.dir, arguments.entries.expect("--entries"));
    }
    let dir = arguments.dir.join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir(&dir).expect("create the directory");
    match name.as_str() {
        "log-append" => append::run(&dir, &arguments),
        "log-latency" => latency::run(&dir, &arguments),
        "log-proof" => proof::run(&dir, &arguments),
        "log-restart" => restart::run(&dir, &arguments),
        _ => panic!("no benchmark {name}; there are log-append, log-latency, log-proof and log-restart"),
    }
    std::fs::remove_dir_all(&dir).expect("remove");
}

fn arguments(mut words: impl Iterator<Item = String>) -> Arguments {
    let mut arguments =
        Arguments { dir: PathBuf::new(), seconds: 12, waiters: 1024, bytes: 512, entries: None };
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        let number = || value.parse::<u64>().unwrap_or_else(|_| panic!("{word}: {value} is not a number"));
        match word.as_str() {
            "--dir" => arguments.dir = PathBuf::from(&value),
            "--seconds" => arguments.seconds = number().max(1),
            "--waiters" => arguments.waiters = number().max(1),
            "--bytes" => arguments.bytes = number() as usize,
            "--entries" => arguments.entries = Some(number().max(1)),
            _ => panic!("unknown argument {word}; known: --dir --seconds --waiters --bytes --entries"),
        }
    }
    let named = !arguments.dir.as_os_str().is_empty();
    assert!(named, "--dir DIR: where to write, on the disk that is to be measured");
    arguments
}

/// tmpfs and ramfs do not sync.
fn refuse_memory(dir: &Path) {
    let stat = rustix::fs::statfs(dir).expect("statfs");
    let kind = stat.f_type as u64 & 0xFFFF_FFFF;
    let is_memory = [0x0102_1994, 0x8584_58F6].contains(&kind);
    assert!(!is_memory, "{} is in memory; give a directory on a disk", dir.display());
}
