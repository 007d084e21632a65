//! The one Secret that keeps the authority, and every write to it.
//!
//! Each write is a merge patch on the resourceVersion that was read: two leaders can never both fill or replace, and a
//! person's edit in between is read first. How far a replacement is follows from what is there, so a leader that dies leaves
//! nothing behind but the Secret.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use paramant_operator_core::rotation::{Record, Stage};
use serde_json::{Value, json};

use super::{Authority, Error, Flaw, Pair, generate};

/// The Secret's name, fixed because the chart's Role names it.
pub const SECRET: &str = "paramant-operator-ca";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
/// What relays shall accept besides the one that signs: old and new during a replacement. Absent means just [`CERTIFICATE`].
const BUNDLE: &str = "ca-bundle.pem";
/// Since when the next one is published. Data, as all that decisions need: pipelines prune annotations.
const NEXT_SINCE: &str = "next.since";
/// The last wish that was granted.
const GRANTED: &str = "rotation-granted";

/// A person asks for another authority; any text that was not granted yet.
const ASKED: &str = "paramant.app/rotate-ca";
/// For people: when the last replacement was over.
const ROTATED: &str = "paramant.app/ca-rotated-at";

/// What the Secret holds.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) authority: Authority,
    pub(super) record: Record,
    resource_version: Option<String>,
}

impl Stored {
    /// `None` while the Secret is empty.
    pub(super) fn read(secret: &Secret) -> Result<Option<Self>, Error> {
        let data = secret.data.clone().unwrap_or_default();
        if !data.contains_key(CERTIFICATE) && !data.contains_key(KEY) {
            return Ok(None);
        }
        let authority = authority(&data)?;
        let annotation = |key: &str| secret.metadata.annotations.as_ref()?.get(key).cloned();
        let stage = match (&authority.inner.next, authority.inner.published) {
            (Some(_), _) => Stage::Beside { since: since(&data)? },
            (None, 0 | 1) => Stage::Alone,
            (None, _) => Stage::Switched,
        };
        let record = Record {
            stage,
            expires: authority.inner.signs.expires,
            asked: annotation(ASKED),
            granted: text(&data, GRANTED).ok(),
            bundle_sha256: authority.bundle_sha256(),
        };
        Ok(Some(Self { authority, record, resource_version: secret.metadata.resource_version.clone() }))
    }

    /// Makes another authority and publishes it beside the one that signs.
    pub(super) fn introduce(&self, now: Timestamp) -> Result<Value, Error> {
        let (certificate, key) = generate(now)?;
        let bundle = format!("{certificate}{}", self.authority.inner.signs.certificate_pem);
        let data = json!({
            NEXT_CERTIFICATE: bytes(&certificate), NEXT_KEY: bytes(&key), NEXT_SINCE: bytes(&now.to_string()),
            BUNDLE: bytes(&bundle), GRANTED: self.record.asked.as_deref().map(bytes),
        });
        Ok(patch(self.resource_version.as_ref(), data, json!({})))
    }

    /// Signs with the next one; what is published stays as it is. `None` without a next one.
    pub(super) fn switch(&self) -> Option<Value> {
        let next = self.authority.inner.next.as_ref()?;
        let data = json!({
            CERTIFICATE: bytes(&next.certificate_pem), KEY: bytes(&next.key.serialize_pem()),
            NEXT_CERTIFICATE: null, NEXT_KEY: null, NEXT_SINCE: null,
            BUNDLE: bytes(self.authority.bundle_pem()),
        });
        Some(patch(self.resource_version.as_ref(), data, json!({})))
    }

    /// Publishes the one that signs, alone.
    pub(super) fn retire(&self, now: Timestamp) -> Value {
        let noted = json!({ ROTATED: now.to_string() });
        patch(self.resource_version.as_ref(), json!({ BUNDLE: null }), noted)
    }
}

/// The Secret as it is now.
pub(super) async fn get(secrets: &Api<Secret>) -> Result<Secret, Error> {
    secrets.get_opt(SECRET).await?.ok_or(Error::NoSecret)
}

