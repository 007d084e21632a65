//! Names for images, as a vendor gives them: a tag in the repository, for a digest that was pushed there.

use anyhow::{Context, Result, bail};

/// The manifest's own type, which the registry must be told again.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Lets `tag` mean an image that is in the registry; answers the reference by tag.
pub(super) fn tag(pinned: &str, tag: &str) -> Result<String> {
    let (repository, digest) = pinned.split_once('@').context("the image is not pinned by digest")?;
    let (registry, path) = repository.split_once('/').context("the image names no registry")?;
    let http = crate::relay::client()?;
    let url = |reference: &str| format!("http://{registry}/v2/{path}/manifests/{reference}");
    let manifest = http.get(url(digest)).header("Accept", MANIFEST).send()?.error_for_status()?.bytes()?;
    let put = http.put(url(tag)).header("Content-Type", MANIFEST).body(manifest).send()?;
    let named = put.headers().get("Docker-Content-Digest").and_then(|it| it.to_str().ok()).map(str::to_owned);
    put.error_for_status()?;
    if named.as_deref() != Some(digest) {
        bail!("the tag {tag} means {named:?}, expected {digest}");
    }
    Ok(format!("{repository}:{tag}"))
}
