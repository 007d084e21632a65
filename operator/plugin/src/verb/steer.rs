//! `drain`, `undrain`, `pause`, `resume`: one patch each, which needs no read before it.

use crate::change::Change;
use crate::cluster::Cluster;
use crate::verb::{done, patch, typed};

/// Changes a relay, whatever it is now.
pub(crate) async fn run(cluster: &Cluster, name: &str, change: &Change) -> anyhow::Result<()> {
    let patched = patch(cluster, name, &change.patch()).await?;
    done(cluster, &typed(&patched)?, change);
    Ok(())
}
