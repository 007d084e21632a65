use std::time::Duration;

use jiff::Timestamp;
use paramant_protocol::chunks::{ChunkList, Division};
use paramant_protocol::id::ReceiptId;
use rusqlite::Connection;

use crate::entries;
use crate::store::blob_rows::{self, Asked, BlobRow, Space, State};
use crate::store::meta::MetaError;
use crate::store::{BlobId, Digest, now_ms, upload_rows};
use crate::test_relay::{ACCOUNT, TestRelay, hang_up_when, hash, until};
use crate::transfer::{ChunkError, Completion, Opening, Upload, UploadError, Wanted};

const CHUNK: usize = 64 << 10;
const DAY_MS: i64 = 24 * 3600 * 1000;

fn payload() -> Vec<u8> {
    (0..2 * CHUNK + 9).map(|n| (n % 253) as u8).collect()
}

fn name(payload: &[u8]) -> Digest {
    let mut list = ChunkList::new(payload.len() as u64, CHUNK as u64);
    payload.chunks(CHUNK).for_each(|chunk| list.push(&hash(chunk).0));
    Digest(*list.finish().as_bytes())
}

async fn opened(relay: &TestRelay) -> Upload {
    let opening = Opening {
        account: ACCOUNT,
        division: Division::new(payload().len() as u64, CHUNK as u64).unwrap(),
        expected: None,
        ttl: Duration::from_secs(600),
        views: 1,
        device: None,
        strict: false,
        password: None,
        enc_meta: None,
        file_id: None,
    };
    relay.transfers().open_upload(opening).await.unwrap()
}

async fn put(relay: &TestRelay, upload: &Upload, number: u64) -> Result<(), ChunkError> {
    let (mut chunk, _) = relay.transfers().receive_chunk(upload, number).await?;
    let piece = payload().chunks(CHUNK).nth(number as usize).unwrap().to_vec();
    chunk.push(&piece).await?;
    chunk.keep::<ChunkError>(|_| Ok(())).await
}

async fn filled(relay: &TestRelay) -> Upload {
    let upload = opened(relay).await;
    for number in 0..3 {
        put(relay, &upload, number).await.unwrap();
    }
    upload
}

async fn read(relay: &TestRelay) -> Option<Vec<u8>> {
    let asked = Asked::ByName { account: ACCOUNT, lookup: name(&payload()) };
    let claimed = relay.transfers().claim(asked, None, |_| Wanted::Whole).await.unwrap()?;
    Some(crate::test_relay::read(claimed).await)
}

