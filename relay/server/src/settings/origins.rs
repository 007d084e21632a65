//! Which web pages may read the answers of the data plane: origins, with room for a family of them.

use std::str::FromStr;

/// Origins whose pages may read answers. By default those of the published web clients and of local development.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigins {
    origins: Vec<Origin>,
    /// What a page of another origin is told; it may not read the answer either way.
    otherwise: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// `https://app.example.org`
    Exactly(String),
    /// `https://*.example.org`: any name below.
    Below { scheme: String, domain: String },
    /// `chrome-extension://*`, `http://localhost:*`: any host, or any port.
    StartsWith(String),
}

/// Not an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an origin; write https://app.example.org, https://*.example.org, http://localhost:* or chrome-extension://*"
)]
pub struct InvalidOrigin(String);

impl Default for AllowedOrigins {
    fn default() -> Self {
        let below = Origin::Below { scheme: "https".to_owned(), domain: "paramant.app".to_owned() };
        let start = |text: &str| Origin::StartsWith(text.to_owned());
        let exactly = "https://paramant.app".to_owned();
        let origins = vec![
            Origin::Exactly(exactly.clone()),
            below,
            start("chrome-extension://"),
            start("moz-extension://"),
            start("http://localhost:"),
            start("http://127.0.0.1:"),
        ];
        Self { origins, otherwise: Some(exactly) }
    }
}

impl AllowedOrigins {
    /// Exactly these; none at all when the list is empty.
    ///
    /// # Errors
    /// [`InvalidOrigin`], for the first that is none.
    pub fn only(texts: &[String]) -> Result<Self, InvalidOrigin> {
        let origins = texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        Ok(Self { origins, otherwise: None })
    }

    /// What `Access-Control-Allow-Origin` says to a page of this origin; `None`: nothing.
    #[must_use]
    pub fn answer<'a>(&'a self, origin: Option<&'a str>) -> Option<&'a str> {
        match origin {
            Some(origin) if self.origins.iter().any(|allowed| allowed.holds(origin)) => Some(origin),
            _ => self.otherwise.as_deref(),
        }
    }
}

impl Origin {
    fn holds(&self, origin: &str) -> bool {
        match self {
            Self::Exactly(exactly) => origin == exactly,
            Self::StartsWith(start) => origin.starts_with(start),
            Self::Below { scheme, domain } => origin
                .split_once("://")
                .filter(|(found, _)| found == scheme)
                .and_then(|(_, host)| host.strip_suffix(domain.as_str()))
                .is_some_and(|below| below.len() > 1 && below.ends_with('.')),
        }
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(text.to_owned());
        let (scheme, host) = text.split_once("://").ok_or_else(invalid)?;
        let plain = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'*' | b'?' | b'#' | b'@' | b','))
        };
        if !plain(scheme) || scheme.bytes().any(|b| b.is_ascii_uppercase() || b == b':') {
            return Err(invalid());
        }
        match host.strip_suffix('*') {
            // Everything of a scheme is for extensions, whose ids differ with each browser: of https it would be everybody.
            Some("") if scheme.ends_with("-extension") => Ok(Self::StartsWith(format!("{scheme}://"))),
            Some(host) if host.ends_with(':') && plain(host) => {
                Ok(Self::StartsWith(format!("{scheme}://{host}")))
            }
            Some(_) => Err(invalid()),
            None => match host.strip_prefix("*.") {
                Some(domain) if plain(domain) => {
                    Ok(Self::Below { scheme: scheme.to_owned(), domain: domain.to_owned() })
                }
                None if plain(host) => Ok(Self::Exactly(text.to_owned())),
                _ => Err(invalid()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_the_published_origins_are_echoed_by_default() {
        let allowed = AllowedOrigins::default();
        for (origin, answer) in [
            (None, "https://paramant.app"),
            (Some("https://paramant.app"), "https://paramant.app"),
            (Some("https://relay.paramant.app"), "https://relay.paramant.app"),
            (Some("https://evilparamant.app"), "https://paramant.app"),
            (Some("http://relay.paramant.app"), "https://paramant.app"),
            (Some("http://localhost:5173"), "http://localhost:5173"),
            (Some("http://localhost.evil.example"), "https://paramant.app"),
            (Some("chrome-extension://abc"), "chrome-extension://abc"),
        ] {
            assert_eq!(allowed.answer(origin), Some(answer), "{origin:?}");
        }
    }

    #[test]
    fn a_list_of_ones_own_replaces_them() {
        let texts = ["https://app.example.org", "https://*.example.net", "http://localhost:*"];
        let allowed = AllowedOrigins::only(&texts.map(str::to_owned)).unwrap();
        for echoed in ["https://app.example.org", "https://a.b.example.net", "http://localhost:1"] {
            assert_eq!(allowed.answer(Some(echoed)), Some(echoed));
        }
        for other in [
            "https://example.net",
            "https://xexample.net",
            "https://.example.net",
            "https://paramant.app",
            "null",
        ] {
            assert_eq!(allowed.answer(Some(other)), None, "{other}");
        }
        assert_eq!(AllowedOrigins::only(&[]).unwrap().answer(Some("https://paramant.app")), None);
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "*",
            "https://*",
            "https://",
            "example.org",
            "https://a/b",
            "https://a*",
            "HTTPS://a",
            "https://*.",
            "https://a b",
        ] {
            assert!(AllowedOrigins::only(&[text.to_owned()]).is_err(), "{text}");
        }
    }
}
