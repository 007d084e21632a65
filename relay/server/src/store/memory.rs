//! Sealed payloads that exist only while this process does (`payload: Memory`).
//!
//! They are sealed all the same, so that a core dump or a swapped page shows nothing without the key of each. A restart loses
//! what is unread; the pass at start burns its rows.

use std::collections::HashMap;
use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex, PoisonError};

use super::BlobId;
use super::blobs::{BlobPart, BlobStore};

/// Payloads in memory.
#[derive(Debug, Default)]
pub struct MemoryBlobs(Arc<Blobs>);

type Blobs = Mutex<HashMap<BlobId, Arc<[u8]>>>;

impl BlobStore for MemoryBlobs {
    fn create(&self, id: BlobId) -> io::Result<Box<dyn BlobPart>> {
        Ok(Box::new(MemoryPart { blobs: Arc::clone(&self.0), id, bytes: Vec::new() }))
    }

    fn open(&self, id: BlobId, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let blob = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        let mut blob = Cursor::new(blob.ok_or(io::ErrorKind::NotFound)?);
        blob.set_position(from);
        Ok(Box::new(blob))
    }

    fn remove(&self, id: BlobId) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        Ok(())
    }

    fn sweep(&self, known: &mut dyn FnMut(BlobId) -> bool) -> io::Result<u64> {
        let mut blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = blobs.len();
        blobs.retain(|id, _| known(*id));
        Ok((before - blobs.len()) as u64)
    }

    /// Memory is limited by `limits.maxInFlight` alone.
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[derive(Debug)]
struct MemoryPart {
    blobs: Arc<Blobs>,
    id: BlobId,
    bytes: Vec<u8>,
}

impl BlobPart for MemoryPart {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner).insert(self.id, self.bytes.into());
        Ok(())
    }
}
