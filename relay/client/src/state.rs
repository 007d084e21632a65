//! What a person keeps between runs: device keys, and what was seen of others.
//!
//! One directory, mode 0700, files 0600, written durably. `devices/<name>.json` holds secret keys, `seen.json` the keys of
//! devices, relays and logs as first seen. Changes to `seen.json` are made under a lock, so that two commands at once lose
//! nothing.

mod seen;

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use paramant_protocol::id::DeviceId;

pub use seen::{Seen, SeenDevice, SeenRelay, Sight};

use crate::device::Device;
use crate::durable::{self, Draft, SECRET};
use crate::error::ClientError;

/// The directory.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Opens the directory and makes it where it is missing.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        let devices = path.join("devices");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&devices);
        made.map_err(|source| durable::fault("create", &devices, source))?;
        Ok(Self(path.to_owned()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A device's keys, if it has any here.
    pub fn device(&self, name: &DeviceId) -> Result<Option<Device>, ClientError> {
        let path = self.device_path(name);
        let Some(bytes) = durable::read(&path)?.map(zeroize::Zeroizing::new) else { return Ok(None) };
        let mode =
            fs::metadata(&path).map_err(|source| durable::fault("read", &path, source))?.permissions().mode();
        let content = |reason: String| ClientError::Content { path: path.clone(), reason };
        if mode & 0o077 != 0 {
            return Err(content(format!("others can read it (mode {:03o}): chmod 600 it", mode & 0o777)));
        }
        let device = Device::from_stored(&bytes).map_err(|reason| content(reason.to_owned()))?;
        if device.name() != name {
            return Err(content(format!("it holds the keys of {}", device.name())));
        }
        Ok(Some(device))
    }

    /// A device's keys, made now if it has none.
    pub fn device_or_new(&self, name: &DeviceId) -> Result<Device, ClientError> {
        if let Some(device) = self.device(name)? {
            return Ok(device);
        }
        let device = Device::generate(name.clone())?;
        if Draft::create(&self.device_path(name), SECRET)?.finish_new(&device.to_stored())? {
            return Ok(device);
        }
        // Another command made them a moment ago.
        self.device(name)?.ok_or(ClientError::Crypto("make keys"))
    }

    /// What was seen so far.
    pub fn seen(&self) -> Result<Seen, ClientError> {
        let path = self.seen_path();
        let Some(bytes) = durable::read(&path)? else { return Ok(Seen::default()) };
        serde_json::from_slice(&bytes)
            .map_err(|error| ClientError::Content { path, reason: error.to_string() })
    }

    /// Changes what was seen, under the lock. Written only when `change` succeeds and altered something.
    pub fn update_seen<T>(
        &self,
        change: impl FnOnce(&mut Seen) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let lock_path = self.0.join("lock");
        let lock = File::create(&lock_path).and_then(|file| file.lock().map(|()| file));
        let _lock = lock.map_err(|source| durable::fault("lock", &lock_path, source))?;
        let before = self.seen()?;
        let mut seen = before.clone();
        let result = change(&mut seen)?;
        if seen != before {
            let bytes = serde_json::to_vec_pretty(&seen).unwrap_or_default(); // total: maps with string keys
            durable::write(&self.seen_path(), &bytes, SECRET)?;
        }
        Ok(result)
    }

    fn seen_path(&self) -> PathBuf {
        self.0.join("seen.json")
    }

    fn device_path(&self, name: &DeviceId) -> PathBuf {
        self.0.join("devices").join(format!("{}.json", file_name(name)))
    }
}

/// A name that is safe on every file system; long ones are cut and told apart by a digest.
fn file_name(name: &DeviceId) -> String {
    let mut safe = String::new();
    for byte in name.as_str().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => safe.push(char::from(byte)),
            _ => safe.push_str(&format!("%{byte:02x}")),
        }
    }
    if safe.len() <= 120 {
        return safe;
    }
    let digest = hex::encode(paramant_protocol::leaf::sha256(name.as_str().as_bytes()));
    let start: String = safe.chars().take(100).collect();
    format!("{start}%{}", digest.get(..16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn open() -> (tempfile::TempDir, StateDir) {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(&directory.path().join("state")).unwrap();
        (directory, state)
    }

    #[test]
    fn a_device_is_made_once_and_kept_for_its_owner() {
        let (_directory, state) = open();
        let name: DeviceId = "a/../b é".parse().unwrap();
        assert!(state.device(&name).unwrap().is_none());
        let made = state.device_or_new(&name).unwrap();
        assert_eq!(state.device_or_new(&name).unwrap().public(), made.public());
        let path = state.device_path(&name);
        assert_eq!(path.parent().unwrap().file_name().unwrap(), "devices");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(state.device(&name).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "{}").unwrap();
        assert!(matches!(state.device(&name), Err(ClientError::Content { .. })));
    }

    #[test]
    fn names_never_share_a_file() {
        let name = |text: &str| file_name(&text.parse().unwrap());
        assert_eq!(name("phone-001"), "phone-001");
        assert_ne!(name(&"x".repeat(200)), name(&"x".repeat(201)));
        assert_ne!(name("a/b"), name("a%2fb"));
        assert!(name(&"é".repeat(128)).len() < 200);
    }

    #[test]
    fn two_commands_at_once_lose_nothing() {
        let (_directory, state) = open();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let state = &state;
                scope.spawn(move || {
                    let change = |seen: &mut Seen| {
                        seen.relay(&format!("r{number}")).identity = Some("00".into());
                        Ok(())
                    };
                    state.update_seen(change).unwrap();
                });
            }
        });
        assert_eq!(state.seen().unwrap().relays.len(), 8);
    }
}
