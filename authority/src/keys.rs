//! The ML-DSA-65 keys that sign replies: seeds in files of their own, the newest that may still sign does.
//!
//! A key is added long before it signs: relays pin keys at build, so a reply by a key that no release knows is an outage to all.

use std::path::Path;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use paramant_licensing::online::keys::LicensingKey;
use paramant_tlog::keys::{MlDsa65Key, Signer as _};

use crate::seed::{self, Seed};

/// Documents carry no key name.
const DOCUMENTS: &str = "paramant-authority";

/// One key, with the time in which it signs.
pub struct SigningKey {
    /// Its public side and its last day.
    pub public: LicensingKey,
    /// From when on it signs.
    pub from: Timestamp,
    key: MlDsa65Key,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({:?} from {})", self.public, self.from)
    }
}

impl SigningKey {
    /// Whether it may sign then.
    pub fn signs_at(&self, now: Timestamp) -> bool {
        self.from <= now && now <= self.public.not_after
    }

    /// Signs a document.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn sign(&self, document: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.key.sign_document(document).map_err(|error| anyhow::anyhow!("the key refused to sign: {error}"))
    }
}

/// Makes a key that signs from one instant to another.
///
/// # Errors
/// When it cannot be written, or would never sign.
pub fn add(directory: &Path, from: Timestamp, not_after: Timestamp) -> anyhow::Result<SigningKey> {
    put(directory, from, not_after, |path| seed::create(path).map(drop))
}

/// The same of a seed that was made elsewhere.
///
/// # Errors
/// As [`add`].
pub fn take(
    directory: &Path,
    from: Timestamp,
    not_after: Timestamp,
    seed: &Seed,
) -> anyhow::Result<SigningKey> {
    put(directory, from, not_after, |path| seed::write(path, seed))
}

fn put(
    directory: &Path,
    from: Timestamp,
    not_after: Timestamp,
    write: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<SigningKey> {
    ensure!(not_after > from, "a key that ends at {not_after} would never sign: it begins at {from}");
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    // The name is the time, so that the order of files is the order of keys.
    let path = directory.join(format!("{}-{}.seed", from.as_second(), not_after.as_second()));
    write(&path)?;
    load(&path)?.context("the key just made cannot be read")
}

/// All keys, the one that begins last first.
///
/// # Errors
/// When a seed cannot be read.
pub fn all(directory: &Path) -> anyhow::Result<Vec<SigningKey>> {
    let mut keys = Vec::new();
    if !directory.exists() {
        return Ok(keys);
    }
    for entry in
        std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?
    {
        keys.extend(load(&entry?.path())?);
    }
    keys.sort_by_key(|key| std::cmp::Reverse(key.from));
    Ok(keys)
}

/// The key that signs at an instant: the one that began last.
pub fn current(keys: &[SigningKey], now: Timestamp) -> Option<&SigningKey> {
    keys.iter().find(|key| key.signs_at(now))
}

fn load(path: &Path) -> anyhow::Result<Option<SigningKey>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let times = name.strip_suffix(".seed").and_then(|name| name.split_once('-'));
    let instant = |text: &str| text.parse().ok().and_then(|at| Timestamp::from_second(at).ok());
    let Some((from, not_after)) = times.and_then(|(from, to)| Some((instant(from)?, instant(to)?))) else {
        return Ok(None);
    };
    let key = MlDsa65Key::from_seed(DOCUMENTS, &seed::read(path)?);
    let key = key.map_err(|error| anyhow::anyhow!("{} holds no key: {error}", path.display()))?;
    let public = LicensingKey { public: key.verifier().public_key().to_vec(), not_after };
    Ok(Some(SigningKey { public, from, key }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn the_key_that_began_last_signs_until_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let day = |days: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * (20_000 + days));
        let (first, second) =
            (add(directory.path(), day(0), day(100)), add(directory.path(), day(50), day(200)));
        let (first, second) = (first.unwrap().public, second.unwrap().public);
        let keys = all(directory.path()).unwrap();
        let at = |days| current(&keys, day(days)).map(|key| key.public.clone());
        assert_eq!(
            [at(-1), at(10), at(50), at(120), at(201)],
            [None, Some(first), Some(second.clone()), Some(second), None]
        );
        assert!(add(directory.path(), day(1), day(1)).is_err());
        let elsewhere = take(directory.path(), day(60), day(300), &Seed::new([7; 32])).unwrap();
        assert_eq!(current(&all(directory.path()).unwrap(), day(70)).unwrap().public, elsewhere.public);
        assert!(
            take(directory.path(), day(60), day(300), &Seed::new([8; 32])).is_err(),
            "a key was replaced"
        );
    }
}
