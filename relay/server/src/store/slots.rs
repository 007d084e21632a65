//! `keys.slots`: one fixed 64-byte slot for each payload key, so that destroying a key is overwriting it where it stands.
//!
//! The file is extended by whole zero-filled, synced blocks before any slot in them is used; a slot is then only ever
//! overwritten in place. A slot is taken first, so that a row may name it while its key is on the way to the disk. One thread owns
//! all writes: it takes what arrived during the last sync, writes it, syncs once and answers everybody. A cleared slot is handed out again only after its zeros are on disk. A failed sync ends the process:
//! pages after a failed sync are not to be believed. Only [`super::Store`] and its tests may call.

use std::collections::{BTreeSet, HashSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::BlobId;
use super::seal::PayloadKey;
use crate::failed_sync;

const SLOT: usize = 64;
/// Slots added at a time: 256 KiB, one write and one sync for 4,096 uploads.
const BLOCK: u32 = 4096;
const MARK: [u8; 4] = *b"PKS1";

/// The bytes of a slot, on the heap: they hold a key, and would leave it behind wherever they were moved from.
type SlotBytes = Box<Zeroizing<[u8; SLOT]>>;

fn blank() -> SlotBytes {
    Box::new(Zeroizing::new([0; SLOT]))
}

/// The place of one key in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// A handle on the key file; the writer ends when the last handle is dropped.
#[derive(Debug)]
pub struct KeySlots {
    file: Arc<File>,
    free: Free,
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What went wrong with a key slot.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The file could not be extended, read or written.
    #[error("the key file: {0}")]
    Io(#[from] io::Error),
    /// The slot is empty or damaged: the key is gone.
    #[error("the key slot is empty: the payload was destroyed")]
    Gone,
    /// The store is closing.
    #[error("the key file is closed")]
    Closed,
}

/// Slots that are zeroed on disk and unused.
#[derive(Debug, Clone, Default)]
struct Free(Arc<Mutex<BTreeSet<u32>>>);

impl Free {
    fn take(&self) -> Option<Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_first().map(Slot)
    }

    fn extend(&self, slots: impl IntoIterator<Item = u32>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(slots);
    }
}

enum Order {
    Grow(oneshot::Sender<Result<Slot, io::Error>>),
    Put(Slot, BlobId, PayloadKey, oneshot::Sender<Result<(), io::Error>>),
    Clear(Vec<(Slot, BlobId)>, oneshot::Sender<Result<(), io::Error>>),
}

impl KeySlots {
    /// Opens or creates the file. Every slot that holds no key of those it is in `used` for is zeroed first: a row whose burn was cut off
    /// after its first step still names a slot that may have been given to another upload, which came to nothing.
    ///
    /// # Errors
    /// When the file cannot be opened, read, written or synced.
    pub fn open(path: &Path, used: &HashSet<(Slot, BlobId)>) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Self::over(file, used)
    }

    /// Slots that exist only while this process does.
    ///
    /// # Errors
    /// When the system has no memory to give.
    pub fn in_memory() -> io::Result<Self> {
        let file = rustix::fs::memfd_create("keys.slots", rustix::fs::MemfdFlags::CLOEXEC)?;
        Self::over(file.into(), &HashSet::new())
    }

    fn over(file: File, used: &HashSet<(Slot, BlobId)>) -> io::Result<Self> {
        let count = slots_in(file.metadata()?.len());
        let mut free = BTreeSet::new();
        let mut zeroed = false;
        let mut slot = blank();
        for n in 0..count {
            file.read_exact_at(slot.as_mut_slice(), offset(n))?;
            if id_in(&slot).is_some_and(|id| used.contains(&(Slot(n), id))) {
                continue;
            }
            if slot.iter().any(|byte| *byte != 0) {
                file.write_all_at(&[0; SLOT], offset(n))?;
                zeroed = true;
            }
            free.insert(n);
        }
        if zeroed {
            file.sync_data()?;
        }
        let file = Arc::new(file);
        let (sender, orders) = mpsc::channel();
        let free = Free(Arc::new(Mutex::new(free)));
        let writer = Writer { file: Arc::clone(&file), free: free.clone(), count };
        let thread =
            std::thread::Builder::new().name("key-slots".into()).spawn(move || writer.run(&orders))?;
        Ok(Self { file, free, orders: Mutex::new(Some(sender)), writer: Mutex::new(Some(thread)) })
    }

    /// Takes a slot, for [`KeySlots::put`]. One that nothing is put into is free again after the next start.
    ///
    /// # Errors
    /// When the file cannot grow (a full disk), or the store is closing.
    pub async fn take(&self) -> Result<Slot, SlotError> {
        if let Some(slot) = self.free.take() {
            return Ok(slot);
        }
        let (answer, answered) = oneshot::channel();
        self.send(Order::Grow(answer))?;
        Ok(answered.await.map_err(|_| SlotError::Closed)??)
    }

    /// Puts a key into a slot that was taken, and answers once it is on disk. On an error the slot is free again.
    ///
    /// # Errors
    /// When the file cannot be written, or the store is closing.
    pub async fn put(&self, slot: Slot, id: BlobId, key: PayloadKey) -> Result<(), SlotError> {
        let (answer, answered) = oneshot::channel();
        self.send(Order::Put(slot, id, key, answer))?;
        Ok(answered.await.map_err(|_| SlotError::Closed)??)
    }

    /// Stores a key and answers where, once it is on disk.
    ///
    /// # Errors
    /// As [`KeySlots::take`] and [`KeySlots::put`].
    pub async fn store(&self, id: BlobId, key: PayloadKey) -> Result<Slot, SlotError> {
        let slot = self.take().await?;
        self.put(slot, id, key).await?;
        Ok(slot)
    }

    /// Overwrites keys with zeros and answers once the zeros are on disk. A slot that holds another blob's key by now is left
    /// alone, so clearing twice is harmless.
    ///
    /// # Errors
    /// When the store is closing.
    pub async fn clear(&self, slots: Vec<(Slot, BlobId)>) -> Result<(), SlotError> {
        if slots.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        self.send(Order::Clear(slots, answer))?;
        Ok(answered.await.map_err(|_| SlotError::Closed)??)
    }

    /// The key in a slot. Blocking, one read of 64 bytes.
    ///
    /// # Errors
    /// [`SlotError::Gone`] when the slot does not hold the key of `id`.
    pub fn get(&self, slot: Slot, id: BlobId) -> Result<PayloadKey, SlotError> {
        decode(&**read_slot(&self.file, slot)?, id).ok_or(SlotError::Gone)
    }

    /// Waits until everything ordered so far is written.
    pub fn close(&self) {
        drop(self.orders.lock().map(|mut orders| orders.take()));
        let thread = self.writer.lock().ok().and_then(|mut writer| writer.take());
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }

    fn send(&self, order: Order) -> Result<(), SlotError> {
        let orders = self.orders.lock().map_err(|_| SlotError::Closed)?;
        orders.as_ref().ok_or(SlotError::Closed)?.send(order).map_err(|_| SlotError::Closed)
    }
}

