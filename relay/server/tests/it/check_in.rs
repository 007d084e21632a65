//! The online check against the reference authority: what leaves, what counts, and what does not.

use std::time::Duration;

use jiff::Timestamp;
use paramant_authority::decide::Standing;
use paramant_authority::faults::Fault;
use paramant_licensing::online::capability::Tier;
use paramant_licensing::online::request::{self, CheckIn};
use paramant_protocol::control::LicenseSource;
use paramant_protocol::entry::body::{CheckinResult, Digest, OutboundPurpose};
use paramant_protocol::entry::{self, Body};
use paramant_protocol::leaf::{self, Purpose};
use paramant_relay::adoption::{Request, adopt};
use paramant_relay::world::World;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::canary::Lines;
use crate::relay::{Relay, User, until};
use crate::remote_actions::entries;
use crate::vendor::{
    Clock, Vendor, ask, ask_and_wait, asking, licence_directory, online, relay, relay_over, report,
};

const DAY: i64 = 24 * 3600;

pub fn check_ins(relay: &Relay) -> Vec<(CheckinResult, Digest, Option<Digest>)> {
    let all = entries(relay).into_iter();
    all.filter_map(|entry| match entry.body()? {
        Body::LicenseCheckin(body) => Some((body.result, body.request, body.reply)),
        _ => None,
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_in_leaves_is_verified_logged_and_counts() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    // The set counts a moment before the check-in is over.
    until("it is over", async || report(&relay).check_in.is_some_and(|it| it.reachable.is_some())).await;
    let found = report(&relay);
    assert_eq!((found.tier.as_str(), found.max_users), ("Pro", Some(50)));
    assert_eq!(found.problems, Vec::<String>::new());
    let checkin = found.check_in.unwrap();
    assert_eq!((checkin.reachable, checkin.revoked, checkin.problem), (Some(true), false, None));

    // The four lists: what the vendor got, what was shown, what is kept, what the log commits to.
    let checks = vendor.checks();
    assert_eq!(checks.len(), 1);
    let history = relay.running.app.store.check_ins.history(10).await.unwrap();
    let past = &history[0];
    assert_eq!(checks[0].request.as_deref(), Some(request::digest(&past.request).as_str()));
    assert_eq!(checks[0].reply.as_deref(), Some(request::digest(past.reply.as_deref().unwrap()).as_str()));
    let commit = |purpose, salt: [u8; 32], bytes: &[u8]| Digest(leaf::commit(purpose, &salt, bytes));
    let asked = commit(Purpose::LicenseRequest, past.request_salt.0, &past.request);
    let answered = commit(Purpose::LicenseReply, past.reply_salt.unwrap().0, past.reply.as_deref().unwrap());
    assert_eq!(
        check_ins(&relay),
        [(CheckinResult::Sent, asked, None), (CheckinResult::Accepted, asked, Some(answered)),]
    );
    // And nothing but what the protocol names was sent.
    let sent = CheckIn::parse(&past.request).unwrap();
    assert_eq!(sent.relay_id, relay.running.app.core.identity.fingerprint());
    assert_eq!(
        checks[0].telemetry.as_deref(),
        Some(r#"{"opted_in":false,"user_count":null,"transfer_count_24h":null}"#)
    );
    let next = relay.running.app.store.check_ins.next_request();
    until("the next request is frozen", async || {
        let next = relay.running.app.store.check_ins.next_request().await.unwrap();
        next.is_some_and(|next| next.bytes != past.request)
    })
    .await;
    drop(next);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_shown_are_the_bytes_sent_and_sent_again() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    vendor.authority.book.set_fault(Some(Fault::Status(503))).unwrap();
    let relay = relay(&vendor, &clock).await;
    until("the vendor was asked", async || vendor.checks().len() == 1).await;
    let shown = relay.running.app.store.check_ins.next_request().await.unwrap().unwrap();
    let failed = async || report(&relay).check_in.is_some_and(|it| it.reachable == Some(false));
    until("the failure is seen", failed).await;
    let problem = report(&relay).check_in.unwrap().problem.unwrap();
    assert!(problem.contains("503"), "{problem}");
    ask_and_wait(&relay, &vendor).await;
    // Not even a restart changes them.
    let dir = relay.stop().await;
    let relay = relay_over(&vendor, &clock, dir).await;
    until("it asked again", async || vendor.checks().len() == 3).await;
    vendor.authority.book.set_fault(None).unwrap();
    ask_and_wait(&relay, &vendor).await;
    online(&relay).await;
    let digest = request::digest(&shown.bytes);
    for check in vendor.checks() {
        assert_eq!(check.request.as_deref(), Some(digest.as_str()));
    }
    let results: Vec<CheckinResult> = check_ins(&relay).into_iter().map(|(result, ..)| result).collect();
    assert_eq!(results, [CheckinResult::Sent, CheckinResult::Rejected, CheckinResult::Accepted]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_is_an_outage_and_changes_nothing() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    let before = report(&relay);
    for (fault, words) in [
        (Fault::Status(500), "500"),
        (Fault::Status(402), "402"),
        (Fault::Status(404), "404"),
        (Fault::Status(410), "410"),
        (Fault::Garbage, "form"),
        (Fault::Giant, "more than"),
        (Fault::Redirect, "307"),
        (Fault::Replay, "nonce"),
        (Fault::OldSequence, "older"),
        (Fault::OtherRelay, "relay_id"),
        (Fault::OtherKey, "pinned"),
        (Fault::Altered, "pinned"),
    ] {
        vendor.authority.book.set_fault(Some(fault)).unwrap();
        ask(&relay).await;
        let told = async || {
            let problem = report(&relay).check_in.and_then(|it| it.problem);
            problem.is_some_and(|problem| problem.contains(words))
        };
        until(&format!("{fault} is told"), told).await;
        let now = report(&relay);
        assert_eq!(
            (&now.tier, now.max_users, now.source),
            (&before.tier, before.max_users, before.source),
            "{fault}"
        );
        assert_eq!(now.problems.len(), 1, "{fault}: {:?}", now.problems);
    }
    vendor.authority.book.set_fault(None).unwrap();
    ask_and_wait(&relay, &vendor).await;
    until("it healed", async || report(&relay).problems.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_without_a_word_end_in_community_and_the_next_word_restores_all() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    let mut users = Vec::new();
    for _ in 0..7 {
        users.push(relay.user().await);
    }
    vendor.authority.book.set_fault(Some(Fault::Status(503))).unwrap();
    for (days, source, cap) in [
        (0.0, LicenseSource::Online, 50),
        (1.0, LicenseSource::Cache, 50),
        (6.99, LicenseSource::Cache, 50),
        (7.01, LicenseSource::None, 5),
    ] {
        clock.set((days * DAY as f64) as i64);
        let found = report(&relay);
        assert_eq!((found.source, found.max_users), (source, Some(cap)), "after {days} days");
        // Whoever has an account goes on, in every state.
        goes_on(&users[6], days.to_string().as_bytes()).await;
    }
    let refused = relay.admin(Method::POST, "/v2/admin/keys").body("{}").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::PAYMENT_REQUIRED);
    // The vendor's clock is right and ours is a week ahead: the reply counts, and puts the clock's floor right.
    clock.set(0);
    vendor.authority.book.set_fault(None).unwrap();
    ask_and_wait(&relay, &vendor).await;
    online(&relay).await;
    relay.user().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_is_off_until_somebody_agrees_to_the_bytes_that_were_shown() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    relay.user().await;
    let post = async |body: Value| {
        let answer =
            relay.admin(Method::POST, "/v2/admin/telemetry").body(body.to_string()).send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    // Nothing that nobody was shown can be agreed to.
    let unseen = json!({ "enabled": true, "schema": 1, "previewSha256": "a".repeat(64) });
    assert_eq!(post(unseen).await.0, StatusCode::CONFLICT);
    assert_eq!(post(json!({ "enabled": true })).await.0, StatusCode::BAD_REQUEST);
    assert!(!relay.running.app.store.check_ins.sends_telemetry());

    let shown = relay.admin(Method::GET, "/v2/admin/telemetry/preview").send().await.unwrap();
    let header = |name: &str| shown.headers()[name].to_str().unwrap().to_owned();
    let (sha256, schema) = (header("x-paramant-sha256"), header("x-paramant-telemetry-schema"));
    let shown = shown.bytes().await.unwrap();
    assert_eq!((sha256.as_str(), schema.as_str()), (request::digest(&shown).as_str(), "1"));
    let numbers = CheckIn::parse(&shown).unwrap().telemetry;
    assert_eq!(
        (numbers.opted_in, numbers.user_count),
        (true, Some(4)),
        "one account is no number of its own"
    );
    let newer = json!({ "enabled": true, "schema": 2, "previewSha256": sha256 });
    assert_eq!(post(newer).await.0, StatusCode::CONFLICT, "a schema that nobody was shown");

    let (status, answer) = post(json!({ "enabled": true, "schema": 1, "previewSha256": sha256 })).await;
    assert_eq!((status, &answer["enabled"]), (StatusCode::OK, &json!(true)));
    let next = async || relay.running.app.store.check_ins.next_request().await.unwrap().map(|it| it.bytes);
    until("the preview is frozen", async || next().await.as_deref() == Some(shown.as_ref())).await;
    ask_and_wait(&relay, &vendor).await;
    let last = vendor.checks().pop().unwrap();
    assert_eq!(last.request.as_deref(), Some(sha256.as_str()), "the bytes shown are the bytes sent");
    // The next one counts anew.
    until("another request is frozen", async || next().await.is_some_and(|it| it != shown.as_ref())).await;
    let counted = CheckIn::parse(&next().await.unwrap()).unwrap().telemetry;
    assert!(counted.opted_in && counted.uptime_seconds.is_some());
    let same = report(&relay);
    assert_eq!((same.tier.as_str(), same.max_users), ("Pro", Some(50)), "it changes no entitlement");

    assert_eq!(post(json!({ "enabled": false })).await.1["enabled"], false);
    let off = async || next().await.is_some_and(|it| !CheckIn::parse(&it).unwrap().telemetry.opted_in);
    until("it is off again", off).await;
    let switched: Vec<bool> = entries(&relay)
        .iter()
        .filter_map(|entry| match entry.body()? {
            Body::TelemetryChanged(body) => Some(body.enabled),
            _ => None,
        })
        .collect();
    assert_eq!(switched, [true, false]);
}

/// One thread: what it says is caught.
#[tokio::test]
async fn the_log_commits_to_the_preview_that_was_agreed_to() {
    let (lines, _caught) = Lines::catch();
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    let shown = relay.admin(Method::GET, "/v2/admin/telemetry/preview").send().await.unwrap();
    let shown = shown.bytes().await.unwrap();
    let consent = json!({ "enabled": true, "schema": 1, "previewSha256": request::digest(&shown) });
    let agreed = relay.admin(Method::POST, "/v2/admin/telemetry").body(consent.to_string()).send().await;
    assert_eq!(agreed.unwrap().status(), StatusCode::OK);
    let text = String::from_utf8(lines.bytes()).unwrap();
    let line = text.lines().find(|line| line.contains("telemetry was switched")).unwrap();
    let (_, salt) = line.split_once("salt=").unwrap();
    let salt: [u8; 32] = hex::decode(&salt[..64]).unwrap().try_into().unwrap();
    let committed = entries(&relay).into_iter().find_map(|entry| match entry.body()? {
        Body::TelemetryChanged(body) => body.preview,
        _ => None,
    });
    let expected = leaf::commit(Purpose::TelemetryPreview, &salt, &leaf::sha256(&shown));
    assert_eq!(committed, Some(Digest(expected)));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_sees_everything_that_leaves_and_nobody_else_does() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    let get = async |path: &str| relay.admin(Method::GET, path).send().await.unwrap();
    let license: Value = get("/v2/admin/license").await.json().await.unwrap();
    assert_eq!((&license["tier"], &license["source"]), (&json!("Pro"), &json!("Online")));
    let history: Value = get("/v2/admin/license/history").await.json().await.unwrap();
    let past = &history["check_ins"][0];
    assert_eq!(past["result"], "accepted");
    assert_eq!(vendor.checks()[0].request.as_deref(), past["request_sha256"].as_str());
    until("a request is frozen", async || get("/v2/admin/license/request").await.status() == StatusCode::OK)
        .await;
    let next = get("/v2/admin/license/request").await.bytes().await.unwrap();
    assert!(CheckIn::parse(&next).is_ok());
    let user = relay.user().await;
    for path in ["", "/request", "/history"] {
        let path = format!("/v2/admin/license{path}");
        assert_eq!(user.request(Method::GET, &path).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    let reset = relay.admin(Method::POST, "/v2/admin/license/reset-clock").send().await.unwrap();
    assert_eq!(reset.status(), StatusCode::OK);
    assert_eq!(report(&relay).source, LicenseSource::Online);
    let health: Value =
        relay.http.get(format!("{}/health", relay.url)).send().await.unwrap().json().await.unwrap();
    assert_eq!((&health["edition"], &health["max_keys"]), (&json!("licensed"), &json!(50)));
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_and_times_are_the_smaller_of_settings_and_set() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let change = |licence: &mut paramant_authority::book::Licence| {
        licence.sold.capabilities.max_blob_size_mb = 0;
        licence.sold.capabilities.retention_max_seconds = 0;
        licence.sold.capabilities.ml_dsa_required = true;
    };
    vendor.authority.book.change(&vendor.key, "small", Timestamp::now(), change).unwrap();
    let dir = TempDir::new().unwrap();
    let directory = licence_directory(&dir);
    let relay = Relay::in_world(vendor.world(&clock), dir, |settings| {
        asking(&vendor, settings, directory);
        settings.limits.max_blob = 10 << 20;
    })
    .await;
    online(&relay).await;
    let user = relay.user().await;
    // No set can bound them below what the smallest plan has.
    let large = || vec![7; (5 << 20) + 1];
    assert_eq!(user.upload_raw(large(), "").await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let kept: Value = user.upload(b"small", json!({ "ttl_ms": 7_200_000 })).await.json().await.unwrap();
    assert_eq!(kept["ttl_ms"], 3_600_000);
    let blob = |sig: u16| {
        let mut blob = b"PQHB\x01\x00\x02".to_vec();
        blob.extend(sig.to_be_bytes());
        blob.push(0);
        for length in if sig == 0 { vec![4_u32, 4] } else { vec![4, 4, 4] } {
            blob.extend(length.to_be_bytes());
            blob.extend([9; 4]);
        }
        blob.extend([0; 12]);
        blob.extend(4_u32.to_be_bytes());
        blob.extend([9; 4]);
        blob
    };
    let unsigned = user.upload_raw(blob(0), "").await;
    assert_eq!(unsigned.status(), StatusCode::BAD_REQUEST);
    assert_eq!(unsigned.json::<Value>().await.unwrap()["error"], "signature_required");
    assert_eq!(user.upload_raw(blob(2), "").await.status(), StatusCode::OK);
    // There is no way around it.
    let upload = user.opened(blob(0).len(), json!({})).await;
    let unsigned = user.chunk(&upload, 0, &blob(0), &crate::relay::hash(&blob(0))).await;
    assert_eq!(unsigned.status(), StatusCode::BAD_REQUEST);
    assert_eq!(unsigned.json::<Value>().await.unwrap()["error"], "signature_required");
    // Without a set in force the settings alone count.
    clock.set(8 * DAY);
    let taken = async || user.upload_raw(large(), "").await.status() == StatusCode::OK;
    until("the settings alone count", taken).await;
    assert_eq!(user.upload_raw(blob(0), "").await.status(), StatusCode::OK);
}

/// Sends and receives a file.
async fn goes_on(user: &User, payload: &[u8]) {
    let sent = user.upload(payload, json!({})).await;
    assert_eq!(sent.status(), StatusCode::OK);
    let got = user.download(&crate::relay::hash(payload)).await;
    assert_eq!((got.status(), got.bytes().await.unwrap().as_ref()), (StatusCode::OK, payload));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_to_another_decade_and_back_heals() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    clock.set(3650 * DAY);
    assert_eq!(report(&relay).source, LicenseSource::None, "it believes its clock");
    clock.set(0);
    assert_eq!(report(&relay).source, LicenseSource::Online, "and it heals");
    clock.set(-3650 * DAY);
    let found = report(&relay);
    assert_eq!(found.source, LicenseSource::Online, "a floor holds");
    assert!(found.problems.iter().any(|problem| problem.contains("clock")), "{:?}", found.problems);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_outlives_restarts_but_not_an_edited_row() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    vendor.authority.book.set_fault(Some(Fault::Status(503))).unwrap();
    let dir = relay.stop().await;
    let relay = relay_over(&vendor, &clock, dir).await;
    assert_eq!(report(&relay).source, LicenseSource::Online, "from the start, before anybody was asked");
    let dir = relay.stop().await;
    let mut dir = dir;
    let kept: Vec<u8> = {
        let c = rusqlite::Connection::open(dir.path().join("data/meta.db")).unwrap();
        c.query_row("SELECT bytes FROM license_replies", [], |row| row.get(0)).unwrap()
    };
    let more = String::from_utf8(kept.clone()).unwrap().replace("\"max_users\":50", "\"max_users\":99");
    for (what, bytes) in
        [("edited", more.into_bytes()), ("cut off", kept[..100].to_vec()), ("emptied", Vec::new())]
    {
        assert_ne!(bytes, kept, "{what}");
        let c = rusqlite::Connection::open(dir.path().join("data/meta.db")).unwrap();
        assert_eq!(c.execute("UPDATE license_replies SET bytes = ?1", [&bytes]).unwrap(), 1, "{what}");
        drop(c);
        let relay = relay_over(&vendor, &clock, dir).await;
        assert_eq!(report(&relay).source, LicenseSource::None, "it was {what}");
        dir = relay.stop().await;
    }
    vendor.authority.book.set_fault(None).unwrap();
    let relay = relay_over(&vendor, &clock, dir).await;
    online(&relay).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_outlives_its_log_and_what_is_out_is_announced_in_the_new_one() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    vendor.authority.book.set_fault(Some(Fault::Status(503))).unwrap();
    ask(&relay).await;
    until("the outage is told", async || !report(&relay).problems.is_empty()).await;
    let out = relay.running.app.store.check_ins.next_request().await.unwrap().unwrap().bytes;
    let old = relay.running.app.core.log.origin().to_owned();
    let dir = relay.stop().await;
    adopt(&dir.path().join("data"), Request { retire: &old, origin: None }).unwrap();

    let relay = relay_over(&vendor, &clock, dir).await;
    assert_ne!(relay.running.app.core.log.origin(), old);
    assert_eq!(report(&relay).source, LicenseSource::Online, "from the start, before anybody was asked");
    vendor.authority.book.set_fault(None).unwrap();
    let before = vendor.checks().len();
    ask_and_wait(&relay, &vendor).await;
    assert_eq!(vendor.checks()[before].request, Some(request::digest(&out)), "the request that was out");
    until("it is over", async || check_ins(&relay).len() == 3).await;
    let results: Vec<CheckinResult> = check_ins(&relay).into_iter().map(|(result, ..)| result).collect();
    let carried = CheckinResult::Accepted;
    assert_eq!(results, [carried, CheckinResult::Sent, CheckinResult::Accepted]);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_telemetry_on_the_request_that_is_out_outlives_its_log_too() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    let shown = relay.admin(Method::GET, "/v2/admin/telemetry/preview").send().await.unwrap();
    let shown = shown.bytes().await.unwrap();
    let consent = json!({ "enabled": true, "schema": 1, "previewSha256": request::digest(&shown) });
    relay.admin(Method::POST, "/v2/admin/telemetry").body(consent.to_string()).send().await.unwrap();
    let next = async || relay.running.app.store.check_ins.next_request().await.unwrap();
    until("the preview is next", async || next().await.is_some_and(|it| it.bytes == shown)).await;
    vendor.authority.book.set_fault(Some(Fault::Status(503))).unwrap();
    ask(&relay).await;
    until("the outage is told", async || !report(&relay).problems.is_empty()).await;
    let old = relay.running.app.core.log.origin().to_owned();
    let dir = relay.stop().await;
    adopt(&dir.path().join("data"), Request { retire: &old, origin: None }).unwrap();

    vendor.authority.book.set_fault(None).unwrap();
    let relay = relay_over(&vendor, &clock, dir).await;
    assert_eq!(report(&relay).source, LicenseSource::Online);
    let before = vendor.checks().len();
    ask_and_wait(&relay, &vendor).await;
    assert_eq!(vendor.checks()[before].request, Some(request::digest(&shown)), "the request that was out");
    let switched =
        |entry: &entry::Entry| matches!(entry.body(), Some(Body::TelemetryChanged(it)) if it.enabled);
    assert!(entries(&relay).iter().any(switched), "the new log does not know that telemetry is on");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_missing_or_emptied_is_community_and_back_it_counts_again() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    let (there, away) = (licence_directory(&relay.dir), relay.dir.path().join("away"));
    let says = async |source: LicenseSource| {
        until(&format!("{source:?}"), async || report(&relay).source == source).await;
    };
    std::fs::rename(&there, &away).unwrap();
    says(LicenseSource::None).await;
    let told = async || report(&relay).problems.iter().any(|it| it.contains("no key for it was found"));
    until("it is told", told).await;
    std::fs::rename(&away, &there).unwrap();
    says(LicenseSource::Online).await;
    std::fs::write(there.join("licence"), "").unwrap();
    says(LicenseSource::None).await;
    std::fs::write(there.join("licence"), vendor.key.expose()).unwrap();
    says(LicenseSource::Online).await;
    until("nothing is wrong", async || report(&relay).problems.is_empty()).await;
    // With a licence that is none, or with nothing, it starts all the same.
    let mut dir = relay.stop().await;
    for text in ["plk_AAAA", "not a licence", ""] {
        std::fs::write(licence_directory(&dir).join("licence"), text).unwrap();
        let world = vendor.world(&clock);
        let directory = licence_directory(&dir);
        let relay =
            Relay::in_world(world, dir, |settings| settings.license_directory = Some(directory)).await;
        assert_eq!(
            (report(&relay).source, report(&relay).max_users),
            (LicenseSource::None, Some(5)),
            "{text}"
        );
        assert_eq!(report(&relay).problems.is_empty(), text.is_empty(), "{text}");
        dir = relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn widening_counts_at_once_and_narrowing_at_its_boundary() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    vendor.sell(Tier::Enterprise, 90);
    ask_and_wait(&relay, &vendor).await;
    until("more counts at once", async || report(&relay).max_users == Some(90)).await;
    assert_eq!(report(&relay).tier, "Enterprise");
    vendor.sell(Tier::Pro, 10);
    ask_and_wait(&relay, &vendor).await;
    let applied = async || relay.running.app.store.check_ins.history(10).await.unwrap().len() == 3;
    until("the reply is applied", applied).await;
    // It is held a moment after its row; the next request is frozen only then.
    let next = async || relay.running.app.store.check_ins.next_request().await.unwrap().is_some();
    until("the next request is frozen", next).await;
    assert_eq!(report(&relay).max_users, Some(90), "what was granted goes on until its own end");
    clock.set(12 * 3600 + 60);
    assert_eq!((report(&relay).max_users, report(&relay).tier), (Some(10), "Pro".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_410_ends_at_the_sets_own_end_and_nobody_is_asked_again() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    vendor.stand(Standing::Revoked);
    ask_and_wait(&relay, &vendor).await;
    until("it is known", async || report(&relay).check_in.is_some_and(|it| it.revoked)).await;
    assert_eq!(report(&relay).source, LicenseSource::Online, "no surprise");
    assert!(report(&relay).problems[0].contains("revoked"));
    clock.set(12 * 3600 + 60);
    assert_eq!(report(&relay).source, LicenseSource::None);
    let asked = vendor.checks().len();
    let dir = relay.stop().await;
    let relay = relay_over(&vendor, &clock, dir).await;
    until("it is known after a restart", async || report(&relay).check_in.is_some_and(|it| it.revoked)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(vendor.checks().len(), asked, "nobody is asked");
    ask_and_wait(&relay, &vendor).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_can_be_carried_in_by_hand() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let dir = TempDir::new().unwrap();
    let (directory, file) = (licence_directory(&dir), dir.path().join("reply.json"));
    let carried = file.clone();
    let relay = Relay::in_world(vendor.world(&clock), dir, |settings| {
        asking(&vendor, settings, directory);
        settings.online = None;
        settings.air_gap = Some(carried);
    })
    .await;
    let request = async || relay.running.app.store.check_ins.next_request().await.unwrap();
    until("a request is frozen", async || request().await.is_some()).await;
    std::fs::write(&file, "not a reply").unwrap();
    let told = async || report(&relay).problems.iter().any(|problem| problem.contains("carried in"));
    until("what is no reply is told", told).await;
    let asked = request().await.unwrap().bytes;
    std::fs::write(&file, vendor.authority.answer(&asked, None).unwrap().body).unwrap();
    until("it counts", async || report(&relay).source == LicenseSource::AirGap).await;
    assert_eq!(report(&relay).max_users, Some(50));
    let sums = entries(&relay).iter().any(|entry| {
        matches!(entry.body(), Some(Body::OutboundCall(call)) if call.purpose == OutboundPurpose::License)
    });
    assert!(!sums, "nothing left");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_switch_a_key_or_a_pinned_key_nobody_is_asked() {
    let (vendor, clock) = (Vendor::start().await, Clock::default());
    let quiet = async |relay: Relay, words: &str| {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(vendor.checks().len(), 0);
        let problems = report(&relay).problems;
        assert!(problems.iter().any(|problem| problem.contains(words)), "{words}: {problems:?}");
        assert_eq!(check_ins(&relay).len(), 0);
        relay.stop().await
    };
    let dir = TempDir::new().unwrap();
    let directory = licence_directory(&dir);
    let unswitched = Relay::in_world(vendor.world(&clock), dir, |settings| {
        asking(&vendor, settings, directory);
        settings.online = None;
    });
    let dir = quiet(unswitched.await, "not switched on").await;
    let directory = licence_directory(&dir);
    let unpinned = Relay::in_world(World::default(), dir, |settings| asking(&vendor, settings, directory));
    let dir = quiet(unpinned.await, "no licensing key pinned").await;
    let directory = licence_directory(&dir);
    let keyless = Relay::in_world(vendor.world(&clock), dir, |settings| {
        asking(&vendor, settings, directory.clone());
        std::fs::write(directory.join("licence"), "").unwrap();
    });
    quiet(keyless.await, "no key for it was found").await;
    // Seen to count: with all three it is asked.
    let relay = relay(&vendor, &clock).await;
    online(&relay).await;
    assert_eq!(vendor.checks().len(), 1);
}
