//! Sending a large file: chunks at once, in constant memory, gone on with after a cut in this run or in another.
//!
//! The upload's id and the file's key are kept ([`super::resume`]) before the first chunk goes. A chunk that the relay has already is
//! sealed again for its hash, and not sent. Every request is tried again while that can help; what the relay acknowledged is never
//! sent twice but for the few chunks whose answer was lost.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use paramant_protocol::chunks::{ChunkList, Disclosure, OpenUpload, UploadProgress, UploadState};
use paramant_protocol::device::DeviceKeys;
use paramant_protocol::id::BlobHash;
use paramant_protocol::leaf::Hash;
use paramant_protocol::upload::UploadAnswer;

use super::resume::{self, Identity, Kept};
use super::{CHUNK, CONTENT, FileKey, List, chunks, wire_size};
use crate::device::Device;
use crate::durable;
use crate::envelope::PreShared;
use crate::error::ClientError;
use crate::password::Password;
use crate::relay::{Progress, Relay};
use crate::retry::{Patience, until_done};
use crate::state::StateDir;

/// Chunks on their way at once: enough to fill a long line, few enough to hold in 64 MiB (each is there plain and sealed).
const AT_ONCE: usize = 4;
/// How often the list is completed anew when the relay lost a chunk on the way.
const ROUNDS: u32 = 3;

/// How to send a large file.
#[derive(Clone)]
pub struct Terms {
    /// Lifetime in milliseconds; `None` leaves it to the relay.
    pub ttl_ms: Option<u64>,
    /// How often it may be read.
    pub max_views: Option<u64>,
    /// Ask for at most one disclosure of a view.
    pub strict: bool,
    /// Mixed into the keys.
    pub pre_shared: Option<PreShared>,
    /// What the relay shall ask readers for.
    pub password: Option<Password>,
    /// Whether to sign.
    pub sign: bool,
    /// How long to go on without success.
    pub patience: Patience,
}

/// A large file that was sent.
pub struct Sent {
    /// The relay's answer.
    pub answer: UploadAnswer,
    /// Bytes of content.
    pub size: u64,
    /// Chunks that an earlier run had sent.
    pub earlier: u64,
}

/// A file that can be read at any place.
struct Source {
    file: File,
    path: PathBuf,
    before: Metadata,
    size: u64,
}

impl Source {
    fn open(path: &Path) -> Result<Self, ClientError> {
        let fault = |source| durable::fault("read", path, source);
        let file = File::open(path).map_err(fault)?;
        let before = file.metadata().map_err(fault)?;
        let path = path.canonicalize().map_err(fault)?;
        Ok(Self { file, path, size: before.len(), before })
    }

    fn identity(&self) -> (String, u64, u64, u64, String) {
        let at = format!("{}.{:09}", self.before.mtime(), self.before.mtime_nsec());
        let path = hex::encode(self.path.as_os_str().as_encoded_bytes());
        (path, self.before.dev(), self.before.ino(), self.size, at)
    }

    fn chunk(&self, number: u64) -> Result<Vec<u8>, ClientError> {
        let start = number * CONTENT as u64;
        let length = usize::try_from(self.size.saturating_sub(start)).unwrap_or(usize::MAX).min(CONTENT);
        let mut content = vec![0; length];
        let read = self.file.read_exact_at(&mut content, start);
        read.map_err(|source| durable::fault("read", &self.path, source))?;
        Ok(content)
    }

    /// A file that is written to while it is sent would be a mixture.
    fn unchanged(&self) -> Result<(), ClientError> {
        let now = self.file.metadata().map_err(|source| durable::fault("read", &self.path, source))?;
        let same = |of: fn(&Metadata) -> i64| of(&now) == of(&self.before);
        if now.len() == self.size && same(Metadata::mtime) && same(Metadata::mtime_nsec) {
            return Ok(());
        }
        let reason = "it was changed while it was being sent; send it again".to_owned();
        Err(ClientError::Content { path: self.path.clone(), reason })
    }
}

/// An upload that is open, and what the relay has of it.
struct Opened {
    kept: Kept,
    had: UploadProgress,
}

