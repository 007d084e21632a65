//! The floor: what the disk does with the same bytes and nothing else.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a record adds to an entry, and a trailer to a batch, in the write-ahead log.
const RECORD_OVERHEAD: usize = 60;
const TRAILER: usize = 1300;

/// A file of zeros, durable.
fn zeros(path: &Path, length: u64) -> File {
    let options = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).clone();
    let file = options.open(path).expect("create");
    let block = vec![0; 1 << 20];
    for offset in (0..length).step_by(block.len()) {
        file.write_all_at(&block, offset).expect("write zeros");
    }
    file.sync_all().expect("sync zeros");
    file
}

/// Durations of single syncs of one written block, `pause` apart.
pub(crate) fn bare_syncs(dir: &Path, time: Duration, pause: Duration) -> Vec<Duration> {
    let path = dir.join("bare");
    let file = zeros(&path, 8 << 20);
    let block = [7u8; 4096];
    let (start, mut took) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        let offset = (took.len() as u64 % 2048) * 4096;
        let one = Instant::now();
        file.write_all_at(&block, offset).expect("write");
        rustix::fs::fdatasync(&file).expect("fdatasync");
        took.push(one.elapsed());
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    std::fs::remove_file(path).expect("remove");
    took
}

/// Entries per second when batches of the given size are only written and synced.
pub(crate) fn batches(dir: &Path, time: Duration, batch: usize, bytes: usize) -> f64 {
    let path = dir.join("baseline");
    let length = 64 << 20;
    let file = zeros(&path, length);
    let buffer = vec![7u8; batch * (bytes + RECORD_OVERHEAD) + TRAILER];
    let (start, mut offset, mut entries) = (Instant::now(), 0, 0);
    while start.elapsed() < time {
        if offset + buffer.len() as u64 > length {
            offset = 0;
        }
        file.write_all_at(&buffer, offset).expect("write");
        rustix::fs::fdatasync(&file).expect("fdatasync");
        offset += buffer.len() as u64;
        entries += batch;
    }
    let rate = entries as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(path).expect("remove");
    rate
}
