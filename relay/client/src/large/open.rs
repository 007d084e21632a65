//! Opening a large file that lies on this machine as it travelled: one that came through a download link, or from a backup of mail.
//!
//! As [`super::receive`], from a file: chunk by chunk in constant memory, and nothing counts before the manifest holds.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use paramant_protocol::chunks::ChunkList;
use paramant_protocol::id::BlobHash;

use super::{CHUNK, CONTENT, FileKey, List, MANIFEST, Manifest, chunks_of_wire, ct_kem, hash};
use crate::device::Device;
use crate::durable;
use crate::envelope::{OpenError, PreShared, Sender};
use crate::error::ClientError;

/// A large file that was opened; its content is in the file given.
#[derive(Debug)]
pub struct Opened {
    /// Bytes of content; what the file holds behind them is none of it.
    pub size: u64,
    /// Who made it.
    pub sender: Sender,
    /// The name it has on relays.
    pub name: BlobHash,
}

/// Whether a file of this length can be a large one. No blob that went whole has such a length.
pub fn is_large(length: u64) -> bool {
    chunks_of_wire(length).is_some()
}

/// Opens the file at `path` and writes its content to `out`, from the beginning.
pub fn open(
    path: &Path,
    out: &File,
    device: &Device,
    pre_shared: Option<&PreShared>,
) -> Result<Opened, ClientError> {
    let fault = |source| durable::fault("read", path, source);
    let blob = File::open(path).map_err(fault)?;
    let wire = blob.metadata().map_err(fault)?.len();
    let chunks = chunks_of_wire(wire).ok_or(ClientError::Open(OpenError::Manifest))?;
    let mut whole = ChunkList::new(wire, CHUNK as u64);
    let (mut list, mut key) = (List::default(), None);
    let mut chunk = vec![0; CHUNK];
    for number in 0..chunks {
        blob.read_exact_at(&mut chunk, number * CHUNK as u64).map_err(fault)?;
        let found = hash(&chunk);
        whole.push(&found);
        list.push(&found);
        let key = match &key {
            Some(key) => key,
            None => key.insert(FileKey::decapsulate(&ct_kem(&chunk)?, device, pre_shared)?),
        };
        let index = u32::try_from(number).map_err(|_| ClientError::Open(OpenError::Decrypt))?;
        let content = key.open_chunk(index, &mut chunk)?;
        let written = out.write_all_at(content, number * CONTENT as u64);
        written.map_err(|source| ClientError::File {
            action: "write",
            path: "the content".into(),
            source,
        })?;
    }
    let mut manifest = vec![0; MANIFEST];
    blob.read_exact_at(&mut manifest, chunks * CHUNK as u64).map_err(fault)?;
    whole.push(&hash(&manifest));
    let (size, sender) = Manifest::open(&manifest, device, pre_shared, list)?;
    Ok(Opened { size, sender, name: whole.finish() })
}
