//! Data that earlier releases wrote, under this one; and what this one writes, under the statements of earlier ones.
//!
//! The database of a release with schema N is made here: the first N migrations, and in their tables the rows of a relay that was at work,
//! with the columns that release knew. No migration so far changed what a column holds, so those rows are what it would have
//! written. Log, payloads and key slots have not changed their form. The statements of each release that landed stand in
//! `tests/fixtures/statements`, taken from its sources. A schema that never was the newest of a release (3 and 7 came with the
//! next) is upgraded from all the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use futures::StreamExt as _;
use reqwest::{Client, Method, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::history::left;
use crate::relay::{User, hash, noise, until};
use crate::spawned::Process;
use crate::struck::told::wrong_with_log;

/// The migrations, in order.
fn migrations() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/schema");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

/// A database with the first migrations.
fn database(path: &Path, schema: usize) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "CREATE TABLE migrations (schema INTEGER PRIMARY KEY, min_reader INTEGER NOT NULL, applied_ms INTEGER NOT NULL)",
    )
    .unwrap();
    for (number, sql) in (1..).zip(migrations().iter().take(schema)) {
        db.execute_batch(sql).unwrap();
        db.execute("INSERT INTO migrations VALUES (?, 1, 0)", [number]).unwrap();
    }
    db
}

fn names(db: &Connection, sql: &str) -> Vec<String> {
    let mut query = db.prepare(sql).unwrap();
    query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Puts a database of an older schema in the place of the one in `data`, with the same rows.
fn make_older(data: &Path, schema: usize) {
    let (meta, older) = (data.join("meta.db"), data.join("older.db"));
    let db = database(&older, schema);
    db.execute("ATTACH ? AS new", [meta.to_str().unwrap()]).unwrap();
    for table in
        names(&db, "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    {
        if table != "migrations" {
            let columns =
                names(&db, &format!("SELECT name FROM pragma_table_info('{table}', 'main')")).join(", ");
            db.execute(
                &format!("INSERT OR REPLACE INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}"),
                [],
            )
            .unwrap();
        }
    }
    db.execute("DETACH new", []).unwrap();
    db.close().unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(data.join(format!("meta.db{suffix}")));
    }
    std::fs::rename(older, meta).unwrap();
}

fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    let copied =
        Command::new("cp").args(["-a", "--sparse=always"]).arg(from.join("data")).arg(to.path()).status();
    assert!(copied.unwrap().success());
    to
}

/// What a relay was left with, killed at work.
struct Left {
    home: TempDir,
    user: User,
    unread: Vec<u8>,
    broken: Vec<u8>,
    twice: Vec<u8>,
    entries: Vec<(u64, String)>,
}

