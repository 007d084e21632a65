//! How far a vendor reaches: the whole state of a relay, before and after every kind of message that a vendor can send. Users, keys, files,
//! the second factor, the admin's token, settings and keys of the log are the same; what differs is named here, table by table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use paramant_authority::decide::{Standing, usual};
use paramant_authority::faults::Fault;
use paramant_authority::requests::{Asking, By, Secret};
use paramant_licensing::actions::{Ask, Offer, Role, Why};
use paramant_licensing::online::capability::Tier;
use paramant_protocol::control::RemoteAnswer;
use paramant_protocol::leaf::sha256;
use reqwest::{Method, StatusCode};
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tempfile::TempDir;

use crate::panel::Person;
use crate::relay::{Relay, noise, until};
use crate::remote_actions::{last_check_in, settled};
use crate::vendor::{Clock, Vendor, ask, asking, licence_directory, online, report};

/// What a vendor's message may change: what it asked, what it granted, and the log's own bookkeeping.
const REACH: &[&str] = &[
    "table check_ins",
    "table license_calls",
    "table license_clock",
    "table license_replies",
    "table license_request",
    "table license_terms",
    "table license_waiting",
    "table support_keys",
    "table support_uses",
    "table vendor_entries",
    "table vendor_requests",
    "table vendor_silences",
    "file log",
    "file sth",
];

pub type State = BTreeMap<String, [u8; 32]>;

/// Every table of the database by its rows, and every file beside it by its bytes; those of the log and of tree heads together.
pub fn state(dir: &Path) -> State {
    let mut all = State::new();
    let db = Connection::open_with_flags(dir.join("meta.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut names = db
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        .unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for name in names {
        let mut rows = db.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
        let columns = rows.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            (0..columns).map(|at| row.get::<_, Cell>(at)).collect::<Result<Vec<_>, _>>()
        };
        let mut text: Vec<String> =
            rows.query_map([], row).unwrap().map(|row| format!("{:?}", row.unwrap())).collect();
        text.sort();
        all.insert(format!("table {name}"), sha256(text.join("\n").as_bytes()));
    }
    let mut files = BTreeMap::<String, Vec<u8>>::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with("meta.db") {
                let part = name.split('/').next().unwrap();
                let part = if ["log", "sth"].contains(&part) { part.to_owned() } else { name.clone() };
                let bytes = std::fs::read(&path).unwrap_or_default();
                files.entry(part).or_default().extend([name.as_bytes(), &sha256(&bytes)].concat());
            }
        }
    }
    for (name, bytes) in files {
        all.insert(format!("file {name}"), sha256(&bytes));
    }
    all
}

pub fn changed(before: &State, after: &State) -> BTreeSet<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

pub fn beyond(before: &State, after: &State) -> Vec<String> {
    changed(before, after).into_iter().filter(|name| !REACH.contains(&name.as_str())).collect()
}