/// Writes one patch; `None` when somebody else wrote in between.
pub(super) async fn write(
    secrets: &Api<Secret>,
    field_manager: &str,
    patch: Value,
) -> Result<Option<Secret>, Error> {
    let params = PatchParams { field_manager: Some(field_manager.to_owned()), ..PatchParams::default() };
    match secrets.patch(SECRET, &params, &Patch::Merge(patch)).await {
        Ok(written) => Ok(Some(written)),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Fills an empty Secret: with the authority that is in use, or with a new one.
pub(super) fn fill(secret: &Secret, in_use: Option<&Authority>) -> Result<Value, Error> {
    let data = match in_use.map(|authority| &authority.inner) {
        None => {
            let (certificate, key) = generate(Timestamp::now())?;
            json!({ CERTIFICATE: bytes(&certificate), KEY: bytes(&key) })
        }
        // A next one is not kept: relays accept the one that signs, and a replacement simply begins again.
        Some(inner) => json!({
            CERTIFICATE: bytes(&inner.signs.certificate_pem), KEY: bytes(&inner.signs.key.serialize_pem()),
        }),
    };
    Ok(patch(secret.metadata.resource_version.as_ref(), data, json!({})))
}

impl Authority {
    /// Reads the Secret, filling it first when it is empty.
    pub async fn load_or_create(secrets: &Api<Secret>, field_manager: &str) -> Result<Self, Error> {
        // Two rounds: whoever loses the race to fill the Secret reads what the winner wrote.
        for _ in 0..2 {
            let secret = get(secrets).await?;
            if let Some(stored) = Stored::read(&secret)? {
                return Ok(stored.authority);
            }
            if let Some(filled) = write(secrets, field_manager, fill(&secret, None)?).await?
                && let Some(stored) = Stored::read(&filled)?
            {
                tracing::info!("made a new certificate authority in Secret {SECRET}");
                return Ok(stored.authority);
            }
        }
        Err(Error::Unusable { key: CERTIFICATE, why: "it keeps changing".to_owned() })
    }
}

fn authority(data: &BTreeMap<String, ByteString>) -> Result<Authority, Error> {
    let unusable = |key, why| Error::Unusable { key, why };
    let unusable_next = |key, why| Error::UnusableNext { key, why };
    let signs = pair(data, CERTIFICATE, KEY, unusable)?;
    let next = match data.contains_key(NEXT_CERTIFICATE) || data.contains_key(NEXT_KEY) {
        true => Some(pair(data, NEXT_CERTIFICATE, NEXT_KEY, unusable_next)?),
        false => None,
    };
    let bundle = match data.contains_key(BUNDLE) {
        true => Some(text(data, BUNDLE).map_err(|why| unusable_next(BUNDLE, why))?),
        false => None,
    };
    Authority::new(signs, next, bundle).map_err(|why| unusable_next(BUNDLE, why))
}

fn since(data: &BTreeMap<String, ByteString>) -> Result<Timestamp, Error> {
    let read =
        text(data, NEXT_SINCE).and_then(|text| text.parse().map_err(|error: jiff::Error| error.to_string()));
    read.map_err(|why| Error::UnusableNext { key: NEXT_SINCE, why })
}

fn pair(
    data: &BTreeMap<String, ByteString>,
    certificate: &'static str,
    key: &'static str,
    unusable: impl Fn(&'static str, String) -> Error,
) -> Result<Pair, Error> {
    let certificate_pem = text(data, certificate).map_err(|why| unusable(certificate, why))?;
    let key_pem = text(data, key).map_err(|why| unusable(key, why))?;
    Pair::of(&certificate_pem, &key_pem).map_err(|flaw| match flaw {
        Flaw::Certificate(why) => unusable(certificate, why),
        Flaw::Key(why) => unusable(key, why),
    })
}

fn text(data: &BTreeMap<String, ByteString>, key: &str) -> Result<String, String> {
    let bytes = data.get(key).ok_or_else(|| "it is missing".to_owned())?;
    String::from_utf8(bytes.0.clone()).map_err(|_| "it is not text".to_owned())
}

fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

fn patch(resource_version: Option<&String>, data: Value, annotations: Value) -> Value {
    json!({ "metadata": { "resourceVersion": resource_version, "annotations": annotations }, "data": data })
}

#[cfg(test)]
mod tests;
