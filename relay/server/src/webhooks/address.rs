//! What a webhook's address may be: https, a public host, on the admin's list. Pure; the addresses that a name has are judged
//! when it is called.

use axum::http::Uri;

use crate::outbound::{Destination, NotPublic, PublicOnly};
use crate::settings::WebhookSettings;

/// As long as an address may be.
const LONGEST: usize = 2048;

/// An address that may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookUrl {
    text: String,
    destination: Destination,
    path: String,
}

/// Why an address may not be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCallable {
    /// Not `https://host/path`.
    #[error("url must be https://host/path, without user and fragment, on port 443")]
    Malformed,
    /// Not a host of the public internet.
    #[error("url: {0}")]
    NotPublic(#[from] NotPublic),
    /// The admin has not listed its host.
    #[error("this relay calls no webhook on {0:?}: its admin lists hosts in the setting webhooks.hosts")]
    NotListed(String),
}

impl HookUrl {
    /// Reads an address. A port other than 443 must be on the admin's list.
    ///
    /// # Errors
    /// [`NotCallable`].
    pub fn parse(text: &str, config: Option<&WebhookSettings>) -> Result<Self, NotCallable> {
        let malformed = NotCallable::Malformed;
        if text.len() > LONGEST || text.contains('#') {
            return Err(malformed);
        }
        let uri: Uri = text.parse().map_err(|_| malformed.clone())?;
        let authority = uri.authority().ok_or_else(|| malformed.clone())?;
        let destination: Destination =
            format!("https://{authority}").parse().map_err(|_| malformed.clone())?;
        let listed = |authority: &str| config.is_some_and(|it| it.hosts.iter().any(|host| host == authority));
        let authority = destination.authority();
        let usual_port = authority.ends_with(":443");
        if uri.scheme_str() != Some("https") || !(usual_port || listed(&authority)) {
            return Err(malformed);
        }
        let addresses = config.map_or_else(PublicOnly::default, |config| config.addresses.clone());
        addresses.judge_host(destination.host())?;
        if !listed(&authority) {
            return Err(NotCallable::NotListed(destination.host().to_owned()));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { text: text.to_owned(), destination, path })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Its path and query, for a request.
    pub fn path(&self) -> &str {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::settings::Settings;

    fn parse(text: &str) -> Result<HookUrl, NotCallable> {
        let settings: Settings = "webhooks: { hosts: [hooks.example, \"hooks.example:8443\", 1.1.1.1, \"10.1.2.3\", \"[2606:4700::1]\"], privateNetworks: [10.1.2.3] }".parse().unwrap();
        HookUrl::parse(text, settings.webhooks.as_deref())
    }

    #[test]
    fn an_address_on_a_listed_host_is_taken_with_its_query() {
        for (text, authority, path) in [
            ("https://hooks.example/a/b?token=x&y", "hooks.example:443", "/a/b?token=x&y"),
            ("https://Hooks.Example", "hooks.example:443", "/"),
            ("https://hooks.example:443/", "hooks.example:443", "/"),
            ("https://hooks.example:8443/a/", "hooks.example:8443", "/a/"),
            ("https://1.1.1.1/", "1.1.1.1:443", "/"),
            ("https://10.1.2.3/", "10.1.2.3:443", "/"),
            ("https://[2606:4700::1]/x", "[2606:4700::1]:443", "/x"),
        ] {
            let url = parse(text).unwrap();
            assert_eq!(
                (url.destination().authority().as_str(), url.path(), url.as_str()),
                (authority, path, text)
            );
        }
    }

    #[test]
    fn what_is_unsafe_is_refused_before_what_is_not_listed() {
        for text in [
            "",
            "hooks.example",
            "/path",
            "http://hooks.example/",
            "ftp://hooks.example/",
            "https://",
            "https:///x",
            "https://u@hooks.example/",
            "https://u:p@hooks.example/",
            "https://hooks.example/#f",
            "https://hooks.example:444/",
            "https://hooks.example:0/",
            "https://hooks.example:99999/",
            "https://hooks.example:/",
            "https://hooks example/",
            "https://hooks.example\\@evil.example/",
            "https://hooks.example/\r\nX: y",
        ] {
            assert_eq!(parse(text), Err(NotCallable::Malformed), "{text:?}");
        }
        assert_eq!(
            parse(&format!("https://hooks.example/{}", "x".repeat(3000))),
            Err(NotCallable::Malformed)
        );
        for text in [
            "https://localhost/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://10.1.2.4/",
            "https://169.254.169.254/latest",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[fd00::1]/",
            "https://metadata.google.internal/",
        ] {
            assert!(matches!(parse(text), Err(NotCallable::NotPublic(_))), "{text:?}");
        }
        for text in ["https://other.example/", "https://hooks.example.evil.example/", "https://1.1.1.2/"] {
            assert!(matches!(parse(text), Err(NotCallable::NotListed(_))), "{text:?}");
        }
        let nowhere = HookUrl::parse("https://hooks.example/", None);
        assert_eq!(nowhere, Err(NotCallable::NotListed("hooks.example".to_owned())));
    }
}
