//! The table of rights in `docs/kubectl-paramant.md`, held against what each command asks an API server for: it asks for
//! exactly what its row says, fails without each right it needs, and works without each it is only better with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::verify::tests::{answers, entry, log};
use crate::fake_api::{Asked, FakeApi, refused};

const DOCUMENT: &str = include_str!("../../../../docs/kubectl-paramant.md");
const OTHER: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const THIRD: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";

const REQUEST: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// The right a request takes, read from what went over the wire.
fn right(asked: &Asked) -> String {
    let path = asked.path.split('?').next().unwrap();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let at = parts
        .iter()
        .position(|part| *part == "namespaces")
        .map_or(if parts[0] == "api" { 2 } else { 3 }, |namespaces| namespaces + 2);
    let (resource, name, sub) = (parts[at], parts.get(at + 1), parts.get(at + 2));
    let verb = match (asked.method.as_str(), name) {
        ("GET", Some(_)) => "get",
        ("GET", None) => "list",
        ("PATCH", Some(_)) => "patch",
        other => panic!("{other:?} {path}"),
    };
    sub.map_or_else(|| format!("{verb} {resource}"), |sub| format!("{verb} {resource}/{sub}"))
}

/// A world in which every command succeeds, but for one right that is missing.
fn world(missing: Option<String>) -> FakeApi {
    let rejected = json!([{ "digest": THIRD, "reason": "died", "at": "2026-01-01T00:00:00Z" }]);
    let sound = answers(log(20, entry, None), 20, move |scene| {
        scene["relay"]["spec"]["policyRef"] = json!({ "name": "production" });
        scene["relay"]["spec"]["update"] = json!({ "pin": THIRD });
        scene["relay"]["status"]["remoteActions"] = json!({ "pending": [{
            "id": REQUEST, "kind": "drain", "role": "Support", "reason": "incident", "asks": "a drain",
            "endsAt": "2026-01-01T00:00:00Z",
        }] });
        scene["relay"]["status"]["update"] = json!({
            "step": "WaitingForApproval", "target": { "digest": OTHER }, "lastGood": OTHER, "rejected": rejected,
        });
    });
    FakeApi::new(move |asked| {
        if asked.path == "/version" {
            return (200, json!({ "major": "1", "minor": "33" }).to_string().into_bytes());
        }
        if missing.as_deref() == Some(right(asked).as_str()) {
            return refused(403, &asked.path);
        }
        let path = asked.path.split('?').next().unwrap();
        let list = |items: Value| (200, json!({ "items": items }).to_string().into_bytes());
        let pod = json!({
            "metadata": { "name": "health-0" }, "spec": { "containers": [{ "name": "relay" }] },
            "status": { "containerStatuses": [{ "name": "relay", "restartCount": 1 }] },
        });
        let policy = json!({ "metadata": { "name": "production", "resourceVersion": "7" }, "spec": {} });
        let license = json!({ "metadata": { "name": "acme", "namespace": "transfers" }, "spec": { "secretRef": { "name": "s" } } });
        match path.rsplit('/').next().unwrap() {
            "acme" => (200, license.to_string().into_bytes()),
            "production" => (200, policy.to_string().into_bytes()),
            "pods" => list(json!([pod])),
            "log" | "state" | "readyz" | "metrics" => (200, b"text".to_vec()),
            // Names of objects and files of the log.
            "health" | "health-0" | "vkeys" | "checkpoint" => sound(asked),
            _ => list(json!([])),
        }
    })
}

/// Each command of the table, as it is typed.
fn line(command: &str, folder: &str) -> String {
    let rest = match command {
        "status" | "completion" => String::new(),
        "license" => String::new(),
        "license NAME" => return "x license acme".to_owned(),
        "status NAME" => return "x status health".to_owned(),
        "report" => format!(" -o {folder}"),
        "report NAME" => return format!("x report health -o {folder}"),
        "revoke-support-key" => " health sk-1".to_owned(),
        "allow" | "deny" => format!(" health {REQUEST}"),
        _ => " health".to_owned(),
    };
    let rest = if command == "completion" { " bash".to_owned() } else { rest };
    format!("x {command}{rest}")
}

/// Rows of the table: the command, what it needs, what it is better with.
fn rows() -> BTreeMap<&'static str, (BTreeSet<&'static str>, BTreeSet<&'static str>)> {
    let table = DOCUMENT.split("| command | needs | better with |").nth(1).unwrap();
    let set = |cell: &'static str| cell.split(';').map(str::trim).filter(|it| !it.is_empty()).collect();
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            (cells[0].trim_matches('`'), (set(cells[1]), set(cells[2])))
        })
        .collect()
}

#[tokio::test]
async fn each_command_asks_for_the_rights_in_its_row_and_no_other() {
    for (command, (needs, better)) in rows() {
        let folder = tempfile::tempdir().unwrap();
        let out = |name: &str| folder.path().join(name).display().to_string();
        let api = world(None);
        let code =
            api.run(&line(command, &out("all"))).await.unwrap_or_else(|error| panic!("{command}: {error:#}"));
        assert!(is_success(code), "{command}");
        let asked = api.asked();
        let asked: BTreeSet<String> = asked.iter().filter(|it| it.path != "/version").map(right).collect();
        let written: BTreeSet<String> = needs.union(&better).map(|&it| it.to_owned()).collect();
        assert_eq!(asked, written, "{command}");

        for (number, &missing) in needs.union(&better).enumerate() {
            let api = world(Some(missing.to_owned()));
            let ended = api.run(&line(command, &out(&number.to_string()))).await;
            let worked = ended.as_ref().is_ok_and(|code| is_success(*code));
            assert_eq!(worked, better.contains(missing), "{command} without {missing}: {ended:?}");
        }
    }
}

#[test]
fn every_command_has_a_row() {
    use clap::CommandFactory as _;
    let rows = rows();
    for verb in crate::cli::Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
        assert!(rows.contains_key(verb.get_name()), "{}", verb.get_name());
        assert!(DOCUMENT.contains(&format!("kubectl paramant {}", verb.get_name())), "{}", verb.get_name());
    }
}

fn is_success(code: ExitCode) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)
}
