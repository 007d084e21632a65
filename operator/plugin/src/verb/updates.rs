//! `approve`, `rollback`, `retry`, `update-now`: a person's word on updates.
//!
//! What is not named is taken from status, and then holds only for what was read: the version that was seen is the patch's
//! precondition, so nobody approves what came a moment later.

use anyhow::bail;
use paramant_crds::Digest;
use paramant_crds::annotation::UPDATE_NOW;
use paramant_crds::relay::{Step, UpdateStatus, UpdateTarget};

use crate::change::Change;
use crate::cluster::Cluster;
use crate::verb::Seen;
use crate::view;

/// The reason in `status.update.blockedBy` while an approval is missing.
const AWAITING_APPROVAL: &str = "AwaitingApproval";

/// Agrees to what waits, or to what is named.
pub(crate) async fn approve(
    cluster: &Cluster,
    name: &str,
    digest: Option<&Digest>,
    sequence: Option<u64>,
) -> anyhow::Result<()> {
    let seen = Seen::read(cluster, name).await?;
    let update = seen.update();
    let waits = update.step == Some(Step::WaitingForApproval)
        || update.blocked_by.as_deref() == Some(AWAITING_APPROVAL);
    let target = update.target.clone().filter(|_| waits).unwrap_or_default();
    let change = match (digest, &target.digest) {
        (None, None) => bail!(
            "nothing of {name} waits for approval ({}); name a digest with --digest to approve it ahead",
            standing(&update)
        ),
        (Some(named), Some(waiting)) if named != waiting => bail!(
            "what waits for approval is {}, not {named}: the target moved; look again and approve what you mean",
            view::release(&seen.relay, waiting, target.sequence)
        ),
        (named, Some(waiting)) => {
            let offer = offer(name, &target, sequence)?;
            Change::Approve(named.unwrap_or(waiting).clone(), offer)
        }
        (Some(named), None) => Change::Approve(named.clone(), sequence),
    };
    seen.change(cluster, &change).await
}

/// The offer that is approved with its digest.
fn offer(name: &str, target: &UpdateTarget, named: Option<u64>) -> anyhow::Result<Option<u64>> {
    match (named, target.sequence) {
        (Some(named), Some(waiting)) if named != waiting => {
            bail!("what waits for approval is offer {waiting} of {name}, not {named}: look again")
        }
        (Some(named), None) => {
            bail!("what waits for approval came without an offer: leave out --sequence {named}")
        }
        (_, waiting) => Ok(waiting),
    }
}

/// Holds an image: the one named, or the last that ran well. `None` in `to` takes the latter.
pub(crate) async fn rollback(cluster: &Cluster, name: &str, to: Option<&Digest>) -> anyhow::Result<()> {
    let seen = Seen::read(cluster, name).await?;
    let update = seen.update();
    let current = seen.relay.status.as_ref().and_then(|status| status.image.as_ref()?.current.clone());
    let Some(to) = to.or(update.last_good.as_ref()) else {
        bail!("no image of {name} has run well yet; name one with --to")
    };
    if let Some(rejected) = update.rejected.iter().find(|it| it.digest == *to) {
        bail!(
            "{to} failed before ({}): `kubectl paramant retry {name} --digest {to}` clears that first",
            rejected.reason
        );
    }
    let pinned = seen.relay.spec.update.as_ref().and_then(|update| update.pin.as_ref());
    if pinned == Some(to) {
        bail!("{name} is held at {to} already; `kubectl paramant status {name}` shows how far it is");
    }
    if current.as_ref() == Some(to) && is_at_rest(&update) {
        bail!(
            "{name} runs {}, which is the last image that ran well: name an earlier one with --to DIGEST; the images it had are in `kubectl get controllerrevisions -l paramant.app/relay={name} -o yaml`",
            view::release(&seen.relay, to, None)
        );
    }
    seen.change(cluster, &Change::Pin(Some(to.clone()))).await
}

/// Ends a hold.
pub(crate) async fn release(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let seen = Seen::read(cluster, name).await?;
    if seen.relay.spec.update.as_ref().is_none_or(|update| update.pin.is_none()) {
        bail!("{name} is not held at any image");
    }
    seen.change(cluster, &Change::Pin(None)).await
}

/// Clears a rejection.
pub(crate) async fn retry(cluster: &Cluster, name: &str, digest: Option<&Digest>) -> anyhow::Result<()> {
    let seen = Seen::read(cluster, name).await?;
    let rejected = seen.update().rejected;
    let found = match digest {
        Some(named) => rejected.iter().find(|it| it.digest == *named),
        None => rejected.last(),
    };
    let Some(found) = found else {
        let known: Vec<&str> = rejected.iter().map(|it| it.digest.as_str()).collect();
        bail!(match known.is_empty() {
            true => format!("no image of {name} is rejected: there is nothing to retry"),
            false => format!("that image of {name} is not rejected; these are: {}", known.join(", ")),
        })
    };
    let wish = seen.relay.spec.update.as_ref().and_then(|update| update.retry.as_ref());
    if wish == Some(&found.digest) {
        bail!(
            "spec.update.retry of {name} names {} already, and a retry counts once: remove the field, then retry again",
            found.digest
        );
    }
    println!("{} was rejected at {}: {}", found.digest, found.at.0, found.reason);
    seen.change(cluster, &Change::Retry(found.digest.clone())).await
}

/// Lets one image be rolled outside a window.
pub(crate) async fn update_now(cluster: &Cluster, name: &str, digest: Option<&Digest>) -> anyhow::Result<()> {
    let seen = Seen::read(cluster, name).await?;
    let update = seen.update();
    let target = update.target.as_ref().and_then(|target| target.digest.as_ref());
    let Some(digest) = digest.or(target.filter(|_| !is_at_rest(&update))) else {
        bail!(
            "no update of {name} waits ({}); name a digest with --digest to let it be rolled at once when it does",
            standing(&update)
        )
    };
    let annotations = seen.relay.metadata.annotations.as_ref();
    if annotations.and_then(|it| it.get(UPDATE_NOW)).map(String::as_str) == Some(digest.as_str()) {
        bail!(
            "{name} was told already to roll {digest} now; `kubectl paramant status {name}` shows how far it is"
        );
    }
    seen.change(cluster, &Change::UpdateNow(digest.clone())).await
}

impl Seen {
    fn update(&self) -> UpdateStatus {
        self.relay.status.clone().unwrap_or_default().update.unwrap_or_default()
    }
}

fn is_at_rest(update: &UpdateStatus) -> bool {
    update.step.is_none_or(|step| step == Step::Idle)
}

fn standing(update: &UpdateStatus) -> String {
    let step = update.step.unwrap_or_default().as_str();
    match &update.blocked_by {
        Some(reason) => format!("it is at {step}, blocked by {reason}"),
        None => format!("it is at {step}"),
    }
}

#[cfg(test)]
mod tests;
