//! The operator is killed between every two writes, and another one goes on from what is stored: no step is taken twice, none
//! is lost, and the end is the same.

use jiff::SignedDuration;
use paramant_crds::relay::Step;
use paramant_operator_core::DeletedKind;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Deed, Fault, digest, image};

fn pods_deleted(cluster: &Cluster) -> usize {
    cluster.deeds.iter().filter(|deed| matches!(deed, Deed::Delete(DeletedKind::Pod, _))).count()
}

/// Another operator leads; it has asked no registry yet.
fn another_leads(cluster: &mut Cluster) {
    cluster.context.epoch += 1;
    cluster.registry.forget();
}

/// Passes, each of which dies after so many writes, until the image is this one and nothing moves any more.
fn run(cluster: &mut Cluster, mut writes: impl FnMut(u32) -> Option<usize>) {
    for pass in 0..100 {
        cluster.writes_left = writes(pass);
        cluster.pass();
        if cluster.writes_left.is_some() {
            // What a registry answered is there before the first write: no operator is so short-lived that it never hears one.
            cluster.context.epoch += 1;
        }
        // Its clock may stand still between the two.
        if pass % 3 != 0 {
            cluster.tick();
        }
        if cluster.step() == Step::Settling {
            cluster.now += SignedDuration::from_secs(100);
        }
        if cluster.step() == Step::Probing && !cluster.faults.is_empty() {
            cluster.now += SignedDuration::from_secs(20);
        }
    }
    cluster.writes_left = None;
    cluster.settle();
}

/// What an update leads to: an image, steps, and so many pods deleted.
struct Story {
    fault: Option<Fault>,
    ends_with: u8,
    pods_deleted: usize,
    last_steps: &'static [Step],
}

const STORIES: [Story; 3] = [
    Story {
        fault: None,
        ends_with: 2,
        pods_deleted: 1,
        last_steps: &[
            Step::Verifying,
            Step::Draining,
            Step::Replacing,
            Step::Probing,
            Step::Settling,
            Step::Idle,
        ],
    },
    Story {
        fault: Some(Fault::Crashes),
        ends_with: 1,
        pods_deleted: 2,
        last_steps: &[
            Step::Verifying,
            Step::Draining,
            Step::Replacing,
            Step::Probing,
            Step::RollingBack,
            Step::Idle,
        ],
    },
    Story {
        fault: Some(Fault::DiesAfterAWhile),
        ends_with: 1,
        pods_deleted: 2,
        last_steps: &[
            Step::Verifying,
            Step::Draining,
            Step::Replacing,
            Step::Probing,
            Step::Settling,
            Step::RollingBack,
            Step::Idle,
        ],
    },
];

fn begin(story: &Story) -> Cluster {
    let mut cluster = Cluster::serving();
    if let Some(fault) = story.fault {
        cluster.faults.insert(digest(2), fault);
    }
    cluster.deeds.clear();
    cluster.steps.clear();
    cluster.edit(|spec| spec["image"] = json!(image(2)));
    cluster
}

fn check(cluster: &Cluster, story: &Story, said: &str) {
    let what = format!("{:?}, {said}", story.fault);
    assert_eq!(cluster.pod_image(), image(story.ends_with), "{what}");
    assert_eq!(cluster.condition("Ready").0, "True", "{what}");
    assert_eq!(cluster.steps, story.last_steps, "no step is lost or taken again: {what}");
    assert_eq!(pods_deleted(cluster), story.pods_deleted, "{what}");
    let rejected = cluster.status().update.unwrap().rejected.len();
    assert_eq!(rejected, usize::from(story.fault.is_some()), "{what}");
}

