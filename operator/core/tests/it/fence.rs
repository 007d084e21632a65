//! The fence against old copies, seen from the operator: what it tells the relay of its log, and what it makes of the answer.

use paramant_operator_core::{Report, Rival, Shared, decide};
use paramant_protocol::control::{Directives, FenceReport, FenceState, LogMark};
use serde_json::json;

use crate::cluster::{Cluster, hash, image};

const ORIGIN: &str = "health.transfers/log";

/// What the relay was told last.
fn told(cluster: &Cluster) -> Directives {
    cluster.sent.clone().unwrap()
}

fn mark(origin: &str, size: u64, root: u8) -> LogMark {
    LogMark { origin: Some(origin.to_owned()), size, root: hash(root) }
}

fn rival(created: i64) -> Rival {
    Rival {
        namespace: "other".into(),
        name: "twin".into(),
        uid: "twin".into(),
        created: jiff::Timestamp::from_second(created).unwrap(),
        shares: Shared::Identity,
    }
}

fn in_state(cluster: &mut Cluster, key: &str, value: &str) {
    cluster.get_mut("ConfigMap", "health-state").unwrap()["data"][key] = json!(value);
}

#[test]
fn a_relay_is_told_to_sign_only_once_it_has_said_whose_log_it_is() {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    cluster.report = Some(Report::Unknown);
    cluster.run(5);
    assert_eq!((told(&cluster).log_identity, told(&cluster).log_refused), (None, None));
    cluster.report = None;
    cluster.settle();
    assert_eq!(told(&cluster).log_identity, Some(hash(1)));
    assert_eq!(told(&cluster).log_high_water, Some(mark(ORIGIN, 7, 3)));
}

#[test]
fn a_new_leader_says_the_same_of_a_log_before_it_has_asked() {
    let mut cluster = Cluster::serving();
    let before = told(&cluster);
    cluster.context.epoch = 2;
    cluster.report = Some(Report::Unknown);
    cluster.run(5);
    assert_eq!(told(&cluster), Directives { epoch: 2, ..before });
}

#[test]
fn a_clone_is_never_told_to_sign_and_its_original_notices_nothing() {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    cluster.rivals = vec![rival(1_000)];
    cluster.settle();
    assert_eq!(told(&cluster).log_identity, None);
    assert!(told(&cluster).log_refused.unwrap().contains("other/twin"));
    assert_eq!(cluster.condition("Stalled"), ("True".into(), "IdentityConflict".into()));
    cluster.rivals.clear();
    cluster.settle();
    assert_eq!((told(&cluster).log_identity, told(&cluster).log_refused), (Some(hash(1)), None));

    let mut original = Cluster::serving();
    let before = told(&original);
    original.rivals = vec![rival(2_000_000_000)];
    original.settle();
    assert_eq!(told(&original), before);
}

#[test]
fn a_clone_that_signed_before_it_was_noticed_is_told_to_stop() {
    let mut cluster = Cluster::serving();
    cluster.rivals = vec![rival(1_000)];
    cluster.run(2);
    assert!(told(&cluster).log_refused.unwrap().contains("other/twin"));
}

#[test]
fn a_relay_made_again_is_judged_again_before_it_may_sign() {
    let mut cluster = Cluster::serving();
    let uid = cluster.next_uid();
    cluster.relay["metadata"]["uid"] = json!(uid);
    cluster.relay["status"] = json!({"observedGeneration": -1});
    cluster.report = Some(Report::Unknown);
    cluster.run(3);
    assert_eq!(told(&cluster).log_identity, None, "its volume may have been cloned meanwhile");
    assert_eq!(told(&cluster).log_high_water, Some(mark(ORIGIN, 7, 3)), "and the mark is still known");
    cluster.report = None;
    cluster.settle();
    assert_eq!(told(&cluster).log_identity, Some(hash(1)));
}

#[test]
fn of_status_and_durable_copy_the_higher_mark_counts() {
    for (in_status, kept) in [(9, 4), (4, 9)] {
        let mut cluster = Cluster::serving();
        cluster.report = Some(Report::Unknown);
        cluster.relay["status"]["log"] = json!({ "origin": ORIGIN, "size": in_status, "root": hash(8) });
        let stored = json!({ "origin": ORIGIN, "size": kept, "root": hash(8), "at": cluster.now });
        in_state(&mut cluster, "logHighWater", &stored.to_string());
        cluster.settle();
        assert_eq!(told(&cluster).log_high_water, Some(mark(ORIGIN, 9, 8)), "{in_status} {kept}");
        assert_eq!(cluster.status().log.unwrap().size, Some(9));
        // The relay comes with what was restored along with the lower one.
        cluster.report = None;
        cluster.settle();
        assert_eq!(cluster.condition("Stalled"), ("True".into(), "LogBroken".into()));
        assert!(told(&cluster).log_refused.unwrap().contains("9 were seen before"));
    }
}

