//! `license`: what a licence grants, when it ends, and what the check-ins of its relays are and brought.

use jiff::Timestamp;
use paramant_crds::ParamantRelay;

use crate::cli::Output;
use crate::cluster::{Cluster, LICENSES, Place, RELAYS, Refusal};
use crate::verb::status::{Whose, document, documents};
use crate::verb::typed;
use crate::view;

pub(crate) async fn text(cluster: &Cluster, whose: &Whose<'_>, output: Output) -> anyhow::Result<String> {
    let namespace = cluster.namespace.as_str();
    let Whose::Of(name) = whose else {
        let everywhere = matches!(whose, Whose::Everywhere);
        let mut items = cluster.list(&Place::list(LICENSES, (!everywhere).then_some(namespace))).await?;
        if let Some(text) = documents(&mut items, "ParamantLicense", output)? {
            return Ok(text);
        }
        let licenses = items.iter().map(typed).collect::<Result<Vec<_>, _>>()?;
        return Ok(view::licenses(&licenses, Timestamp::now()));
    };
    let stored = cluster.get(&Place::one(LICENSES, namespace, name)).await?;
    if let Some(text) = document(&stored, output)? {
        return Ok(text);
    }
    let relays = match under(cluster, name).await? {
        Ok(relays) => relays,
        // What the licence's own status says of them is shown all the same.
        Err(refusal) => return Ok(format!("{}\n{refusal}\n", view::license(&typed(&stored)?, &[]))),
    };
    Ok(view::license(&typed(&stored)?, &relays))
}

/// The relays that name a licence.
async fn under(cluster: &Cluster, name: &str) -> anyhow::Result<Result<Vec<ParamantRelay>, Refusal>> {
    let items = match cluster.list(&Place::list(RELAYS, Some(&cluster.namespace))).await {
        Ok(items) => items,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut relays = items.iter().map(typed).collect::<Result<Vec<ParamantRelay>, _>>()?;
    relays.retain(|relay| relay.spec.license_ref.as_ref().is_some_and(|it| it.name.as_str() == name));
    Ok(Ok(relays))
}
