//! Directives reach the relay in an order that it never refuses for long, whatever was restored or lost in between.

use paramant_operator_core::Report;
use paramant_protocol::control::{DrainDirective, RemoteAnswer, RemoteDirective};
use serde_json::{Value, json};

use crate::cluster::{Cluster, production};

fn state(cluster: &Cluster) -> Value {
    cluster.get("ConfigMap", "health-state").unwrap()["data"].clone()
}

fn restore(cluster: &mut Cluster, data: Value) {
    cluster.get_mut("ConfigMap", "health-state").unwrap()["data"] = data;
}

fn drain(cluster: &mut Cluster, wish: Option<bool>) {
    cluster.edit(|spec| spec["drain"] = json!(wish));
    cluster.settle();
}

fn in_force(cluster: &Cluster) -> DrainDirective {
    let held = cluster.process.as_ref().unwrap().directives.clone().unwrap();
    assert_eq!(Some(&held), cluster.sent.as_ref(), "what was told last is in force");
    held.drain
}

#[test]
fn an_older_durable_copy_does_not_leave_the_relay_with_what_it_held() {
    let mut cluster = Cluster::serving();
    let earlier = state(&cluster);
    drain(&mut cluster, Some(true));
    drain(&mut cluster, Some(false));
    drain(&mut cluster, Some(true));
    cluster.edit(|spec| spec["drain"] = Value::Null);
    restore(&mut cluster, earlier);
    cluster.settle();
    assert_eq!(in_force(&cluster).spec, None);
    let seq = cluster.sent.as_ref().unwrap().seq;
    cluster.run(20);
    assert_eq!(cluster.sent.as_ref().unwrap().seq, seq, "and there it rests");
}

#[test]
fn a_number_that_was_used_before_with_another_content_is_left_behind() {
    let mut cluster = Cluster::serving();
    let earlier = state(&cluster);
    drain(&mut cluster, Some(true));
    restore(&mut cluster, earlier);
    cluster.edit(|spec| spec["drain"] = json!(false));
    cluster.report = Some(Report::Unknown);
    cluster.pass();
    cluster.report = None;
    cluster.settle();
    assert_eq!(in_force(&cluster).spec, Some(false));
    let seq = cluster.sent.as_ref().unwrap().seq;
    cluster.run(20);
    assert_eq!(cluster.sent.as_ref().unwrap().seq, seq, "and there it rests");
}

#[test]
fn a_leader_that_was_deposed_does_not_count_up_against_its_successor() {
    let mut cluster = Cluster::serving();
    cluster.context.epoch = 7;
    cluster.settle();
    cluster.context.epoch = 6;
    cluster.settle();
    let seq = cluster.sent.as_ref().unwrap().seq;
    cluster.run(20);
    assert_eq!(cluster.sent.as_ref().unwrap().seq, seq);
}

const ONE: &str = "11111111111111111111111111111111";
const TWO: &str = "22222222222222222222222222222222";

fn answers(cluster: &Cluster) -> RemoteDirective {
    cluster.sent.clone().unwrap().remote.unwrap()
}

/// A relay under this policy.
fn under(spec: Value) -> Cluster {
    let mut cluster = Cluster::serving();
    cluster.relay["spec"]["policyRef"] = json!({"name": "production"});
    cluster.policy = Some(production(spec));
    cluster.settle();
    cluster
}

#[test]
fn a_relay_without_a_policy_is_told_the_built_in_answers() {
    let mut cluster = Cluster::serving();
    let (told, seq) = (answers(&cluster), cluster.sent.clone().unwrap().seq);
    assert_eq!((told.answers.support_key, told.support_seconds), (RemoteAnswer::Ask, Some(28_800)));
    cluster.run(20);
    assert_eq!(cluster.sent.unwrap().seq, seq, "once");
}

#[test]
fn an_answer_has_a_number_of_its_own_and_the_order_of_a_set_has_none() {
    let mut cluster = under(json!({"remoteActions": {"approved": [ONE]}}));
    let seq = |cluster: &Cluster| cluster.sent.as_ref().unwrap().seq;
    let first = seq(&cluster);
    assert_eq!(answers(&cluster).approved, [ONE]);
    cluster.policy = Some(production(json!({"remoteActions": {"approved": [TWO, ONE]}})));
    cluster.settle();
    let second = seq(&cluster);
    assert!(second > first && answers(&cluster).approved == [ONE, TWO]);
    cluster.policy = Some(production(json!({"remoteActions": {"approved": [ONE, TWO]}})));
    cluster.settle();
    assert_eq!(seq(&cluster), second);
}

#[test]
fn what_was_issued_before_there_were_answers_is_issued_anew_with_them() {
    let mut cluster = Cluster::serving();
    let mut issued: Value = serde_json::from_str(state(&cluster)["directives"].as_str().unwrap()).unwrap();
    let seq = issued["seq"].as_u64().unwrap();
    issued.as_object_mut().unwrap().remove("remote").unwrap();
    let mut data = state(&cluster);
    data["directives"] = json!(issued.to_string());
    restore(&mut cluster, data);
    cluster.settle();
    assert_eq!(cluster.sent.as_ref().unwrap().seq, seq + 1);
    assert_eq!(answers(&cluster).answers.drain, RemoteAnswer::Ask);
}

#[test]
fn under_a_policy_that_is_not_accepted_the_former_answers_stay_and_a_refusal_counts_at_once() {
    let good = json!({"remoteActions": {"supportKey": "Allow", "approved": [ONE]}});
    let mut cluster = under(good.clone());
    let mut policy = production(json!({
        "remoteActions": {"supportKey": "Ask", "drain": "Allow", "approved": [TWO], "denied": [ONE]},
        "updates": {"windows": [{"start": "02:00", "duration": "2h", "timeZone": "Mars/Olympus"}]},
    }));
    policy["status"] = json!({"accepted": {"generation": 1, "spec": good}});
    cluster.policy = Some(policy);
    cluster.settle();
    let told = answers(&cluster);
    assert_eq!((told.answers.support_key, told.answers.drain), (RemoteAnswer::Allow, RemoteAnswer::Ask));
    assert_eq!((told.approved, told.denied), (vec![], vec![ONE.to_owned()]));
}

#[test]
fn a_policy_that_is_gone_lets_nobody_in_who_was_not_before() {
    let mut cluster = under(json!({"remoteActions": {"updateOffer": "Refuse", "approved": [ONE]}}));
    cluster.policy = None;
    cluster.settle();
    let told = answers(&cluster);
    assert_eq!((told.answers.update_offer, told.approved), (RemoteAnswer::Refuse, vec![]));
}

#[test]
fn a_paused_relay_hears_a_no_and_no_yes() {
    let mut cluster = under(json!({"remoteActions": {"approved": [ONE]}}));
    cluster.annotate("paramant.app/paused", "true");
    cluster.policy = Some(production(json!({
        "remoteActions": {"drain": "Allow", "capability": "Refuse", "approved": [TWO], "denied": [ONE]},
    })));
    cluster.settle();
    let told = answers(&cluster);
    assert_eq!((told.answers.drain, told.answers.capability), (RemoteAnswer::Ask, RemoteAnswer::Refuse));
    assert_eq!((told.approved, told.denied), (vec![], vec![ONE.to_owned()]));
    cluster.relay["metadata"]["annotations"]["paramant.app/paused"] = json!("false");
    cluster.settle();
    assert_eq!(
        (answers(&cluster).answers.drain, answers(&cluster).approved),
        (RemoteAnswer::Allow, vec![TWO.to_owned()])
    );
}
