//! What a running relay does about its log's signatures, as long as it runs: the fence, the first checkpoint, the anchors.

use std::time::Duration;

use crate::app::Core;
use crate::log_service::fence::Standing;

/// How often the tree heads are chained into the log, while any are signed.
const ANCHOR_EVERY: Duration = Duration::from_secs(3600);

/// Whoever sees the relay ready finds a checkpoint that covers its start, if the fence lets one be signed. A refused signature
/// is no reason not to serve.
pub(super) async fn publish(core: &Core) {
    let log = core.log.clone();
    if let Err(error) = tokio::task::spawn_blocking(move || log.sign_now()).await {
        tracing::warn!(%error, "no checkpoint was published at start; the log tries again");
    }
}

/// Passes on what the operator says of the log, and says in the readiness why it must not be signed. A relay that waits for
/// an answer serves; one that is known to be an old copy does not: it would hand out payloads that were read and burned.
pub(super) async fn keep_the_fence(core: Core) {
    let mut heard = core.directives.heard();
    let mut standing = core.log.guard().subscribe();
    loop {
        let directives = heard.borrow_and_update().clone();
        if let Some(directives) = directives {
            let log = core.log.clone();
            if tokio::task::spawn_blocking(move || log.hear(&directives)).await.is_err() {
                tracing::error!("what the operator says of the log could not be taken in");
            }
        }
        loop {
            let due = core.log.guard().look();
            let now = standing.borrow_and_update().clone();
            match now {
                Standing::Closed(why) => core.readiness.hold("log", why),
                Standing::Open => {
                    core.readiness.clear("log");
                    publish(&core).await;
                }
                Standing::Waiting(_) => core.readiness.clear("log"),
            }
            let later = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = heard.changed() => break,
                _ = standing.changed() => {}
                () = later => {}
            }
        }
    }
}

/// Chains the tree heads into the log, hour by hour.
pub(super) async fn anchor_heads(core: Core) {
    loop {
        tokio::time::sleep(ANCHOR_EVERY).await;
        anchor(&core).await;
    }
}

pub(super) async fn anchor(core: &Core) {
    let log = core.log.clone();
    match tokio::task::spawn_blocking(move || log.anchor()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::error!(%error, "the tree heads were not anchored"),
        Err(error) => tracing::error!(%error, "the tree heads were not anchored"),
    }
}
