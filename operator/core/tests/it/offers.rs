//! A vendor's offers: what each mode and tier makes of them, and that they go through the same machine as any image.

use jiff::Timestamp;
use paramant_crds::relay::{AvailableUpdate, Step};
use paramant_operator_core::release::{Release, Verdict};
use paramant_operator_core::{EventType, Report};
use paramant_protocol::control::{OfferReport, RemoteReport};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Fault, digest, image, production};

fn offers(n: u8, sequence: u64, version: &str) -> RemoteReport {
    let offer = OfferReport {
        id: format!("{sequence:032x}"),
        version: version.into(),
        digest: digest(n),
        sequence,
        offered_at: Timestamp::from_second(1_789_000_000).unwrap(),
        notes_sha256: "0".repeat(64),
        recalled: Vec::new(),
    };
    RemoteReport { sequence, offer: Some(offer), ..RemoteReport::default() }
}

/// Whoever is to decide, it need not wait for the night.
fn now(mode: &str) -> Value {
    json!({"mode": mode, "windows": [{"start": "02:00", "duration": "2h"}], "applies": {"image": "Now"}})
}

/// A relay with a channel that serves image 1, release 1.0.0, under this policy. Images 2 and 3 are 1.1.0 and 1.2.0.
fn following(updates: Value, tier: &str) -> Cluster {
    let mut cluster = Cluster::with(json!({
        "image": image(1), "channel": "stable", "policyRef": {"name": "production"},
    }));
    for (n, version) in [(1, "1.0.0"), (2, "1.1.0"), (3, "1.2.0"), (5, "1.0.5"), (9, "0.9.0")] {
        let release = Release { version: Some(version.into()), ..Release::default() };
        cluster.registry.releases.insert(digest(n), release);
    }
    cluster.policy = Some(production(json!({"updates": updates})));
    cluster.tier = Some(tier.into());
    cluster.remote = Some(RemoteReport::default());
    cluster.settle();
    assert_eq!(cluster.phase(), "Ready", "{:#}", cluster.relay["status"]);
    cluster.events.clear();
    cluster.steps.clear();
    cluster
}

fn available(cluster: &Cluster) -> Option<AvailableUpdate> {
    cluster.status().update?.available
}

fn message(cluster: &Cluster) -> String {
    let conditions = cluster.status().conditions;
    conditions.into_iter().find(|it| it.type_ == "UpdateAvailable").unwrap().message
}

/// The roll comes to its end.
fn finish(cluster: &mut Cluster) {
    cluster.until(Step::Settling);
    cluster.wait(310);
    cluster.settle();
    assert_eq!((cluster.step(), cluster.phase()), (Step::Idle, "Ready"));
}

