//! What promtool says about the alerts and the dashboard of the chart, and whether their metrics exist at all.
//!
//! A test of an alert proves nothing unless it would notice a wrong one. So each alert is also tried in three mutants, one that
//! never fires, one that fires always and one that never ends: its tests must fail for each of them. An alert without tests
//! therefore fails here. Metrics are looked up in docs/metrics.md, which a test of each program holds against what it exports.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Result, fail};
use crate::packages;
use crate::run::Run;
use crate::step::Evidence;

const CHART: &str = "charts/paramant-operator";
/// Labels that a scrape adds, or that a histogram has.
const FROM_ELSEWHERE: &[&str] = &["namespace", "pod", "le"];

/// The rung.
pub(crate) fn check(cache: &Cache, evidence: &Evidence) -> Result<()> {
    packages::ensure_for_manifests(cache)?;
    let chart = cache.checkout().join(CHART);
    let (rules, tests) = (read(&chart.join("files/alerts.yaml"))?, read(&chart.join("tests/alerts.yaml"))?);
    promtool("test", &chart.join("tests/alerts.yaml")).done()?;
    let alerts = alerts_in(&rules);
    if alerts.len() != rules.matches("alert:").count() {
        return fail("files/alerts.yaml: an alert needs `- alert:` and, below it, `expr:` on one line each");
    }
    let folder = cache.root().join("rendered/alerts");
    for part in ["files", "tests"] {
        make_directory(&folder.join(part))?;
    }
    for alert in &alerts {
        noticed(alert, &tests, &folder)?;
    }
    let queries = queries_in(&read(&chart.join("files/dashboard.json"))?);
    check_queries(&queries, &folder)?;
    let known = metrics_in(&read(&cache.checkout().join("docs/metrics.md"))?);
    let expressions =
        alerts.iter().map(|alert| alert.expr.as_str()).chain(queries.iter().map(String::as_str));
    let wrong: Vec<String> = expressions.flat_map(|expression| unknown_in(expression, &known)).collect();
    if !wrong.is_empty() {
        return fail(format!("docs/metrics.md does not know:\n    {}", wrong.join("\n    ")));
    }
    if unknown_in("sum(paramant_no_such_metric) + paramant_log_entries{no_such_label=\"\"}", &known).len()
        != 2
    {
        return fail("a metric and a label that do not exist were not noticed: nothing would be");
    }
    evidence.say(format!(
        "{} alerts, {} mutants noticed, {} queries, {} metrics",
        alerts.len(),
        3 * alerts.len(),
        queries.len(),
        known.len()
    ));
    Ok(())
}

/// One alert as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
struct Alert {
    name: String,
    expr: String,
    block: String,
}

fn alerts_in(rules: &str) -> Vec<Alert> {
    let blocks = rules.split("      - alert: ").skip(1);
    blocks
        .filter_map(|block| {
            let block = block.split("\n  - name: ").next().unwrap_or(block);
            let (name, rest) = block.split_once('\n')?;
            let expr = rest.lines().find_map(|line| line.strip_prefix("        expr: "))?;
            Some(Alert { name: name.to_owned(), expr: expr.to_owned(), block: block.to_owned() })
        })
        .collect()
}

/// Whether the tests of an alert fail for each mutant of it.
fn noticed(alert: &Alert, tests: &str, folder: &Path) -> Result<()> {
    let (head, groups) = tests.split_once("\ntests:\n").unwrap_or((tests, ""));
    let own = format!("{} ", alert.name);
    let groups: Vec<&str> = groups.split("  - name: ").filter(|group| group.starts_with(&own)).collect();
    if groups.len() < 2 {
        return fail(format!(
            "tests/alerts.yaml needs two groups for {0}: `{0} fires and ends` and `{0} stays silent`",
            alert.name
        ));
    }
    let file = folder.join("tests/alerts.yaml");
    write(&file, &format!("{head}\ntests:\n  - name: {}", groups.join("  - name: ")))?;
    let expr = &alert.expr;
    let mutants = [
        ("never fires", "vector(1) < 0".to_owned()),
        ("fires always", format!("({expr}) or on() vector(1)")),
        ("never ends", format!("max_over_time(({expr})[1d:1m])")),
    ];
    for (what, mutant) in mutants {
        let block = alert.block.replacen(expr, &mutant, 1);
        let rules = format!("groups:\n  - name: mutant\n    rules:\n      - alert: {block}\n");
        write(&folder.join("files/alerts.yaml"), &rules)?;
        if promtool("test", &file).succeeds() {
            return fail(format!("the tests of {} do not notice when it {what}", alert.name));
        }
    }
    Ok(())
}

