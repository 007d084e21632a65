//! Where an image is: the text of `spec.image`, and its parts.

use crate::text::{Digest, shaped_text};

shaped_text! {
    /// Where an image is: registry, repository, and a tag or a digest.
    ImageReference, length 3..=512, pattern "^[-_.:/@a-zA-Z0-9]+$"
}

/// The parts of a complete image reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageParts {
    /// Host and optional port.
    pub registry: String,
    /// The path inside the registry.
    pub repository: String,
    /// The tag, if any.
    pub tag: Option<String>,
    /// The digest, if any; it outranks the tag.
    pub digest: Option<Digest>,
}

impl ImageReference {
    /// The parts, or `None` when registry, repository, or both tag and digest are missing or malformed.
    pub fn parts(&self) -> Option<ImageParts> {
        let (registry, rest) = self.0.split_once('/')?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::from(digest)).filter(Digest::is_valid).map(Some)?),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        let complete = is_registry(registry)
            && repository.split('/').all(is_path_component)
            && tag.is_none_or(is_tag)
            && (tag.is_some() || digest.is_some());
        complete.then(|| ImageParts {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// A host with a dot or a port: `paramant/relay` would mean another place to everyone who reads it.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let alphanumeric_ends = host.starts_with(|c: char| c.is_ascii_alphanumeric())
        && host.ends_with(|c: char| c.is_ascii_alphanumeric());
    (host.contains('.') || port.is_some())
        && alphanumeric_ends
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        && port.is_none_or(|port| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Lower-case words joined by `.`, `_`, `__` or dashes.
fn is_path_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let joints = text.split(is_word).filter(|joint| !joint.is_empty());
    text.starts_with(is_word)
        && text.ends_with(is_word)
        && joints
            .into_iter()
            .all(|joint| matches!(joint, "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['-', '.'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_reference_has_a_registry_a_repository_and_a_tag_or_a_digest() {
        let parts = ImageReference(format!("10.1.2.3:5000/acme/relay_x:3.1.0@{DIGEST}")).parts().unwrap();
        assert_eq!(parts.registry, "10.1.2.3:5000");
        assert_eq!(parts.repository, "acme/relay_x");
        assert_eq!(parts.tag.as_deref(), Some("3.1.0"));
        assert_eq!(parts.digest, Some(Digest::from(DIGEST)));
        assert!(ImageReference::from("registry.example/relay:1").parts().is_some());
        assert!(ImageReference(format!("localhost:5000/relay@{DIGEST}")).parts().is_some());
    }

    #[test]
    fn anything_less_is_refused() {
        for text in [
            "relay:1",
            "paramant/relay:1",
            "registry.example/relay",
            "registry.example/Relay:1",
            "registry.example//relay:1",
            "registry.example/relay:",
            "registry.example/relay:-1",
            "registry.example/relay@sha256:00",
            "registry.example:port/relay:1",
            "-registry.example/relay:1",
            "registry.example/a..b:1",
            "registry.example/a___b:1",
        ] {
            assert_eq!(ImageReference::from(text).parts(), None, "{text}");
        }
    }
}
