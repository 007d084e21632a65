//! What is one relay's is worth nothing at another: its replies, air-gap answers, requests and support keys, its admin's token and
//! sessions, its users' keys and receipts are refused there and change nothing. Both trust the same signing key and have the same licence.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use paramant_licensing::actions::Silence;
use paramant_protocol::control::RemoteAnswer;
use paramant_protocol::entry::body::RefusalReason;
use paramant_protocol::receipt;
use paramant_relay::settings::Settings;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, StatusCode, header};
use serde_json::{Value, json};

use crate::control::fingerprint;
use crate::relay::{ADMIN, Relay, User, hash, noise, until};
use crate::remote_actions::{drain, drains, refusals, rules, settled, support, told, with_key};
use crate::thief::Thief;
use crate::vendor::report;
use crate::vendor_reach::{State, changed, state};

/// What a reply that is believed, or is not, leaves behind when nothing in it counts.
const BOOKKEEPING: [&str; 10] = [
    "table check_ins",
    "table license_calls",
    "table license_clock",
    "table license_replies",
    "table license_request",
    "table vendor_entries",
    "table vendor_requests",
    "table vendor_silences",
    "file log",
    "file sth",
];

fn data(relay: &Relay) -> State {
    state(&relay.dir.path().join("data"))
}

fn beyond(before: &State, relay: &Relay) -> BTreeSet<String> {
    let changed = changed(before, &data(relay)).into_iter();
    changed.filter(|name| !BOOKKEEPING.contains(&name.as_str())).collect()
}

/// A relay whose admin has another token.
async fn relay_of(thief: &Thief, token: &str) -> Relay {
    let change = |settings: &mut Settings| {
        std::fs::write(settings.admin_token_file.as_ref().unwrap(), token).unwrap();
        rules(RemoteAnswer::Allow)(settings);
    };
    thief.relay(change).await
}

