//! The little that is read of manifests and indexes (OCI image specification 1.1, and Docker's forms of the same).
//!
//! What is not read is not kept, and of long lists only the end: four megabytes of JSON must not become a hundred of memory.

use std::collections::VecDeque;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The specification asks registries to take manifests of up to 4 MiB.
pub(super) const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// An image's configuration lists its layers' digests and history; kubelets take no larger ones than 4 MiB either.
pub(super) const MAX_CONFIG: u64 = 1024 * 1024;
/// Everything an image may be.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// Entries kept of a list. Images have a hundred layers at most, indexes a dozen images.
const MAX_ENTRIES: usize = 512;

/// A manifest or an index: whichever list is there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) config: Option<Descriptor>,
    #[serde(default, deserialize_with = "last")]
    pub(super) layers: VecDeque<Descriptor>,
    #[serde(default, deserialize_with = "last")]
    pub(super) manifests: VecDeque<Descriptor>,
}

/// A pointer to bytes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) artifact_type: Option<String>,
    #[serde(default)]
    pub(super) annotations: Annotations,
    pub(super) platform: Option<Platform>,
}

/// The annotations of a classic signature.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Annotations {
    #[serde(rename = "dev.cosignproject.cosign/signature")]
    pub(super) signature: Option<String>,
    #[serde(rename = "dev.sigstore.cosign/certificate")]
    pub(super) certificate: Option<String>,
}

/// What a manifest of an index runs on.
#[derive(Debug, Deserialize)]
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
    pub(super) labels: Option<Labels>,
}

/// The labels of a release.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Labels {
    #[serde(rename = "org.opencontainers.image.version")]
    pub(super) version: Option<String>,
    #[serde(rename = "app.paramant.data.schema")]
    pub(super) schema: Option<String>,
    #[serde(rename = "app.paramant.data.min-reader")]
    pub(super) min_reader: Option<String>,
}

/// Reads a list and keeps its end.
fn last<'de, D: Deserializer<'de>>(list: D) -> Result<VecDeque<Descriptor>, D::Error> {
    struct Last;

    impl<'de> Visitor<'de> for Last {
        type Value = VecDeque<Descriptor>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of descriptors")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut kept = VecDeque::new();
            while let Some(descriptor) = list.next_element()? {
                if kept.len() == MAX_ENTRIES {
                    kept.pop_front();
                }
                kept.push_back(descriptor);
            }
            Ok(kept)
        }

        // Docker's tools write null for an empty list.
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(VecDeque::new())
        }
    }

    list.deserialize_any(Last)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use paramant_operator_core::release::{MIN_READER_LABEL, SCHEMA_LABEL};
    use paramant_operator_core::signature::classic;

    use super::*;

    #[test]
    fn the_names_of_labels_and_annotations_are_those_of_their_owners() {
        let annotations =
            format!(r#"{{"{}":"s","{}":"c","x":"y"}}"#, classic::SIGNATURE, classic::CERTIFICATE);
        let annotations: Annotations = serde_json::from_str(&annotations).unwrap();
        assert_eq!(
            (annotations.signature.as_deref(), annotations.certificate.as_deref()),
            (Some("s"), Some("c"))
        );
        let labels = format!(r#"{{"{SCHEMA_LABEL}":"7","{MIN_READER_LABEL}":"6"}}"#);
        let labels: Labels = serde_json::from_str(&labels).unwrap();
        assert_eq!((labels.schema.as_deref(), labels.min_reader.as_deref()), (Some("7"), Some("6")));
    }

    #[test]
    fn of_a_long_list_the_end_is_kept_and_null_is_an_empty_one() {
        let entries: Vec<_> = (0..2000).map(|size| format!(r#"{{"digest":"d","size":{size}}}"#)).collect();
        let manifest: Manifest =
            serde_json::from_str(&format!(r#"{{"layers":[{}]}}"#, entries.join(","))).unwrap();
        assert_eq!((manifest.layers.len(), manifest.layers.back().unwrap().size), (MAX_ENTRIES, 1999));
        let manifest: Manifest = serde_json::from_str(r#"{"layers":null,"manifests":[]}"#).unwrap();
        assert!(manifest.layers.is_empty());
    }
}
