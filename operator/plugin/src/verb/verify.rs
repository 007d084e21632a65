//! `verify`: what an admin wants to see checked by something that is neither the operator nor the relay.
//!
//! Three questions: is the pod what status says it is, who vouches for its image, and does the log that the relay serves
//! continue the one that status remembers. Status is the operator's word, the rest is looked at here; the log's signatures
//! and its growth are computed here. What could not be looked at counts as failed, with the reason.

mod log;
mod pod;

use std::process::ExitCode;

use paramant_crds::relay::Step;

use crate::cluster::{Cluster, PODS, POLICIES, Place, Refusal, STATEFUL_SETS};
use crate::verb::Seen;
use crate::view::Table;

/// What came of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// As it should be.
    Good(String),
    /// Not as it should be.
    Wrong(String),
    /// There is nothing to hold it against.
    Open(String),
}

/// Questions and answers, in the order they were asked.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<(&'static str, Answer)>);

impl Checks {
    fn put(&mut self, what: &'static str, answer: Answer) {
        self.0.push((what, answer));
    }

    fn failed(&self) -> usize {
        self.0.iter().filter(|(_, answer)| matches!(answer, Answer::Wrong(_))).count()
    }

    fn text(&self) -> String {
        let mut table = Table::new(&["CHECK", "RESULT", "WHY"]);
        for (what, answer) in &self.0 {
            let (result, why) = match answer {
                Answer::Good(why) => ("ok", why),
                Answer::Wrong(why) => ("FAILED", why),
                Answer::Open(why) => ("-", why),
            };
            table.row(vec![(*what).to_owned(), result.to_owned(), why.clone()]);
        }
        table.text()
    }
}

/// Prints the checks; a failed one is exit code 1.
pub(crate) async fn run(cluster: &Cluster, name: &str) -> anyhow::Result<ExitCode> {
    let checks = checks(cluster, name).await?;
    print!("{}", checks.text());
    let failed = checks.failed();
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("kubectl-paramant: {failed} of {} checks failed", checks.0.len());
    Ok(ExitCode::FAILURE)
}

pub(crate) async fn checks(cluster: &Cluster, name: &str) -> anyhow::Result<Checks> {
    let seen = Seen::read(cluster, name).await?;
    let namespace = cluster.namespace.as_str();
    let status = seen.relay.status.clone().unwrap_or_default();
    let mut checks = Checks::default();

    let (looked, written) = (status.observed_generation, seen.relay.metadata.generation);
    checks.put(
        "status is about this spec",
        match (looked, written) {
            (Some(looked), Some(written)) if looked == written => {
                Answer::Good(format!("generation {written}"))
            }
            (looked, written) => Answer::Wrong(format!(
                "the spec is at generation {}, status at {}: the operator has not looked yet, or is away",
                written.unwrap_or_default(),
                looked.unwrap_or(-1)
            )),
        },
    );

    let image = status.image.clone().unwrap_or_default();
    let step = status.update.as_ref().and_then(|update| update.step).unwrap_or_default();
    let policy = match &seen.relay.spec.policy_ref {
        Some(policy) => Some(cluster.get(&Place::one(POLICIES, namespace, policy.name.as_str())).await),
        None => None,
    };
    checks.put("somebody vouches for the image", pod::vouched(&image, policy));
    match cluster.get(&Place::one(PODS, namespace, &format!("{name}-0"))).await {
        Err(refusal) => checks.put("the pod runs that image", unseen(&refusal)),
        Ok(found) => {
            let rolls = matches!(step, Step::Replacing | Step::Probing | Step::Settling | Step::RollingBack);
            checks.put("the pod runs that image", pod::image(&found, image.current.as_ref(), step, rolls));
            let set = cluster.get(&Place::one(STATEFUL_SETS, namespace, name)).await;
            let template = match set {
                Err(refusal) => unseen(&refusal),
                Ok(set) => pod::template(&found, &set, step, rolls),
            };
            checks.put("the pod has the rolled template", template);
        }
    }
    log::check(cluster, name, &status, &mut checks).await;
    Ok(checks)
}

fn unseen(refusal: &Refusal) -> Answer {
    Answer::Wrong(format!("not seen: {refusal}"))
}

#[cfg(test)]
pub(crate) mod tests;
