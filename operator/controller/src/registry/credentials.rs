//! Credentials as Docker's `config.json` and Secrets of type `kubernetes.io/dockerconfigjson` hold them.
//!
//! An entry is for a registry, by host and optional port; a scheme and a path in its name are ignored, as kubelets ignore the
//! scheme. Credential helpers are programs, which the operator's image does not have.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// Something to show to a registry. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// User and password.
    Basic {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
    /// A token.
    Bearer(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

/// Credentials by registry.
#[derive(Debug, Clone, Default)]
pub struct Credentials(HashMap<String, Credential>);

/// Why a file holds no credentials. Says nothing of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Not JSON, or not of this shape.
    #[error("it is not in the form of Docker's config.json")]
    NotConfigJson,
    /// One entry.
    #[error("its entry for {0} has neither username and password nor a usable auth")]
    Entry(String),
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: HashMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// Reads a `config.json`.
    pub fn parse(bytes: &[u8]) -> Result<Self, CredentialsError> {
        let config: Config = serde_json::from_slice(bytes).map_err(|_| CredentialsError::NotConfigJson)?;
        let entries = config.auths.into_iter().map(|(name, entry)| {
            let credential = entry.credential().ok_or_else(|| CredentialsError::Entry(name.clone()))?;
            Ok((registry(&name).to_owned(), credential))
        });
        entries.collect::<Result<_, _>>().map(Self)
    }

    /// For a registry as people write it.
    pub fn of(&self, registry: &str) -> Option<&Credential> {
        let name = if registry == "docker.io" { "index.docker.io" } else { registry };
        self.0.get(name).or_else(|| self.0.get(registry))
    }
}

impl Entry {
    fn credential(self) -> Option<Credential> {
        if let (Some(user), Some(password)) = (self.username, self.password)
            && !user.is_empty()
        {
            return Some(Credential::Basic { user, password });
        }
        let decoded = String::from_utf8(STANDARD.decode(self.auth?.trim()).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        Some(Credential::Basic { user: user.to_owned(), password: password.to_owned() })
    }
}

fn registry(name: &str) -> &str {
    let rest = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn basic(user: &str, password: &str) -> Credential {
        Credential::Basic { user: user.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn what_kubectl_and_docker_write_is_read() {
        let both = br#"{"auths":{"r.example:5000":{"username":"u","password":"p:q","auth":"eDp5"},
            "https://index.docker.io/v1/":{"auth":"aHViOnA6dw=="}}}"#;
        let credentials = Credentials::parse(both).unwrap();
        assert_eq!(credentials.of("r.example:5000"), Some(&basic("u", "p:q")));
        assert_eq!(credentials.of("docker.io"), Some(&basic("hub", "p:w")));
        assert_eq!(credentials.of("r.example"), None);
    }

    #[test]
    fn an_entry_without_a_secret_and_a_file_of_another_kind_are_refused_without_telling_their_content() {
        assert_eq!(Credentials::parse(b"hunter2").unwrap_err(), CredentialsError::NotConfigJson);
        let bad = Credentials::parse(br#"{"auths":{"r.example":{"auth":"aHVudGVyMg=="}}}"#).unwrap_err();
        assert_eq!(bad, CredentialsError::Entry("r.example".to_owned()));
        assert!(!format!("{:?}", basic("u", "hunter2")).contains("hunter2"));
    }
}
