//! Payloads that are read while a vendor's requests are in force: afterwards their keys are in no file of the relay and nowhere in its
//! memory, and no byte of theirs was ever in a file. Each search first finds what was put there.

use std::{fs, io::Read as _, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use paramant_canary::{found_in, keys::Keys, keys::each_file};
use sha2::{Digest, Sha256};

use crate::{
    host::relay_in, process::wait_for, relay::Relay, relay::random_blob, scenario::fixture::Fixture,
};

/// Stands in the middle of every payload.
const CANARY: &str = "canary-payload-e05d7a";
/// The first is more than sockets hold: its reader is still in the middle of it when memory is searched.
const LENGTHS: [usize; 7] = [20_000_000, 700, 70_000, 300_000, 700, 70_000, 300_000];

/// Payloads that nobody has read yet, and their keys.
pub(super) struct Unread<'a> {
    fixture: &'a Fixture<'a>,
    relay: &'a Relay,
    data: PathBuf,
    keys: Keys,
    digests: Vec<String>,
}

impl<'a> Unread<'a> {
    /// Sends them.
    pub(super) fn send(fixture: &'a Fixture<'a>, relay: &'a Relay) -> Result<Self> {
        let data = fixture.data_folder("health")?;
        let digests = LENGTHS.map(|length| send(relay, length)).into_iter().collect::<Result<Vec<_>>>()?;
        let keys = Keys::in_use(&data)?;
        ensure!(keys.len() == digests.len(), "{} keys for {} payloads", keys.len(), digests.len());
        let found = keys.on_disk(&data)?;
        ensure!(
            found.get("keys.slots") == Some(&keys.len()),
            "the search does not find keys where they are: {found:?}"
        );
        Ok(Self { fixture, relay, data, keys, digests })
    }

    /// Reads so many of them, once each.
    pub(super) fn read(&mut self, number: usize) -> Result<()> {
        ensure!(self.digests.len() > number, "too few are left");
        for digest in self.digests.split_off(self.digests.len() - number) {
            let (status, _) = self.relay.download(&digest)?;
            ensure!(status == 200, "a payload was answered with {status}");
        }
        Ok(())
    }

    /// Reads the last ones, and finds nothing of any of them.
    pub(super) fn nothing_is_left(mut self) -> Result<String> {
        self.read(self.digests.len() - 1)?;
        let process: u32 = relay_in(&crate::scenario::template::pod(self.fixture)?.uid)?.parse()?;
        let last = self.digests.first().context("no payload is left")?;
        let mut reading = self.relay.reading(last)?;
        reading.read_exact(&mut [0; 1000])?;
        ensure!(!self.keys.in_memory(process)?.is_empty(), "the search does not find a key that is in use");
        std::io::copy(&mut reading, &mut std::io::sink())?;

        wait_for("the last key to go from the disk", Duration::from_secs(10), || {
            let found = self.keys.on_disk(&self.data)?;
            Ok(if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) })
        })?;
        let planted = self.data.join("planted");
        fs::write(&planted, hex::encode(CANARY))?;
        let found = self.canary();
        fs::remove_file(&planted)?;
        ensure!(found? == ["planted"], "the search does not find a canary, or others too");
        // Threads give back what they hold a moment later.
        let left = wait_for("the keys to go from memory", Duration::from_secs(10), || {
            let found = self.keys.in_memory(process)?;
            Ok(if found.is_empty() { Ok(self.canary()?) } else { Err(format!("{found:#?}")) })
        })?;
        ensure!(left.is_empty(), "payloads are in {left:?}");
        Ok(format!("{} keys of payloads read meanwhile are on no disk and in no memory", self.keys.len()))
    }

    /// Files with the canary, in whatever spelling.
    fn canary(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        each_file(&self.data, &mut |path, bytes| {
            if !found_in(&[CANARY], &bytes).is_empty() {
                found.push(path.display().to_string());
            }
        })?;
        Ok(found)
    }
}

fn send(relay: &Relay, length: usize) -> Result<String> {
    let mut bytes = random_blob(length)?.0;
    let middle = bytes.len() / 2;
    bytes.splice(middle..middle, CANARY.bytes());
    let digest = hex::encode(Sha256::digest(&bytes));
    let status = relay.upload_raw(bytes, &digest)?;
    ensure!(status == 200, "an upload of {length} bytes was answered with {status}");
    Ok(digest)
}
