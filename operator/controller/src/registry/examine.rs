//! Looks at one image: its manifest, the labels of its configuration, and whatever is attached to it as a signature.
//!
//! Everything is asked by digest and checked against it, but for two tags, whose content proves nothing by being there. What is
//! attached is judged piece by piece ([`Judge`]), so that no more than one piece is held.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use paramant_operator_core::digest::Digest;
use paramant_operator_core::release::{Inspect, Release, Verdict};
use paramant_operator_core::signature::{
    Image, Judge, MAX_BUNDLE, MAX_PAYLOAD, MAX_PROOFS, Proof, bundle, classic,
};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::LookupError;
use super::access::Access;
use super::client::{Body, Client, Fault};
use super::manifest::{ACCEPT, Config, Descriptor, MAX_CONFIG, MAX_MANIFEST, Manifest};
use super::place::{Named, Place};

/// A version is shown in status; longer ones are no versions.
const MAX_VERSION: usize = 128;
/// What an index of referrers says of an artifact whose type stands in the manifest only, as cosign writes it.
const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";
/// What cosign calls a classic signature that refers to its image instead of having a tag.
const CLASSIC_ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// Looks at images. A trait, so that tests need no registry.
pub trait Examine: Send + Sync + 'static {
    /// What release the image calls itself, and whether it may run.
    fn examine<'a>(&'a self, asked: &'a Inspect) -> BoxFuture<'a, Result<(Release, Verdict), LookupError>>;
}

/// Looks at images in real registries.
pub struct RegistryExamine(Arc<Access>);

impl RegistryExamine {
    /// By this right.
    pub fn new(access: Arc<Access>) -> Self {
        Self(access)
    }
}

impl Examine for RegistryExamine {
    fn examine<'a>(&'a self, asked: &'a Inspect) -> BoxFuture<'a, Result<(Release, Verdict), LookupError>> {
        Box::pin(async move {
            let named = format!("{}@{}", asked.repository, asked.digest);
            let place = Named::parse(&named)?.place;
            let client = self.0.client().await?;
            let look = Look { client: &client, place: &place };
            look.at(asked).await.map_err(|fault| LookupError::of(fault, &place, &named))
        })
    }
}

/// One look at one repository.
struct Look<'a> {
    client: &'a Client,
    place: &'a Place,
}

