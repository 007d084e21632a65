//! A relay as an outsider sees it: plain HTTP with the published routes.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::process::wait_for;

/// A relay's public address and an API key for it.
#[derive(Clone)]
pub(crate) struct Relay {
    /// Base URL without a trailing slash.
    pub(crate) url: String,
    /// An API key.
    pub(crate) key: String,
    http: reqwest::blocking::Client,
}

/// Random bytes with their SHA-256 in hex.
pub(crate) fn random_blob(length: usize) -> Result<(Vec<u8>, String)> {
    let mut bytes = vec![0_u8; length];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    // The first bytes decide how a relay reads a blob: `PQHB` would be parsed, anything else passes unread.
    if let Some(first) = bytes.first_mut() {
        *first = 2;
    }
    let digest = hex::encode(Sha256::digest(&bytes));
    Ok((bytes, digest))
}

impl Relay {
    /// Creates an API key by the admin interface.
    pub(crate) fn with_new_key(url: &str, admin_token: &str, label: &str) -> Result<Relay> {
        let http = client()?;
        let answer = http
            .post(format!("{url}/v2/admin/keys"))
            .header("X-Admin-Token", admin_token)
            .json(&json!({ "label": label, "plan": "enterprise" }))
            .send()?;
        let status = answer.status();
        let body: Value = answer.json().context("the admin interface did not answer JSON")?;
        let key = body["key"].as_str().with_context(|| format!("no key in the answer ({status}): {body}"))?;
        Ok(Relay { url: url.to_owned(), key: key.to_owned(), http })
    }

    /// The same account at another address.
    pub(crate) fn at(&self, url: &str) -> Relay {
        Relay { url: url.to_owned(), key: self.key.clone(), http: self.http.clone() }
    }

    /// Uploads one blob by the published route; answers status and body.
    pub(crate) fn upload(&self, bytes: &[u8], digest: &str) -> Result<(u16, Value)> {
        let body = json!({ "hash": digest, "payload": STANDARD.encode(bytes), "ttl_ms": 3_600_000 });
        self.post("/v2/inbound", &body)
    }

    /// The same for a device that is told of it.
    pub(crate) fn upload_for(&self, device: &str, bytes: &[u8], digest: &str) -> Result<(u16, Value)> {
        let meta = json!({ "device_id": device });
        let payload = STANDARD.encode(bytes);
        self.post(
            "/v2/inbound",
            &json!({ "hash": digest, "payload": payload, "ttl_ms": 3_600_000, "meta": meta }),
        )
    }

    /// Asks with the account's key; answers status and body.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        let request = self.http.post(format!("{}{path}", self.url)).header("X-Api-Key", &self.key);
        let answer = request.json(body).send()?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().unwrap_or(Value::Null)))
    }

    /// Uploads bytes as they are; answers the status.
    pub(crate) fn upload_raw(&self, bytes: Vec<u8>, digest: &str) -> Result<u16> {
        let request = self.http.put(format!("{}/v3/blobs/{digest}", self.url)).header("X-Api-Key", &self.key);
        Ok(request.body(bytes).send()?.status().as_u16())
    }

    /// Downloads a blob; answers status and bytes.
    pub(crate) fn download(&self, digest: &str) -> Result<(u16, Vec<u8>)> {
        let answer = self.reading(digest)?;
        let status = answer.status().as_u16();
        Ok((status, answer.bytes()?.to_vec()))
    }

    /// A download whose bytes are still to be read.
    pub(crate) fn reading(&self, digest: &str) -> Result<reqwest::blocking::Response> {
        let request = self.http.get(format!("{}/v2/outbound/{digest}", self.url));
        Ok(request.header("X-Api-Key", &self.key).send()?)
    }

    /// Uploads, downloads, compares, and sees that a second download finds nothing.
    pub(crate) fn roundtrip(&self, length: usize) -> Result<()> {
        let (bytes, digest) = random_blob(length)?;
        let (status, body) = self.upload(&bytes, &digest)?;
        if status != 200 {
            bail!("upload answered {status}: {body}");
        }
        let (status, got) = self.download(&digest)?;
        if status != 200 || got != bytes {
            bail!("download answered {status} with {} bytes, expected {length}", got.len());
        }
        match self.download(&digest)? {
            (404, _) => Ok(()),
            (status, _) => bail!("a second download answered {status}, expected 404"),
        }
    }

    /// Waits until uploads are refused as they are during a drain.
    pub(crate) fn wait_refusing(&self, limit: Duration) -> Result<()> {
        wait_for("uploads to be refused", limit, || {
            let (bytes, digest) = random_blob(64)?;
            Ok(match self.upload(&bytes, &digest)? {
                (503, _) => Ok(()),
                (status, _) => Err(format!("upload answered {status}")),
            })
        })
    }

    /// An answer to the account, as JSON.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let request = self.http.get(format!("{}{path}", self.url)).header("X-Api-Key", &self.key);
        Ok(request.send()?.error_for_status()?.json()?)
    }

    /// A route that needs no key, as text.
    pub(crate) fn public(&self, path: &str) -> Result<String> {
        Ok(self.http.get(format!("{}{path}", self.url)).send()?.error_for_status()?.text()?)
    }
}

/// Revokes every key with this label, by the admin interface.
pub(crate) fn revoke_labelled(url: &str, admin_token: &str, label: &str) -> Result<()> {
    let http = client()?;
    let keys: Value = http
        .get(format!("{url}/v2/admin/keys"))
        .header("X-Admin-Token", admin_token)
        .send()?
        .error_for_status()
        .context("the admin token was not accepted")?
        .json()?;
    for key in keys["keys"].as_array().into_iter().flatten() {
        if key["label"] == label && key["active"] == true {
            http.post(format!("{url}/v2/admin/keys/revoke"))
                .header("X-Admin-Token", admin_token)
                .json(&json!({ "key": key["kid"] }))
                .send()?
                .error_for_status()?;
        }
    }
    Ok(())
}

/// An HTTP client without proxies. It gives up a connection early: a first packet that was addressed to a pod while its network
/// went away reaches nobody, and neither do its repetitions, since the translation of a Service's address is made once.
pub(crate) fn client() -> Result<reqwest::blocking::Client> {
    let builder = reqwest::blocking::Client::builder().no_proxy();
    Ok(builder.connect_timeout(Duration::from_secs(3)).timeout(Duration::from_secs(30)).build()?)
}
