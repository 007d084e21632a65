use super::*;
use crate::store::migrations;

const ACCOUNT: AccountId = AccountId([1; 16]);

fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    migrations::apply(&mut connection, migrations::Release::THIS).unwrap();
    connection
}

fn inbound(n: u8) -> Event<'static> {
    Event::Inbound { lookup: Digest([n; 32]), bytes: 5, device: None, signed: false }
}

fn filled(rows: u32) -> Connection {
    let c = database();
    for n in 0..rows {
        append(&c, ACCOUNT, 1_700_000_000_000 + i64::from(n), &inbound((n % 250) as u8)).unwrap();
    }
    c
}

#[test]
fn the_published_vector_is_the_first_row_of_a_chain() {
    let c = database();
    let event =
        Event::Inbound { lookup: Digest([0xaa; 32]), bytes: 5_242_880, device: Some("d1"), signed: false };
    append(&c, ACCOUNT, 1_767_323_045_678, &event).unwrap();
    let chain = read(&c, ACCOUNT, 10).unwrap();
    let [Shown(entry)] = chain.newest.as_slice() else { panic!("{chain:?}") };
    assert_eq!(entry["chain_hash"], "2fa18f9854382aa7f6e84a0e383f8ac215522ebbf6e63f809544be24c55b314d");
    let mut hashed = entry.clone();
    hashed.remove("chain_hash");
    let zeros = "0".repeat(64);
    assert_eq!(
        canonical::to_string(&hashed).unwrap(),
        format!(
            r#"{{"bytes":5242880,"device":"d1","event":"inbound","hash":"aaaaaaaaaaaaaaaa...","prev_hash":"{zeros}","sig":"unsigned","ts":"2026-01-02T03:04:05.678Z"}}"#
        )
    );
    assert!(chain.valid);
}

#[test]
fn each_event_says_what_is_published_and_leaves_out_what_is_absent() {
    let c = database();
    let lookup = Digest([0xab; 32]);
    let events = [
        Event::Inbound { lookup, bytes: 1, device: None, signed: true },
        Event::OutboundView { lookup, bytes: 1, views_left: 2 },
        Event::OutboundBurn { lookup, bytes: 1 },
        Event::InboundAborted { lookup },
        Event::AckReceived { hash: "abc", device: Some("d\"é") },
        Event::DidRegistered { did: "did:paramant:1", device: "d" },
        Event::Attestation { device: "d", method: "apple", valid: false },
    ];
    for event in &events {
        append(&c, ACCOUNT, 0, event).unwrap();
    }
    let chain = read(&c, ACCOUNT, 10).unwrap();
    let shown: Vec<String> = chain
        .newest
        .iter()
        .rev()
        .map(|Shown(entry)| {
            let mut entry = entry.clone();
            for name in ["ts", "prev_hash", "chain_hash"] {
                entry.remove(name).unwrap();
            }
            canonical::to_string(&entry).unwrap()
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"{"bytes":1,"event":"inbound","hash":"abababababababab...","sig":"ML-DSA-OK"}"#,
            r#"{"bytes":1,"event":"outbound_view","hash":"abababababababab...","views_left":2}"#,
            r#"{"bytes":1,"event":"outbound_burn","hash":"abababababababab...","views_left":0}"#,
            r#"{"event":"inbound_aborted","hash":"abababababababab..."}"#,
            r#"{"device":"d\"é","event":"ack_received","hash":"abc..."}"#,
            r#"{"device":"d","did":"did:paramant:1","event":"did_registered"}"#,
            r#"{"device":"d","event":"attestation","method":"apple","valid":false}"#,
        ]
    );
    assert!(chain.valid);
}

#[test]
fn the_oldest_rows_are_dropped_and_the_rest_still_holds_together() {
    let c = filled(MAX_AUDIT + 7);
    let chain = read(&c, ACCOUNT, 5000).unwrap();
    assert!(chain.valid);
    assert_eq!((chain.total, chain.newest.len()), (1007, 1000));
    let oldest = &chain.newest.last().unwrap().0;
    assert_ne!(oldest["prev_hash"], "0".repeat(64), "it says what was before it");
    assert_eq!(read(&c, ACCOUNT, 3).unwrap().newest.len(), 3);
    assert_eq!(
        read(&c, AccountId([2; 16]), 9).unwrap(),
        Chain { valid: true, total: 0, newest: Vec::new() },
        "another account's chain is its own"
    );
}

#[test]
fn a_row_that_was_changed_removed_or_put_in_shows() {
    let at_every_length = [5, MAX_AUDIT + 5];
    let tampering = [
        "UPDATE audit SET fields = replace(fields, '\"bytes\":5', '\"bytes\":6') WHERE number = (SELECT min(number) + 2 FROM audit)",
        "DELETE FROM audit WHERE number = (SELECT max(number) FROM audit)",
        "DELETE FROM audit WHERE number = (SELECT min(number) FROM audit)",
        "DELETE FROM audit WHERE number = (SELECT min(number) + 2 FROM audit)",
        "UPDATE audit SET prev = zeroblob(32) WHERE number = (SELECT min(number) + 1 FROM audit)",
        "UPDATE audit SET fields = 'nothing' WHERE number = (SELECT max(number) FROM audit)",
        "UPDATE activity SET audited = audited - 1",
        "INSERT OR REPLACE INTO audit SELECT account, 999, number + 1, chain, fields, zeroblob(32) FROM audit ORDER BY number DESC LIMIT 1",
        "DELETE FROM audit",
    ];
    for rows in at_every_length {
        for sql in tampering {
            let c = filled(rows);
            assert!(read(&c, ACCOUNT, 1).unwrap().valid);
            c.execute(sql, []).unwrap();
            assert!(!read(&c, ACCOUNT, 1).unwrap().valid, "{rows} rows: {sql}");
        }
    }
}

#[test]
fn a_row_costs_microseconds_whatever_the_length_of_the_chain() {
    let c = database();
    c.execute_batch("BEGIN").unwrap();
    let began = std::time::Instant::now();
    for n in 0..3000_u32 {
        append(&c, ACCOUNT, i64::from(n), &inbound(1)).unwrap();
    }
    let each = began.elapsed() / 3000;
    println!("one audit row: {each:?}");
    assert!(each < std::time::Duration::from_millis(2), "{each:?}");
}
