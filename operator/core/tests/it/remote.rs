//! A vendor's requests as a relay reports them: what status, condition and events make of them, and what writes nothing.

use jiff::SignedDuration;
use paramant_crds::relay::{DrainSource, RequestOutcome, SupportKeyState};
use paramant_operator_core::{EventType, Report};
use paramant_protocol::control::{RemoteReport, RemoteRequest, RemoteState, SupportReport, SupportState};

use crate::cluster::Cluster;

fn id(n: u64) -> String {
    format!("{n:032x}")
}

fn request(cluster: &Cluster, n: u64, kind: &str, state: RemoteState) -> RemoteRequest {
    RemoteRequest {
        sequence: Some(n),
        id: id(n),
        kind: kind.into(),
        role: "support".into(),
        reason: "incident".into(),
        received_at: cluster.now,
        ends_at: cluster.now + SignedDuration::from_hours(24),
        state,
        asks: "read diagnostics of this relay for at most 1 h".into(),
        log_index: Some(7),
        checkpoint_size: Some(8),
    }
}

fn key(cluster: &Cluster, n: u64, state: SupportState) -> SupportReport {
    SupportReport {
        id: id(n),
        role: "support".into(),
        since: cluster.now,
        until: cluster.now + SignedDuration::from_hours(1),
        state,
        uses: 0,
    }
}

/// What the relay reports is this from now on.
fn reports(cluster: &mut Cluster, remote: RemoteReport) {
    cluster.process.as_mut().unwrap().state.remote = Some(remote);
    cluster.settle();
}

fn told(cluster: &mut Cluster) -> Vec<(EventType, String)> {
    std::mem::take(&mut cluster.events).into_iter().map(|it| (it.type_, it.reason)).collect()
}

fn message(cluster: &Cluster) -> String {
    let conditions = cluster.status().conditions;
    conditions.into_iter().find(|it| it.type_ == "RemoteActionPending").unwrap().message
}

/// A relay that reports and was asked for nothing.
fn quiet() -> Cluster {
    let mut cluster = Cluster::serving();
    reports(&mut cluster, RemoteReport::default());
    cluster.events.clear();
    cluster
}

#[test]
fn an_older_relay_says_nothing_of_it_and_nothing_is_said() {
    let cluster = Cluster::serving();
    let status = cluster.status();
    assert_eq!((status.remote_actions, status.support), (None, vec![]));
    assert_eq!(cluster.condition("RemoteActionPending").0, "", "not even that it is unknown");
}

#[test]
fn a_request_that_waits_is_named_with_the_command_that_answers_it() {
    for (kind, reason) in [
        ("support_key", "SupportKeyRequested"),
        ("update_offer", "UpdateOffered"),
        ("drain", "DrainRequested"),
        ("capability_set", "CapabilityChangeRequested"),
    ] {
        let mut cluster = quiet();
        assert_eq!(cluster.condition("RemoteActionPending"), ("False".into(), "NothingPending".into()));
        let waits = request(&cluster, 1, kind, RemoteState::Waiting);
        reports(&mut cluster, RemoteReport { sequence: 1, requests: vec![waits], ..Default::default() });
        assert_eq!(cluster.condition("RemoteActionPending"), ("True".into(), reason.into()));
        let command = format!("`kubectl paramant allow health {} -n transfers`", id(1));
        for how in [command.as_str(), "(or deny)", "/admin/actions"] {
            assert!(message(&cluster).contains(how), "{}", message(&cluster));
        }
        let status = cluster.status();
        let actions = status.remote_actions.unwrap();
        assert_eq!((actions.last_sequence, actions.last_action.as_deref()), (Some(1), Some(kind)));
        assert_eq!(
            (actions.pending[0].id.as_str(), actions.pending[0].role.as_str()),
            (id(1).as_str(), "Support")
        );
        assert_eq!(told(&mut cluster), [(EventType::Normal, reason.to_owned())]);
        assert_eq!(cluster.phase(), "Ready", "it waits for a person and stands in nobody's way");
        let keys = status.support.iter().map(|key| (key.key_id.as_str(), key.state)).collect::<Vec<_>>();
        let wanted = if kind == "support_key" { vec![(id(1), SupportKeyState::Pending)] } else { vec![] };
        assert_eq!(keys, wanted.iter().map(|(id, state)| (id.as_str(), *state)).collect::<Vec<_>>());
    }
}