#[test]
fn each_mode_and_tier_makes_of_an_offer_what_the_documents_say() {
    for (mode, tier, step) in [
        ("ByTier", "Community", Step::Idle),
        ("ByTier", "Licensed", Step::Idle),
        ("ByTier", "Pro", Step::Settling),
        ("ByTier", "Enterprise", Step::WaitingForApproval),
        ("Manual", "Pro", Step::Idle),
        ("Manual", "Enterprise", Step::Idle),
        ("Approval", "Community", Step::WaitingForApproval),
        ("Approval", "Pro", Step::WaitingForApproval),
    ] {
        let mut cluster = following(now(mode), tier);
        cluster.remote = Some(offers(2, 7, "1.1.0"));
        cluster.run(120);
        let reached =
            if step == Step::Settling { cluster.steps.contains(&step) } else { cluster.step() == step };
        assert!(reached, "{mode} {tier}: {:?}", cluster.steps);
        if step == Step::Settling {
            continue;
        }
        assert_eq!(cluster.pod_image(), image(1), "{mode} {tier}");
        let shown = available(&cluster).unwrap();
        assert_eq!((shown.version.as_deref(), shown.sequence), (Some("1.1.0"), Some(7)), "{mode} {tier}");
        assert_eq!(shown.digest.unwrap().as_str(), digest(2));
        assert_eq!(shown.offered_at.unwrap().0.as_second(), 1_789_000_000);
        let reason = if step == Step::Idle { "Offered" } else { "UpdateAvailable" };
        assert_eq!(cluster.condition("UpdateAvailable"), ("True".into(), reason.into()), "{mode} {tier}");
        let told = cluster.events.iter().filter(|it| it.reason == reason).count();
        assert_eq!(told, 1, "{mode} {tier}");
        if step == Step::Idle {
            let patch =
                format!(r#"-p '{{"spec":{{"image":"registry.example/paramant/relay@{}"}}}}'"#, digest(2));
            assert!(message(&cluster).ends_with(&patch), "{}", message(&cluster));
            assert_eq!(cluster.condition("UpdateBlocked").0, "False", "nothing waits");
        }
    }
}

#[test]
fn in_the_mode_window_it_waits_for_the_window() {
    let windows = json!([{"start": "02:00", "duration": "2h"}]);
    for (mode, tier) in [("Window", "Community"), ("ByTier", "Pro")] {
        let mut cluster = following(json!({"mode": mode, "windows": windows}), tier);
        cluster.remote = Some(offers(2, 7, "1.1.0"));
        cluster.settle();
        assert_eq!(cluster.step(), Step::WaitingForWindow, "{mode}");
        assert_eq!(cluster.condition("UpdateBlocked").1, "OutsideWindow");
        let update = cluster.status().update.unwrap();
        assert_eq!(update.target.unwrap().sequence, Some(7));
        // Made at a quarter past two in the afternoon.
        cluster.wait(12 * 60 * 60);
        finish(&mut cluster);
        assert_eq!(cluster.pod_image(), image(2), "{mode}");
        assert_eq!((available(&cluster), cluster.condition("UpdateAvailable").1), (None, "UpToDate".into()));
    }
}

#[test]
fn without_a_channel_or_a_policy_it_is_shown_and_nothing_more() {
    let mut cluster = following(now("Window"), "Pro");
    cluster.edit(|spec| spec["channel"] = Value::Null);
    cluster.remote = Some(offers(2, 7, "1.1.0"));
    cluster.settle();
    assert_eq!((cluster.step(), cluster.condition("UpdateAvailable").1), (Step::Idle, "Offered".into()));
    assert!(message(&cluster).contains("spec.channel is absent"), "{}", message(&cluster));
    cluster.edit(|spec| {
        spec["channel"] = json!("stable");
        spec["policyRef"] = Value::Null;
    });
    cluster.settle();
    assert_eq!((cluster.step(), cluster.condition("UpdateAvailable").1), (Step::Idle, "Offered".into()));
    assert_eq!(cluster.pod_image(), image(1));
}

#[test]
fn an_approval_is_for_this_offer_of_this_digest() {
    let mut cluster = following(now("Approval"), "Community");
    cluster.remote = Some(offers(2, 7, "1.1.0"));
    cluster.settle();
    for (approve, open) in [
        (json!({"digest": digest(2)}), false),
        (json!({"digest": digest(2), "sequence": 6}), false),
        (json!({"digest": digest(3), "sequence": 7}), false),
        (json!({"digest": digest(2), "sequence": 7}), true),
    ] {
        cluster.edit(|spec| spec["update"] = json!({"approve": approve}));
        if open {
            cluster.uploads = 1;
            cluster.until(Step::Draining);
        } else {
            cluster.settle();
            assert_eq!(cluster.step(), Step::WaitingForApproval, "{approve}");
        }
    }
    // Made anew while the drain runs: the approval was for the other.
    cluster.remote = Some(offers(2, 8, "1.1.0"));
    cluster.settle();
    assert_eq!((cluster.step(), cluster.pod_image()), (Step::WaitingForApproval, image(1)));
    assert!(cluster.message().contains("about offer 7, and what waits is offer 8"), "{}", cluster.message());
    let (_, patch) = cluster.message().split_once(" -p '").unwrap();
    let patch: Value = serde_json::from_str(patch.trim_end_matches('\'')).unwrap();
    cluster.uploads = 0;
    cluster.edit(|spec| spec["update"] = patch["spec"]["update"].clone());
    finish(&mut cluster);
    assert_eq!(cluster.pod_image(), image(2));
}

#[test]
fn what_was_taken_stays_whatever_becomes_of_offer_and_policy_until_a_newer_one_comes() {
    let mut cluster = following(now("Window"), "Pro");
    cluster.remote = Some(offers(2, 7, "1.1.0"));
    finish(&mut cluster);
    assert_eq!(cluster.pod_image(), image(2));
    // It runs out, nobody follows any more, the relay is away, another operator comes.
    cluster.remote = Some(RemoteReport::default());
    cluster.settle();
    cluster.policy = Some(production(json!({"updates": now("Manual")})));
    cluster.settle();
    cluster.report = Some(Report::Unknown);
    cluster.registry.forget();
    cluster.settle();
    cluster.report = None;
    cluster.settle();
    assert_eq!((cluster.pod_image(), cluster.step()), (image(2), Step::Idle));
    assert_eq!(cluster.condition("UpdateAvailable").1, "UpToDate");
    cluster.policy = Some(production(json!({"updates": now("Window")})));
    cluster.remote = Some(offers(3, 8, "1.2.0"));
    finish(&mut cluster);
    assert_eq!(cluster.pod_image(), image(3));
}

#[test]
fn the_image_is_the_floor_and_a_pin_outranks_both() {
    let mut cluster = following(now("Window"), "Pro");
    cluster.remote = Some(offers(2, 7, "1.1.0"));
    finish(&mut cluster);
    cluster.edit(|spec| spec["image"] = json!(image(5)));
    cluster.settle();
    let older = "1.0.5 is older than what was taken";
    assert_eq!((cluster.pod_image(), cluster.step()), (image(2), Step::Idle), "{older}");
    cluster.edit(|spec| spec["image"] = json!(image(3)));
    finish(&mut cluster);
    assert_eq!(cluster.pod_image(), image(3), "1.2.0 is newer");
    cluster.edit(|spec| spec["update"] = json!({"pin": digest(2)}));
    finish(&mut cluster);
    assert_eq!(cluster.pod_image(), image(2));
    cluster.edit(|spec| spec["update"] = Value::Null);
    finish(&mut cluster);
    assert_eq!(cluster.pod_image(), image(3));
}

#[test]
fn an_offer_that_fails_is_rolled_back_shown_and_not_tried_again_until_a_person_says_so() {
    let mut cluster = following(now("Window"), "Pro");
    cluster.faults.insert(digest(2), Fault::Crashes);
    cluster.remote = Some(offers(2, 7, "1.1.0"));
    cluster.until(Step::RollingBack);
    cluster.pass();
    let said = cluster.message();
    assert!(
        said.starts_with("putting the last good release back") && !said.contains("asks for it"),
        "{said}"
    );
    cluster.settle();
    assert_eq!((cluster.pod_image(), cluster.step(), cluster.phase()), (image(1), Step::Idle, "Ready"));
    assert_eq!(cluster.condition("Stalled").0, "False", "nobody here asked for it");
    assert_eq!(cluster.condition("UpdateAvailable"), ("True".into(), "Offered".into()));
    assert!(message(&cluster).contains("failed here before"), "{}", message(&cluster));
    let tries = |cluster: &Cluster| cluster.steps.iter().filter(|step| **step == Step::Probing).count();
    let tried = tries(&cluster);
    cluster.run(600);
    assert_eq!(tries(&cluster), tried);
    cluster.faults.clear();
    cluster.edit(|spec| spec["update"] = json!({"retry": digest(2)}));
    finish(&mut cluster);
    assert_eq!(cluster.pod_image(), image(2));
}

#[test]
fn a_second_offer_that_fails_leads_back_to_the_first() {
    let mut cluster = following(now("Window"), "Pro");
    cluster.remote = Some(offers(2, 7, "1.1.0"));
    finish(&mut cluster);
    cluster.faults.insert(digest(3), Fault::Crashes);
    cluster.remote = Some(offers(3, 8, "1.2.0"));
    cluster.until(Step::RollingBack);
    cluster.settle();
    assert_eq!((cluster.pod_image(), cluster.step(), cluster.phase()), (image(2), Step::Idle, "Ready"));
}

#[test]
fn an_offer_without_a_valid_signature_does_not_run_and_stalls_nothing() {
    let mut cluster = following(now("Window"), "Pro");
    let refused = Verdict::Refused { kind: "WrongKey", reason: "wrong key".into() };
    cluster.registry.verdicts.insert(digest(2), refused);
    cluster.remote = Some(offers(2, 7, "1.1.0"));
    cluster.run(60);
    assert_eq!(cluster.pod_image(), image(1));
    assert_eq!(cluster.condition("UpdateBlocked"), ("True".into(), "SignatureInvalid".into()));
    assert_eq!(
        (cluster.condition("Stalled").0, cluster.condition("Ready").0),
        ("False".into(), "True".into())
    );
}

#[test]
fn a_recalled_offer_is_no_target_and_a_recalled_release_that_runs_is_said() {
    let mut cluster = following(now("Window"), "Pro");
    let mut report = offers(2, 7, "1.1.0");
    report.offer.as_mut().unwrap().recalled = vec![digest(2)];
    cluster.remote = Some(report);
    cluster.settle();
    assert_eq!((cluster.step(), available(&cluster)), (Step::Idle, None));
    let mut report = offers(9, 8, "0.9.0");
    report.offer.as_mut().unwrap().recalled = vec![digest(1)];
    cluster.remote = Some(report);
    cluster.events.clear();
    cluster.settle();
    assert_eq!((cluster.step(), cluster.pod_image()), (Step::Idle, image(1)), "said, and never acted on");
    assert_eq!(cluster.condition("UpdateAvailable"), ("False".into(), "RunningRecalled".into()));
    assert!(message(&cluster).contains(&digest(1)) && message(&cluster).contains("recalled"));
    let told: Vec<_> = cluster.events.iter().map(|it| (it.type_, it.reason.as_str())).collect();
    assert_eq!(told, [(EventType::Warning, "RunningRecalled")]);
    // Not heard for a while, it is still so.
    let before = cluster.snapshot();
    cluster.report = Some(Report::Unknown);
    cluster.run(20);
    assert_eq!(cluster.snapshot().0["status"], before.0["status"]);
}

#[test]
fn a_relay_that_is_not_heard_keeps_its_offer_and_the_roll_that_waits() {
    for mode in ["Manual", "Approval"] {
        let mut cluster = following(now(mode), "Pro");
        cluster.remote = Some(offers(2, 7, "1.1.0"));
        cluster.settle();
        let (status, events) = (cluster.relay["status"].clone(), cluster.events.len());
        cluster.report = Some(Report::Unknown);
        cluster.registry.forget();
        cluster.run(20);
        cluster.report = None;
        cluster.settle();
        assert_eq!((&cluster.relay["status"], cluster.events.len()), (&status, events), "{mode}");
    }
}

#[test]
fn the_offer_that_runs_survives_the_loss_of_the_durable_copy() {
    let mut cluster = following(now("Window"), "Pro");
    cluster.remote = Some(offers(2, 7, "1.1.0"));
    finish(&mut cluster);
    cluster.remote = Some(RemoteReport::default());
    cluster.settle();
    cluster.objects.remove(&("ConfigMap".into(), "health-state".into()));
    cluster.report = Some(Report::Unknown);
    cluster.steps.clear();
    cluster.settle();
    cluster.report = None;
    cluster.settle();
    assert_eq!((cluster.pod_image(), cluster.step()), (image(2), Step::Idle));
    assert!(!cluster.steps.contains(&Step::Draining), "{:?}", cluster.steps);
}

#[test]
fn a_channel_that_is_taken_away_leaves_only_the_image() {
    let mut updates = now("Window");
    updates["allowDowngrade"] = json!(true);
    let mut cluster = following(updates, "Pro");
    cluster.remote = Some(offers(2, 7, "1.1.0"));
    finish(&mut cluster);
    cluster.edit(|spec| spec["channel"] = Value::Null);
    finish(&mut cluster);
    assert_eq!(cluster.pod_image(), image(1));
}