struct Writer {
    file: Arc<File>,
    free: Free,
    count: u32,
}

impl Writer {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        while let Ok(first) = orders.recv() {
            let mut puts = Vec::new();
            let mut clears = Vec::new();
            let mut freed = Vec::new();
            for order in std::iter::once(first).chain(orders.try_iter()) {
                match order {
                    Order::Grow(answer) => {
                        let slot = self.free.take().map_or_else(|| self.grow(), Ok);
                        drop(answer.send(slot));
                    }
                    Order::Put(slot, id, key, answer) => match self.write_key(slot, id, &key) {
                        Ok(()) => puts.push(answer),
                        Err(error) => drop(answer.send(Err(error))),
                    },
                    Order::Clear(slots, answer) => match self.write_zeros(&slots, &mut freed) {
                        Ok(()) => clears.push(answer),
                        Err(error) => drop(answer.send(Err(error))),
                    },
                }
            }
            if let Err(error) = self.file.sync_data() {
                failed_sync::end("keys.slots", &error);
            }
            self.free.extend(freed);
            for answer in puts.into_iter().chain(clears) {
                drop(answer.send(Ok(())));
            }
        }
    }

    fn write_key(&self, slot: Slot, id: BlobId, key: &PayloadKey) -> io::Result<()> {
        let bytes = encode(id, key);
        self.file.write_all_at(bytes.as_slice(), offset(slot.0)).inspect_err(|_| self.free.extend([slot.0]))
    }

    fn write_zeros(&self, slots: &[(Slot, BlobId)], freed: &mut Vec<u32>) -> io::Result<()> {
        for (slot, id) in slots {
            if decode(&**read_slot(&self.file, *slot)?, *id).is_some() {
                self.file.write_all_at(&[0; SLOT], offset(slot.0))?;
                freed.push(slot.0);
            }
        }
        Ok(())
    }

    /// Adds a block of zeroed slots and answers the first.
    fn grow(&mut self) -> io::Result<Slot> {
        let first = self.count;
        let after = first.checked_add(BLOCK).ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
        let zeros = vec![0; SLOT * BLOCK as usize];
        if let Err(error) = self.file.write_all_at(&zeros, offset(first)) {
            // Half a block would be counted as slots at the next start, which is harmless; give the space back anyway.
            drop(self.file.set_len(offset(first)));
            return Err(error);
        }
        // Keys of the same batch may be written and not synced: their own sync would no longer hear of this failure.
        if let Err(error) = self.file.sync_all() {
            failed_sync::end("keys.slots", &error);
        }
        self.count = after;
        self.free.extend(first + 1..after);
        Ok(Slot(first))
    }
}

