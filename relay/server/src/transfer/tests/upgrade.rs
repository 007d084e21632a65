//! Two releases over one data directory: forward, back, and forward again, with uploads and reads in each.

use std::time::Duration;

use paramant_protocol::chunks::Division;
use tempfile::TempDir;

use crate::app::OpenError;
use crate::store::meta::{MetaError, MetaOpenError};
use crate::store::migrations::rehearsal::{NEXT, SCHEMA as NEXT_SCHEMA};
use crate::store::migrations::{MigrationError, Release};
use crate::store::{self, blob_rows::Asked};
use crate::test_relay::{ACCOUNT, TestRelay, hash, read, until};
use crate::transfer::{Completion, Opening, UploadError, Wanted};

const THIS: Release = Release::STANDING;

async fn start(dir: TempDir, release: Release) -> TestRelay {
    TestRelay::operated(dir, release).await.map_err(|(error, _)| error).unwrap()
}

async fn reads(relay: &TestRelay, payload: &[u8]) {
    assert!(read(relay.lease(payload).await).await == payload);
    let asked = Asked::ByName { account: ACCOUNT, lookup: hash(payload) };
    until("it is read once and no more", async || {
        relay.transfers().claim(asked, None, |_| Wanted::Whole).await.unwrap().is_none()
    })
    .await;
}

/// Uploads that the rehearsed release wrote down in its own table and column.
fn rehearsed(relay: &TestRelay) -> u32 {
    let count = |c: &rusqlite::Connection| {
        Ok::<_, MetaError>(c.query_row("SELECT count(*) FROM rehearsals", [], |row| row.get(0))?)
    };
    relay.transfers().0.vault.meta.read_blocking(count).unwrap()
}

fn committed(relay: &TestRelay) -> u32 {
    relay.app.store.data_report().committed
}

async fn commit(relay: &TestRelay, asked: u32) {
    let app = relay.app.clone();
    tokio::task::spawn_blocking(move || app.store.commit_schema(asked)).await.unwrap().unwrap();
}

fn strict() -> Opening {
    Opening {
        account: ACCOUNT,
        division: Division::new(70_000, 65_536).unwrap(),
        expected: None,
        ttl: Duration::from_secs(600),
        views: 1,
        device: None,
        strict: true,
        password: None,
        enc_meta: None,
        file_id: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_rolled_forward_and_back_with_writes_in_each() {
    let old = start(TempDir::new().unwrap(), THIS).await;
    let [first, second, third] = [b"of the old", b"of the new", b"after it. "];
    old.upload(first).await;
    let open = old.transfers().open_upload(strict()).await.unwrap();

    let new = start(old.stop().await, NEXT).await;
    let report = new.app.store.data_report();
    assert_eq!((report.schema, report.committed), (NEXT_SCHEMA, THIS.schema()));
    assert!(report.min_reader <= THIS.schema(), "{report:?}");
    new.upload(second).await;
    assert_eq!(rehearsed(&new), 1, "the new release writes what only it knows");
    reads(&new, first).await;

    let old = start(new.stop().await, THIS).await;
    reads(&old, second).await;
    old.upload(third).await;
    assert!(old.transfers().upload(ACCOUNT, open.row.id).await.unwrap().is_some());
    old.transfers().open_upload(strict()).await.unwrap();

    let new = start(old.stop().await, NEXT).await;
    assert_eq!(committed(&new), THIS.schema(), "it settles anew");
    reads(&new, third).await;
    commit(&new, NEXT_SCHEMA).await;
    assert_eq!(new.app.store.data_report().min_reader, NEXT_SCHEMA);

    let Err((error, dir)) = TestRelay::operated(new.stop().await, THIS).await else {
        panic!("there is no way back after the commit");
    };
    let refused =
        OpenError::Store(store::OpenError::Meta(MetaOpenError::Migration(MigrationError::TooNew {
            found: NEXT_SCHEMA,
            min_reader: NEXT_SCHEMA,
            known: THIS.schema(),
        })));
    assert_eq!(error.to_string(), refused.to_string());
    start(dir, NEXT).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_is_cut_off_before_its_commit_can_go_back() {
    let old = start(TempDir::new().unwrap(), THIS).await;
    old.upload(b"acknowledged").await;
    let new = start(old.stop().await, NEXT).await;
    let again = start(new.stop().await, NEXT).await;
    assert_eq!(committed(&again), THIS.schema(), "a start commits nothing");
    let old = start(again.stop().await, THIS).await;
    reads(&old, b"acknowledged").await;
    old.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_commit_only_what_the_old_release_knew_is_taken() {
    // A directory as a release without chunks left it: nobody wrote a row that needs them.
    let old = start(TempDir::new().unwrap(), THIS).await;
    let dir = old.stop().await;
    let db = rusqlite::Connection::open(dir.path().join("meta.db")).unwrap();
    db.execute("UPDATE committed SET schema = 8", []).unwrap();
    drop(db);
    let new = start(dir, THIS).await;
    let refused = new.transfers().open_upload(strict()).await;
    assert!(matches!(refused, Err(UploadError::NotCommitted)), "{refused:?}");
    assert_eq!(new.transfers().in_flight().bytes, 0, "and holds no room");
    new.upload(b"small as ever").await;
    reads(&new, b"small as ever").await;
    commit(&new, 9).await;
    let opened = new.transfers().open_upload(strict()).await.unwrap();
    let completed = new.transfers().complete_upload(ACCOUNT, opened.row.id, Completion::default()).await;
    assert!(completed.is_err(), "it is open, and empty");
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_nobody_updates_commits_by_itself() {
    let old = start(TempDir::new().unwrap(), THIS).await;
    let dir = old.stop().await;
    let db = rusqlite::Connection::open(dir.path().join("meta.db")).unwrap();
    db.execute("UPDATE committed SET schema = 8", []).unwrap();
    drop(db);
    let alone = TestRelay::over(dir).await;
    assert_eq!(committed(&alone), THIS.schema());
    alone.stop().await;
}
