//! What does a tag mean right now? One HEAD request, and a GET where a registry leaves the digest out.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use super::LookupError;
use super::access::Access;
use super::client::Fault;
use super::manifest::{ACCEPT, MAX_MANIFEST};
use super::place::Named;

/// Asks a registry. A trait, so that tests need none.
pub trait Lookup: Send + Sync + 'static {
    /// The digest `image` stands for, as the registry writes it.
    fn digest<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<String, LookupError>>;
}

/// Asks real registries.
pub struct RegistryLookup(Arc<Access>);

impl RegistryLookup {
    /// By this right.
    pub fn new(access: Arc<Access>) -> Self {
        Self(access)
    }
}

impl Lookup for RegistryLookup {
    fn digest<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<String, LookupError>> {
        Box::pin(async move {
            let Named { place, reference } = Named::parse(image)?;
            if reference.starts_with("sha256:") {
                return Ok(reference);
            }
            let client = self.0.client().await?;
            let path = format!("manifests/{reference}");
            let answered = client.head(&place, &path, ACCEPT).await;
            // Some registries do not know HEAD.
            let told = match answered {
                Ok(headers) => digest_in(&headers),
                Err(Fault::Status(405 | 501)) => None,
                Err(fault) => return Err(LookupError::of(fault, &place, image)),
            };
            if let Some(digest) = told {
                return Ok(digest);
            }
            let body = client.get(&place, &path, ACCEPT, MAX_MANIFEST).await;
            let body = body.map_err(|fault| LookupError::of(fault, &place, image))?;
            Ok(format!("sha256:{}", hex::encode(Sha256::digest(&body.bytes))))
        })
    }
}

fn digest_in(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("docker-content-digest")?.to_str().ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}
