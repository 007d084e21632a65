//! The relay under measurement: a plain process with one account, and the client that loads it.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

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
        let process = Standalone::start(binary, &directory.join("relay"), LIMITS)?;
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
