//! `revoke-support-key`: an admin ends a vendor's key, through the relay's policy.

use paramant_crds::ParamantRelay;
use paramant_crds::relay::SupportKeyState;

use super::answers::{self, Answer, Section};
use crate::cluster::Cluster;
use crate::verb::Seen;

/// Adds the id to `spec.supportAccess.revoked` of the relay's policy.
pub(crate) async fn revoke(cluster: &Cluster, name: &str, key: &str) -> anyhow::Result<()> {
    let seen = Seen::read(cluster, name).await?;
    let (policy, new) = answers::write(cluster, &seen, Section::SupportAccess, Answer::No, key).await?;
    if !new {
        println!("{key} is revoked already in policy {policy}");
        return Ok(());
    }
    let tried = if cluster.dry_run { "(dry run, nothing is kept) " } else { "" };
    println!(
        "{tried}revoked {key} in policy {policy}: relays that use it refuse the key for good{}",
        known(&seen.relay, key)
    );
    Ok(())
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

#[cfg(test)]
mod tests;
