//! Requests of a vendor that contradict each other, answers that come late, and clocks and people that are away: what is in force is
//! always what was agreed to last, and it ends when it was to end.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use paramant_authority::faults::Fault;
use paramant_authority::requests::{Asking, Kept};
use paramant_licensing::online::capability::Tier;
use paramant_protocol::control::{
    DrainDirective, LicenseSource, RemoteAnswer, RemoteDirective, RemoteState, SupportState,
};
use paramant_protocol::entry::Kind;
use paramant_protocol::entry::body::Decision;
use paramant_relay::settings::Control;
use reqwest::StatusCode;
use tempfile::TempDir;

use crate::control;
use crate::relay::{Relay, until};
use crate::remote_actions::{
    answer, by, count, decisions, drain, drains, end, fingerprint, hears, relay_with, rules, sell, settled,
    started, state_of, support, told, wants, with_key,
};
use crate::vendor::{Clock, Vendor, asking, licence_directory, online, report};

const DAY: i64 = 24 * 3600;
const SUPPORT: &str = "/v2/support";

/// The same relay again, as after any restart.
async fn again(vendor: &Vendor, clock: &Clock, relay: Relay, rule: RemoteAnswer) -> Relay {
    let dir = relay.stop().await;
    let directory = licence_directory(&dir);
    let relay = Relay::in_world(vendor.world(clock), dir, |settings| {
        asking(vendor, settings, directory);
        rules(rule)(settings);
    })
    .await;
    settled(&relay).await;
    relay
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_drains_the_newer_counts_and_ending_it_brings_back_no_older_one() {
    let (vendor, clock, relay) = started(rules(RemoteAnswer::Allow)).await;
    let long = wants(&vendor, &relay, drain(true, None));
    assert_eq!(hears(&relay, &long.id).await, RemoteState::Accepted);
    let short = wants(&vendor, &relay, drain(true, Some(3600)));
    assert_eq!(hears(&relay, &short.id).await, RemoteState::Accepted);
    assert!(drains(&relay));
    assert_eq!(end(&relay, &long.id).await, StatusCode::NOT_FOUND, "another took its place");
    let relay = again(&vendor, &clock, relay, RemoteAnswer::Allow).await;
    assert!(drains(&relay), "after a restart as before");
    assert_eq!(end(&relay, &short.id).await, StatusCode::OK);
    assert!(!drains(&relay));
    let relay = again(&vendor, &clock, relay, RemoteAnswer::Allow).await;
    assert!(!drains(&relay), "what an admin ended stays so, and what it had replaced too");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drains_count_in_the_order_in_which_an_admin_agreed() {
    let (vendor, clock, relay) = started(rules(RemoteAnswer::Ask)).await;
    let on = wants(&vendor, &relay, drain(true, Some(3600)));
    let off = wants(&vendor, &relay, drain(false, None));
    assert_eq!(hears(&relay, &off.id).await, RemoteState::Waiting);
    for (agreed, draining) in [(&off, false), (&on, true)] {
        assert_eq!(answer(&relay, &agreed.id, "approve").await, StatusCode::ACCEPTED);
        assert_eq!(drains(&relay), draining);
    }
    let relay = again(&vendor, &clock, relay, RemoteAnswer::Ask).await;
    assert!(drains(&relay), "after a restart as before");
    assert_eq!(end(&relay, &on.id).await, StatusCode::OK, "what is in force can be ended");
    assert!(!drains(&relay));
    let relay = again(&vendor, &clock, relay, RemoteAnswer::Ask).await;
    assert!(!drains(&relay));
    assert_eq!((count(&relay, Kind::VendorRequest), decisions(&relay)), (2, vec![Decision::Approved; 2]));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_support_keys_work_beside_each_other_and_end_each_by_itself() {
    let (vendor, _clock, relay) = started(rules(RemoteAnswer::Ask)).await;
    let (secrets, asks): (Vec<_>, Vec<_>) = [support(&relay), support(&relay)].into_iter().unzip();
    let made: Vec<Kept> = asks.into_iter().map(|ask| wants(&vendor, &relay, ask)).collect();
    hears(&relay, &made[1].id).await;
    let works = async |place: usize| with_key(&relay, SUPPORT, secrets[place].expose()).await;
    let (yes, no) = (StatusCode::OK, StatusCode::UNAUTHORIZED);
    for (place, first, second) in [(1, no, yes), (0, yes, yes)] {
        assert_eq!(answer(&relay, &made[place].id, "approve").await, StatusCode::ACCEPTED);
        assert_eq!((works(0).await, works(1).await), (first, second));
    }
    assert_eq!(end(&relay, &made[1].id).await, StatusCode::OK);
    assert_eq!((works(0).await, works(1).await), (yes, no));
    assert_eq!(end(&relay, &made[1].id).await, StatusCode::NOT_FOUND);
    until("its end is in the log", async || count(&relay, Kind::SupportKeyRevoked) == 1).await;
    assert_eq!(count(&relay, Kind::SupportKeyIssued), 2);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_of_capabilities_only_the_newest_counts_whatever_is_agreed_to_first() {
    let (vendor, clock, relay) = started(rules(RemoteAnswer::Ask)).await;
    sell(&vendor, Tier::Enterprise);
    settled(&relay).await;
    sell(&vendor, Tier::Community);
    settled(&relay).await;
    let made = vendor.authority.book.requests(&fingerprint(&relay)).unwrap();
    let [wider, narrower] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(state_of(&relay, &narrower.id), Some(RemoteState::Waiting));
    assert_eq!(answer(&relay, &wider.id, "approve").await, StatusCode::ACCEPTED);
    settled(&relay).await;
    assert_eq!(report(&relay).tier, "Pro", "the vendor does not give it any more");
    assert_eq!(count(&relay, Kind::CapabilityChanged), 0);
    assert_eq!(answer(&relay, &narrower.id, "approve").await, StatusCode::ACCEPTED);
    until("the change is in the log", async || count(&relay, Kind::CapabilityChanged) == 1).await;
    settled(&relay).await;
    assert_eq!(report(&relay).tier, "Pro", "what was granted goes on to its end");
    clock.set(12 * 3600 + 60);
    assert_eq!((report(&relay).tier.as_str(), count(&relay, Kind::CapabilityChanged)), ("Community", 1));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_that_comes_after_the_requests_own_end_is_none() {
    let (vendor, clock, relay) = started(rules(RemoteAnswer::Ask)).await;
    let lasts = SignedDuration::from_mins(30);
    let asking = Asking { relay: fingerprint(&relay), ask: drain(true, Some(600)), by: by(), lasts };
    let signer = vendor.authority.signer().unwrap();
    let made = vendor.authority.book.ask(&asking, &signer, Timestamp::now()).unwrap();
    assert_eq!(hears(&relay, &made.id).await, RemoteState::Waiting);
    clock.set(31 * 60);
    // Either it is said while the relay has not looked yet, or the request is gone already.
    let said = answer(&relay, &made.id, "approve").await;
    assert!([StatusCode::ACCEPTED, StatusCode::NOT_FOUND].contains(&said), "{said}");
    until("it lapsed", async || state_of(&relay, &made.id) == Some(RemoteState::Lapsed)).await;
    assert_eq!((decisions(&relay), drains(&relay)), (vec![Decision::Lapsed], false));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_the_last_word_also_against_a_yes_in_the_policy() {
    let (vendor, clock, relay) = started(rules(RemoteAnswer::Ask)).await;
    let made = wants(&vendor, &relay, drain(true, Some(600)));
    assert_eq!(hears(&relay, &made.id).await, RemoteState::Waiting);
    assert_eq!(answer(&relay, &made.id, "deny").await, StatusCode::ACCEPTED);
    assert_eq!(answer(&relay, &made.id, "approve").await, StatusCode::NOT_FOUND);
    // And one whose id stands in both lists of the policy, which an admin may have edited in any order.
    let both = wants(&vendor, &relay, drain(true, Some(600)));
    let id = both.id.clone();
    let relay = relay_with(&vendor, &clock, relay.stop().await, |settings| {
        rules(RemoteAnswer::Ask)(settings);
        settings.remote.approved = vec![made.id.clone(), id.clone()];
        settings.remote.denied = vec![id];
    })
    .await;
    hears(&relay, &both.id).await;
    for request in [&made, &both] {
        assert_eq!(state_of(&relay, &request.id), Some(RemoteState::Denied));
    }
    assert_eq!((decisions(&relay), drains(&relay)), (vec![Decision::Denied; 2], false));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead_when_something_is_agreed_to_and_then_put_right_lengthens_nothing() {
    let (vendor, clock, relay) = started(rules(RemoteAnswer::Ask)).await;
    let (secret, key) = support(&relay);
    let asks = [key, drain(true, Some(3))];
    let [key, off] = asks.map(|ask| wants(&vendor, &relay, ask));
    assert_eq!(hears(&relay, &off.id).await, RemoteState::Waiting);
    clock.set(3 * DAY);
    for request in [&key, &off] {
        assert_eq!(answer(&relay, &request.id, "approve").await, StatusCode::ACCEPTED);
    }
    assert!(drains(&relay));
    clock.set(0);
    until("the drain has ended by its own three seconds", async || !drains(&relay)).await;
    let session = relay.running.app.store.actions.holder(secret.expose()).unwrap();
    let longest = Instant::now() + Duration::from_secs(3600);
    assert!(session.deadline <= longest, "it ends by the time that passes, whatever the clock says");
    // A process that starts now has no time that passed, and a key of tomorrow: it is not in force, now or later.
    let relay = again(&vendor, &clock, relay, RemoteAnswer::Ask).await;
    assert_eq!(with_key(&relay, SUPPORT, secret.expose()).await, StatusCode::UNAUTHORIZED);
    until("its end is in the log", async || count(&relay, Kind::SupportKeyExpired) == 1).await;
    clock.set(3 * DAY + 60);
    let relay = again(&vendor, &clock, relay, RemoteAnswer::Ask).await;
    assert_eq!(with_key(&relay, SUPPORT, secret.expose()).await, StatusCode::UNAUTHORIZED);
    assert_eq!((drains(&relay), told(&relay).support[0].state), (false, SupportState::Expired));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_visits_another_decade_ends_a_support_key_and_a_drain_goes_on_as_long_as_it_was_to() {
    let (vendor, clock, relay) = started(rules(RemoteAnswer::Allow)).await;
    let (secret, key) = support(&relay);
    let [key, off] = [key, drain(true, Some(600))].map(|ask| wants(&vendor, &relay, ask));
    assert_eq!(hears(&relay, &off.id).await, RemoteState::Accepted);
    assert_eq!(state_of(&relay, &key.id), Some(RemoteState::Accepted));
    assert_eq!(with_key(&relay, SUPPORT, secret.expose()).await, StatusCode::OK);
    clock.set(3652 * DAY);
    assert_eq!(with_key(&relay, SUPPORT, secret.expose()).await, StatusCode::UNAUTHORIZED, "at once");
    until("its end is in the log", async || count(&relay, Kind::SupportKeyExpired) == 1).await;
    clock.set(0);
    let relay = again(&vendor, &clock, relay, RemoteAnswer::Allow).await;
    assert_eq!(with_key(&relay, SUPPORT, secret.expose()).await, StatusCode::UNAUTHORIZED);
    assert!(drains(&relay));
    assert_eq!((count(&relay, Kind::VendorRequest), count(&relay, Kind::SupportKeyIssued)), (2, 1));
    relay.stop().await;
}

/// A relay in a cluster: its own settings refuse everything, and only the operator says otherwise.
async fn in_a_cluster(vendor: &Vendor, clock: &Clock, dir: TempDir, ca: &control::Authority) -> Relay {
    let file = dir.path().join("operator-ca.pem");
    std::fs::write(&file, &ca.pem).unwrap();
    let directory = licence_directory(&dir);
    Relay::in_world(vendor.world(clock), dir, |settings| {
        asking(vendor, settings, directory);
        rules(RemoteAnswer::Refuse)(settings);
        settings.listen.control.set_port(0);
        settings.control = Some(Control { operator_ca: file, token_file: None });
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_left_alone_for_days_goes_by_its_last_directives_and_ends_everything_in_time() {
    let (vendor, clock, ca) = (Vendor::start().await, Clock::default(), control::Authority::new());
    let relay = in_a_cluster(&vendor, &clock, TempDir::new().unwrap(), &ca).await;
    let operator = ca.client(&relay, &(control::OPERATOR)());
    let mut directives = control::directives(1, DrainDirective::default());
    let mut remote = RemoteDirective { support_seconds: Some(600), ..RemoteDirective::default() };
    (remote.answers.support_key, remote.answers.drain) = (RemoteAnswer::Allow, RemoteAnswer::Ask);
    directives.remote = Some(remote);
    directives.log_identity = Some(fingerprint(&relay));
    assert_eq!(control::put(&operator, &relay, &directives).await.0, StatusCode::OK);
    online(&relay).await;
    let (secret, key) = support(&relay);
    let [key, off] = [key, drain(true, Some(600))].map(|ask| wants(&vendor, &relay, ask));
    assert_eq!(hears(&relay, &off.id).await, RemoteState::Waiting);
    assert_eq!(state_of(&relay, &key.id), Some(RemoteState::Accepted));

    // From here on nobody speaks to it: neither the vendor nor, in this and the next run, the operator.
    vendor.authority.book.set_fault(Some(Fault::Status(503))).unwrap();
    drop(operator);
    let relay = in_a_cluster(&vendor, &clock, relay.stop().await, &ca).await;
    until("the key works again", async || with_key(&relay, SUPPORT, secret.expose()).await == StatusCode::OK)
        .await;
    // The settings would refuse it.
    until("the drain waits", async || state_of(&relay, &off.id) == Some(RemoteState::Waiting)).await;
    clock.set(601);
    assert_eq!(with_key(&relay, SUPPORT, secret.expose()).await, StatusCode::UNAUTHORIZED);
    until("its end is in the log", async || count(&relay, Kind::SupportKeyExpired) == 1).await;
    clock.set(DAY);
    assert_eq!(report(&relay).source, LicenseSource::Cache, "nobody has said anything for a day");
    assert_eq!(state_of(&relay, &off.id), Some(RemoteState::Waiting));
    clock.set(4 * DAY + 60);
    until("the other lapsed", async || state_of(&relay, &off.id) == Some(RemoteState::Lapsed)).await;
    assert_eq!((decisions(&relay), drains(&relay)), (vec![Decision::Lapsed], false));
    relay.stop().await;
}
