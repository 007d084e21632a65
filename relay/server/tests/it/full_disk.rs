//! A volume that really runs full: 507, nothing left behind, nothing acknowledged lost, and all is well once there is room.
//!
//! Needs a small file system of its own, which only root can mount; without that right the test says so and passes.

use std::path::PathBuf;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use crate::relay::{Relay, hash, noise, until};

/// A file system of 256 MiB in memory, unmounted when dropped. The log alone prepares 64 MiB of it.
struct SmallVolume {
    dir: TempDir,
}

impl SmallVolume {
    fn mount() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256m", "tmpfs"])
            .arg(dir.path())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Self { dir })
    }

    fn free(&self) -> u64 {
        let volume = rustix::fs::statvfs(self.dir.path()).unwrap();
        volume.f_bavail * volume.f_frsize
    }

    /// Takes all space but this much.
    fn leave(&self, bytes: u64) -> PathBuf {
        let ballast = self.dir.path().join("ballast");
        let size = usize::try_from(self.free() - bytes).unwrap();
        std::fs::write(&ballast, vec![1; size]).unwrap();
        ballast
    }

    fn relay_dir(&self) -> TempDir {
        TempDir::new_in(self.dir.path()).unwrap()
    }
}

impl Drop for SmallVolume {
    fn drop(&mut self) {
        // Lazily: a relay that is still ending may hold files.
        drop(Command::new("umount").arg("-l").arg(self.dir.path()).status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_volume_is_507_and_loses_nothing_that_was_acknowledged() {
    let Some(volume) = SmallVolume::mount() else {
        println!("skipped: this user may not mount a small file system");
        return;
    };
    let relay = Relay::over(volume.relay_dir(), |settings| settings.limits.min_free_disk = 0).await;
    let user = relay.user().await;
    // The log prepares its next segment in the background; what it takes later is not ours to fill.
    let segments = || -> u64 {
        let found = std::fs::read_dir(relay.dir.path().join("data/log/wal")).unwrap();
        found.filter_map(|file| file.ok()?.metadata().ok()).map(|file| file.len()).sum()
    };
    until("the next segment is ready", async || segments() >= 64 << 20).await;
    let ballast = volume.leave(3 << 20);

    let mut kept = Vec::new();
    let mut refused = 0;
    for seed in 0..40 {
        let payload = noise(seed + 1, if seed % 4 == 0 { 5_000_000 } else { 200_000 });
        let files = relay.payload_files();
        let answer = if seed % 2 == 0 {
            user.upload_raw(payload.clone(), "?ttl_ms=600000").await
        } else {
            user.upload(&payload, json!({ "ttl_ms": 600_000 })).await
        };
        match answer.status() {
            StatusCode::OK => kept.push(payload),
            status => {
                assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE);
                refused += 1;
                nothing_new(&relay, files).await;
            }
        }
    }
    assert!(
        refused > 10 && !kept.is_empty(),
        "{refused} refused, {} kept: the volume was not filled as meant",
        kept.len()
    );

    let half = kept.len() / 2;
    for payload in &kept[..half] {
        assert_eq!(
            user.download(&hash(payload)).await.bytes().await.unwrap(),
            *payload,
            "reads go on while it is full"
        );
    }
    std::fs::remove_file(ballast).unwrap();
    let late = noise(900, 5_000_000);
    assert_eq!(user.upload_raw(late.clone(), "?ttl_ms=600000").await.status(), StatusCode::OK);
    for payload in kept[half..].iter().chain([&late]) {
        assert_eq!(user.download(&hash(payload)).await.bytes().await.unwrap(), *payload);
    }
    relay.all_burned().await;
}

async fn nothing_new(relay: &Relay, files: usize) {
    until("a refused upload leaves no file", async || relay.payload_files() <= files).await;
}
