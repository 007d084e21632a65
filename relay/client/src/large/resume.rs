//! What is kept of an upload so that another run can go on with it.
//!
//! One file of mode 0600 for each upload, under `uploads/` in the state directory, gone when the upload is done. It holds the upload's
//! id and the key of this one file: whoever reads it can decrypt what was sent, and nothing else. The file that is being sent lies
//! on the same machine in the clear. A file that was changed since, other terms or another recipient are another upload.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use paramant_protocol::canonical;
use paramant_protocol::leaf;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::FileKey;
use crate::durable::{self, SECRET};
use crate::error::ClientError;
use crate::state::StateDir;

/// A relay gives an upload up after seven days at most; what is left here then is of no use.
const KEPT: Duration = Duration::from_secs(8 * 24 * 3600);

/// What makes two uploads the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The relay's address.
    pub relay: String,
    /// The file: path, device, inode, bytes, time of its last change in nanoseconds.
    pub file: (String, u64, u64, u64, String),
    /// The recipient's fingerprint.
    pub recipient: String,
    /// Lifetime, views and disclosure.
    pub terms: (Option<u64>, Option<u64>, bool),
    /// SHA-256 of the pre-shared secret's text, if there is one.
    pub pre_shared: Option<String>,
    /// SHA-256 of the password, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// An upload that may be gone on with.
pub struct Kept {
    path: PathBuf,
    /// The relay's id of it.
    pub upload: String,
    /// The file's key.
    pub key: FileKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    upload: String,
    ct_kem: String,
    secret: String,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// Finds an upload that was begun; what cannot be read counts as none.
pub fn find(state: &StateDir, identity: &Identity) -> Result<Option<Kept>, ClientError> {
    let path = path(state, identity)?;
    let Some(bytes) = durable::read(&path)?.map(Zeroizing::new) else { return Ok(None) };
    let read = || {
        let stored: Stored =
            serde_json::from_slice(&bytes).ok().filter(|stored: &Stored| stored.version == 1)?;
        let mut secret = Zeroizing::new([0; 32]);
        hex::decode_to_slice(&stored.secret, secret.as_mut_slice()).ok()?;
        let key = FileKey::kept(hex::decode(&stored.ct_kem).ok()?, secret)?;
        Some(Kept { path: path.clone(), upload: stored.upload.clone(), key })
    };
    Ok(read())
}

/// Keeps an upload that has just been opened.
pub fn keep(state: &StateDir, identity: &Identity, upload: &str, key: &FileKey) -> Result<Kept, ClientError> {
    let path = path(state, identity)?;
    let (ct_kem, secret) = key.to_keep();
    let stored = Stored {
        version: 1,
        upload: upload.to_owned(),
        ct_kem: hex::encode(ct_kem),
        secret: hex::encode(secret.as_slice()),
    };
    let bytes = Zeroizing::new(serde_json::to_vec(&stored).unwrap_or_default()); // total: strings and one integer
    durable::write(&path, &bytes, SECRET)?;
    Ok(Kept { path, upload: upload.to_owned(), key: key.clone() })
}

impl Kept {
    /// The upload is done, or gone.
    pub fn forget(self) -> Result<(), ClientError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(durable::fault("remove", &self.path, error))
            }
            _ => Ok(()),
        }
    }
}

/// Removes what was kept of uploads that no relay knows any more.
pub fn clean(state: &StateDir) {
    let Ok(entries) = fs::read_dir(state.path().join("uploads")) else { return };
    for entry in entries.flatten() {
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let age = changed.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age > KEPT) {
            let _ = fs::remove_file(entry.path()); // the next run tries again
        }
    }
}

fn path(state: &StateDir, identity: &Identity) -> Result<PathBuf, ClientError> {
    let text = canonical::to_vec(identity).map_err(|_| ClientError::Crypto("name an upload"))?;
    let name = hex::encode(leaf::sha256(&text).get(..16).unwrap_or_default());
    Ok(directory(state)?.join(format!("{name}.json")))
}

fn directory(state: &StateDir) -> Result<PathBuf, ClientError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let directory: &Path = &state.path().join("uploads");
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| durable::fault("create", directory, source))?;
    Ok(directory.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::device::Device;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn an_upload_is_found_again_by_the_same_file_and_terms_only() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        let identity = Identity {
            relay: "https://relay.example".into(),
            file: ("/a".into(), 1, 2, 3, "4".into()),
            recipient: "print".into(),
            terms: (None, Some(1), false),
            pre_shared: None,
            password: None,
        };
        let bob = Device::generate("bob".parse().unwrap()).unwrap();
        let key = FileKey::encapsulate(&bob.public().kem_pub, None).unwrap();
        assert!(find(&state, &identity).unwrap().is_none());
        let kept = keep(&state, &identity, "id", &key).unwrap();
        assert_eq!(fs::metadata(&kept.path).unwrap().permissions().mode() & 0o777, 0o600);
        let found = find(&state, &identity).unwrap().unwrap();
        assert_eq!((found.upload.as_str(), found.key.to_keep()), ("id", key.to_keep()));
        let changed = Identity { file: ("/a".into(), 1, 2, 3, "5".into()), ..identity.clone() };
        assert!(find(&state, &changed).unwrap().is_none());
        let locked = Identity { password: Some("digest".into()), ..identity.clone() };
        assert!(find(&state, &locked).unwrap().is_none());
        fs::write(&kept.path, "{}").unwrap();
        assert!(find(&state, &identity).unwrap().is_none(), "what cannot be read is begun anew");
        kept.forget().unwrap();
        found.forget().unwrap();
        assert!(find(&state, &identity).unwrap().is_none());
    }
}
