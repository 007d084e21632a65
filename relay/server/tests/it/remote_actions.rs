//! What a vendor asks, from the reference authority's book to its effect on a relay, and what never has one.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use paramant_authority::decide::{Standing, usual};
use paramant_authority::faults::Fault;
use paramant_authority::requests::{Asking, By, Kept, Secret};
use paramant_licensing::actions::{Ask, Offer, Role, Said, Why};
use paramant_licensing::online::capability::Tier;
use paramant_protocol::control::{DrainState, RemoteAnswer, RemoteReport, RemoteState, SupportState};
use paramant_protocol::entry::body::{Decision, RefusalReason};
use paramant_protocol::entry::{self, Body, Kind};
use paramant_protocol::leaf::sha256;
use paramant_relay::settings::Settings;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::relay::{Relay, noise, until};
use crate::vendor::{Clock, Vendor, ask, asking, licence_directory, online, report};

const RULES: [RemoteAnswer; 3] = [RemoteAnswer::Allow, RemoteAnswer::Ask, RemoteAnswer::Refuse];

pub fn by() -> By {
    By::new(Role::Support, Why::SupportCase, "Ada of support").unwrap()
}

pub fn fingerprint(relay: &Relay) -> String {
    relay.running.app.core.identity.fingerprint().to_owned()
}

/// The vendor asks something of this relay.
pub fn wants(vendor: &Vendor, relay: &Relay, ask: Ask) -> Kept {
    let now = Timestamp::now();
    let asking = Asking { relay: fingerprint(relay), ask, by: by(), lasts: SignedDuration::from_hours(96) };
    vendor.authority.book.ask(&asking, &vendor.authority.signer().unwrap(), now).unwrap()
}

pub fn drain(enabled: bool, deadline_seconds: Option<u64>) -> Ask {
    Ask::Drain { enabled, deadline_seconds }
}

pub fn offer(sequence: u64) -> Offer {
    Offer {
        version: format!("9.0.{sequence}"),
        digest: image(sequence),
        sequence,
        floor: 0,
        recalled: Vec::new(),
        notes_sha256: "ef".repeat(32),
    }
}

pub fn image(number: u64) -> String {
    format!("sha256:{number:064x}")
}

pub fn support(relay: &Relay) -> (Secret, Ask) {
    let secret = Secret::new().unwrap();
    let key_sha256 = secret.key_sha256(&fingerprint(relay));
    (secret, Ask::SupportKey { key_sha256, max_seconds: 3600 })
}

pub async fn relay_with(
    vendor: &Vendor,
    clock: &Clock,
    dir: TempDir,
    change: impl FnOnce(&mut Settings),
) -> Relay {
    let directory = licence_directory(&dir);
    let relay = Relay::in_world(vendor.world(clock), dir, |settings| {
        asking(vendor, settings, directory);
        change(settings);
    });
    let relay = relay.await;
    online(&relay).await;
    relay
}

pub async fn started(change: impl FnOnce(&mut Settings)) -> (Vendor, Clock, Relay) {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay_with(&vendor, &clock, TempDir::new().unwrap(), change).await;
    (vendor, clock, relay)
}

pub fn rules(rule: RemoteAnswer) -> impl FnOnce(&mut Settings) {
    move |settings| {
        let answers = &mut settings.remote.answers;
        (answers.support_key, answers.update_offer) = (rule, rule);
        (answers.drain, answers.capability) = (rule, rule);
    }
}

pub fn told(relay: &Relay) -> RemoteReport {
    relay.running.app.store.actions.report()
}

pub fn state_of(relay: &Relay, id: &str) -> Option<RemoteState> {
    told(relay).requests.into_iter().find(|request| request.id == id).map(|request| request.state)
}

/// The relay checks in and hears of what was asked.
pub async fn hears(relay: &Relay, id: &str) -> RemoteState {
    ask(relay).await;
    until("the relay has heard of it", async || {
        told(relay).requests.iter().any(|request| request.id == id && request.checkpoint_size.is_some())
    })
    .await;
    settled(relay).await;
    state_of(relay, id).unwrap()
}

/// When the last check-in was over.
pub async fn last_check_in(relay: &Relay) -> Option<i64> {
    relay.running.app.store.check_ins.history(1).await.unwrap().first().map(|it| it.at_ms)
}

/// A check-in is over that was not when this began. It may have left before.
async fn checked_in(relay: &Relay) {
    let before = last_check_in(relay).await;
    ask(relay).await;
    until("one more check-in is over", async || last_check_in(relay).await != before).await;
}

