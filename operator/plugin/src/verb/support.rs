//! `revoke-support-key`: an admin ends a vendor's key, through the relay's policy.
//!
//! Both lists of the policy are sets that others write too. They are written as they were read, with the id added to the one
//! and removed from the other in the same patch, and the version that was read is its precondition: no entry of somebody
//! else is lost, and the rule that no key is approved and revoked always holds.

use anyhow::{Context as _, bail};
use paramant_crds::relay::SupportKeyState;
use paramant_crds::{ParamantPolicy, ParamantRelay};
use serde_json::{Value, json};

use crate::cluster::{Cluster, POLICIES, Place, if_unchanged};
use crate::verb::Seen;

/// As many as the schema takes.
const MOST: usize = 64;

/// Adds the id to `spec.supportAccess.revoked` of the relay's policy.
pub(crate) async fn revoke(cluster: &Cluster, name: &str, key: &str) -> anyhow::Result<()> {
    let seen = Seen::read(cluster, name).await?;
    let Some(policy) = seen.relay.spec.policy_ref.as_ref().map(|policy| policy.name.to_string()) else {
        bail!("{}", without_policy(name, &cluster.namespace, key))
    };
    let place = Place::one(POLICIES, &cluster.namespace, &policy);
    let stored = cluster.get(&place).await.map_err(|refusal| {
        let missing = refusal.is_missing();
        let error = anyhow::Error::new(refusal);
        if missing { error.context(without_policy(name, &cluster.namespace, key)) } else { error }
    })?;
    let Some(patch) = revocation(&stored, key)? else {
        println!("{key} is revoked already in policy {policy}");
        return Ok(());
    };
    cluster.patch(&place, &if_unchanged(&stored, patch)).await?;
    let tried = if cluster.dry_run { "(dry run, nothing is kept) " } else { "" };
    println!(
        "{tried}revoked {key} in policy {policy}: relays that use it refuse the key for good{}",
        known(&seen.relay, key)
    );
    Ok(())
}

/// The patch that revokes, or nothing if that is done.
fn revocation(stored: &Value, key: &str) -> anyhow::Result<Option<Value>> {
    let policy: ParamantPolicy = serde_json::from_value(stored.clone())
        .context("this policy holds what this release of kubectl-paramant cannot read; take a newer one")?;
    let access = policy.spec.support_access.unwrap_or_default();
    let (ended, agreed) = (
        access.revoked.iter().any(|id| id.as_str() == key),
        access.approved.iter().any(|id| id.as_str() == key),
    );
    if ended && !agreed {
        return Ok(None);
    }
    let mut change = json!({});
    if !ended {
        if access.revoked.len() >= MOST {
            bail!(
                "this policy lists {MOST} revoked keys, as many as it takes: a revocation stays in force at the relay when its id is removed, so remove old ones first"
            );
        }
        let revoked = access.revoked.iter().map(|id| id.as_str()).chain([key]);
        change["revoked"] = json!(revoked.collect::<Vec<_>>());
    }
    if agreed {
        let approved = access.approved.iter().map(|id| id.as_str()).filter(|id| *id != key);
        change["approved"] = json!(approved.collect::<Vec<_>>());
    }
    Ok(Some(json!({ "spec": { "supportAccess": change } })))
}

/// What the relay says of the key now.
fn known(relay: &ParamantRelay, key: &str) -> String {
    let keys = relay.status.as_ref().map(|status| status.support.as_slice()).unwrap_or_default();
    match keys.iter().find(|it| it.key_id == key).map(|it| it.state) {
        Some(SupportKeyState::Active) => {
            "; it is in force until the relay heard of it, within seconds".to_owned()
        }
        Some(state) => format!("; until now it was {state:?}"),
        None => "; this relay has not heard of such a key yet".to_owned(),
    }
}

fn without_policy(name: &str, namespace: &str, key: &str) -> String {
    format!(
        "relay {name} has no policy in which a key could be revoked; make one and name it in the relay:\n\
         kubectl apply -f - <<EOF\n\
         apiVersion: paramant.app/v1alpha1\nkind: ParamantPolicy\nmetadata: {{ name: {name}, namespace: {namespace} }}\n\
         spec: {{ supportAccess: {{ revoked: [\"{key}\"] }} }}\nEOF\n\
         kubectl -n {namespace} patch prelay {name} --type=merge --field-manager=paramant-admin -p '{{\"spec\":{{\"policyRef\":{{\"name\":\"{name}\"}}}}}}'"
    )
}

#[cfg(test)]
mod tests;