#[test]
fn a_broken_log_stays_forbidden_until_it_proves_itself() {
    let mut cluster = Cluster::serving();
    cluster.process.as_mut().unwrap().state.log.root = hash(9);
    cluster.settle();
    assert!(told(&cluster).log_refused.is_some());
    cluster.report = Some(Report::Unknown);
    cluster.run(5);
    assert!(told(&cluster).log_refused.is_some(), "an operator that knows nothing yet forgives nothing");
    cluster.report = None;
    cluster.process.as_mut().unwrap().state.log.root = hash(3);
    cluster.settle();
    assert_eq!((told(&cluster).log_refused, cluster.phase()), (None, "Ready"));
}

#[test]
fn a_relay_that_refuses_to_sign_stalls_with_its_own_words() {
    let mut cluster = Cluster::serving();
    let said = "the witness w.example has signed 9 entries of this log and this copy holds 7";
    let fence = |state, reason: Option<&str>| FenceReport { state, reason: reason.map(str::to_owned) };
    cluster.process.as_mut().unwrap().state.log.fence = fence(FenceState::Refused, Some(said));
    cluster.settle();
    assert_eq!((cluster.phase(), cluster.condition("Stalled").1.as_str()), ("Blocked", "LogFenced"));
    assert_eq!(cluster.condition("LogConsistent"), ("False".into(), "LogFenced".into()));
    assert!(cluster.message().contains(said), "{}", cluster.message());
    assert_eq!(cluster.status().log.unwrap().consistent, Some(false));
    cluster.process.as_mut().unwrap().state.log.fence =
        fence(FenceState::Waiting, Some("nobody answered yet"));
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready", "a relay that waits serves");
    cluster.process.as_mut().unwrap().state.log.fence = FenceReport::default();
    cluster.settle();
    assert_eq!(cluster.condition("LogConsistent").0, "True");
}

#[test]
fn an_adopted_log_is_accepted_with_its_name_and_a_mark_of_its_own() {
    let mut cluster = Cluster::serving();
    let log = &mut cluster.process.as_mut().unwrap().state.log;
    log.origin = "health.transfers/log/2".into();
    log.root = hash(5);
    log.retired = vec![ORIGIN.into()];
    cluster.settle();
    assert_eq!(told(&cluster).log_high_water, Some(mark("health.transfers/log/2", 7, 5)));
    assert_eq!((told(&cluster).log_identity, told(&cluster).log_refused), (Some(hash(1)), None));
    assert_eq!(cluster.status().log.unwrap().origin.as_deref(), Some("health.transfers/log/2"));
    assert_eq!((cluster.phase(), cluster.condition("LogConsistent").0.as_str()), ("Ready", "True"));
    // A durable copy from before the adoption is restored: status knows better, and the relay says so.
    let stored = json!({ "origin": ORIGIN, "size": 7000, "root": hash(3), "at": cluster.now });
    in_state(&mut cluster, "logHighWater", &stored.to_string());
    cluster.settle();
    assert_eq!(told(&cluster).log_high_water, Some(mark("health.transfers/log/2", 7, 5)));
    assert_eq!(cluster.phase(), "Ready");
}

#[test]
fn a_log_of_another_name_that_replaced_none_is_broken_and_its_name_not_shown() {
    let mut cluster = Cluster::serving();
    cluster.process.as_mut().unwrap().state.log.origin = "somebody.else/log".into();
    cluster.settle();
    assert_eq!(cluster.condition("Stalled"), ("True".into(), "LogBroken".into()));
    assert_eq!(cluster.status().log.unwrap().origin.as_deref(), Some(ORIGIN));
    assert!(told(&cluster).log_refused.unwrap().contains("somebody.else/log"));
}

#[test]
fn a_paused_relay_is_judged_all_the_same() {
    let mut cluster = Cluster::with(json!({ "image": image(1) }));
    cluster.settle();
    cluster.annotate("paramant.app/paused", "true");
    in_state(&mut cluster, "identity", "");
    let mut seen = cluster.observe();
    seen.children.state = None;
    let decision = decide(&seen, &cluster.context, cluster.now);
    assert_eq!(decision.directives.unwrap().log_identity, Some(hash(1)));
}
