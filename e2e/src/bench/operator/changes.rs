//! How long does a change of a spec take to reach the child? Both ends are lines of the audit log.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use jiff::Timestamp;

use super::{
    fleet::{Fleet, name},
    percentile,
};
use crate::{
    audit_log::{self, Request},
    scenario::rights::OPERATOR,
};

/// Between two changes: what a person or a pipeline does at most, and enough for 200 to take ten seconds.
const SPACING: Duration = Duration::from_millis(50);
/// All children are patched within this, or the run fails.
const WITHIN: Duration = Duration::from_secs(120);

/// Delays in seconds, sorted.
pub(super) struct Delays(Vec<f64>);

impl Delays {
    pub(super) fn median(&self) -> f64 {
        percentile(&self.0, 0.5)
    }

    pub(super) fn p99(&self) -> f64 {
        percentile(&self.0, 0.99)
    }

    pub(super) fn longest(&self) -> f64 {
        percentile(&self.0, 1.0)
    }
}

/// Changes so many relays one after the other, from `first` on, while the rest is idle.
pub(super) async fn measure(fleet: &Fleet<'_>, log: &Path, first: usize, count: usize) -> Result<Delays> {
    let mark = audit_log::mark(log)?;
    // No mark is used twice, so each change is one.
    let text = format!("{}", Timestamp::now().as_millisecond());
    let wanted: Vec<usize> = (first..fleet.len()).take(count).collect();
    let mut touch = tokio::time::interval(SPACING);
    for number in &wanted {
        touch.tick().await;
        fleet.touch(*number, &text).await?;
    }
    let deadline = Instant::now() + WITHIN;
    loop {
        let seen = delays(&audit_log::since(log, mark)?, &wanted);
        if seen.len() == wanted.len() {
            let mut seen: Vec<f64> = seen.into_values().collect();
            seen.sort_by(f64::total_cmp);
            return Ok(Delays(seen));
        }
        if Instant::now() > deadline {
            bail!("{} of {} children were patched within {} s", seen.len(), wanted.len(), WITHIN.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// By relay: from the answer to the last change of its spec to the answer to the operator's patch of its Service.
fn delays(requests: &[Request], wanted: &[usize]) -> BTreeMap<usize, f64> {
    let answered = |request: &&Request| request.verb == "patch" && request.code < 300;
    let mut changed: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for request in requests.iter().filter(answered) {
        if request.resource == "paramantrelays" && request.user != OPERATOR {
            changed.insert(&request.name, request.at);
        }
    }
    let mut patched: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for request in requests.iter().filter(answered) {
        if request.resource == "services" && request.user == OPERATOR {
            patched.entry(&request.name).or_insert(request.at);
        }
    }
    let between = |number: &usize| {
        let name = name(*number);
        let (from, to) = (changed.get(name.as_str())?, patched.get(name.as_str())?);
        // Answers are logged apart: the operator may be quicker than the line about the change.
        Some((*number, to.duration_since(*from).as_secs_f64().max(0.0)))
    };
    wanted.iter().filter_map(between).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_counts_from_the_change_to_the_first_patch_that_succeeded() {
        let request = |user: &str, resource: &str, name: &str, code: u64, millis: i64| Request {
            user: user.into(),
            verb: "patch".into(),
            group: String::new(),
            resource: resource.into(),
            namespace: "bench-fleet".into(),
            name: name.into(),
            code,
            at: Timestamp::from_millisecond(millis).unwrap_or_default(),
            source: String::new(),
            namespace_is_going: false,
        };
        let log = [
            request("admin", "paramantrelays", "relay-0001", 200, 1000),
            request(OPERATOR, "services", "relay-0001", 409, 1100),
            request(OPERATOR, "services", "relay-0001", 200, 1250),
            request(OPERATOR, "services", "relay-0001", 200, 9000),
            request("admin", "paramantrelays", "relay-0002", 200, 1000),
            request(OPERATOR, "paramantrelays/status", "relay-0002", 200, 1100),
        ];
        assert_eq!(delays(&log, &[1, 2]), BTreeMap::from([(1, 0.25)]), "the second child was not patched");
    }
}
