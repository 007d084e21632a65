//! Whatever happens in whatever order: no panic, no forbidden act, and rest in the end.

use std::sync::OnceLock;

use jiff::{SignedDuration, Timestamp};
use paramant_operator_core::release::{Release, Verdict};
use paramant_operator_core::{Children, Context, Observation, Report, Resolution, decide};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cluster::{Answer, Cluster, Fault, digest, hash, image, production};

/// Something that may happen at any moment.
#[derive(Debug, Clone)]
enum Happening {
    Image(u8),
    Fault(u8, Option<Fault>),
    Drain(Option<bool>),
    Pause(bool),
    Label(u8),
    Retry(u8),
    Pin(Option<u8>),
    Evict,
    LoseStatus,
    LoseState,
    LoseStatefulSet,
    LoseServices,
    TamperWithTemplate,
    Unschedulable(bool),
    Uploads(u64),
    Unreachable(bool),
    Unasked(bool),
    Answers(fn(&Value) -> Answer),
    Ca(u8),
    Epoch,
    Time(u32),
    Passes(u32),
    PassWithoutTick,
    /// The registry is away, or slow.
    Registry(bool, u32),
    Signature(u8, bool),
    /// A schema of a release, and who can read it.
    Labels(u8, u32),
    Policy(Option<Value>),
    Approve(u8),
    UpdateNow(u8),
    /// The operator dies after so many writes, and another one leads.
    Killed(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    let fault = prop_oneof![
        Just(None),
        Just(Some(Fault::Crashes)),
        Just(Some(Fault::IsNotThere)),
        Just(Some(Fault::NeverReady)),
        Just(Some(Fault::LosesTheLog)),
        Just(Some(Fault::DiesAfterAWhile)),
        Just(Some(Fault::MakesNoPod)),
    ];
    let policy = prop_oneof![
        Just(None),
        Just(Some(json!({"mode": "Manual", "applies": {"image": "Now", "pod": "Now"}}))),
        Just(Some(json!({"mode": "Approval", "maxAttempts": 2}))),
        Just(Some(json!({
            "mode": "Window", "overrun": "RollBack", "windows": [{"start": "00:00", "duration": "2h"}],
        }))),
    ];
    prop_oneof![
        (1_u8..4).prop_map(Happening::Image),
        (1_u8..4, fault).prop_map(|(n, fault)| Happening::Fault(n, fault)),
        proptest::option::of(any::<bool>()).prop_map(Happening::Drain),
        any::<bool>().prop_map(Happening::Pause),
        (0_u8..3).prop_map(Happening::Label),
        (1_u8..4).prop_map(Happening::Retry),
        proptest::option::of(1_u8..4).prop_map(Happening::Pin),
        Just(Happening::Evict),
        Just(Happening::LoseStatus),
        Just(Happening::LoseState),
        Just(Happening::LoseStatefulSet),
        Just(Happening::LoseServices),
        Just(Happening::TamperWithTemplate),
        any::<bool>().prop_map(Happening::Unschedulable),
        (0_u64..3).prop_map(Happening::Uploads),
        any::<bool>().prop_map(Happening::Unreachable),
        any::<bool>().prop_map(Happening::Unasked),
        prop_oneof![
            Just((|_| Answer::Taken) as fn(&Value) -> Answer),
            Just(
                (|it| if it["kind"] == "StatefulSet" { Answer::Fails } else { Answer::Taken })
                    as fn(&Value) -> Answer
            ),
            Just(
                (|it| if it["kind"] == "StatefulSet" { Answer::Refused } else { Answer::Taken })
                    as fn(&Value) -> Answer
            ),
            Just(
                (|it| if it["kind"] == "Service" { Answer::Refused } else { Answer::Taken })
                    as fn(&Value) -> Answer
            ),
        ]
        .prop_map(Happening::Answers),
        (0_u8..3).prop_map(Happening::Ca),
        Just(Happening::Epoch),
        (1_u32..4000).prop_map(Happening::Time),
        (1_u32..12).prop_map(Happening::Passes),
        Just(Happening::PassWithoutTick),
        (any::<bool>(), 0_u32..4).prop_map(|(away, slow)| Happening::Registry(away, slow)),
        (1_u8..4, any::<bool>()).prop_map(|(n, signed)| Happening::Signature(n, signed)),
        (1_u8..4, 1_u32..4).prop_map(|(n, schema)| Happening::Labels(n, schema)),
        policy.prop_map(Happening::Policy),
        (1_u8..4).prop_map(Happening::Approve),
        (1_u8..4).prop_map(Happening::UpdateNow),
        (0_usize..4).prop_map(Happening::Killed),
    ]
}

fn happen(cluster: &mut Cluster, what: Happening) {
    match what {
        Happening::Image(n) => cluster.edit(|spec| spec["image"] = json!(image(n))),
        Happening::Fault(n, Some(fault)) => {
            cluster.faults.insert(digest(n), fault);
        }
        Happening::Fault(n, None) => {
            cluster.faults.remove(&digest(n));
        }
        Happening::Drain(drain) => cluster.edit(|spec| spec["drain"] = json!(drain)),
        Happening::Pause(paused) => {
            cluster.annotate("paramant.app/paused", if paused { "true" } else { "false" })
        }
        Happening::Label(n) => cluster.edit(|spec| spec["pod"] = json!({"labels": {"n": n.to_string()}})),
        Happening::Retry(n) => cluster.edit(|spec| spec["update"] = json!({"retry": digest(n)})),
        Happening::Pin(n) => cluster.edit(|spec| spec["update"] = json!({"pin": n.map(digest)})),
        Happening::Evict => {
            cluster.objects.remove(&("Pod".into(), "health-0".into()));
            cluster.process = None;
        }
        Happening::LoseStatus => cluster.relay["status"] = json!({"observedGeneration": -1}),
        Happening::LoseState => {
            cluster.objects.remove(&("ConfigMap".into(), "health-state".into()));
        }
        Happening::LoseStatefulSet => {
            cluster.objects.remove(&("StatefulSet".into(), "health".into()));
        }
        Happening::LoseServices => cluster.objects.retain(|(kind, _), _| kind != "Service"),
        Happening::TamperWithTemplate => {
            if let Some(set) = cluster.get_mut("StatefulSet", "health") {
                set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("evil.example/x:1");
                let generation = set["metadata"]["generation"].as_i64().unwrap();
                set["metadata"]["generation"] = json!(generation + 1);
            }
        }
        Happening::Unschedulable(it) => cluster.unschedulable = it,
        Happening::Uploads(n) => cluster.uploads = n,
        Happening::Unreachable(it) => {
            cluster.report =
                it.then(|| Report::Unreachable { since: cluster.now, reason: "connection refused".into() });
        }
        Happening::Unasked(it) => cluster.report = it.then_some(Report::Unknown),
        Happening::Answers(answers) => cluster.answers = answers,
        Happening::Ca(n) => cluster.context.ca_bundle_pem = format!("PEM {n}"),
        Happening::Epoch => cluster.context.epoch += 1,
        Happening::Time(seconds) => cluster.now += SignedDuration::from_secs(seconds.into()),
        Happening::Passes(n) => cluster.run(n),
        Happening::PassWithoutTick => {
            cluster.pass();
        }
        Happening::Registry(away, slow) => (cluster.registry.away, cluster.registry.slow) = (away, slow),
        Happening::Signature(n, true) => {
            cluster.registry.verdicts.remove(&digest(n));
        }
        Happening::Signature(n, false) => {
            let refused = Verdict::Refused { kind: "Unsigned", reason: "it is not signed".into() };
            cluster.registry.verdicts.insert(digest(n), refused);
        }
        Happening::Labels(n, schema) => {
            let min_reader = Some(schema.saturating_sub(1).max(1));
            let version = Some(format!("1.{schema}.0"));
            cluster
                .registry
                .releases
                .insert(digest(n), Release { version, schema: Some(schema), min_reader });
        }
        Happening::Policy(updates) => {
            cluster.relay["spec"]["policyRef"] = json!({"name": "production"});
            cluster.policy = updates.map(|updates| production(json!({"updates": updates})));
        }
        Happening::Approve(n) => {
            cluster.edit(|spec| spec["update"] = json!({"approve": {"digest": digest(n)}}));
        }
        Happening::UpdateNow(n) => cluster.annotate("paramant.app/update-now", &digest(n)),
        Happening::Killed(after) => {
            cluster.writes_left = Some(after);
            cluster.pass();
            cluster.writes_left = None;
            cluster.context.epoch += 1;
            cluster.registry.forget();
        }
    }
}

/// What a person would do in the end: make everything possible, and wait.
fn heal(cluster: &mut Cluster) {
    cluster.faults.clear();
    cluster.unschedulable = false;
    cluster.uploads = 0;
    cluster.report = None;
    cluster.answers = |_| Answer::Taken;
    (cluster.registry.away, cluster.registry.slow) = (false, 0);
    cluster.registry.verdicts.clear();
    cluster.annotate("paramant.app/paused", "false");
    cluster.edit(|spec| {
        spec["image"] = json!(image(9));
        spec["drain"] = Value::Null;
        spec["update"] = Value::Null;
        spec["policyRef"] = Value::Null;
    });
    for _ in 0..14 {
        cluster.run(5);
        cluster.now += SignedDuration::from_secs(120);
    }
    cluster.settle();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(16), max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_relay_that_is_healed_serves_what_is_wanted_and_rests(
        happenings in proptest::collection::vec(happening(), 1..40)
    ) {
        let mut cluster = Cluster::with(json!({ "image": image(1) }));
        for what in happenings {
            happen(&mut cluster, what);
        }
        heal(&mut cluster);
        prop_assert_eq!(cluster.phase(), "Ready", "{:#}", cluster.relay["status"]);
        prop_assert_eq!(cluster.pod_image(), image(9));
        let deeds = cluster.deeds.len();
        cluster.run(5);
        prop_assert_eq!(cluster.deeds.len(), deeds);
    }
}

/// Found by the property above: status is lost while the set carries a template that is not the kept one any more.
#[test]
fn a_template_that_was_not_taken_on_the_way_back_is_sent_again_as_it_is_kept() {
    let answers: [fn(&Value) -> Answer; 2] = [
        |it| if it["kind"] == "StatefulSet" { Answer::Fails } else { Answer::Taken },
        |it| if it["kind"] == "StatefulSet" { Answer::Refused } else { Answer::Taken },
    ];
    for answers in answers {
        let mut cluster = Cluster::with(json!({ "image": image(1) }));
        cluster.run(1);
        happen(&mut cluster, Happening::Image(2));
        cluster.run(4);
        happen(&mut cluster, Happening::Answers(answers));
        happen(&mut cluster, Happening::Image(1));
        happen(&mut cluster, Happening::LoseStatus);
        cluster.run(5);
        heal(&mut cluster);
        assert_eq!((cluster.phase(), cluster.pod_image()), ("Ready", image(9)));
    }
}

/// A relay at rest, made once.
fn at_rest() -> &'static (Observation, Context) {
    static AT_REST: OnceLock<(Observation, Context)> = OnceLock::new();
    AT_REST.get_or_init(|| {
        let cluster = Cluster::serving();
        (cluster.observe(), cluster.context)
    })
}