#[test]
fn each_way_a_request_ends_is_told_once() {
    for (state, outcome, reason, type_) in [
        (RemoteState::Accepted, RequestOutcome::Accepted, "RemoteActionAccepted", EventType::Normal),
        (RemoteState::Denied, RequestOutcome::Denied, "RemoteActionDenied", EventType::Normal),
        (RemoteState::Lapsed, RequestOutcome::Lapsed, "RemoteActionLapsed", EventType::Normal),
        (RemoteState::Refused, RequestOutcome::Refused, "RemoteActionRefused", EventType::Warning),
    ] {
        for waited in [true, false] {
            let mut cluster = quiet();
            let waits = request(&cluster, 1, "drain", RemoteState::Waiting);
            if waited {
                let report =
                    RemoteReport { sequence: 1, requests: vec![waits.clone()], ..Default::default() };
                reports(&mut cluster, report);
                cluster.events.clear();
            }
            let ended = RemoteRequest { state, ..waits };
            reports(&mut cluster, RemoteReport { sequence: 1, requests: vec![ended], ..Default::default() });
            assert_eq!(told(&mut cluster), [(type_, reason.to_owned())], "{state:?}, waited: {waited}");
            let actions = cluster.status().remote_actions.unwrap();
            assert!(actions.pending.is_empty());
            assert_eq!((actions.recent[0].outcome, actions.recent[0].log_index), (outcome, Some(7)));
            assert_eq!(cluster.condition("RemoteActionPending").0, "False");
        }
    }
}

#[test]
fn a_support_key_is_told_when_it_works_and_when_it_ends() {
    for (state, shown, reason) in [
        (SupportState::Revoked, SupportKeyState::Revoked, "SupportKeyRevoked"),
        (SupportState::Expired, SupportKeyState::Expired, "SupportKeyExpired"),
    ] {
        let mut cluster = quiet();
        let accepted = request(&cluster, 1, "support_key", RemoteState::Accepted);
        let active = key(&cluster, 1, SupportState::Active);
        let report = RemoteReport {
            sequence: 1,
            requests: vec![accepted],
            support: vec![active],
            ..Default::default()
        };
        reports(&mut cluster, report.clone());
        let reasons = told(&mut cluster).into_iter().map(|it| it.1).collect::<Vec<_>>();
        assert_eq!(reasons, ["RemoteActionAccepted", "SupportKeyActive"]);
        let key = &cluster.status().support[0];
        assert_eq!((key.state, key.role.as_str()), (SupportKeyState::Active, "Support"));
        let mut ended = report;
        ended.support[0].state = state;
        reports(&mut cluster, ended);
        assert_eq!(told(&mut cluster), [(EventType::Normal, reason.to_owned())]);
        assert_eq!(cluster.status().support[0].state, shown);
    }
}

#[test]
fn what_is_counted_writes_nothing() {
    let mut cluster = quiet();
    let (active, waits) =
        (key(&cluster, 1, SupportState::Active), request(&cluster, 2, "drain", RemoteState::Waiting));
    reports(
        &mut cluster,
        RemoteReport { sequence: 2, requests: vec![waits], support: vec![active], ..Default::default() },
    );
    let before = (cluster.snapshot(), cluster.deeds.len());
    for round in 1..20 {
        let remote = cluster.process.as_mut().unwrap().state.remote.as_mut().unwrap();
        remote.unverifiable = round;
        remote.support[0].uses = round * 100;
        cluster.run(60);
    }
    assert_eq!((cluster.snapshot().0, cluster.deeds.len()), (before.0.0, before.1));
}

#[test]
fn a_relay_that_is_not_heard_keeps_what_it_said_and_a_new_operator_repeats_no_event() {
    let mut cluster = quiet();
    let waits = request(&cluster, 2, "drain", RemoteState::Waiting);
    let refused = request(&cluster, 1, "capability_set", RemoteState::Refused);
    let active = key(&cluster, 3, SupportState::Active);
    reports(
        &mut cluster,
        RemoteReport {
            sequence: 2,
            requests: vec![waits, refused],
            support: vec![active],
            ..Default::default()
        },
    );
    let (said, status) = (message(&cluster), cluster.status());
    cluster.events.clear();
    cluster.report = Some(Report::Unknown);
    cluster.settle();
    assert_eq!((message(&cluster), cluster.status().remote_actions), (said, status.remote_actions));
    assert_eq!(cluster.status().support, status.support);
    cluster.report = None;
    cluster.settle();
    assert_eq!(told(&mut cluster), []);
}

#[test]
fn at_the_first_look_history_is_no_news() {
    let mut cluster = Cluster::serving();
    cluster.events.clear();
    let report = RemoteReport {
        sequence: 3,
        requests: vec![
            request(&cluster, 3, "drain", RemoteState::Waiting),
            request(&cluster, 2, "drain", RemoteState::Lapsed),
        ],
        support: vec![key(&cluster, 1, SupportState::Active), key(&cluster, 0, SupportState::Expired)],
        ..Default::default()
    };
    reports(&mut cluster, report);
    let reasons = told(&mut cluster).into_iter().map(|it| it.1).collect::<Vec<_>>();
    assert_eq!(reasons, ["DrainRequested", "SupportKeyActive"]);
}

