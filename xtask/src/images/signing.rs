//! Signs what is pushed, as a release is signed: with cosign, and a key pair that this cache makes once and keeps.
//! The operator of the test bed trusts its public half, as an installation trusts the key of its own builds.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, make_directory};
use crate::cluster::Cluster;
use crate::failure::{Doing, Result};
use crate::run::Run;
use crate::step::step;
use crate::tools;

/// How cosign attaches a signature to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Under a tag of its own.
    Classic,
    /// As a sigstore bundle that refers to the image.
    Bundle,
}

impl Form {
    /// The tag where the signature lies in a registry without a list of referrers, as ours is.
    fn tag(self, digest: &str) -> String {
        let tag = digest.replace(':', "-");
        match self {
            Self::Classic => format!("{tag}.sig"),
            Self::Bundle => tag,
        }
    }
}

/// Where the public key is, once [`Signer::new`] has made it.
pub(crate) fn public_key(cache: &Cache) -> PathBuf {
    folder(cache).join("cosign.pub")
}

fn folder(cache: &Cache) -> PathBuf {
    cache.root().join("signing")
}

/// cosign with its key pair.
pub(crate) struct Signer {
    cosign: PathBuf,
    folder: PathBuf,
    public: String,
}

impl Signer {
    /// Builds cosign and makes the key pair, each unless the cache has it.
    pub(crate) fn new(cache: &Cache) -> Result<Self> {
        let (cosign, folder) = (tools::published(cache, tools::COSIGN)?, folder(cache));
        let public = public_key(cache);
        if !(public.exists() && folder.join("cosign.key").exists()) {
            let _ = fs::remove_dir_all(&folder);
            make_directory(&folder)?;
            step("make a key pair to sign images with", |_| {
                cosign_with(&cosign)
                    .arg("generate-key-pair")
                    .dir(&folder)
                    .log(cache.log("signing-key"))
                    .done()
            })?;
        }
        let public = fs::read_to_string(&public).doing(|| format!("read {}", public.display()))?;
        Ok(Self { cosign, folder, public })
    }

    /// Signs a pushed image, unless this key has signed it already and the registry still holds the signature.
    pub(crate) fn sign(
        &self,
        cache: &Cache,
        cluster: &Cluster,
        name: &str,
        digest: &str,
        form: Form,
    ) -> Result<()> {
        let reference = format!("{}/{name}@{digest}", cluster.registry);
        let (made, key) = (format!("signed-{}", form.tag(digest)), format!("{reference} {}", self.public));
        if cache.is_current(&made, &key) && cluster.has_image(name, &form.tag(digest)) {
            return Ok(());
        }
        let mut run = cosign_with(&self.cosign)
            .args(["sign", "--yes", "--tlog-upload=false", "--key"])
            .arg(self.folder.join("cosign.key"));
        if form == Form::Bundle {
            run = run.arg("--new-bundle-format");
        }
        if cluster.plain_http {
            run = run.arg("--allow-http-registry");
        }
        run.arg(&reference).log(cache.log(&format!("sign-{name}"))).done()?;
        cache.made(&made, &key)
    }
}

/// The key protects nothing but a test bed, so it has no password.
fn cosign_with(cosign: &Path) -> Run {
    Run::new(cosign).env("COSIGN_PASSWORD", "")
}
