//! Receiving a large file: decrypted chunk by chunk into a file that has no name yet, gone on with where a line broke.
//!
//! A chunk counts once it is decrypted and written; a read goes on behind the last such chunk. The relay keeps a read that broke off
//! for this account, but may need a minute to notice: until then it says that the blob is gone. Only when the name, the manifest and its
//! signature hold does [`receive`] answer; the caller then gives the file its name.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use paramant_protocol::chunks::ChunkList;
use paramant_protocol::id::BlobHash;
use paramant_protocol::leaf::Hash;
use paramant_protocol::receipt::{Document, ReceiptError};
use tokio::task::JoinHandle;

use super::{CHUNK, CONTENT, FileKey, List, MANIFEST, Manifest, chunks_of_wire, ct_kem};
use crate::device::Device;
use crate::envelope::{OpenError, PreShared, Sender};
use crate::error::ClientError;
use crate::password::Password;
use crate::relay::{Begun, Progress, Relay};
use crate::retry::{Attempts, Patience};

/// How long a relay may take to notice that a reader is gone: it waits a minute for bytes to be taken, and looks every two seconds.
const UNNOTICED: Duration = Duration::from_secs(150);

/// A large file that was received; its content is in the file given.
#[derive(Debug)]
pub struct Received {
    /// Bytes of content; what the file holds behind them is none of it.
    pub size: u64,
    /// Who made it.
    pub sender: Sender,
    /// Whether this read removed it from the relay.
    pub burned: bool,
    /// The receipt, if one came that can be read.
    pub receipt: Option<Result<Document, ReceiptError>>,
}

/// Who receives what, and how long to go on.
pub struct Request<'r> {
    /// The relay.
    pub relay: &'r Relay,
    /// The blob.
    pub hash: BlobHash,
    /// Its bytes, as the relay says.
    pub wire: u64,
    /// The receiving device.
    pub device: &'r Device,
    /// Mixed into the keys.
    pub pre_shared: Option<&'r PreShared>,
    /// What the relay asks for.
    pub password: Option<&'r Password>,
    /// How long to go on without success.
    pub patience: Patience,
}

/// Takes one view of a large file and writes its content.
pub async fn receive(
    request: &Request<'_>,
    out: &Arc<File>,
    progress: &Progress,
) -> Result<Received, ClientError> {
    let no_file = || ClientError::Answer {
        action: "download",
        reason: format!("a blob of {} bytes in chunks is no large file of this client's", request.wire),
    };
    let chunks = chunks_of_wire(request.wire).ok_or_else(no_file)?;
    progress.begin(request.wire);
    let mut arriving = Arriving {
        request,
        out,
        chunks,
        progress,
        key: None,
        done: 0,
        list: List::default(),
        whole: ChunkList::new(request.wire, CHUNK as u64),
    };
    let (manifest, burned, receipt) = arriving.all().await?;
    let Arriving { list, mut whole, .. } = arriving;
    whole.push(&super::hash(&manifest));
    let found = whole.finish();
    if found != request.hash {
        return Err(ClientError::OtherBytes { asked: request.hash, found });
    }
    let (size, sender) = Manifest::open(&manifest, request.device, request.pre_shared, list)?;
    Ok(Received { size, sender, burned, receipt: receipt.as_deref().map(Document::parse) })
}

/// A file on its way in.
struct Arriving<'a> {
    request: &'a Request<'a>,
    out: &'a Arc<File>,
    chunks: u64,
    progress: &'a Progress,
    key: Option<FileKey>,
    /// Chunks that are decrypted and written.
    done: u64,
    list: List,
    whole: ChunkList,
}

/// The manifest's bytes, whether the blob is gone now, and the receipt header.
type Ended = (Vec<u8>, bool, Option<String>);

/// A chunk being decrypted and written; gives back its hash and its buffer.
type Settling = JoinHandle<Result<(Hash, Vec<u8>), ClientError>>;