/// Sends a file. `None`: the relay takes no uploads in chunks.
pub async fn send(
    relay: &Relay,
    path: &Path,
    from: &Device,
    to: &DeviceKeys,
    terms: &Terms,
    state: &StateDir,
    progress: &Progress,
) -> Result<Option<Sent>, ClientError> {
    resume::clean(state);
    let source = Arc::new(Source::open(path)?);
    let identity = Identity {
        relay: relay.address().as_str().to_owned(),
        file: source.identity(),
        recipient: to.fingerprint(),
        terms: (terms.ttl_ms, terms.max_views, terms.strict),
        pre_shared: terms.pre_shared.as_ref().map(PreShared::digest),
        password: terms.password.as_ref().map(Password::digest),
    };
    let Some(Opened { kept, had }) = open(relay, &source, &identity, from, to, terms, state).await? else {
        return Ok(None);
    };
    let earlier = (0..chunks(source.size)).filter(|number| had.has(*number)).count() as u64;
    progress.begin(wire_size(source.size));
    progress.before(earlier * CHUNK as u64);
    let sent = send_rest(relay, &source, &kept, had, from, to, terms, progress).await;
    match sent {
        Ok(answer) => {
            kept.forget()?;
            Ok(Some(Sent { answer, size: source.size, earlier }))
        }
        // What was sent is of no use any more.
        Err(error) if matches!(&error, ClientError::Content { .. }) || is_mismatch(&error) => {
            let _ = relay.abort_upload(&kept.upload).await; // it expires by itself
            kept.forget()?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

async fn open(
    relay: &Relay,
    source: &Source,
    identity: &Identity,
    from: &Device,
    to: &DeviceKeys,
    terms: &Terms,
    state: &StateDir,
) -> Result<Option<Opened>, ClientError> {
    if let Some(kept) = resume::find(state, identity)? {
        let had = until_done(terms.patience, || relay.upload_progress(&kept.upload)).await?;
        if let Some(had) = had {
            return Ok(Some(Opened { kept, had }));
        }
        kept.forget()?;
    }
    let key = FileKey::encapsulate(&to.kem_pub, terms.pre_shared.as_ref())?;
    let asked = OpenUpload {
        size: wire_size(source.size),
        chunk_size: Some(CHUNK as u64),
        hash: None,
        ttl_ms: terms.ttl_ms,
        max_views: terms.max_views,
        device_id: Some(from.name().clone()),
        disclosure: terms.strict.then_some(Disclosure::Strict),
        password: terms.password.as_ref().map(|password| password.reveal().to_owned()),
        ..OpenUpload::default()
    };
    // Opened twice when an answer is lost: the other one expires.
    let Some(had) = until_done(terms.patience, || relay.open_upload(&asked)).await? else {
        return Ok(None);
    };
    let kept = resume::keep(state, identity, &had.upload, &key)?;
    Ok(Some(Opened { kept, had }))
}

#[allow(clippy::too_many_arguments, reason = "one call, each of another kind")]
async fn send_rest(
    relay: &Relay,
    source: &Arc<Source>,
    kept: &Kept,
    mut had: UploadProgress,
    from: &Device,
    to: &DeviceKeys,
    terms: &Terms,
    progress: &Progress,
) -> Result<UploadAnswer, ClientError> {
    let count = chunks(source.size);
    let mut manifest: Option<Bytes> = None;
    for _ in 0..ROUNDS {
        let done = had.state != UploadState::Open;
        let mut whole = ChunkList::new(wire_size(source.size), CHUNK as u64);
        let mut list = List::default();
        let had_now = &had;
        let mut sealed = futures::stream::iter(0..count)
            .map(|number| {
                one(relay, source, kept, number, done || had_now.has(number), terms.patience, progress)
            })
            .buffered(AT_ONCE);
        while let Some(hash) = sealed.try_next().await? {
            whole.push(&hash);
            list.push(&hash);
        }
        drop(sealed);
        source.unchanged()?;
        if done {
            // Completed by a run whose answer was lost: only the relay still knows the manifest's hash.
            return until_done(terms.patience, || relay.completed_upload(&kept.upload)).await;
        }
        let blob = match &manifest {
            Some(blob) => blob.clone(),
            None => {
                let sender = terms.sign.then_some(from);
                Bytes::from(list.manifest(source.size).seal(
                    &to.kem_pub,
                    sender,
                    terms.pre_shared.as_ref(),
                )?)
            }
        };
        let hash = super::hash(&blob);
        let name = BlobHash::from_bytes(hash);
        until_done(terms.patience, || relay.put_chunk(&kept.upload, count, blob.clone(), &name)).await?;
        progress.count(blob.len() as u64);
        manifest = Some(blob);
        whole.push(&hash);
        let name = whole.finish();
        let completed = until_done(terms.patience, || relay.complete_upload(&kept.upload, name)).await;
        match completed {
            // A chunk got lost after it was acknowledged: the relay says which are there.
            Err(ClientError::Refused { status: 409, reason, .. }) if reason.contains("chunks_missing") => {
                let gone =
                    ClientError::NotThere("the relay has given the upload up; send the file again".into());
                let now = until_done(terms.patience, || relay.upload_progress(&kept.upload)).await?;
                had = now.ok_or(gone)?;
            }
            other => return other,
        }
    }
    Err(ClientError::NotThere("the relay keeps losing chunks of this upload; try again later".into()))
}

/// Seals one chunk and sends it unless the relay has it. Answers its hash.
async fn one(
    relay: &Relay,
    source: &Arc<Source>,
    kept: &Kept,
    number: u64,
    had: bool,
    patience: Patience,
    progress: &Progress,
) -> Result<Hash, ClientError> {
    let (source, key) = (Arc::clone(source), kept.key.clone());
    let sealing = tokio::task::spawn_blocking(move || {
        let content = source.chunk(number)?;
        let index = u32::try_from(number).map_err(|_| ClientError::Crypto("number a chunk"))?;
        let chunk = key.seal_chunk(index, &content)?;
        let hash = super::hash(&chunk);
        Ok::<_, ClientError>((chunk, hash))
    });
    let (chunk, hash) = sealing.await.map_err(|_| ClientError::Crypto("encrypt a chunk"))??;
    if !had {
        let (chunk, name) = (Bytes::from(chunk), BlobHash::from_bytes(hash));
        until_done(patience, || relay.put_chunk(&kept.upload, number, chunk.clone(), &name)).await?;
        progress.count(CHUNK as u64);
    }
    Ok(hash)
}

fn is_mismatch(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { status: 400, reason, .. } if reason.contains("hash_mismatch"))
}