/// A whole check-in later: what the vendor answers from now on has come, and was settled. One may be on its way already, with an
/// answer from before; the next leaves after it.
pub async fn settled(relay: &Relay) {
    checked_in(relay).await;
    checked_in(relay).await;
}

pub fn entries(relay: &Relay) -> Vec<entry::Entry> {
    let log = &relay.running.app.core.log;
    let all = (0..log.head().size).map(|index| log.engine().entry(index).unwrap().unwrap());
    all.map(|entry| entry::Entry::parse(&entry.bytes).unwrap()).collect()
}

pub fn bodies(relay: &Relay, kind: Kind) -> Vec<Body> {
    let all = entries(relay).into_iter().filter(|entry| entry.kind() == kind);
    all.filter_map(|entry| entry.body().cloned()).collect()
}

pub fn count(relay: &Relay, kind: Kind) -> usize {
    bodies(relay, kind).len()
}

pub fn refusals(relay: &Relay) -> Vec<RefusalReason> {
    let reason = |body| match body {
        Body::RemoteActionRefused(body) => body.reason,
        other => panic!("{other:?}"),
    };
    bodies(relay, Kind::RemoteActionRefused).into_iter().map(reason).collect()
}

/// Who asked what was refused.
fn refused_roles(relay: &Relay) -> Vec<Role> {
    let role = |body| match body {
        Body::RemoteActionRefused(body) => body.role,
        other => panic!("{other:?}"),
    };
    bodies(relay, Kind::RemoteActionRefused).into_iter().map(role).collect()
}

/// Who asked for the support keys and offers that took effect.
fn effect_roles(relay: &Relay) -> Vec<Role> {
    let all = entries(relay).into_iter();
    let role = |entry: entry::Entry| match entry.body()? {
        Body::SupportKeyIssued(body) => Some(body.role),
        Body::UpdateOffered(body) => Some(body.role),
        _ => None,
    };
    all.filter_map(role).collect()
}

pub fn decisions(relay: &Relay) -> Vec<Decision> {
    let decision = |body| match body {
        Body::VendorRequestDecided(body) => body.decision,
        other => panic!("{other:?}"),
    };
    bodies(relay, Kind::VendorRequestDecided).into_iter().map(decision).collect()
}

pub fn drains(relay: &Relay) -> bool {
    relay.running.app.core.drain.report().state != DrainState::Serving
}

pub async fn answer(relay: &Relay, id: &str, said: &str) -> StatusCode {
    let path = format!("/v2/admin/actions/{id}");
    relay.admin(Method::POST, &path).json(&json!({ "answer": said })).send().await.unwrap().status()
}

pub async fn end(relay: &Relay, id: &str) -> StatusCode {
    relay.admin(Method::POST, &format!("/v2/admin/actions/{id}/end")).send().await.unwrap().status()
}

pub async fn with_key(relay: &Relay, path: &str, secret: &str) -> StatusCode {
    let url = format!("{}{path}", relay.url);
    relay.http.get(url).header("x-support-key", secret).send().await.unwrap().status()
}

pub fn sell(vendor: &Vendor, tier: Tier) {
    let change = |licence: &mut paramant_authority::book::Licence| licence.sold = usual(tier);
    vendor.authority.book.change(&vendor.key, "tier", Timestamp::now(), change).unwrap();
}

/// For the page that shows them: a support key and a drain that wait, an offer, a refusal. Answers the ids of the first two.
pub async fn asks_of_every_kind(vendor: &Vendor, relay: &Relay) -> [String; 2] {
    let (_, key) = support(relay);
    let asks =
        [key, drain(true, Some(5400)), Ask::UpdateOffer(Box::new(offer(1))), Ask::Unknown("reboot".into())];
    let made = asks.map(|ask| wants(vendor, relay, ask));
    hears(relay, &made[3].id).await;
    let [key, drain, ..] = made;
    [key.id, drain.id]
}