fn last_request(thief: &Thief) -> Value {
    thief.plan(|plan| serde_json::from_slice(plan.chain.last().unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vendor_signed_for_one_relay_is_worth_nothing_at_another() {
    let thief = Thief::start().await;
    let (a, b) = (relay_of(&thief, ADMIN).await, relay_of(&thief, "another token").await);
    let user = a.user().await;
    let before = data(&b);
    b.http
        .post(format!("{}/v2/admin/keys", b.url))
        .header("X-Admin-Token", "another token")
        .send()
        .await
        .unwrap();
    assert!(!beyond(&before, &b).is_empty(), "a planted account is seen");
    let before = data(&b);

    // Requests, under a number that is the other relay's next too, and a claim about them.
    let (secret, key) = support(&a);
    for ask in [key, drain(true, None)] {
        let kind = ask.kind().to_owned();
        thief.asks(&a, [ask]).await;
        let signed = last_request(&thief);
        let chain = thief.plan(|plan| std::mem::take(&mut plan.chain));
        thief.sends(&b, vec![signed]).await;
        thief.plan(|plan| plan.chain = chain);
        assert_eq!(refusals(&b).pop(), Some(RefusalReason::WrongRelay), "{kind}");
        assert_eq!(beyond(&before, &b), BTreeSet::new(), "{kind}");
    }
    assert!(drains(&a) && !drains(&b));
    assert_eq!(with_key(&a, "/v2/support", secret.expose()).await, StatusCode::OK);
    assert_eq!(with_key(&b, "/v2/support", secret.expose()).await, StatusCode::UNAUTHORIZED, "a support key");
    let chain = thief.plan(|plan| std::mem::take(&mut plan.chain));
    let unverifiable = told(&b).unverifiable;
    thief.plan(|plan| plan.silence = Some(silence_about(&thief, &a)));
    settled(&b).await;
    assert!(told(&b).unverifiable > unverifiable, "a statement about the other relay");
    thief.plan(|plan| plan.silence = None);
    settled(&b).await;
    assert_eq!(beyond(&before, &b), BTreeSet::new());
    // Not even when a request to this relay names the digest that was made for the other.
    let (of_a, again) = support(&a);
    thief.asks(&b, [again]).await;
    assert_eq!(
        with_key(&b, "/v2/support", of_a.expose()).await,
        StatusCode::UNAUTHORIZED,
        "made for the other"
    );

    // A whole reply, which answers the other relay's request.
    let before = data(&b);
    thief.plan(|plan| plan.chain = chain);
    let asked = a.running.app.store.check_ins.next_request();
    let asked = asked.await.unwrap().unwrap().bytes;
    let reply = thief.shared.reply(&asked);
    thief.plan(|plan| plan.instead = Some(reply.clone()));
    thief.is_not_believed(&b, "relay_id").await;
    assert_eq!(beyond(&before, &b), BTreeSet::new(), "a reply");
    assert_eq!(report(&b).tier, "Pro");
    drop(user);
    b.stop().await;

    // The same carried in by hand.
    let file = a.dir.path().join("carried.json");
    let carried: PathBuf = file.clone();
    let c = thief.starts(|settings| (settings.online, settings.air_gap) = (None, Some(carried))).await;
    let next = async || c.running.app.store.check_ins.next_request().await.unwrap();
    until("a request is frozen", async || next().await.is_some()).await;
    std::fs::write(&file, &reply).unwrap();
    let told = async || report(&c).problems.iter().any(|problem| problem.contains("relay_id"));
    until("it is told", told).await;
    assert_eq!(report(&c).tier, "Community", "nothing was granted");
    thief.plan(|plan| plan.chain.clear());
    std::fs::write(&file, thief.shared.reply(&next().await.unwrap().bytes)).unwrap();
    until("its own counts", async || report(&c).tier == "Pro").await;
    a.stop().await;
    c.stop().await;
}

fn silence_about(thief: &Thief, relay: &Relay) -> Value {
    thief.shared.silence(&Silence {
        relay_id: fingerprint(relay),
        seq: 0,
        head: [0; 32],
        issued_at: Timestamp::now(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_keys_sessions_and_receipts_of_one_relay_open_nothing_at_another() {
    let (a, b) = (Relay::start().await, Relay::start().await);
    std::fs::write(b.dir.path().join("admin-token"), "another token").unwrap();
    let (user, payload) = (a.user().await, noise(3, 500));
    let other = b.http.post(format!("{}/v2/admin/keys", b.url)).header("X-Admin-Token", "another token");
    let other: Value = other.send().await.unwrap().json().await.unwrap();
    let other = User { url: b.url.clone(), key: other["key"].as_str().unwrap().to_owned(), ..user.clone() };
    assert_eq!(other.upload(&payload, json!({})).await.status(), StatusCode::OK);
    assert_eq!(user.upload(&payload, json!({})).await.status(), StatusCode::OK);
    let read = user.download(&hash(&payload)).await;
    let delivered = read.headers()[receipt::HEADER].to_str().unwrap().to_owned();
    read.bytes().await.unwrap();
    let http = Client::builder().redirect(Policy::none()).build().unwrap();
    let session =
        http.post(format!("{}/admin/sign-in", a.url)).body(format!("token={}", ADMIN.replace(' ', "+")));
    let session = session.send().await.unwrap().headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    let session = session.split(';').next().unwrap().to_owned();
    b.running.app.core.log.engine().publish_now().unwrap();
    let (before, logged) = (data(&b), b.running.app.core.log.head().size);

    let blob = format!("/v2/outbound/{}", hash(&payload));
    let with = |name: &'static str, value: &str| {
        let value = value.to_owned();
        move |request: RequestBuilder| request.header(name, &value)
    };
    type Shows<'a> = Box<dyn Fn(RequestBuilder) -> RequestBuilder + 'a>;
    let table: Vec<(&str, Method, &str, Shows<'_>)> = vec![
        ("an admin's token", Method::GET, "/v2/admin/keys", Box::new(with("X-Admin-Token", ADMIN))),
        ("an admin's token", Method::POST, "/v2/admin/keys", Box::new(with("X-Admin-Token", ADMIN))),
        ("an admin's session", Method::GET, "/admin/second-factor", Box::new(with("cookie", &session))),
        ("an API key", Method::GET, &blob, Box::new(with("X-Api-Key", &user.key))),
        ("an API key", Method::POST, "/v2/inbound", Box::new(with("X-Api-Key", &user.key))),
    ];
    for (what, method, path, shown) in &table {
        let ask = async |relay: &Relay| {
            let request = shown(http.request(method.clone(), format!("{}{path}", relay.url)));
            let answer = request.send().await.unwrap();
            let sign_in = answer.headers().get(header::LOCATION).is_some_and(|to| to == "/admin/sign-in");
            answer.status() == StatusCode::UNAUTHORIZED || sign_in
        };
        assert!(ask(&b).await, "{what}: {method} {path}");
        assert!(!ask(&a).await, "{what} opens its own relay: {method} {path}");
    }
    let verdict = async |relay: &Relay| {
        let request = http.post(format!("{}/v2/verify-receipt", relay.url));
        let verdict: Value = request
            .body(json!({ "receipt": delivered }).to_string())
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        verdict["valid"].as_bool().unwrap()
    };
    assert!(verdict(&a).await && !verdict(&b).await, "a receipt");
    assert_eq!((beyond(&before, &b), b.running.app.core.log.head().size), (BTreeSet::new(), logged));
    assert!(other.available(&hash(&payload)).await, "what is the other relay's is there still");
    a.stop().await;
    b.stop().await;
}
