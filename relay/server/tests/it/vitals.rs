//! What a process holds: resident memory and open descriptors.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

#[derive(Debug, Clone, Copy)]
pub struct Vitals {
    /// Bytes, now.
    pub memory: u64,
    /// Bytes, at most so far, or since [`forget_peak`].
    pub peak: u64,
    pub descriptors: usize,
}

impl Vitals {
    pub fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let bytes = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
        };
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
        Self { memory: bytes("VmRSS:"), peak: bytes("VmHWM:"), descriptors }
    }
}

/// Lets a process's peak begin at what it holds now.
pub fn forget_peak(process: u32) {
    fs::write(format!("/proc/{process}/clear_refs"), "5").unwrap();
}

/// A process of its own takes memory and files, so that nothing else in this one moves the figures.
#[test]
fn what_a_process_holds_is_seen() {
    let script = r#"
        echo; read -r
        printf -v held '%268435456d' 0; for i in {1..50}; do exec {file}</dev/null; done
        echo; read -r
        held=; echo; read -r
    "#;
    let mut holder = Command::new("bash")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut go_on = holder.stdin.take().unwrap();
    let mut reached = BufReader::new(holder.stdout.take().unwrap());
    let mut next = || {
        reached.read_line(&mut String::new()).unwrap();
        let seen = Vitals::of(holder.id());
        go_on.write_all(b"\n").unwrap();
        seen
    };
    let (before, with, after) = (next(), next(), next());
    holder.wait().unwrap();
    assert!(with.memory > before.memory + (128 << 20), "{before:?} {with:?}");
    assert_eq!(with.descriptors, before.descriptors + 50);
    assert!(after.memory < with.memory - (64 << 20) && after.peak >= with.memory, "{with:?} {after:?}");
}
