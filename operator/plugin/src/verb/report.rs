//! `report`: asks for what helps to help, and writes it down without what is nobody's business.

mod gather;

use anyhow::Context as _;

use crate::cli::Report;
use crate::cluster::Cluster;
use crate::report::bundle::{self, Bundle};
use crate::report::redact::Redactor;

/// Gathers and writes a bundle.
pub(crate) async fn run(cluster: &Cluster, wanted: &Report) -> anyhow::Result<()> {
    let to = wanted.output.clone().unwrap_or_else(|| {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        format!("paramant-report-{}-{now}.tar.gz", cluster.namespace).into()
    });
    // Told before everything is asked for; the write itself checks again.
    bundle::check(&to)?;
    let redactor = Redactor::new().context("no bundle was made, because nothing could be hidden in it")?;
    let bundle = gather::gather(cluster, wanted, Bundle::new(redactor)).await?;
    bundle.write(&to)?;
    println!("wrote {} files to {}", bundle.files().len(), to.display());
    for (path, why) in bundle.missing() {
        println!("not there: {path}: {why}");
    }
    println!(
        "No Secret was read; keys, tokens and codes are hidden, addresses and people are marks. Names of objects, hosts\n\
         and images are in it. Look at it before you send it: nothing is sent by this command."
    );
    Ok(())
}

#[cfg(test)]
mod tests;