/// The queries of the dashboard: each stands on a line of its own.
fn queries_in(dashboard: &str) -> Vec<String> {
    let lines =
        dashboard.lines().filter_map(|line| line.trim().strip_prefix("\"expr\": \"")?.strip_suffix("\","));
    lines.map(|query| query.replace("\\\"", "\"")).collect()
}

/// Parses the queries with promtool, as rules that record them; Grafana's variables take a value first.
fn check_queries(queries: &[String], folder: &Path) -> Result<()> {
    if queries.is_empty() {
        return fail("files/dashboard.json: no `\"expr\": \"…\",` line was found");
    }
    let record = |queries: &[String]| {
        let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
        for (number, query) in queries.iter().enumerate() {
            let query =
                query.replace("$__rate_interval", "5m").replace("$namespace", ".*").replace("$pod", ".*");
            let query = query.replace('\'', "''");
            rules.push_str(&format!("      - record: query:{number}\n        expr: '{query}'\n"));
        }
        rules
    };
    let file = folder.join("files/dashboard.yaml");
    write(&file, &record(&["sum by (paramant_log_entries".to_owned()]))?;
    if promtool("check", &file).succeeds() {
        return fail("promtool accepts a query that does not parse: it would accept anything");
    }
    write(&file, &record(queries))?;
    promtool("check", &file).done()
}

/// Name and labels of every metric in docs/metrics.md.
fn metrics_in(page: &str) -> BTreeMap<String, Vec<String>> {
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `paramant_")?.split(" | ");
        let name = format!("paramant_{}", cells.next()?.trim_end_matches('`'));
        let labels = cells.next()?.split(", ").map(|label| label.trim_matches('`').to_owned());
        Some((name, labels.collect()))
    });
    rows.collect()
}

/// Metrics and labels in an expression that nobody exports.
fn unknown_in(expression: &str, known: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut wrong = Vec::new();
    for (at, _) in expression.match_indices("paramant_") {
        if expression.get(..at).is_some_and(|before| before.ends_with(is_word)) {
            continue;
        }
        let rest = expression.get(at..).unwrap_or_default();
        let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let plain = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let Some(labels) = known.get(name).or_else(|| known.get(plain?)) else {
            wrong.push(format!("{name}, in {expression}"));
            continue;
        };
        let selector = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        for matcher in selector.split(", ").filter(|matcher| !matcher.is_empty()) {
            let label = matcher.split(|letter| !is_word(letter)).next().unwrap_or_default();
            if !FROM_ELSEWHERE.contains(&label) && !labels.iter().any(|one| one == label) {
                wrong.push(format!("the label {label} of {name}, in {expression}"));
            }
        }
    }
    wrong
}

fn promtool(what: &str, file: &Path) -> Run {
    Run::new("promtool").args([what, "rules"]).arg(file)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).doing(|| format!("read {}", path.display()))
}

fn write(path: &PathBuf, text: &str) -> Result<()> {
    fs::write(path, text).doing(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_alert_is_read_with_its_expression_and_everything_below_it() {
        let rules = "groups:\n  - name: a\n    rules:\n      - alert: One\n        expr: up == 0\n        for: 1m\n\
                     \x20 - name: b\n    rules:\n      - alert: Two\n        expr: up\n";
        let alerts = alerts_in(rules);
        let names: Vec<_> = alerts.iter().map(|alert| (alert.name.as_str(), alert.expr.as_str())).collect();
        assert_eq!(names, [("One", "up == 0"), ("Two", "up")]);
        assert!(alerts[0].block.ends_with("for: 1m"), "{:?}", alerts[0].block);
    }

    #[test]
    fn a_metric_is_known_by_its_name_its_parts_and_its_labels() {
        let known = metrics_in(
            "| `paramant_seconds` | `route`, `method` | How long. |\n| `paramant_up` |  | Up. |\n",
        );
        let unknown = |expression| unknown_in(expression, &known).len();
        assert_eq!(
            unknown("rate(paramant_seconds_bucket{route=\"a\", le=\"5\", pod=~\".*\"}[5m]) / paramant_up"),
            0
        );
        assert_eq!(unknown("paramant_seconds{status=\"a\"} + paramant_down"), 2);
    }
}
