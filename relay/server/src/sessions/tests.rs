use super::*;

const ONE: AccountId = AccountId([1; 16]);
const OTHER: AccountId = AccountId([2; 16]);
const SECRET: &str = "correct horse";

fn commitment(hex: &str) -> [u8; 32] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn sha2() -> [u8; 32] {
    commitment("4104d36f8da2c254349f85836793ebe029e0c957063a34c91c2e9203187b5631")
}

fn keys() -> NamedKeys {
    NamedKeys { kem_pub: Some("aa".into()), ..NamedKeys::default() }.offered().unwrap()
}

fn opened(sessions: &Sessions) -> SessionId {
    let id = SessionId::random().unwrap();
    sessions.open(id, ONE, sha2(), Duration::from_secs(600), 0).unwrap();
    id
}

#[test]
fn either_published_commitment_lets_the_secret_in_and_nothing_else() {
    let sha3 = commitment("e2bb427c913c99e9663c5d0e97472bd8618656cabbca6274c2743b0ebf107ce3");
    for commitment in [sha2(), sha3] {
        assert!(is_committed_to(&commitment, SECRET));
        assert!(!is_committed_to(&commitment, "correct horse "));
        assert!(!is_committed_to(&commitment, ""));
    }
}

#[test]
fn a_session_is_joined_once_and_seen_by_its_creator_alone() {
    let sessions = Sessions::default();
    let id = opened(&sessions);
    assert!(sessions.see(id, ONE, 1).unwrap().joined.is_none());
    assert_eq!(sessions.see(id, OTHER, 1).unwrap_err(), SessionError::NotYours);
    assert_eq!(sessions.join(id, "wrong", keys(), 1), Err(SessionError::WrongSecret));
    assert_eq!(sessions.join(id, SECRET, keys(), 2), Ok(2));
    assert_eq!(sessions.join(id, SECRET, keys(), 3), Err(SessionError::Taken));
    assert_eq!(sessions.join(id, "wrong", keys(), 3), Err(SessionError::WrongSecret));
    assert_eq!(sessions.see(id, ONE, 3).unwrap().joined.unwrap().keys, keys());
    assert_eq!(sessions.see(SessionId::random().unwrap(), ONE, 3).unwrap_err(), SessionError::Unknown);
}

#[test]
fn a_session_says_for_a_while_that_it_expired_and_is_then_unknown() {
    let sessions = Sessions::default();
    let id = opened(&sessions);
    assert_eq!(sessions.join(id, SECRET, keys(), 600_000), Err(SessionError::Expired));
    assert_eq!(sessions.see(id, ONE, 600_000).unwrap_err(), SessionError::Unknown);
    assert_eq!(sessions.join(id, SECRET, keys(), 600_000 + REMEMBERED_MS), Err(SessionError::Unknown));
    opened(&sessions);
    assert_eq!(sessions.join(id, SECRET, keys(), 599_999), Ok(599_999));
}

#[test]
fn after_ten_wrong_secrets_not_even_the_right_one_joins() {
    let sessions = Sessions::default();
    let id = opened(&sessions);
    for _ in 0..WRONG {
        assert_eq!(sessions.join(id, "wrong", keys(), 1), Err(SessionError::WrongSecret));
    }
    assert_eq!(sessions.join(id, SECRET, keys(), 1), Err(SessionError::Locked));
    assert_eq!(sessions.join(opened(&sessions), SECRET, keys(), 1), Ok(1));
}

#[test]
fn one_account_cannot_fill_the_table_and_what_ended_makes_room() {
    let sessions = Sessions::default();
    let open = |account: u32, now_ms: i64| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&account.to_be_bytes());
        sessions.open(SessionId::random().unwrap(), AccountId(id), sha2(), Duration::from_secs(60), now_ms)
    };
    for _ in 0..PER_ACCOUNT {
        open(0, 0).unwrap();
    }
    assert_eq!(open(0, 0), Err(SessionError::TooMany));
    for account in 1..=(SESSIONS - PER_ACCOUNT) as u32 {
        open(account, 0).unwrap();
    }
    assert_eq!(open(9999, 0), Err(SessionError::Full));
    assert_eq!(open(9999, 60_000), Ok(120_000));
}

#[test]
fn lifetimes_have_bounds_and_names_one_form() {
    for (asked, given) in [
        (None, 600_000),
        (Some(0), 600_000),
        (Some(1), 60_000),
        (Some(90_000), 90_000),
        (Some(u64::MAX), 3_600_000),
    ] {
        assert_eq!(lifetime(asked), Duration::from_millis(given), "{asked:?}");
    }
    let id = SessionId::random().unwrap();
    assert!(SessionId::parse(&id.to_string()) == Some(id) && id.to_string().len() == 52);
    for text in ["", "pss_", &"ab".repeat(24), &format!("pss_{}", "AB".repeat(24))] {
        assert!(SessionId::parse(text).is_none(), "{text}");
    }
}