impl Arriving<'_> {
    /// Reads until the end, over as many connections as it takes.
    async fn all(&mut self) -> Result<Ended, ClientError> {
        let mut attempts = Attempts::new(self.request.patience);
        let mut gone_since: Option<Instant> = None;
        let mut asked = false;
        loop {
            let before = self.done;
            let Request { relay, hash, password, .. } = self.request;
            let begun = relay.download_from(hash, self.done * CHUNK as u64, *password).await;
            let error = match begun {
                Ok(begun) => {
                    gone_since = None;
                    match self.read(begun).await {
                        Ok(ended) => return Ok(ended),
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if self.done > before {
                attempts.succeeded();
            }
            match error {
                // Our own read may still be running, as far as the relay knows.
                ClientError::Gone(hash) if asked => {
                    let since = *gone_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > UNNOTICED {
                        return Err(ClientError::Gone(hash));
                    }
                    attempts.wait(ClientError::Gone(hash)).await?;
                }
                error => attempts.after(error).await?,
            }
            asked = true;
        }
    }

    /// Reads one answer as far as it goes.
    async fn read(&mut self, mut begun: Begun) -> Result<Ended, ClientError> {
        if begun.size != self.request.wire {
            let reason = format!("it has {} bytes, and had {}", begun.size, self.request.wire);
            return Err(ClientError::Answer { action: "download", reason });
        }
        let mut skip = self.done * CHUNK as u64 - begun.from;
        let mut filling = Vec::with_capacity(CHUNK);
        let mut spare = Vec::with_capacity(CHUNK);
        let mut settling: Option<Settling> = None;
        let mut number = self.done;
        let outcome = loop {
            let mut piece = match begun.next().await {
                Ok(Some(piece)) => piece,
                Ok(None) if number == self.chunks && filling.len() == MANIFEST => break Ok(()),
                Ok(None) => break Err(ended_early()),
                Err(error) => break Err(error),
            };
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            skip -= skipped as u64;
            drop(piece.split_to(skipped));
            while !piece.is_empty() {
                let room = if number < self.chunks { CHUNK } else { MANIFEST } - filling.len();
                if room == 0 {
                    return Err(ended_early()); // more than it announced
                }
                filling.extend_from_slice(&piece.split_to(piece.len().min(room)));
                if number < self.chunks && filling.len() == CHUNK {
                    if let Some(earlier) = settling.take() {
                        spare = self.settled(earlier).await?;
                    }
                    settling = Some(
                        self.settle(number, std::mem::replace(&mut filling, std::mem::take(&mut spare)))?,
                    );
                    filling.clear();
                    number += 1;
                }
            }
        };
        if let Some(earlier) = settling.take() {
            self.settled(earlier).await?;
        }
        outcome?;
        self.progress.count(MANIFEST as u64);
        Ok((filling, begun.burned, begun.receipt.take()))
    }

    /// Begins to decrypt and write a chunk.
    fn settle(&mut self, number: u64, mut chunk: Vec<u8>) -> Result<Settling, ClientError> {
        let key = match &self.key {
            Some(key) => key.clone(),
            None => {
                let key =
                    FileKey::decapsulate(&ct_kem(&chunk)?, self.request.device, self.request.pre_shared)?;
                self.key.insert(key).clone()
            }
        };
        let out = Arc::clone(self.out);
        let index = u32::try_from(number).map_err(|_| ClientError::Open(OpenError::Decrypt))?;
        Ok(tokio::task::spawn_blocking(move || {
            let hash = super::hash(&chunk);
            let content = key.open_chunk(index, &mut chunk)?;
            let written = out.write_all_at(content, number * CONTENT as u64);
            written.map_err(|source| ClientError::File {
                action: "write",
                path: "the content".into(),
                source,
            })?;
            Ok((hash, chunk))
        }))
    }

    /// Waits for a chunk, which counts from then on.
    async fn settled(&mut self, chunk: Settling) -> Result<Vec<u8>, ClientError> {
        let (hash, mut buffer) = chunk.await.map_err(|_| ClientError::Crypto("decrypt a chunk"))??;
        self.list.push(&hash);
        self.whole.push(&hash);
        self.done += 1;
        self.progress.count(CHUNK as u64);
        buffer.clear();
        Ok(buffer)
    }
}

/// The relay ended the read without saying why.
fn ended_early() -> ClientError {
    let reason = "the download ended before the file did".to_owned();
    ClientError::Refused { action: "download", status: 503, reason, retry_after: None }
}