/// Everything that a support key reads: the vendor asks for one, an admin agrees.
pub async fn diagnostics(vendor: &Vendor, relay: &Relay) -> Vec<u8> {
    let (secret, key) = support(relay);
    let made = wants(vendor, relay, key);
    assert_eq!(hears(relay, &made.id).await, RemoteState::Waiting);
    assert_eq!(answer(relay, &made.id, "approve").await, StatusCode::ACCEPTED);
    let read = async |path: &str| {
        let asked = relay.http.get(format!("{}{path}", relay.url)).header("x-support-key", secret.expose());
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer
    };
    let index: Value = read("/v2/support").await.json().await.unwrap();
    let opens: Vec<String> = serde_json::from_value(index["opens"].clone()).unwrap();
    let mut all = index.to_string().into_bytes();
    for path in opens {
        let mut answer = read(&path).await;
        // The one that watches has no end.
        let first = answer.chunk().await.unwrap();
        all.extend(first.unwrap_or_default());
        if !path.ends_with("watch") {
            all.extend(answer.bytes().await.unwrap());
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_the_four_follows_the_policy() {
    for rule in RULES {
        let (vendor, _clock, relay) = started(rules(rule)).await;
        let (secret, key) = support(&relay);
        let asks = [key, Ask::UpdateOffer(Box::new(offer(1))), drain(true, Some(600))];
        let mut made: Vec<Kept> = asks.into_iter().map(|ask| wants(&vendor, &relay, ask)).collect();
        sell(&vendor, Tier::Enterprise);
        hears(&relay, &made[2].id).await;
        until("the change of capabilities has come", async || told(&relay).sequence == 4).await;
        settled(&relay).await;
        made = vendor.authority.book.requests(&fingerprint(&relay)).unwrap();
        let state = match rule {
            RemoteAnswer::Allow => RemoteState::Accepted,
            RemoteAnswer::Ask => RemoteState::Waiting,
            RemoteAnswer::Refuse => RemoteState::Refused,
        };
        for request in &made {
            assert_eq!(state_of(&relay, &request.id), Some(state), "{rule:?} {}", request.kind);
        }
        // What stands in the log: each request whole, and nothing of an effect that was not allowed.
        assert_eq!(count(&relay, Kind::VendorRequest), 4);
        let in_force = async || {
            let support = with_key(&relay, "/v2/support", secret.expose()).await == StatusCode::OK;
            (support, told(&relay).offer.is_some(), drains(&relay), report(&relay).tier == "Enterprise")
        };
        let all = rule == RemoteAnswer::Allow;
        assert_eq!(in_force().await, (all, all, all, all), "{rule:?}");
        assert_eq!(count(&relay, Kind::SupportKeyIssued), usize::from(all));
        assert_eq!(count(&relay, Kind::UpdateOffered), usize::from(all));
        assert_eq!(count(&relay, Kind::CapabilityChanged), usize::from(all));
        assert!(effect_roles(&relay).iter().all(|role| *role == Role::Support), "who asked: {rule:?}");
        assert_eq!(refusals(&relay).len(), if rule == RemoteAnswer::Refuse { 4 } else { 0 });
        if rule == RemoteAnswer::Ask {
            assert_eq!(answer(&relay, "0".repeat(32).as_str(), "approve").await, StatusCode::NOT_FOUND);
            for request in &made {
                assert_eq!(
                    answer(&relay, &request.id, "approve").await,
                    StatusCode::ACCEPTED,
                    "{}",
                    request.kind
                );
                assert_eq!(state_of(&relay, &request.id), Some(RemoteState::Accepted), "{}", request.kind);
            }
            until("the new set counts", async || report(&relay).tier == "Enterprise").await;
            assert_eq!(in_force().await, (true, true, true, true));
            assert_eq!(decisions(&relay), [Decision::Approved; 4]);
            assert_eq!(answer(&relay, &made[0].id, "deny").await, StatusCode::NOT_FOUND, "it was answered");
        }
        // The entry was under a checkpoint before the effect: the evidence says how large the tree was.
        for request in told(&relay).requests {
            let (index, size) = (request.log_index.unwrap(), request.checkpoint_size.unwrap());
            assert!(index < size, "{index} under {size}");
            let (entry, logged) = (&entries(&relay)[usize::try_from(index).unwrap()], &request.id);
            assert!(String::from_utf8_lossy(entry.bytes()).contains(logged.as_str()));
        }
        let effects = [Kind::SupportKeyIssued, Kind::UpdateOffered, Kind::CapabilityChanged];
        let kinds: Vec<Kind> = entries(&relay).iter().map(|entry| entry.kind()).collect();
        if let Some(effect) = kinds.iter().position(|kind| effects.contains(kind)) {
            let first = kinds.iter().position(|kind| *kind == Kind::VendorRequest).unwrap();
            assert!(first < effect);
        }
        relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_capabilities_that_an_admin_denies_leaves_what_was_granted() {
    let (vendor, _clock, relay) = started(rules(RemoteAnswer::Ask)).await;
    sell(&vendor, Tier::Enterprise);
    ask(&relay).await;
    until("the request has come", async || told(&relay).sequence == 1).await;
    settled(&relay).await;
    let problems = report(&relay).problems;
    assert!(problems.iter().any(|it| it.contains("an admin has to agree")), "{problems:?}");
    let id = told(&relay).requests[0].id.clone();
    assert_eq!(answer(&relay, &id, "deny").await, StatusCode::ACCEPTED);
    settled(&relay).await;
    assert_eq!((report(&relay).tier.as_str(), decisions(&relay)), ("Pro", vec![Decision::Denied]));
    assert!(report(&relay).problems.iter().any(|it| it.contains("no request for it is accepted")));
    // Back to what was sold before: the vendor asks for that too, and it is what is granted already.
    sell(&vendor, Tier::Pro);
    settled(&relay).await;
    assert_eq!((report(&relay).tier.as_str(), report(&relay).problems), ("Pro", Vec::<String>::new()));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_of_this_relays_chain_is_refused_in_the_log_or_counted() {
    let (vendor, _clock, relay) = started(rules(RemoteAnswer::Allow)).await;
    let first = wants(&vendor, &relay, drain(true, Some(600)));
    assert_eq!(hears(&relay, &first.id).await, RemoteState::Accepted);
    let last = wants(&vendor, &relay, drain(false, None));
    assert_eq!(hears(&relay, &last.id).await, RemoteState::Accepted);
    assert!(!drains(&relay));
    let mut logged = Vec::new();
    for (fault, reason) in [
        (Fault::ForkedRequest, Some(RefusalReason::Fork)),
        (Fault::GapRequest, Some(RefusalReason::Gap)),
        (Fault::WrongRelayRequest, Some(RefusalReason::WrongRelay)),
        (Fault::UnsignedRequest, None),
    ] {
        let (before, unverifiable) = (entries(&relay).len(), told(&relay).unverifiable);
        vendor.authority.book.set_fault(Some(fault)).unwrap();
        settled(&relay).await;
        vendor.authority.book.set_fault(None).unwrap();
        logged.extend(reason);
        assert_eq!(refusals(&relay), logged, "{fault:?}");
        let counted = told(&relay).unverifiable > unverifiable;
        assert_eq!(counted, reason.is_none(), "{fault:?}");
        let new = entries(&relay).split_off(before);
        let requests = new.iter().filter(|entry| entry.kind() == Kind::VendorRequest).count();
        assert_eq!((requests, drains(&relay)), (0, false), "{fault:?}");
    }
    let other = wants(&vendor, &relay, Ask::Unknown("read_files".into()));
    assert_eq!(hears(&relay, &other.id).await, RemoteState::Refused);
    logged.push(RefusalReason::UnknownAction);
    assert_eq!(refusals(&relay), logged);
    assert_eq!(refused_roles(&relay), [Role::Owner, Role::Owner, Role::Owner, Role::Support]);
    // The chain goes on from it.
    let next = wants(&vendor, &relay, drain(true, Some(600)));
    assert_eq!(hears(&relay, &next.id).await, RemoteState::Accepted);
    assert!(drains(&relay));
    let before = entries(&relay).len();
    settled(&relay).await;
    let new: Vec<Kind> = entries(&relay).split_off(before).iter().map(|entry| entry.kind()).collect();
    assert!(!new.contains(&Kind::VendorRequest) && !new.contains(&Kind::RemoteActionRefused), "{new:?}");
    assert!(told(&relay).problems.is_empty(), "{:?}", told(&relay).problems);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_by_the_admin_by_the_vendor_and_by_itself_and_outlives_a_restart() {
    let (vendor, clock, relay) = started(rules(RemoteAnswer::Allow)).await;
    let user = relay.user().await;
    let first = wants(&vendor, &relay, drain(true, Some(600)));
    hears(&relay, &first.id).await;
    assert_eq!(user.upload(&noise(1, 10), json!({})).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let drained = count(&relay, Kind::DrainChanged);
    assert_eq!(drained, 1);
    let relay = relay_with(&vendor, &clock, relay.stop().await, rules(RemoteAnswer::Allow)).await;
    until("the drain is in force again", async || drains(&relay)).await;
    assert_eq!(count(&relay, Kind::VendorRequest), 1, "it was not asked again");
    assert_eq!(end(&relay, &first.id).await, StatusCode::OK);
    let user = crate::relay::User { url: relay.url.clone(), ..user };
    assert_eq!(user.upload(&noise(2, 10), json!({})).await.status(), StatusCode::OK, "at once");
    assert_eq!(end(&relay, &first.id).await, StatusCode::NOT_FOUND);
    settled(&relay).await;
    assert!(!drains(&relay), "the same request again is none");
    let second = wants(&vendor, &relay, drain(true, Some(2)));
    hears(&relay, &second.id).await;
    until("it ends by itself", async || !drains(&relay)).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_answers_dies_and_is_not_agreed_to_later() {
    let (vendor, clock, relay) = started(rules(RemoteAnswer::Ask)).await;
    let made = wants(&vendor, &relay, drain(true, Some(600)));
    assert_eq!(hears(&relay, &made.id).await, RemoteState::Waiting);
    clock.set(4 * 24 * 3600 + 60);
    until("it lapsed", async || state_of(&relay, &made.id) == Some(RemoteState::Lapsed)).await;
    assert_eq!(decisions(&relay), [Decision::Lapsed]);
    assert_eq!(answer(&relay, &made.id, "approve").await, StatusCode::NOT_FOUND);
    assert!(!drains(&relay));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_only_go_forward() {
    let (vendor, _clock, relay) = started(|_| ()).await;
    let offered = async |offer: Offer| {
        let made = wants(&vendor, &relay, Ask::UpdateOffer(Box::new(offer)));
        hears(&relay, &made.id).await
    };
    let shown = || told(&relay).offer.map(|offer| offer.sequence);
    assert_eq!(offered(offer(3)).await, RemoteState::Accepted);
    assert_eq!(shown(), Some(3));
    assert_eq!(offered(offer(3)).await, RemoteState::Refused, "the same sequence");
    let recalling = Offer { floor: 5, recalled: vec![image(6)], ..offer(5) };
    assert_eq!(offered(recalling).await, RemoteState::Accepted);
    assert_eq!(offered(offer(4)).await, RemoteState::Refused, "below the floor");
    assert_eq!(offered(offer(6)).await, RemoteState::Refused, "recalled");
    assert_eq!(shown(), Some(5));
    assert_eq!(refusals(&relay), [RefusalReason::Stale; 3]);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_support_key_reads_diagnostics_and_ends_within_a_second_without_the_vendor() {
    let (vendor, clock, relay) = started(|_| ()).await;
    let user = relay.user().await;
    let (secret, key) = support(&relay);
    let made = wants(&vendor, &relay, key);
    assert_eq!(hears(&relay, &made.id).await, RemoteState::Waiting);
    assert_eq!(with_key(&relay, "/v2/support", secret.expose()).await, StatusCode::UNAUTHORIZED, "not yet");
    assert_eq!(answer(&relay, &made.id, "approve").await, StatusCode::ACCEPTED);
    let index: Value = {
        let url = format!("{}/v2/support", relay.url);
        relay
            .http
            .get(url)
            .header("x-support-key", secret.expose())
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    let opens: Vec<String> = serde_json::from_value(index["opens"].clone()).unwrap();
    assert_eq!(opens.len(), 7);
    for path in opens.iter().filter(|path| !path.ends_with("watch")) {
        assert_eq!(with_key(&relay, path, secret.expose()).await, StatusCode::OK, "{path}");
        assert_eq!(with_key(&relay, path, &format!("{}0", secret.expose())).await, StatusCode::UNAUTHORIZED);
        assert_eq!(with_key(&relay, path, &user.key).await, StatusCode::UNAUTHORIZED);
    }
    // A session that runs, the vendor away, and a restart in between: it is ended all the same.
    drop(vendor);
    let watch = |relay: &Relay| {
        let url = format!("{}/v2/support/watch", relay.url);
        relay.http.get(url).header("x-support-key", secret.expose()).send()
    };
    let mut running = watch(&relay).await.unwrap();
    assert!(running.chunk().await.unwrap().is_some(), "it is told at once");
    let began = Instant::now();
    assert_eq!(end(&relay, &made.id).await, StatusCode::OK);
    let rest = async { while let Ok(Some(_)) = running.chunk().await {} };
    tokio::time::timeout(Duration::from_secs(10), rest).await.expect("the answer runs on");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(watch(&relay).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(end(&relay, &made.id).await, StatusCode::NOT_FOUND);
    until("its end is in the log", async || count(&relay, Kind::SupportKeyRevoked) == 1).await;
    let support = &told(&relay).support[0];
    assert_eq!((support.state, support.role.as_str()), (SupportState::Revoked, "support"));
    assert!(support.uses >= 8, "{}", support.uses);
    relay.running.app.store.actions.settle_uses().await;
    let Some(Body::SupportKeyUsed(used)) = bodies(&relay, Kind::SupportKeyUsed).pop() else {
        panic!("no sum")
    };
    let Some(Body::SupportKeyIssued(issued)) = bodies(&relay, Kind::SupportKeyIssued).pop() else { panic!() };
    assert_eq!((used.count, used.key), (support.uses, issued.key));
    let relay = Relay::in_world(clock.world(), relay.stop().await, |_| ()).await;
    assert_eq!(with_key(&relay, "/v2/support", secret.expose()).await, StatusCode::UNAUTHORIZED);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_support_key_ends_by_its_time_and_by_the_policys() {
    let (vendor, clock, relay) = started(|settings| {
        settings.remote.answers.support_key = RemoteAnswer::Allow;
        settings.remote.support_seconds = Some(600);
    })
    .await;
    let (secret, key) = support(&relay);
    let made = wants(&vendor, &relay, key.clone());
    assert_eq!(hears(&relay, &made.id).await, RemoteState::Accepted);
    assert_eq!(with_key(&relay, "/v2/support", secret.expose()).await, StatusCode::OK);
    let kept = &told(&relay).support[0];
    assert_eq!(kept.until.duration_since(kept.since).as_secs(), 600);
    // The same secret in another request is refused: what ended must not come back.
    let again = wants(&vendor, &relay, key);
    assert_eq!(hears(&relay, &again.id).await, RemoteState::Refused);
    let relay = relay_with(&vendor, &clock, relay.stop().await, |_| ()).await;
    until("it works after a restart", async || {
        with_key(&relay, "/v2/support", secret.expose()).await == StatusCode::OK
    })
    .await;
    clock.set(601);
    assert_eq!(with_key(&relay, "/v2/support", secret.expose()).await, StatusCode::UNAUTHORIZED);
    until("its end is in the log", async || count(&relay, Kind::SupportKeyExpired) == 1).await;
    clock.set(0);
    assert_eq!(with_key(&relay, "/v2/support", secret.expose()).await, StatusCode::UNAUTHORIZED);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_denies_by_its_id_ends_though_it_was_in_force() {
    let (vendor, clock, relay) = started(rules(RemoteAnswer::Allow)).await;
    let (secret, key) = support(&relay);
    let asked = [wants(&vendor, &relay, key), wants(&vendor, &relay, drain(true, Some(3600)))];
    assert_eq!(hears(&relay, &asked[1].id).await, RemoteState::Accepted);
    assert_eq!(with_key(&relay, "/v2/support", secret.expose()).await, StatusCode::OK);
    assert!(drains(&relay));
    let ids = asked.iter().map(|it| it.id.clone()).collect();
    let relay = relay_with(&vendor, &clock, relay.stop().await, |settings| {
        rules(RemoteAnswer::Allow)(settings);
        settings.remote.denied = ids;
    })
    .await;
    until("the drain is denied, and the key's end in the log", async || {
        let denied = state_of(&relay, &asked[1].id) == Some(RemoteState::Denied);
        denied && count(&relay, Kind::SupportKeyRevoked) == 1
    })
    .await;
    assert!(!drains(&relay));
    assert_eq!(with_key(&relay, "/v2/support", secret.expose()).await, StatusCode::UNAUTHORIZED);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_carries_requests_too_and_each_reply_a_statement_of_silence() {
    let (vendor, _clock, relay) = started(rules(RemoteAnswer::Allow)).await;
    vendor.stand(Standing::Unpaid);
    let made = wants(&vendor, &relay, drain(true, Some(600)));
    assert_eq!(hears(&relay, &made.id).await, RemoteState::Accepted);
    assert!(drains(&relay));
    let statements = bodies(&relay, Kind::VendorSilence);
    assert!(statements.len() >= 3, "one with each reply");
    let Some(Body::VendorSilence(last)) = statements.last() else { panic!("{statements:?}") };
    let last: Value = serde_json::from_slice(&last.statement.to_bytes().unwrap()).unwrap();
    assert_eq!(last["seq"], 1);
    assert_eq!(last["head"], hex::encode(sha256(&made.signed)));
    let store = &relay.running.app.store;
    store.actions.answer("nobody", Said::Deny).await.unwrap_err();
    relay.stop().await;
}
