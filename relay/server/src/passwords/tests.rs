use super::*;
use crate::store::{AccountId, Digest};

fn password(text: &str) -> Password {
    Password::new(text.as_bytes()).unwrap()
}

fn trier(account: u8) -> Trier {
    let asked = Asked::ByName { account: AccountId([account; 16]), lookup: Digest([0; 32]) };
    Trier { asked, address: IpAddr::from([127, 0, 0, 1]) }
}

#[tokio::test]
async fn only_the_password_itself_opens_what_it_sealed() {
    let passwords = Passwords::default();
    let sealed = passwords.seal(password("correct horse")).await.unwrap();
    assert!(sealed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{sealed}");
    assert_ne!(sealed, passwords.seal(password("correct horse")).await.unwrap(), "each has its own salt");
    let locked = Locked { blob: BlobId([1; 16]), password: sealed };
    let unlock = async |text: &str| passwords.unlock(locked.clone(), password(text), trier(1)).await;
    assert!(matches!(unlock("correct horse ").await, Err(PasswordError::Wrong)));
    assert_eq!(unlock("correct horse").await.unwrap(), BlobId([1; 16]));
}

#[tokio::test]
async fn a_hash_made_by_another_program_is_read() {
    // Python's cryptography 48 (OpenSSL), with the published parameters and the salt 01 to 10.
    let sealed =
        "$argon2id$v=19$m=19456,t=2,p=1$AQIDBAUGBwgJCgsMDQ4PEA$WSYaCniE35LgMC861etJkzreaLAHfRyCvDTHu5qnYDY";
    let passwords = Passwords::default();
    assert!(passwords.is_of(sealed.to_owned(), password("correct horse")).await.unwrap());
    assert!(!passwords.is_of(sealed.to_owned(), password("correct hors")).await.unwrap());
}

#[tokio::test]
async fn hanging_up_neither_undoes_a_try_nor_frees_its_turn() {
    let passwords = Passwords::default();
    let locked = Locked { blob: BlobId([1; 16]), password: passwords.seal(password("right")).await.unwrap() };
    for _ in 0..tries::PER_BLOB {
        let trying = passwords.unlock(locked.clone(), password("wrong"), trier(1));
        // Dropped after its first step, as hyper does with the request of a client that is gone.
        drop(tokio::time::timeout(Duration::from_millis(1), trying).await);
        while passwords.tries(|tries, _| tries.is_running(locked.blob)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let last = passwords.unlock(locked, password("right"), trier(1)).await;
    assert!(matches!(last, Err(PasswordError::Exhausted { .. })), "{last:?}");
}

#[tokio::test]
async fn a_password_has_a_length() {
    for (length, fits) in [(0, false), (1, true), (MAX_PASSWORD, true), (MAX_PASSWORD + 1, false)] {
        assert_eq!(Password::new(&vec![b'x'; length]).is_ok(), fits, "{length}");
    }
    assert_eq!(format!("{:?}", password("secret")), "Password(…)");
}

#[test]
fn however_many_passwords_come_at_once_their_memory_is_that_of_two() {
    let test = "passwords::tests::however_many_passwords_come_at_once_their_memory_is_that_of_two";
    let code = crate::test_relay::exit_code_of(test, || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let passwords = Passwords::default();
        let before = resident_kib("VmRSS");
        let sealed = runtime.block_on(async {
            futures::future::join_all((0..64).map(|n| passwords.seal(password(&n.to_string())))).await
        });
        assert!(sealed.iter().all(Result::is_ok));
        let (peak, left) = (resident_kib("VmHWM") - before, resident_kib("VmRSS") - before);
        let allowed = u64::from(hashing::MEMORY_KIB) * AT_ONCE as u64 + 20 * 1024;
        println!("peak {peak} KiB, left {left} KiB, allowed {allowed} KiB");
        assert!(peak >= u64::from(hashing::MEMORY_KIB), "what is measured is there");
        assert!(peak <= allowed && left <= allowed);
    });
    assert_eq!(code, Some(0));
}

fn resident_kib(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.split_whitespace().find_map(|word| word.parse().ok()).unwrap()
}
