//! The little that is read of manifests and indexes (OCI image specification 1.1, and Docker's forms of the same).

use std::collections::HashMap;

use serde::Deserialize;

/// The specification asks registries to take manifests of up to 4 MiB.
pub(super) const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// An image's configuration lists its layers' digests and history; kubelets take no larger ones than 4 MiB either.
pub(super) const MAX_CONFIG: u64 = 1024 * 1024;
/// Everything an image may be.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// A manifest or an index: whichever list is there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) config: Option<Descriptor>,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
}

/// A pointer to bytes.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) artifact_type: Option<String>,
    #[serde(default)]
    pub(super) annotations: HashMap<String, String>,
    pub(super) platform: Option<Platform>,
}

/// What a manifest of an index runs on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Platform {
    pub(super) architecture: String,
    pub(super) os: String,
}

/// An image's configuration.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) config: Settings,
}

/// The part of it with labels.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Settings {
    #[serde(default)]
    pub(super) labels: Option<HashMap<String, String>>,
}

impl Manifest {
    /// The image for this machine in an index, or else the first for any Linux: all are built from the same release.
    pub(super) fn for_this_platform(&self) -> Option<&Descriptor> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let linux = |wanted: Option<&str>| {
            self.manifests.iter().find(|one| {
                one.platform.as_ref().is_some_and(|platform| {
                    platform.os == "linux" && wanted.is_none_or(|wanted| platform.architecture == wanted)
                })
            })
        };
        linux(Some(architecture)).or_else(|| linux(None))
    }
}
