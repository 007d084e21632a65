//! A relay whose volume runs full: uploads are refused with advice, reads go on, nothing acknowledged is lost, and it heals.
//!
//! The volume is a small file system in memory, handed to the cluster as a class of its own and unmounted at the end.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{auditors, fixture::Fixture};
use crate::{bed::Bed, process, process::wait_for, relay::random_blob, steps::Seen, steps::seen};

const CLASS: &str = "e2e-small";
/// The log alone prepares 64 MiB of it.
const SIZE_MIB: u64 = 256;
/// Room for a few uploads, but not for all.
const LEFT: u64 = 4 << 20;
const UPLOADS: usize = 40;
const LENGTH: usize = 200_000;

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    // Before the volume: a namespace that goes takes the pod that holds it along.
    let fixture = Fixture::new(bed, "full-disk")?;
    let volume = SmallVolume::mount()?;
    volume.offer(bed)?;
    let more = format!(
        "  storage: {{ size: {SIZE_MIB}Mi, className: {CLASS} }}\n  limits: {{ minFreeDisk: 1Mi, requestsPerMinute: 100000 }}\n"
    );
    fixture.apply("health", &more)?;
    fixture.ready("health")?;
    let relay = fixture.connect("health")?;
    relay.roundtrip(LENGTH)?;
    // The log prepares its next segment beside the traffic; what it takes later is not ours to fill.
    std::thread::sleep(Duration::from_secs(3));
    let before = super::template::pod(&fixture)?;

    let ballast = volume.leave(LEFT)?;
    let (mut kept, mut refused) = (Vec::new(), 0);
    for _ in 0..UPLOADS {
        let (bytes, digest) = random_blob(LENGTH)?;
        match relay.upload(&bytes, &digest)? {
            (200, _) => kept.push((bytes, digest)),
            (507, body) if body["error"].is_string() => refused += 1,
            (status, body) => bail!("on a full volume an upload answered {status}: {body}"),
        }
    }
    if kept.is_empty() || refused == 0 {
        bail!("{} kept and {refused} refused: the volume did not run full in between", kept.len());
    }
    let readable = kept.split_off(kept.len() / 2);
    for (bytes, digest) in &readable {
        once(&relay, bytes, digest).context("while the volume is full")?;
    }
    fs::remove_file(ballast)?;
    wait_for("uploads to be taken again", Duration::from_secs(30), || {
        Ok(relay.roundtrip(LENGTH).map_err(|error| format!("{error:#}")))
    })?;
    for (bytes, digest) in &kept {
        once(&relay, bytes, digest).context("after the volume had room again")?;
    }
    let after = super::template::pod(&fixture)?;
    if before.uid != after.uid {
        bail!("the pod was replaced");
    }
    auditors::paramant_audit(bed, &relay.url)?;
    auditors::fsck(bed, &relay.url)?;
    bed.delete_namespace(&fixture.namespace)?;
    seen(
        (),
        format!(
            "{} kept, {refused} refused with 507, every kept one read once, both auditors clean",
            kept.len() + readable.len()
        ),
    )
}

fn once(relay: &crate::relay::Relay, bytes: &[u8], digest: &str) -> Result<()> {
    match relay.download(digest)? {
        (200, got) if got == bytes => {}
        (status, got) => bail!("an acknowledged blob answered {status} with {} bytes", got.len()),
    }
    match relay.download(digest)?.0 {
        404 => Ok(()),
        status => bail!("a blob that was read answered {status}, expected 404"),
    }
}

/// A file system of its own, gone when dropped.
struct SmallVolume {
    folder: tempfile::TempDir,
}

impl SmallVolume {
    fn mount() -> Result<Self> {
        let folder = tempfile::tempdir_in("/var/tmp")?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={SIZE_MIB}m"), "tmpfs"]).arg(folder.path());
        process::run(&mut command, None, Duration::from_secs(10))?.success("mount a small file system")?;
        Ok(SmallVolume { folder })
    }

    /// Offers it to the cluster as the only volume of its class.
    fn offer(&self, bed: &Bed) -> Result<()> {
        bed.kubectl(&["delete", "pv", CLASS, "--ignore-not-found"])?;
        let nodes = bed.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])?;
        bed.apply(&format!(
            "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {{ name: {CLASS} }}\nprovisioner: kubernetes.io/no-provisioner\nvolumeBindingMode: WaitForFirstConsumer\n---\napiVersion: v1\nkind: PersistentVolume\nmetadata: {{ name: {CLASS} }}\nspec:\n  capacity: {{ storage: {SIZE_MIB}Mi }}\n  accessModes: [ReadWriteOncePod]\n  persistentVolumeReclaimPolicy: Retain\n  storageClassName: {CLASS}\n  local: {{ path: {} }}\n  nodeAffinity:\n    required:\n      nodeSelectorTerms:\n        - matchExpressions: [{{ key: kubernetes.io/hostname, operator: In, values: [{}] }}]\n",
            self.folder.path().display(),
            nodes.trim()
        ))?;
        Ok(())
    }

    fn free(path: &Path) -> Result<u64> {
        let volume = rustix::fs::statvfs(path)?;
        Ok(volume.f_bavail * volume.f_frsize)
    }

    /// Takes all space but this much; removing the file gives it back.
    fn leave(&self, bytes: u64) -> Result<PathBuf> {
        let ballast = self.folder.path().join("ballast");
        let size = Self::free(self.folder.path())?.saturating_sub(bytes);
        fs::write(&ballast, vec![1; usize::try_from(size)?])?;
        Ok(ballast)
    }
}

impl Drop for SmallVolume {
    fn drop(&mut self) {
        // Lazily: a pod that is still ending may hold files.
        let mut command = Command::new("umount");
        command.arg("-l").arg(self.folder.path());
        process::run(&mut command, None, Duration::from_secs(10)).ok();
    }
}
