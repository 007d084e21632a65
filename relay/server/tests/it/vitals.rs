//! What a process holds: resident memory and open descriptors.

use std::fs;

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

#[test]
fn what_a_process_holds_is_seen() {
    let before = Vitals::of(std::process::id());
    let memory = std::hint::black_box(vec![1_u8; 256 << 20]);
    let files: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
    let with = Vitals::of(std::process::id());
    assert!(with.memory > before.memory + (128 << 20) && with.descriptors > before.descriptors + 25);
    drop((memory, files));
    let after = Vitals::of(std::process::id());
    assert!(after.peak > before.memory + (128 << 20));
}