async fn there(relay: &TestRelay, id: BlobId) -> Option<Vec<[u64; 2]>> {
    Some(relay.transfers().upload(ACCOUNT, id).await.unwrap()?.present)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_nobody_goes_on_with_expires_and_one_that_goes_on_does_not() {
    let relay = TestRelay::start().await;
    let (idle, alive) = (opened(&relay).await, opened(&relay).await);
    put(&relay, &idle, 0).await.unwrap();
    let bytes = relay.transfers().in_flight().bytes;
    relay.transfers().sweep_uploads(now_ms() + DAY_MS - 60_000).await.unwrap();
    assert!(there(&relay, idle.row.id).await.is_some());
    let id = alive.row.id;
    let meta = &relay.transfers().0.vault.meta;
    meta.write(move |c| Ok::<_, MetaError>(upload_rows::touch(c, id, now_ms() + DAY_MS)?)).await.unwrap();
    relay.transfers().sweep_uploads(now_ms() + DAY_MS + 1000).await.unwrap();
    assert!(there(&relay, idle.row.id).await.is_none());
    assert!(there(&relay, alive.row.id).await.is_some());
    assert_eq!(relay.transfers().in_flight().bytes, bytes / 2, "its room is given back");
    assert!(matches!(put(&relay, &idle, 1).await, Err(ChunkError::Gone | ChunkError::NotOpen)));
    // At last the other one too, however often it is touched.
    meta.write(move |c| Ok::<_, MetaError>(upload_rows::touch(c, id, now_ms() + 7 * DAY_MS)?)).await.unwrap();
    relay.transfers().sweep_uploads(now_ms() + 7 * DAY_MS + 1000).await.unwrap();
    assert!(there(&relay, alive.row.id).await.is_none());
    assert_eq!(relay.transfers().in_flight().bytes, 0);
}

/// The row that a completion writes first.
fn pending(relay: &TestRelay, upload: &Upload) -> (BlobRow, crate::log_service::Entry) {
    let hash = name(&payload());
    let (entry, ts) = entries::transfer(hash, "relay", Timestamp::now()).unwrap();
    let row = BlobRow {
        id: upload.row.id,
        account: ACCOUNT,
        space: Space::Content,
        lookup: hash,
        hash,
        size: upload.row.size,
        ttl_ms: 600_000,
        created_ms: now_ms(),
        expires_ms: now_ms() + 600_000,
        views: 1,
        views_left: 1,
        state: State::Pending,
        slot: upload.row.slot,
        sig_valid: false,
        device: None,
        sector: "relay".into(),
        ts,
        leaf: Digest(entry.legacy_leaf),
        log_from: relay.app.core.log.head().size,
        log_index: None,
        password: None,
        enc_meta: None,
        burn_entry: None,
        chunk_size: Some(CHUNK as u64),
        strict: false,
    };
    (row, entry)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_entry_leaves_the_upload_open_with_every_chunk() {
    let relay = TestRelay::start().await;
    let upload = filled(&relay).await;
    let bytes = relay.transfers().in_flight().bytes;
    let (row, _) = pending(&relay, &upload);
    let meta = &relay.transfers().0.vault.meta;
    let receipt = ReceiptId::from_random([7; 32]);
    let schema = meta.schema().clone();
    let insert =
        move |c: &Connection| Ok::<_, UploadError>(blob_rows::insert_pending(c, &schema, &row, &receipt)?);
    meta.write(insert).await.unwrap();
    let relay = relay.restart().await;
    assert_eq!(there(&relay, upload.row.id).await, Some(vec![[0, 2]]));
    assert_eq!(relay.transfers().in_flight().bytes, bytes);
    assert!(read(&relay).await.is_none(), "it was never acknowledged");
    relay.transfers().complete_upload(ACCOUNT, upload.row.id, Completion::default()).await.unwrap();
    assert_eq!(relay.transfers().in_flight().bytes, bytes);
    assert!(read(&relay).await.unwrap() == payload());
    until("its room is given back", async || relay.transfers().in_flight().bytes == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_the_entry_leaves_a_blob_and_the_same_answer() {
    let relay = TestRelay::start().await;
    relay.transfers().end_sweep().await; // it would settle the row before its entry is there
    let upload = filled(&relay).await;
    let (row, entry) = pending(&relay, &upload);
    let meta = &relay.transfers().0.vault.meta;
    let receipt = ReceiptId::from_random([7; 32]);
    let schema = meta.schema().clone();
    let insert =
        move |c: &Connection| Ok::<_, UploadError>(blob_rows::insert_pending(c, &schema, &row, &receipt)?);
    meta.write(insert).await.unwrap();
    let index = relay.app.core.log.append(entry).await.unwrap().index;
    let relay = relay.restart().await;
    let counts = relay.transfers().in_flight();
    assert_eq!((counts.blobs, counts.bytes), (1, upload.row.size));
    let completed =
        relay.transfers().complete_upload(ACCOUNT, upload.row.id, Completion::default()).await.unwrap();
    assert_eq!((completed.blob.log_index, completed.blob.hash), (index, name(&payload())));
    assert!(read(&relay).await.unwrap() == payload());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_removed_at_the_next_start() {
    let relay = TestRelay::start().await;
    let upload = filled(&relay).await;
    let id = upload.row.id;
    let meta = &relay.transfers().0.vault.meta;
    assert!(meta.write(move |c| Ok::<_, MetaError>(upload_rows::give_up(c, id)?)).await.unwrap());
    let relay = relay.restart().await;
    assert!(there(&relay, id).await.is_none());
    let vault = relay.transfers().0.vault.clone();
    let mut files = 0;
    let seen = vault.payloads.sweep(&mut |_| {
        files += 1;
        true
    });
    assert_eq!((seen.unwrap(), files), (0, 0));
    assert_eq!(relay.transfers().in_flight().bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_whose_file_is_gone_is_asked_for_again() {
    let relay = TestRelay::start().await;
    let upload = filled(&relay).await;
    let id = upload.row.id;
    let vault = relay.transfers().0.vault.clone();
    let find = move |c: &rusqlite::Connection| Ok::<_, MetaError>(crate::store::chunk_rows::find(c, id, 1)?);
    let chunk = vault.meta.read(find).await.unwrap().unwrap();
    vault.payloads.remove(chunk.file).unwrap();
    drop(vault);
    let relay = relay.restart().await;
    assert_eq!(there(&relay, id).await, Some(vec![[0, 0], [2, 2]]));
    put(&relay, &upload, 1).await.unwrap();
    relay.transfers().complete_upload(ACCOUNT, id, Completion::default()).await.unwrap();
    assert!(read(&relay).await.unwrap() == payload());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_at_any_moment_of_a_completion_finds_it_done() {
    let relay = TestRelay::start().await;
    let upload = filled(&relay).await;
    let id = upload.row.id;
    let done =
        async || relay.transfers().status(ACCOUNT, name(&payload()), now_ms()).await.unwrap().is_some();
    hang_up_when(relay.transfers().complete_upload(ACCOUNT, id, Completion::default()), async || true).await;
    until("it is done all the same", done).await;
    relay.transfers().complete_upload(ACCOUNT, id, Completion::default()).await.unwrap();
    assert_eq!(relay.transfers().in_flight().blobs, 1);
    assert!(read(&relay).await.unwrap() == payload());
}