#[test]
fn killed_once_after_any_write_of_a_roll_the_end_is_the_same() {
    for story in &STORIES {
        let mut undisturbed = begin(story);
        run(&mut undisturbed, |_| None);
        check(&undisturbed, story, "undisturbed");
        let writes = undisturbed.deeds.len();
        assert!(writes > 10, "{writes}");
        for survives in 0..=writes {
            let mut cluster = begin(story);
            // Writes are counted over all passes; only one pass is cut off.
            let mut left = Some(survives);
            let mut last = 0;
            for pass in 0..80 {
                let before = cluster.deeds.len();
                cluster.writes_left = left;
                cluster.pass();
                let done = cluster.deeds.len() - before;
                if let Some(budget) = left {
                    left = (cluster.writes_left != Some(0)).then(|| budget - done);
                    if left.is_none() {
                        another_leads(&mut cluster);
                        last = pass;
                    }
                }
                cluster.tick();
                let begun = cluster.steps.contains(&Step::Replacing);
                match cluster.step() {
                    Step::Settling | Step::Probing => cluster.now += SignedDuration::from_secs(20),
                    Step::Idle if begun && left.is_none() => break,
                    _ => {}
                }
            }
            cluster.writes_left = None;
            cluster.settle();
            check(&cluster, story, &format!("killed after {survives} writes, in pass {last}"));
        }
    }
}

#[test]
fn killed_after_every_single_write_it_still_gets_there() {
    for story in &STORIES {
        let mut cluster = begin(story);
        run(&mut cluster, |_| Some(1));
        check(&cluster, story, "killed after every write");
        let mut cluster = begin(story);
        run(&mut cluster, |pass| Some((pass % 4) as usize));
        check(&cluster, story, "killed after none to three writes");
    }
}

#[test]
fn an_installation_survives_being_killed_after_every_write() {
    for pace in 1..4 {
        let mut cluster = Cluster::with(json!({ "image": image(1) }));
        run(&mut cluster, |_| Some(pace));
        assert_eq!((cluster.phase(), pods_deleted(&cluster)), ("Ready", 0), "{pace} writes a life");
    }
}

#[test]
fn a_relay_that_is_deleted_in_any_step_is_told_and_left_alone() {
    for step in
        [Step::Verifying, Step::Draining, Step::Replacing, Step::Probing, Step::Settling, Step::RollingBack]
    {
        let mut cluster = Cluster::serving();
        if step == Step::RollingBack {
            cluster.faults.insert(digest(2), Fault::NeverReady);
        }
        cluster.edit(|spec| spec["image"] = json!(image(2)));
        cluster.until(step);
        cluster.relay["metadata"]["deletionTimestamp"] = json!(cluster.now.to_string());
        let decision = cluster.pass();
        assert!(
            decision.apply.is_empty() && decision.delete.is_empty() && decision.state.is_none(),
            "{step:?}"
        );
        assert!(decision.resolve.is_none() && decision.inspect.is_none(), "{step:?}");
        assert!(decision.directives.unwrap().deleting, "{step:?}");
    }
}

#[test]
fn a_durable_copy_lost_in_any_step_is_made_again_and_a_release_that_fails_still_goes_back() {
    let state = || ("ConfigMap".to_owned(), "health-state".to_owned());
    for step in [Step::Verifying, Step::Draining, Step::Replacing, Step::Probing, Step::Settling] {
        for fails in [false, true] {
            let mut cluster = Cluster::serving();
            cluster.edit(|spec| spec["image"] = json!(image(2)));
            cluster.until(step);
            cluster.objects.remove(&state());
            if fails {
                cluster.faults.insert(digest(2), Fault::NeverReady);
            }
            cluster.run(20);
            for _ in 0..12 {
                cluster.now += SignedDuration::from_secs(60);
                cluster.run(3);
            }
            cluster.settle();
            let runs = if fails { image(1) } else { image(2) };
            assert_eq!(
                (cluster.pod_image(), cluster.condition("Ready").0.as_str()),
                (runs, "True"),
                "{step:?}, fails: {fails}"
            );
        }
    }
}

#[test]
fn a_lost_status_alone_loses_no_release_that_was_good() {
    for step in [Step::Replacing, Step::Probing, Step::Settling] {
        let mut cluster = Cluster::serving();
        cluster.edit(|spec| spec["image"] = json!(image(2)));
        cluster.until(step);
        cluster.relay["status"] = json!({"observedGeneration": -1});
        cluster.faults.insert(digest(2), Fault::NeverReady);
        cluster.run(20);
        for _ in 0..12 {
            cluster.now += SignedDuration::from_secs(60);
            cluster.run(3);
        }
        cluster.settle();
        assert_eq!(
            (cluster.pod_image(), cluster.relay["status"]["phase"].clone()),
            (image(1), Value::from("Ready")),
            "{step:?}"
        );
    }
}
