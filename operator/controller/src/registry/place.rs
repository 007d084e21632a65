//! Where an image is, in the terms of the registry's API.

use paramant_crds::relay::ImageReference;

use super::LookupError;

/// A repository of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Host and optional port, as people write it.
    pub registry: String,
    /// The path.
    pub repository: String,
}

/// An image that someone named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its repository.
    pub place: Place,
    /// Its digest, or else its tag.
    pub reference: String,
}

impl Named {
    /// The parts of a reference as a relay's spec has it.
    pub fn parse(image: &str) -> Result<Self, LookupError> {
        let parts = ImageReference::from(image)
            .parts()
            .ok_or_else(|| LookupError::Refused(format!("`{image}` is not an image reference")))?;
        let reference = parts.digest.map(|digest| digest.as_str().to_owned()).or(parts.tag);
        Ok(Self {
            place: Place { registry: parts.registry, repository: parts.repository },
            // A reference without both is refused above.
            reference: reference.unwrap_or_else(|| "latest".to_owned()),
        })
    }
}

impl Place {
    /// The host that answers. Docker Hub's name is not where its registry is.
    pub(super) fn host(&self) -> &str {
        match self.registry.as_str() {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_digest_outranks_a_tag_and_the_hub_has_a_host_of_its_own() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(Named::parse(&format!("r.example:5000/a/b:1@{digest}")).unwrap().reference, digest);
        let named = Named::parse("docker.io/paramant/relay:1").unwrap();
        assert_eq!((named.place.host(), named.reference.as_str()), ("registry-1.docker.io", "1"));
        assert!(Named::parse("UPPER CASE").is_err());
    }
}
