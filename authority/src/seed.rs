//! The files that hold signing seeds: 64 hex digits, readable by their owner only, written once.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, ensure};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

/// 32 secret bytes.
pub type Seed = Zeroizing<[u8; 32]>;

/// Makes a new seed and writes it durably; refuses to replace a file.
pub fn create(path: &Path) -> anyhow::Result<Seed> {
    let mut seed = Zeroizing::new([0u8; 32]);
    getrandom::fill(seed.as_mut_slice())
        .map_err(|error| anyhow::anyhow!("the system gave no randomness: {error}"))?;
    write(path, &seed)?;
    Ok(seed)
}

/// Writes a seed durably; refuses to replace a file.
pub(crate) fn write(path: &Path, seed: &Seed) -> anyhow::Result<()> {
    let text = Zeroizing::new(hex::encode(seed.as_slice()) + "\n");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).context("cannot write the seed")?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .context("cannot sync the seed's directory")
}

/// Reads a seed; refuses a file that others can read.
pub fn read(path: &Path) -> anyhow::Result<Seed> {
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("cannot open the seed file {shown}"))?;
    let mode = file.metadata()?.permissions().mode();
    ensure!(mode & 0o077 == 0, "{shown} can be read by others (mode {:03o}): chmod 600 it", mode & 0o777);
    let mut text = Zeroizing::new(String::new());
    Read::by_ref(&mut file)
        .take(1024)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {shown}"))?;
    let mut seed = Zeroizing::new([0u8; 32]);
    hex::decode_to_slice(text.trim(), seed.as_mut_slice())
        .map_err(|_| anyhow::anyhow!("{shown} does not hold a seed: expected 64 hex digits"))?;
    Ok(seed)
}

/// The key of offline licences.
pub fn offline(seed: &Seed) -> SigningKey {
    SigningKey::from_bytes(seed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_seed_is_written_once_for_its_owner_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seed");
        let key = create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*read(&path).unwrap(), *key);
        assert!(create(&path).is_err(), "a seed was replaced");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("chmod 600"));
    }
}
