//! The relay under measurement: a plain process with one account, and the client that loads it.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::start;
use crate::standalone::{Standalone, TOKEN};

const LIMITS: &str =
    "maxBlob: 16Mi, requestsPerMinute: 1000000000, connectionsPerAddress: 4096, minFreeDisk: 1Gi";

/// A running relay with one account.
pub(crate) struct Relay {
    process: Standalone,
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) http: reqwest::Client,
}

impl Relay {
    pub(crate) async fn start(binary: &Path, directory: &Path) -> Result<Relay> {
        Self::with_log(binary, directory, 0).await
    }

    /// With so many entries in its log.
    pub(crate) async fn with_log(binary: &Path, directory: &Path, entries: u64) -> Result<Relay> {
        let mut process = Standalone::start(binary, &directory.join("relay"), LIMITS)?;
        if entries > 0 {
            process = tokio::task::spawn_blocking(move || {
                start::fill(&mut process, entries)?;
                Ok::<_, anyhow::Error>(process)
            })
            .await??;
        }
        let url = process.url().to_owned();
        let http = reqwest::Client::builder().no_proxy().build()?;
        let answer: Value = http
            .post(format!("{url}/v2/admin/keys"))
            .header("X-Admin-Token", TOKEN)
            .json(&json!({ "label": "bench", "plan": "enterprise" }))
            .send()
            .await?
            .json()
            .await?;
        let key = answer["key"].as_str().with_context(|| format!("no key in {answer}"))?.to_owned();
        Ok(Relay { process, url, key, http })
    }

    /// Resident memory in MiB.
    pub(crate) fn memory(&self) -> Result<f64> {
        self.process.memory()
    }
}