/// A slot's bytes. Beyond the end of the file there is no key, as in an empty slot: so it is after a start with payloads in
/// memory, whose rows speak of slots that went with the process before.
fn read_slot(file: &File, slot: Slot) -> io::Result<SlotBytes> {
    let mut bytes = blank();
    match file.read_exact_at(bytes.as_mut_slice(), offset(slot.0)) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(blank()),
        result => result.map(|()| bytes),
    }
}

/// Slots in a file of so many bytes.
pub(super) fn slots_in(bytes: u64) -> u32 {
    u32::try_from(bytes / SLOT as u64).unwrap_or(u32::MAX)
}

/// Bytes of a file that has this slot: whole blocks.
pub(super) fn bytes_for(slot: u32) -> u64 {
    (u64::from(slot) / u64::from(BLOCK) + 1) * u64::from(BLOCK) * SLOT as u64
}

fn offset(n: u32) -> u64 {
    u64::from(n) * SLOT as u64
}

/// `mark (4) ‖ CRC32C of the next 48 (4) ‖ key (32) ‖ blob id (16) ‖ zeros (8)`.
fn encode(id: BlobId, key: &PayloadKey) -> SlotBytes {
    let mut slot = blank();
    slot[8..40].copy_from_slice(key.bytes());
    slot[40..56].copy_from_slice(&id.0);
    let crc = crc32c::crc32c(&slot[8..56]);
    slot[0..4].copy_from_slice(&MARK);
    slot[4..8].copy_from_slice(&crc.to_be_bytes());
    slot
}

fn decode(slot: &[u8; SLOT], id: BlobId) -> Option<PayloadKey> {
    let whole = slot[0..4] == MARK && slot[4..8] == crc32c::crc32c(&slot[8..56]).to_be_bytes();
    if !whole || slot[40..56] != id.0 {
        return None;
    }
    slot[8..].first_chunk().map(PayloadKey::copied)
}

