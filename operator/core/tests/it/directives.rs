//! Directives reach the relay in an order that it never refuses for long, whatever was restored or lost in between.

use paramant_operator_core::Report;
use paramant_protocol::control::DrainDirective;
use serde_json::{Value, json};

use crate::cluster::Cluster;

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