/// `PROPTEST_CASES` asks for more than the usual few.
fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

/// JSON of any shape.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~é]{0,12}".prop_map(Value::from),
        Just(json!("sha256:")),
        Just(json!(digest(1))),
        Just(json!(hash(1))),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-zA-Z]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every place in a JSON document.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                places(inner, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), all);
            }
        }
        Value::Array(items) => {
            for (n, inner) in items.iter().enumerate() {
                places(inner, &format!("{at}/{n}"), all);
            }
        }
        _ => {}
    }
}

fn garble<T: serde::Serialize + serde::de::DeserializeOwned>(
    object: &T,
    pick: usize,
    with: &Value,
) -> Option<T> {
    let mut value = serde_json::to_value(object).unwrap();
    let mut all = Vec::new();
    places(&value, "", &mut all);
    let place = &all[pick % all.len()];
    *value.pointer_mut(place)? = with.clone();
    serde_json::from_value(value).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_can_be_read_makes_it_panic(
        pick in any::<usize>(), which in 0_usize..8, with in anything(), seconds in any::<i32>(),
        gone in proptest::collection::vec(any::<bool>(), 8)
    ) {
        let (seen, context) = at_rest();
        let (mut seen, context) = (seen.clone(), context.clone());
        fn replace<T>(slot: &mut Option<std::sync::Arc<T>>, pick: usize, with: &Value)
        where
            T: serde::Serialize + serde::de::DeserializeOwned,
        {
            if let Some(garbled) = slot.as_deref().and_then(|object| garble(object, pick, with)) {
                *slot = Some(garbled.into());
            }
        }
        let mut relay = Some(seen.relay.clone());
        match which {
            0 => replace(&mut seen.children.state, pick, &with),
            1 => replace(&mut seen.children.stateful_set, pick, &with),
            2 => replace(&mut seen.children.config, pick, &with),
            3 => replace(&mut seen.children.claim, pick, &with),
            4 => {
                let mut pod = seen.children.pods.pop();
                replace(&mut pod, pick, &with);
                seen.children.pods.extend(pod);
            }
            5 => {
                if let Report::Reachable { state, pod_uid, at } = &seen.report {
                    let state = garble(&**state, pick, &with).map_or(state.clone(), Into::into);
                    seen.report = Report::Reachable { state, pod_uid: pod_uid.clone(), at: *at };
                }
            }
            _ => replace(&mut relay, pick, &with),
        }
        seen.relay = relay.unwrap();
        if gone[0] { seen.children.pods.clear(); }
        if gone[1] { seen.children.stateful_set = None; }
        if gone[2] { seen.children.state = None; }
        if gone[3] { seen.report = Report::Unknown; }
        if gone[4] && gone[5] { seen.children = Children::default(); }
        let now = Timestamp::from_second(i64::from(seconds)).unwrap();
        let decision = decide(&seen, &context, now);
        prop_assert_eq!(&decision, &decide(&seen, &context, now));
        for deletion in &decision.delete {
            prop_assert!(!deletion.uid.is_empty());
        }
    }
}

#[test]
fn an_object_no_api_server_returns_is_left_alone() {
    let cluster = Cluster::serving();
    let mut seen = cluster.observe();
    let mut relay = (*seen.relay).clone();
    relay.metadata.uid = None;
    seen.relay = relay.into();
    seen.resolution = Resolution::Pending;
    let context = Context { gateway_api: false, ..cluster.context.clone() };
    let decision = decide(&seen, &context, Timestamp::UNIX_EPOCH);
    assert!(decision.apply.is_empty() && decision.directives.is_none() && decision.state.is_none());
}