/// Whose key a slot says that it holds.
fn id_in(slot: &[u8; SLOT]) -> Option<BlobId> {
    let id = BlobId(*slot[40..].first_chunk()?);
    decode(slot, id).map(|_| id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::test_relay::exit_code_of;

    fn id(byte: u8) -> BlobId {
        BlobId([byte; 16])
    }

    fn contains(path: &Path, needle: &[u8]) -> bool {
        std::fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle)
    }

    #[tokio::test]
    async fn a_key_is_found_in_its_slot_until_it_is_cleared_and_nowhere_after() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.slots");
        let slots = KeySlots::open(&path, &HashSet::new()).unwrap();
        let key = PayloadKey::random().unwrap();
        let slot = slots.store(id(1), key.clone()).await.unwrap();
        assert!(
            contains(&path, key.bytes()),
            "the key must be in the file first, or its absence later proves nothing"
        );
        assert_eq!(slots.get(slot, id(1)).unwrap().bytes(), key.bytes());
        assert!(matches!(slots.get(slot, id(2)), Err(SlotError::Gone)));

        slots.clear(vec![(slot, id(1))]).await.unwrap();
        assert!(matches!(slots.get(slot, id(1)), Err(SlotError::Gone)));
        assert!(!contains(&path, key.bytes()));
    }

    #[tokio::test]
    async fn clearing_a_slot_again_does_not_destroy_the_key_that_came_after() {
        let dir = tempfile::tempdir().unwrap();
        let slots = KeySlots::open(&dir.path().join("keys.slots"), &HashSet::new()).unwrap();
        let slot = slots.store(id(1), PayloadKey::random().unwrap()).await.unwrap();
        slots.clear(vec![(slot, id(1))]).await.unwrap();
        let second = PayloadKey::random().unwrap();
        assert_eq!(
            slots.store(id(2), second.clone()).await.unwrap(),
            slot,
            "the test needs the slot to be used again"
        );
        slots.clear(vec![(slot, id(1))]).await.unwrap();
        assert_eq!(slots.get(slot, id(2)).unwrap().bytes(), second.bytes());
    }

    #[tokio::test]
    async fn a_slot_no_row_names_is_zeroed_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.slots");
        let slots = KeySlots::open(&path, &HashSet::new()).unwrap();
        let (kept, lost) = (PayloadKey::random().unwrap(), PayloadKey::random().unwrap());
        let kept_slot = slots.store(id(1), kept.clone()).await.unwrap();
        slots.store(id(2), lost.clone()).await.unwrap();
        slots.close();
        let slots = KeySlots::open(&path, &HashSet::from([(kept_slot, id(1))])).unwrap();
        assert_eq!(slots.get(kept_slot, id(1)).unwrap().bytes(), kept.bytes());
        assert!(!contains(&path, lost.bytes()));
    }

    #[tokio::test]
    async fn a_slot_that_a_row_names_and_another_key_is_in_is_zeroed_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.slots");
        let slots = KeySlots::open(&path, &HashSet::new()).unwrap();
        // A burn that ended after its first step, and an upload that came to nothing after its first.
        let slot = slots.store(id(1), PayloadKey::random().unwrap()).await.unwrap();
        slots.clear(vec![(slot, id(1))]).await.unwrap();
        let nobodys = PayloadKey::random().unwrap();
        assert_eq!(slots.store(id(2), nobodys.clone()).await.unwrap(), slot, "the slot must be used again");
        slots.close();
        assert!(contains(&path, nobodys.bytes()));
        let slots = KeySlots::open(&path, &HashSet::from([(slot, id(1))])).unwrap();
        assert!(!contains(&path, nobodys.bytes()));
        assert_eq!(slots.store(id(3), PayloadKey::random().unwrap()).await.unwrap(), slot, "it is free");
    }

    #[tokio::test]
    async fn the_file_grows_past_its_first_block() {
        let dir = tempfile::tempdir().unwrap();
        let slots = Arc::new(KeySlots::open(&dir.path().join("keys.slots"), &HashSet::new()).unwrap());
        let puts = (0..BLOCK + 10).map(|_| {
            let slots = Arc::clone(&slots);
            tokio::spawn(async move { slots.store(id(9), PayloadKey::random().unwrap()).await.unwrap() })
        });
        let taken: HashSet<_> =
            futures::future::join_all(puts).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(taken.len(), BLOCK as usize + 10);
    }

    /// `/dev/null` takes every write and refuses every sync.
    #[test]
    fn a_block_that_cannot_be_synced_ends_the_process() {
        let code =
            exit_code_of("store::slots::tests::a_block_that_cannot_be_synced_ends_the_process", || {
                let null = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
                drop(Writer { file: Arc::new(null), free: Free::default(), count: 0 }.grow());
            });
        assert_eq!(code, Some(failed_sync::EXIT_CODE));
    }
}
