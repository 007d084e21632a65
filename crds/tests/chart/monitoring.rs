//! What the chart hands to Prometheus and Grafana.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Shape, read, yaml};

#[test]
fn the_rules_in_the_cluster_are_those_that_are_tested() {
    let shape = Shape::named("monitoring");
    assert_eq!(shape.only("PrometheusRule")["spec"], yaml(&read("files/alerts.yaml")));
}

#[test]
fn every_alert_says_how_bad_it_is_what_happened_and_what_to_do() {
    let rules = yaml(&read("files/alerts.yaml"));
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules: Vec<&Value> = groups.flat_map(|group| group["rules"].as_array().unwrap()).collect();
    let mut names = BTreeSet::new();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(names.insert(name), "{name} twice");
        assert!(
            ["info", "warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()),
            "{name}"
        );
        for annotation in ["summary", "description"] {
            assert!(
                rule["annotations"][annotation].as_str().is_some_and(|it| it.len() > 20),
                "{name}: {annotation}"
            );
        }
    }
    assert!(names.len() > 20, "{names:?}");
}

#[test]
fn the_dashboard_is_where_the_sidecar_looks_and_is_the_file() {
    let shape = Shape::named("monitoring");
    let dashboard = shape.only("ConfigMap");
    assert_eq!(crate::labels(dashboard)["grafana_dashboard"], "1");
    let carried: Value = serde_json::from_str(dashboard["data"]["paramant.json"].as_str().unwrap()).unwrap();
    let file: Value = serde_json::from_str(&read("files/dashboard.json")).unwrap();
    assert_eq!(carried, file);
}

#[test]
fn every_panel_has_a_place_a_name_and_a_query() {
    let dashboard: Value = serde_json::from_str(&read("files/dashboard.json")).unwrap();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            assert!(
                x < 24 && (at("y")..at("y") + at("h")).all(|y| taken.insert((x, y))),
                "{}",
                panel["title"]
            );
        }
        if panel["type"] != "row" {
            let targets = panel["targets"].as_array().unwrap();
            assert!(
                !targets.is_empty()
                    && targets.iter().all(|it| it["expr"].as_str().is_some_and(|it| !it.is_empty()))
            );
        }
    }
    assert!(panels.len() > 15);
}

#[test]
fn relays_are_scraped_where_the_operator_watches() {
    let relays = |shape: &Shape| {
        shape.of("PodMonitor").find(|it| it["metadata"]["name"] == "paramant-relays").cloned()
    };
    let everywhere = relays(&Shape::named("monitoring")).unwrap();
    assert_eq!(everywhere["spec"]["namespaceSelector"]["any"], true);
    assert_eq!(everywhere["spec"]["podMetricsEndpoints"][0]["port"], "probes");
    assert_eq!(crate::labels(&everywhere)["release"], "prometheus");
    assert!(relays(&Shape::named("everything")).is_none(), "only when asked for");
}