impl Look<'_> {
    async fn at(&self, asked: &Inspect) -> Result<(Release, Verdict), Fault> {
        let manifest = self.manifest(asked.digest.as_str(), MAX_MANIFEST).await?;
        let release = self.release(&manifest).await?;
        let image = Image { digest: &asked.digest, manifest: &manifest.bytes };
        let mut judge = Judge::new(&asked.trust, image, Timestamp::now());
        self.classic(&asked.digest, &mut judge).await?;
        if !judge.is_done() {
            self.referrers(&asked.digest, &mut judge).await?;
        }
        Ok((release, judge.verdict()))
    }

    async fn release(&self, manifest: &Body) -> Result<Release, Fault> {
        let outer: Manifest = parse(manifest)?;
        let inner = match outer.for_this_platform() {
            Some(one) => Some(parse::<Manifest>(&self.manifest(&one.digest, MAX_MANIFEST).await?)?),
            None => None,
        };
        // An image without a configuration says nothing about itself.
        let Some(config) = inner.unwrap_or(outer).config else { return Ok(Release::default()) };
        if config.size > MAX_CONFIG {
            return Err(Fault::TooLarge);
        }
        let config: Config = parse(&self.blob(&config).await?)?;
        let labels = config.config.labels.unwrap_or_default();
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
        let (schema, min_reader) = (number(labels.schema), number(labels.min_reader));
        let version = labels.version.filter(|version| {
            !version.is_empty()
                && version.len() <= MAX_VERSION
                && version.bytes().all(|byte| byte.is_ascii_graphic())
        });
        Ok(Release { version, schema, min_reader })
    }

    /// The classic signatures, under their tag.
    async fn classic(&self, digest: &Digest, judge: &mut Judge<'_>) -> Result<(), Fault> {
        let path = format!("manifests/sha256-{}.sig", digest.hex());
        let Some(manifest) = found(self.client.get(self.place, &path, ACCEPT, MAX_MANIFEST).await)? else {
            return Ok(());
        };
        match parse::<Manifest>(&manifest) {
            Ok(manifest) => self.layers(manifest, judge).await,
            Err(_) => {
                judge.hear(&Proof::Unreadable("its signature's manifest is none"));
                Ok(())
            }
        }
    }

    /// The artifacts that refer to the image, by the registry's own list or, where it has none, by the tag that stands in.
    async fn referrers(&self, digest: &Digest, judge: &mut Judge<'_>) -> Result<(), Fault> {
        let path = format!("referrers/{digest}");
        let answer = match self.client.get(self.place, &path, ACCEPT, MAX_MANIFEST).await {
            Err(Fault::Missing | Fault::Status(400 | 405 | 406 | 501)) => {
                let path = format!("manifests/sha256-{}", digest.hex());
                self.client.get(self.place, &path, ACCEPT, MAX_MANIFEST).await
            }
            answer => answer,
        };
        let Some(index) = found(answer)? else { return Ok(()) };
        let Ok(index) = parse::<Manifest>(&index) else {
            judge.hear(&Proof::Unreadable("the list of what refers to it is none"));
            return Ok(());
        };
        for artifact in newest(index.manifests.into_iter().filter(may_hold_signatures).collect()) {
            let Some(manifest) = found(self.manifest(&artifact.digest, MAX_MANIFEST).await)? else {
                continue;
            };
            match parse::<Manifest>(&manifest) {
                Ok(manifest) => self.layers(manifest, judge).await?,
                Err(_) => judge.hear(&Proof::Unreadable("its signature's manifest is none")),
            }
            if judge.is_done() {
                break;
            }
        }
        Ok(())
    }

    /// Has those layers of a manifest judged that are signatures.
    async fn layers(&self, manifest: Manifest, judge: &mut Judge<'_>) -> Result<(), Fault> {
        let is_proof = |layer: &Descriptor| {
            layer.media_type == classic::MEDIA_TYPE || layer.media_type == bundle::MEDIA_TYPE
        };
        for layer in newest(manifest.layers.into_iter().filter(is_proof).collect()) {
            judge.hear(&self.proof(layer).await?);
            if judge.is_done() {
                break;
            }
        }
        Ok(())
    }

    async fn proof(&self, layer: Descriptor) -> Result<Proof, Fault> {
        let is_bundle = layer.media_type == bundle::MEDIA_TYPE;
        if layer.size > if is_bundle { MAX_BUNDLE } else { MAX_PAYLOAD } {
            return Ok(Proof::Unreadable("it is longer than a signature can be"));
        }
        let Some(body) = found(self.blob(&layer).await)? else {
            return Ok(Proof::Unreadable("the registry has lost a part of it"));
        };
        let bytes = body.bytes.to_vec();
        if is_bundle {
            return Ok(Proof::Bundle(bytes));
        }
        let certificate = layer.annotations.certificate;
        Ok(match layer.annotations.signature {
            Some(signature) => Proof::Classic { payload: bytes, signature, certificate },
            None => Proof::Unreadable("a payload has no signature beside it"),
        })
    }

    async fn manifest(&self, digest: &str, limit: u64) -> Result<Body, Fault> {
        let digest = digest.parse::<Digest>().map_err(|_| Fault::Nonsense)?;
        let body = self.client.get(self.place, &format!("manifests/{digest}"), ACCEPT, limit).await?;
        is_of(&body, &digest)?;
        Ok(body)
    }

    /// The caller has judged the size that the descriptor gives.
    async fn blob(&self, descriptor: &Descriptor) -> Result<Body, Fault> {
        let digest = descriptor.digest.parse::<Digest>().map_err(|_| Fault::Nonsense)?;
        let body = self.client.get(self.place, &format!("blobs/{digest}"), "*/*", descriptor.size).await;
        // More than it announced.
        let body = body.map_err(|fault| if fault == Fault::TooLarge { Fault::Lie } else { fault })?;
        is_of(&body, &digest)?;
        Ok(body)
    }
}

/// By the list alone an artifact can be excluded, not known: cosign's have their type in the manifest only.
fn may_hold_signatures(artifact: &Descriptor) -> bool {
    matches!(
        artifact.artifact_type.as_deref(),
        None | Some("" | EMPTY_CONFIG | bundle::MEDIA_TYPE | CLASSIC_ARTIFACT)
    )
}

/// As many as are looked at: what is attached later comes later in the list.
fn newest(mut listed: Vec<Descriptor>) -> Vec<Descriptor> {
    let surplus = listed.len().saturating_sub(MAX_PROOFS);
    listed.drain(..surplus);
    listed
}

/// What is not there is not attached.
fn found(answer: Result<Body, Fault>) -> Result<Option<Body>, Fault> {
    match answer {
        Ok(body) => Ok(Some(body)),
        Err(Fault::Missing) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn is_of(body: &Body, digest: &Digest) -> Result<(), Fault> {
    if hex::encode(Sha256::digest(&body.bytes)) == digest.hex() { Ok(()) } else { Err(Fault::Lie) }
}

fn parse<T: DeserializeOwned>(body: &Body) -> Result<T, Fault> {
    serde_json::from_slice(&body.bytes).map_err(|_| Fault::Nonsense)
}
