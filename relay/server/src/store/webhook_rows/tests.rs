use super::*;
use crate::store::{blob_rows, migrations};

const ACCOUNT: AccountId = AccountId([1; 16]);
const HOST: &str = "hooks.example:443";

fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    crate::store::meta::plan_once(&connection).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    migrations::apply(&mut connection, migrations::Release::THIS).unwrap();
    connection
}

fn hook(n: u8, device: &str) -> NewHook {
    NewHook {
        id: HookId([n; 16]),
        account: ACCOUNT,
        device: device.to_owned(),
        destination: HOST.to_owned(),
        url: format!("https://hooks.example/{n}"),
        secret: Secret(b"topsecret".to_vec()),
    }
}

fn upload(c: &Connection, n: u8, now_ms: i64) -> usize {
    enqueue(c, &blob_rows::sample(ACCOUNT, Digest([n; 32]), Some("d")), now_ms).unwrap()
}

fn waiting(c: &Connection) -> (i64, i64) {
    let hook: Option<i64> = c.query_row("SELECT sum(waiting) FROM webhooks", [], |row| row.get(0)).unwrap();
    (waiting_altogether(c).unwrap(), hook.unwrap_or(0))
}

#[test]
fn what_is_said_is_the_published_vector_byte_for_byte() {
    let said = BlobReady {
        event: "blob_ready",
        device_id: "d1",
        ts: "2026-01-02T03:04:05.678Z".to_owned(),
        hash: "a".repeat(64),
        size: 5_242_880,
        ttl_ms: 3_600_000,
        sig_valid: false,
    };
    let hash = "a".repeat(64);
    assert_eq!(
        serde_json::to_string(&said).unwrap(),
        format!(
            r#"{{"event":"blob_ready","device_id":"d1","ts":"2026-01-02T03:04:05.678Z","hash":"{hash}","size":5242880,"ttl_ms":3600000,"sig_valid":false}}"#
        )
    );
}

#[test]
fn a_hook_is_told_in_order_one_at_a_time_until_it_took_it() {
    let c = database();
    insert(&c, &hook(1, "d"), 0).unwrap();
    insert(&c, &hook(2, "d"), 0).unwrap();
    insert(&c, &hook(3, "another"), 0).unwrap();
    assert_eq!((upload(&c, 7, 10), upload(&c, 8, 11)), (2, 2));
    assert_eq!(waiting(&c), (4, 4));

    let due = take_due(&c, HOST, 10, 20, Digest([0; 32])).unwrap();
    assert_eq!(due.iter().map(|due| due.hook).collect::<Vec<_>>(), [HookId([1; 16]), HookId([2; 16])]);
    assert!(due.iter().all(|due| String::from_utf8_lossy(&due.body).contains(&"07".repeat(32))));
    assert!(take_due(&c, HOST, 10, 20, Digest([0; 32])).unwrap().is_empty(), "each is being called");
    assert!(take_due(&c, "elsewhere.example:443", 10, 20, Digest([0; 32])).unwrap().is_empty());

    ended(&c, &due[0], &Ended::Delivered, "delivered", 30).unwrap();
    ended(&c, &due[1], &Ended::Failed { next_ms: 5000 }, "slow", 30).unwrap();
    assert_eq!(waiting(&c), (3, 3));
    let next = take_due(&c, HOST, 10, 4999, Digest([0; 32])).unwrap();
    assert_eq!(next.len(), 1);
    assert!(String::from_utf8_lossy(&next[0].body).contains(&"08".repeat(32)));
    let again = take_due(&c, HOST, 10, 5000, Digest([0; 32])).unwrap();
    assert_eq!((again.len(), again[0].body == due[1].body, again[0].failures), (1, true, 1));
    // The process died while it called: after the lease it is called again.
    assert_eq!(take_due(&c, HOST, 10, 5000 + LEASE_MS, Digest([0; 32])).unwrap().len(), 2);
    // Or soon after the next start, also if the clock was set back meanwhile.
    resume(&c, 1000).unwrap();
    assert_eq!(next_due(&c, HOST).unwrap(), Some(1000 + RESUME_MS));

    let sums = call_rows::sums(&c, Caller::Webhooks).unwrap();
    assert_eq!(
        (sums.len(), sums[0].count, sums[0].destination.as_str()),
        (1, 6, HOST),
        "every call is counted"
    );
    call_rows::cross_off(&c, Caller::Webhooks, &sums[0]).unwrap();
    assert!(call_rows::sums(&c, Caller::Webhooks).unwrap().is_empty());
}