fn asks(relay: &str) -> Vec<Ask> {
    let offer = Offer {
        version: "9.0.0".into(),
        digest: format!("sha256:{}", "cd".repeat(32)),
        sequence: 1,
        floor: 0,
        recalled: vec![format!("sha256:{}", "ab".repeat(32))],
        notes_sha256: "ef".repeat(32),
    };
    let key_sha256 = Secret::new().unwrap().key_sha256(relay);
    vec![
        Ask::SupportKey { key_sha256, max_seconds: 3600 },
        Ask::UpdateOffer(Box::new(offer)),
        Ask::Drain { enabled: true, deadline_seconds: Some(600) },
        Ask::Drain { enabled: false, deadline_seconds: None },
        Ask::Unknown("reset_second_factor".into()),
        Ask::Unknown("create_key".into()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_of_a_vendor_changes_anything_but_what_the_four_actions_are_about() {
    let (vendor, clock, dir) = (Vendor::start().await, Clock::default(), TempDir::new().unwrap());
    let directory = licence_directory(&dir);
    let relay = Relay::in_world(vendor.world(&clock), dir, |settings| {
        asking(&vendor, settings, directory);
        let answers = &mut settings.remote.answers;
        (answers.support_key, answers.drain) = (RemoteAnswer::Allow, RemoteAnswer::Allow);
    })
    .await;
    online(&relay).await;
    let user = relay.user().await;
    let payload = noise(7, 5000);
    assert_eq!(user.upload(&payload, json!({})).await.status(), StatusCode::OK);
    // A second factor, which no message may take away.
    Person::new(&relay).sign_in().await;
    settled(&relay).await;
    let (root, id) =
        (relay.dir.path().join("data"), relay.running.app.core.identity.fingerprint().to_owned());
    // A change that is no vendor's is seen.
    let planted = state(&root);
    relay.admin(Method::POST, "/v2/admin/keys").json(&json!({ "label": "planted" })).send().await.unwrap();
    let seen = beyond(&planted, &state(&root));
    assert!(seen.iter().any(|name| name.starts_with("table ")), "a planted account is not seen: {seen:?}");

    let mut reached = BTreeSet::new();
    for ask in asks(&id) {
        let before = state(&root);
        let by = By::new(Role::Owner, Why::LegalOrder, "somebody").unwrap();
        let (kind, lasts) = (ask.kind().to_owned(), SignedDuration::from_hours(90));
        let asking = Asking { relay: id.clone(), ask, by, lasts };
        let signer = vendor.authority.signer().unwrap();
        let made = vendor.authority.book.ask(&asking, &signer, Timestamp::now()).unwrap();
        settled(&relay).await;
        until("it was answered", async || {
            let told = relay.running.app.store.actions.report();
            told.requests.iter().any(|it| it.id == made.id && it.checkpoint_size.is_some())
        })
        .await;
        let after = state(&root);
        assert_eq!(beyond(&before, &after), Vec::<String>::new(), "{kind}");
        reached.extend(changed(&before, &after));
    }
    for fault in [
        Fault::ForkedRequest,
        Fault::GapRequest,
        Fault::WrongRelayRequest,
        Fault::UnsignedRequest,
        Fault::OtherRelay,
        Fault::OtherKey,
        Fault::Altered,
        Fault::OldSequence,
        Fault::Replay,
        Fault::Garbage,
    ] {
        let before = state(&root);
        vendor.authority.book.set_fault(Some(fault)).unwrap();
        // One may be on its way already, with an answer from before.
        for _ in 0..2 {
            let last = last_check_in(&relay).await;
            ask(&relay).await;
            until("it was believed or not", async || {
                let unbelieved = report(&relay).check_in.is_some_and(|it| it.reachable == Some(false));
                unbelieved || last_check_in(&relay).await != last
            })
            .await;
        }
        vendor.authority.book.set_fault(None).unwrap();
        settled(&relay).await;
        assert_eq!(beyond(&before, &state(&root)), Vec::<String>::new(), "{fault:?}");
    }
    for standing in [Standing::Unpaid, Standing::Active] {
        let before = state(&root);
        vendor.stand(standing);
        settled(&relay).await;
        assert_eq!(beyond(&before, &state(&root)), Vec::<String>::new(), "{standing:?}");
    }
    let before = state(&root);
    let change = |licence: &mut paramant_authority::book::Licence| licence.sold = usual(Tier::Community);
    vendor.authority.book.change(&vendor.key, "tier", Timestamp::now(), change).unwrap();
    settled(&relay).await;
    let after = state(&root);
    assert_eq!(beyond(&before, &after), Vec::<String>::new(), "another tier");
    reached.extend(changed(&before, &after));
    for table in ["vendor_requests", "support_keys", "license_terms", "license_replies"] {
        assert!(reached.contains(&format!("table {table}")), "{table} was never reached: {reached:?}");
    }
    // And the file that a user sent before all this is read as it was.
    assert_eq!(user.download(&crate::relay::hash(&payload)).await.bytes().await.unwrap(), payload);
    relay.stop().await;
}
