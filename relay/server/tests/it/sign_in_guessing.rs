//! Guessing at the admin's sign-in, by somebody with the token who lacks the second factor, and by a stranger who has neither: guesses are
//! limited for each address, and whoever has both gets in from another address at once, and from the same one after the wait.

use std::net::IpAddr;

use reqwest::{Client, StatusCode};

use crate::canary::Lines;
use crate::panel::{Person, code};
use crate::relay::{ADMIN, Relay, until};

/// What is guessed; no number in a line of the log looks like it.
const GUESS: &str = "guess-5e0c91";

/// Somebody at another address of this machine.
fn from(relay: &Relay, address: &str) -> Person {
    let address: IpAddr = address.parse().unwrap();
    let http = Client::builder().redirect(reqwest::redirect::Policy::none()).local_address(address).build();
    Person { http: http.unwrap(), ..Person::new(relay) }
}

/// Guesses until it is told to wait.
async fn guesses(person: &mut Person, path: &str, field: &str) -> u32 {
    let mut tried = 0;
    loop {
        let guess = [(field, GUESS)];
        match person.press(path, &guess).await.status {
            StatusCode::FORBIDDEN => tried += 1,
            StatusCode::TOO_MANY_REQUESTS => return tried,
            other => panic!("{other}"),
        }
    }
}

/// One thread: what it says is caught.
#[tokio::test]
async fn whoever_guesses_is_slowed_down_and_told_and_keeps_nobody_else_out() {
    let (lines, _caught) = Lines::catch();
    let relay = Relay::start().await;
    let mut admin = from(&relay, "127.0.0.2");
    let secret = admin.sign_in().await;

    // A stranger guesses tokens: five, and then one every twelve seconds.
    let mut stranger = from(&relay, "127.0.0.1");
    let tried = guesses(&mut stranger, "/admin/sign-in", "token").await;
    assert!((5..=6).contains(&tried), "{tried}");
    // Somebody with the token guesses codes.
    let mut thief = from(&relay, "127.0.0.1");
    thief.post("/admin/sign-in", &[("token", ADMIN)]).await;
    thief.get("/admin/second-factor").await;
    let tried = guesses(&mut thief, "/admin/second-factor", "code").await;
    assert!((5..=6).contains(&tried), "{tried}");
    assert_eq!(thief.get("/admin/license").await.location, "/admin/second-factor");
    assert_eq!(admin.get("/admin/license").await.status, StatusCode::OK, "whoever is in stays in");

    // From another address at once. The code that began the session is spent: the next one counts.
    let mut elsewhere = from(&relay, "127.0.0.3");
    elsewhere.post("/admin/sign-in", &[("token", ADMIN)]).await;
    elsewhere.get("/admin/second-factor").await;
    let shown = elsewhere.press("/admin/second-factor", &[("code", &code(&secret, 1))]).await;
    assert_eq!(shown.location, "/admin/license");

    // From the guesser's own address: the token at once, the code after the wait that the page states.
    let mut beside = from(&relay, "127.0.0.1");
    assert_eq!(beside.post("/admin/sign-in", &[("token", ADMIN)]).await.location, "/admin/second-factor");
    let page = beside.get("/admin/second-factor").await;
    assert_eq!(page.status, StatusCode::OK);
    until("a code counts again, within the minute", async || {
        // The last one is spent: the authenticator shows another within half a minute.
        beside.press("/admin/second-factor", &[("code", &code(&secret, 1))]).await.location
            == "/admin/license"
    })
    .await;
    // The relay's own lines tell of it, and of nothing that was typed.
    let told = String::from_utf8(lines.bytes()).unwrap();
    assert!(told.matches("a wrong admin token").count() >= 5, "{told}");
    assert!(told.matches("a wrong code").count() >= 5 && !told.contains(GUESS), "{told}");
    assert_eq!(told.matches("an admin signed in").count(), 3, "{told}");
    relay.stop().await;
}