#[test]
fn a_request_that_comes_back_into_the_list_is_no_news() {
    let mut cluster = quiet();
    let old = request(&cluster, 1, "drain", RemoteState::Denied);
    cluster.run(5);
    let newer = request(&cluster, 2, "drain", RemoteState::Denied);
    let of = |requests| RemoteReport { sequence: 2, requests, ..Default::default() };
    reports(&mut cluster, of(vec![newer.clone()]));
    cluster.events.clear();
    reports(&mut cluster, of(vec![newer, old]));
    assert_eq!(told(&mut cluster), []);
}

#[test]
fn several_wait_and_the_one_that_ends_first_is_named_first() {
    let mut cluster = quiet();
    let mut first = request(&cluster, 1, "support_key", RemoteState::Waiting);
    first.ends_at = cluster.now + SignedDuration::from_hours(1);
    let second = request(&cluster, 2, "drain", RemoteState::Waiting);
    reports(&mut cluster, RemoteReport { sequence: 2, requests: vec![second, first], ..Default::default() });
    assert_eq!(cluster.condition("RemoteActionPending").1, "SupportKeyRequested");
    assert!(message(&cluster).contains(&id(1)) && message(&cluster).contains("1 more wait"));
    assert_eq!(told(&mut cluster).len(), 2);
}

#[test]
fn a_problem_is_told_when_it_comes_and_is_part_of_the_message_while_it_lasts() {
    let mut cluster = quiet();
    let problem = "the vendor states that it has made 3 requests, and 2 have come".to_owned();
    reports(&mut cluster, RemoteReport { problems: vec![problem.clone()], ..Default::default() });
    assert_eq!(told(&mut cluster), [(EventType::Warning, "RemoteActionProblem".to_owned())]);
    assert_eq!(cluster.status().remote_actions.unwrap().problem, Some(problem.clone()));
    assert!(message(&cluster).ends_with(&problem));
    reports(&mut cluster, RemoteReport::default());
    assert_eq!((cluster.status().remote_actions.unwrap().problem, told(&mut cluster)), (None, vec![]));
}

#[test]
fn no_report_can_make_a_status_unwritable() {
    let mut cluster = quiet();
    let endless = |n: u64, cluster: &Cluster, state| RemoteRequest {
        kind: "k".repeat(9_000),
        role: "r\u{1b}[2J".repeat(900),
        reason: "w".repeat(9_000),
        asks: "a\n".repeat(9_000),
        ..request(cluster, n, "", state)
    };
    let mut requests: Vec<_> = (0..80).map(|n| endless(n, &cluster, RemoteState::Waiting)).collect();
    requests.extend((100..180).map(|n| endless(n, &cluster, RemoteState::Refused)));
    requests.push(endless(3, &cluster, RemoteState::Waiting));
    requests.push(RemoteRequest { id: "$(reboot)".into(), ..endless(4, &cluster, RemoteState::Waiting) });
    let mut support: Vec<_> = (0..200).map(|n| key(&cluster, n, SupportState::Active)).collect();
    support.push(key(&cluster, 5, SupportState::Revoked));
    let report = RemoteReport {
        sequence: 9,
        requests,
        support,
        problems: vec!["p".repeat(9_000)],
        ..Default::default()
    };
    reports(&mut cluster, report);
    let (status, said) = (cluster.status(), message(&cluster));
    let actions = status.remote_actions.unwrap();
    assert_eq!((actions.pending.len(), actions.recent.len(), status.support.len()), (16, 16, 64));
    let ids: std::collections::BTreeSet<_> = actions.pending.iter().map(|it| it.id.clone()).collect();
    assert_eq!(ids.len(), 16);
    let first = &actions.pending[0];
    assert_eq!((first.kind.len(), first.role.chars().count(), first.asks.len()), (64, 63, 512));
    assert!(said.chars().chain(first.asks.chars()).chain(first.role.chars()).all(|c| !c.is_control()));
    assert!(said.len() < 32_768 && actions.problem.unwrap().len() == 1024);
}

#[test]
fn a_drain_that_the_vendor_asked_for_is_shown_as_the_vendors() {
    let mut cluster = quiet();
    cluster.vendor_drains = true;
    cluster.settle();
    let drain = cluster.status().drain.unwrap();
    assert_eq!(drain.requested_by, [DrainSource::Vendor]);
    assert_eq!(cluster.phase(), "Drained");
    assert_eq!(cluster.condition("Drained").0, "True");
    cluster.edit(|spec| spec["drain"] = serde_json::json!(false));
    cluster.settle();
    assert_eq!((cluster.status().drain.unwrap().requested_by, cluster.phase()), (vec![], "Ready"));
}