#[test]
fn hooks_and_events_are_bounded_and_what_is_lost_is_counted() {
    let c = database();
    for n in 0..u8::try_from(MOST_PER_DEVICE).unwrap() {
        assert_eq!(insert(&c, &hook(n, "d"), 0).unwrap(), Kept::As(HookId([n; 16])));
    }
    assert_eq!(insert(&c, &hook(99, "d"), 0).unwrap(), Kept::TooMany(MOST_PER_DEVICE));
    let same = NewHook { id: HookId([77; 16]), secret: Secret::default(), ..hook(1, "d") };
    assert_eq!(insert(&c, &same, 0).unwrap(), Kept::As(HookId([1; 16])), "the same again has another secret");
    assert!(!list(&c, ACCOUNT).unwrap()[1].signed);
    for n in MOST_PER_DEVICE..MOST_PER_ACCOUNT {
        insert(&c, &hook(n as u8, &format!("d{n}")), 0).unwrap();
    }
    assert_eq!(insert(&c, &hook(99, "e"), 0).unwrap(), Kept::TooMany(MOST_PER_ACCOUNT));

    for n in 1..MOST_PER_DEVICE as u8 {
        assert!(remove(&c, ACCOUNT, HookId([n; 16])).unwrap());
    }
    assert!(!remove(&c, AccountId([2; 16]), HookId([0; 16])).unwrap(), "another's hook is none");
    for n in 0..=MOST_WAITING {
        upload(&c, (n % 200) as u8, i64::from(n));
    }
    let first = || list(&c, ACCOUNT).unwrap()[0].clone();
    assert_eq!((first().waiting, first().dropped), (i64::from(MOST_WAITING), 1));
    assert_eq!(waiting(&c), (1000, 1000));
    // The samples end a minute after the epoch.
    assert_eq!(give_up(&c, 59_999).unwrap(), 0);
    assert_eq!(give_up(&c, 60_000).unwrap(), usize::from(GIVEN_UP_AT_ONCE));
    assert_eq!((give_up(&c, 60_000).unwrap(), give_up(&c, 60_000).unwrap()), (500, 0));
    assert_eq!((first().waiting, first().dropped), (0, 1001));
    upload(&c, 1, 5);
    assert!(remove(&c, ACCOUNT, HookId([0; 16])).unwrap());
    assert_eq!(waiting_altogether(&c).unwrap(), 0, "what waited for it is gone with it");
}

#[test]
fn nobody_waits_longer_than_a_day_and_a_drop_is_told_to_nobody() {
    let c = database();
    insert(&c, &hook(1, "d"), 0).unwrap();
    let mut blob = blob_rows::sample(ACCOUNT, Digest([1; 32]), Some("d"));
    blob.expires_ms = i64::MAX;
    assert_eq!(enqueue(&c, &blob, 5).unwrap(), 1);
    let ends: i64 = c.query_row("SELECT ends_ms FROM webhook_outbox", [], |row| row.get(0)).unwrap();
    assert_eq!(ends, 5 + 24 * 3_600_000);
    blob.space = Space::Drop;
    assert_eq!(enqueue(&c, &blob, 5).unwrap(), 0);
}

#[test]
fn no_question_reads_a_whole_table() {
    let c = database();
    for sql in [DUE, NEXT, FIRST, OVER] {
        let mut query = c.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = vec![1; query.parameter_count()];
        let steps = query.query_map(rusqlite::params_from_iter(parameters), |row| row.get("detail"));
        let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
        assert!(!steps.iter().any(|step| step.starts_with("SCAN")), "{steps:?}: {sql}");
    }
}

#[test]
fn a_secret_is_not_printed() {
    assert!(!format!("{:?}", hook(1, "d")).contains("topsecret"));
}
