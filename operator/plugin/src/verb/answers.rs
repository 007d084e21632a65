//! An admin's word on one request of a vendor, in the sets of the relay's policy that hold such words.
//!
//! The sets are written to by others too. They are written as they were read, with the id added to the one and removed from those
//! that say the opposite in the same patch, and the version that was read is its precondition: no entry of somebody else is lost,
//! and the rules that no id is both hold at every moment.

use anyhow::{Context as _, bail};
use paramant_crds::ParamantPolicy;
use serde_json::{Value, json};

use crate::cluster::{Cluster, POLICIES, Place, if_unchanged};
use crate::verb::Seen;

/// As many ids as the schema takes in one set.
const MOST: usize = 64;

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
}

/// Where a policy keeps the words on one sort of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// Support keys.
    SupportAccess,
    /// All others.
    RemoteActions,
}

impl Section {
    /// For a kind of request, as status names it.
    pub(crate) fn of(kind: &str) -> Self {
        if kind == "support_key" { Self::SupportAccess } else { Self::RemoteActions }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SupportAccess => "supportAccess",
            Self::RemoteActions => "remoteActions",
        }
    }

    /// The set for this answer.
    pub(crate) fn set(self, answer: Answer) -> &'static str {
        match (answer, self) {
            (Answer::Yes, _) => "approved",
            (Answer::No, Self::SupportAccess) => "revoked",
            (Answer::No, Self::RemoteActions) => "denied",
        }
    }
}

/// Writes the word into the relay's policy. Says the policy, and whether anything was to be written.
pub(crate) async fn write(
    cluster: &Cluster,
    seen: &Seen,
    section: Section,
    answer: Answer,
    id: &str,
) -> anyhow::Result<(String, bool)> {
    let name = seen.relay.metadata.name.as_deref().unwrap_or_default();
    let missing = || without_policy(name, &cluster.namespace, section, answer, id);
    let Some(policy) = seen.relay.spec.policy_ref.as_ref().map(|policy| policy.name.to_string()) else {
        bail!("{}", missing())
    };
    let place = Place::one(POLICIES, &cluster.namespace, &policy);
    let stored = cluster.get(&place).await.map_err(|refusal| {
        let gone = refusal.is_missing();
        let error = anyhow::Error::new(refusal);
        if gone { error.context(missing()) } else { error }
    })?;
    let Some(patch) = patch(&stored, section, answer, id)? else { return Ok((policy, false)) };
    cluster.patch(&place, &if_unchanged(&stored, patch)).await?;
    Ok((policy, true))
}

/// The patch that says it, or nothing if that is done.
fn patch(stored: &Value, section: Section, answer: Answer, id: &str) -> anyhow::Result<Option<Value>> {
    let policy: ParamantPolicy = serde_json::from_value(stored.clone())
        .context("this policy holds what this release of kubectl-paramant cannot read; take a newer one")?;
    let access = policy.spec.support_access.unwrap_or_default();
    let actions = policy.spec.remote_actions.unwrap_or_default();
    let sets = [
        (Section::SupportAccess, Answer::Yes, texts(&access.approved)),
        (Section::SupportAccess, Answer::No, texts(&access.revoked)),
        (Section::RemoteActions, Answer::Yes, texts(&actions.approved)),
        (Section::RemoteActions, Answer::No, texts(&actions.denied)),
    ];
    let mut change = json!({});
    for (of, said, mut ids) in sets {
        let holds = ids.iter().any(|known| known == id);
        if said != answer && holds {
            ids.retain(|known| known != id);
        } else if (of, said) == (section, answer) && !holds {
            if ids.len() >= MOST {
                bail!("{}", full(of, said));
            }
            ids.push(id.to_owned());
        } else {
            continue;
        }
        change[of.as_str()][of.set(said)] = json!(ids);
    }
    let changes = change.as_object().is_some_and(|change| !change.is_empty());
    Ok(changes.then(|| json!({ "spec": change })))
}

fn texts<T: ToString>(ids: &[T]) -> Vec<String> {
    ids.iter().map(T::to_string).collect()
}

fn full(section: Section, answer: Answer) -> String {
    let (place, set) = (section.as_str(), section.set(answer));
    let why = match (section, answer) {
        (Section::SupportAccess, Answer::No) => {
            "a revocation stays in force at the relay when its id is removed"
        }
        _ => "what was settled stays settled when its id is removed",
    };
    format!(
        "this policy lists {MOST} ids in {place}.{set}, as many as it takes: {why}, so remove old ones first"
    )
}

fn without_policy(name: &str, namespace: &str, section: Section, answer: Answer, id: &str) -> String {
    let (section, set) = (section.as_str(), section.set(answer));
    format!(
        "relay {name} has no policy in which an answer could be given; make one and name it in the relay:\n\
         kubectl apply -f - <<EOF\n\
         apiVersion: paramant.app/v1alpha1\nkind: ParamantPolicy\nmetadata: {{ name: {name}, namespace: {namespace} }}\n\
         spec: {{ {section}: {{ {set}: [\"{id}\"] }} }}\nEOF\n\
         kubectl -n {namespace} patch prelay {name} --type=merge --field-manager=paramant-admin -p '{{\"spec\":{{\"policyRef\":{{\"name\":\"{name}\"}}}}}}'"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn of(spec: Value, section: Section, answer: Answer) -> Value {
        let stored = json!({
            "apiVersion": "paramant.app/v1alpha1", "kind": "ParamantPolicy",
            "metadata": { "name": "production" }, "spec": spec,
        });
        patch(&stored, section, answer, A).unwrap().map_or(Value::Null, |patch| patch["spec"].clone())
    }

    #[test]
    fn a_word_is_added_to_one_set_and_its_opposite_taken_back_in_one_patch() {
        use Answer::{No, Yes};
        use Section::{RemoteActions, SupportAccess};
        for (spec, section, answer, expected) in [
            (json!({}), RemoteActions, Yes, json!({"remoteActions": {"approved": [A]}})),
            (json!({}), RemoteActions, No, json!({"remoteActions": {"denied": [A]}})),
            (json!({}), SupportAccess, Yes, json!({"supportAccess": {"approved": [A]}})),
            (json!({}), SupportAccess, No, json!({"supportAccess": {"revoked": [A]}})),
            (
                json!({"remoteActions": {"drain": "Ask", "denied": [B, A], "approved": [B]}}),
                RemoteActions,
                Yes,
                json!({"remoteActions": {"approved": [B, A], "denied": [B]}}),
            ),
            (
                json!({"remoteActions": {"approved": [A]}}),
                RemoteActions,
                No,
                json!({"remoteActions": {"approved": [], "denied": [A]}}),
            ),
            // A no anywhere beats a yes anywhere, so an old one goes wherever it stands.
            (
                json!({"remoteActions": {"denied": [A]}, "supportAccess": {"revoked": [B]}}),
                SupportAccess,
                Yes,
                json!({"remoteActions": {"denied": []}, "supportAccess": {"approved": [A]}}),
            ),
            (json!({"remoteActions": {"approved": [A, B]}}), RemoteActions, Yes, Value::Null),
            (json!({"supportAccess": {"revoked": [A]}}), SupportAccess, No, Value::Null),
        ] {
            assert_eq!(of(spec.clone(), section, answer), expected, "{spec} {section:?} {answer:?}");
        }
    }
}