async fn left_at_work() -> Left {
    let home = TempDir::new().unwrap();
    let process = Process::start(home.path());
    let user = User::new(&process.url).await;
    let mut entries = Vec::new();
    let (unread, broken, twice) = (noise(1, 5000), noise(2, 5_000_000), noise(3, 70_000));
    for (payload, views) in [(&unread, 1), (&broken, 1), (&twice, 3)] {
        let sent = user.upload_raw(payload.clone(), &format!("?ttl_ms=3600000&max_views={views}")).await;
        assert_eq!(sent.status(), StatusCode::OK);
        let answer: Value = sent.json().await.unwrap();
        let proof = &answer["merkle_proof"];
        entries
            .push((proof["leaf_index"].as_u64().unwrap(), proof["leaf_hash"].as_str().unwrap().to_owned()));
    }
    assert_eq!(user.download(&hash(&twice)).await.bytes().await.unwrap(), twice);
    let registered = json!({ "device_id": "phone", "ecdh_pub": "ab".repeat(32), "kyber_pub": hex::encode(noise(4, 1184)), "dsa_pub": hex::encode(noise(5, 1952)) });
    let registered =
        user.request(Method::POST, "/v2/pubkey").body(registered.to_string()).send().await.unwrap();
    assert_eq!(registered.status(), StatusCode::OK, "{}", registered.text().await.unwrap());
    let mut reading =
        User { http: Client::new(), ..user.clone() }.download(&hash(&broken)).await.bytes_stream();
    assert!(reading.next().await.is_some());
    process.kill();
    Left { home, user, unread, broken, twice, entries }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_earlier_schema_holds_is_served_by_this_release() {
    let left = left_at_work().await;
    let newest = migrations().len();
    assert!(newest >= 10);
    for schema in 1..=newest {
        let home = copy(left.home.path());
        make_older(&home.path().join("data"), schema);
        let process = Process::start(home.path());
        let user = User { url: process.url.clone(), ..left.user.clone() };
        let db = Connection::open(home.path().join("data/meta.db")).unwrap();
        let (at, reader): (u32, u32) = db
            .query_row("SELECT schema, min_reader FROM migrations ORDER BY schema DESC LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(
            (at as usize, reader),
            (newest, 1),
            "from schema {schema}: brought forward, and the first release still reads it"
        );
        for (payload, views) in [(&left.unread, 1), (&left.broken, 1), (&left.twice, 2)] {
            for _ in 0..views {
                let answer = user.download(&hash(payload)).await;
                assert_eq!(answer.status(), StatusCode::OK, "from schema {schema}");
                assert!(answer.bytes().await.unwrap() == **payload);
            }
            assert_eq!(
                user.download(&hash(payload)).await.status(),
                StatusCode::NOT_FOUND,
                "from schema {schema}"
            );
        }
        let device = user.request(Method::GET, "/v2/pubkey/phone").send().await.unwrap();
        assert_eq!(device.status(), StatusCode::OK, "from schema {schema}");
        let payload = noise(9, 3000);
        let sent = user.upload(&payload, json!({ "disclosure": "strict" })).await;
        assert_eq!(sent.status(), StatusCode::OK);
        assert_eq!(user.download(&hash(&payload)).await.bytes().await.unwrap(), payload);
        until("all is burned", async || left::rows(home.path()) == 0).await;
        assert_eq!(left::mismatches(home.path()), Vec::<String>::new());
        assert_eq!(wrong_with_log(&process.url, &left.entries).await.unwrap(), Vec::<String>::new());
        process.kill();
    }
}

/// The statements of the last release with each schema.
fn statements() -> Vec<(String, Vec<String>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/statements");
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("--")).map(str::to_owned);
        (path.file_stem().unwrap().to_string_lossy().into_owned(), lines.collect())
    };
    std::fs::read_dir(folder).unwrap().map(|file| read(file.unwrap().path())).collect()
}

/// Runs a statement of an older release, with a number of its own for each parameter; why it cannot, if it cannot.
fn runs(db: &Connection, statement: &str) -> Result<(), rusqlite::Error> {
    for one in statement.split(';').filter(|one| !one.trim().is_empty()) {
        let mut prepared = db.prepare(one)?;
        let values = (0..prepared.parameter_count()).map(|number| 1_000_000 + number as i64);
        let mut rows = prepared.query(rusqlite::params_from_iter(values))?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}

#[test]
fn the_statements_of_earlier_releases_run_on_the_newest_schema() {
    let dir = TempDir::new().unwrap();
    let db = database(&dir.path().join("meta.db"), migrations().len());
    // The sender of these rows is nobody in particular.
    db.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    let all = statements();
    assert!(all.len() >= 7 && all.iter().all(|(_, statements)| statements.len() > 40));
    for (release, statements) in all {
        for statement in statements {
            db.execute_batch("SAVEPOINT one").unwrap();
            let ran = runs(&db, &statement);
            assert!(ran.is_ok(), "{release}: {ran:?}: {statement}");
            db.execute_batch("ROLLBACK TO one; RELEASE one").unwrap();
        }
    }

    // A step that an older release could not live with is seen.
    db.execute_batch("CREATE TABLE other (id BLOB, must TEXT NOT NULL); DROP TABLE accounts; ALTER TABLE other RENAME TO accounts").unwrap();
    assert!(runs(&db, "INSERT INTO accounts (id, created_ms) VALUES (?, ?)").is_err());
}
