//! Every CEL rule against the real API server: one manifest it refuses, and its nearest neighbour it accepts.
//!
//! The rules are read from the definitions the server holds, so a rule without a row, or one that never refused, fails here.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use paramant_crds::table::{self, Kind, PlacedRule, Row, Sketch};
use serde_json::Value;

use super::fixture::Fixture;
use crate::{
    bed::Bed,
    steps::{Seen, seen},
};

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "rules")?;
    let mut fired = BTreeSet::new();
    let mut rows = 0;
    for row in table::rows() {
        judge(&fixture, row)?;
        fired.insert((
            row.kind,
            PlacedRule {
                at: row.at.to_owned(),
                cel: row.clause.cel.to_owned(),
                message: row.clause.message.to_owned(),
            },
        ));
        rows += 1;
    }
    let mut rules = 0;
    for (kind, plural) in [
        (Kind::Relay, "paramantrelays.paramant.app"),
        (Kind::License, "paramantlicenses.paramant.app"),
        (Kind::Policy, "paramantpolicies.paramant.app"),
    ] {
        let definition: Value = serde_json::from_str(&bed.kubectl(&["get", "crd", plural, "-o", "json"])?)?;
        for rule in table::placed_rules(&definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]) {
            rules += 1;
            if !fired.contains(&(kind, rule.clone())) {
                bail!("no manifest was refused by the rule at “{}” of {plural}: {}", rule.at, rule.cel);
            }
        }
    }
    if rules == 0 {
        bail!("the API server's definitions hold no rule at all");
    }
    seen((), format!("{rules} rules, {rows} pairs of manifests"))
}

fn judge(fixture: &Fixture<'_>, row: &Row) -> Result<()> {
    let what = format!("rule at “{}” of {} ({})", row.at, row.kind.as_str(), row.clause.message);
    if let Some(before) = &row.before {
        fixture.ok(&["create"], &before.manifest(row.kind), &what)?;
        if let Some(status) = row.reported {
            let resource = format!("{}/{}", row.kind.as_str(), before.name);
            let patch =
                serde_json::to_string(&serde_saphyr::from_str::<Value>(&format!("status: {status}"))?)?;
            fixture.bed.kubectl(&[
                "-n",
                &fixture.namespace,
                "patch",
                &resource,
                "--subresource=status",
                "--type=merge",
                "-p",
                &patch,
            ])?;
        }
    }
    let verb = if row.before.is_some() { "replace" } else { "create" };
    let arguments = [verb, "--dry-run=server"];
    let refused = fixture.send(&arguments, &row.refused.manifest(row.kind))?;
    if refused.code == Some(0) {
        bail!("{what}: the API server accepted {}", show(&row.refused));
    }
    if !refused.stderr.contains(row.clause.message) {
        bail!("{what}: refused for another reason: {}", refused.stderr.trim());
    }
    fixture.ok(&arguments, &row.accepted.manifest(row.kind), &what)?;
    if let Some(before) = &row.before {
        let resource = format!("{}/{}", row.kind.as_str(), before.name);
        fixture.bed.kubectl(&["-n", &fixture.namespace, "delete", &resource])?;
    }
    Ok(())
}

fn show(sketch: &Sketch) -> String {
    format!("{}: {}", sketch.name, sketch.spec)
}

impl Fixture<'_> {
    fn send(&self, arguments: &[&str], manifest: &str) -> Result<crate::process::Output> {
        let mut all = vec!["-n", self.namespace.as_str()];
        all.extend(arguments);
        all.extend(["-f", "-"]);
        self.bed.kubectl_raw(&all, Some(manifest))
    }

    fn ok(&self, arguments: &[&str], manifest: &str, what: &str) -> Result<()> {
        self.send(arguments, manifest)?.success(what).map(drop)
    }
}
