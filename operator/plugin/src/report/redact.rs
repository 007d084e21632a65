//! Hides what must not leave: keys, tokens and codes go, people and addresses become marks.
//!
//! A mark is a keyed hash, so equal values stay equal within one bundle and mean nothing outside it: the key is random, made
//! for one bundle and kept nowhere.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use regex::{Captures, Regex};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::patterns::{Class, Patterns, may_be_a_key, names_a_secret};

/// Digits of a mark: no two of a bundle's values share one by chance.
const MARK: usize = 12;
/// Fields whose 64 hex digits are published anyway: roots of the log, fingerprints, digests of templates.
const PUBLISHED: [&str; 8] = [
    "root",
    "fingerprint",
    "controlKey",
    "template",
    "identity",
    "logIdentity",
    "previewSha256",
    "nextRequestSha256",
];
/// Annotations that Kubernetes and this operator write themselves.
const OWN_ANNOTATIONS: [&str; 6] = [
    "paramant.app/",
    "kubectl.kubernetes.io/restartedAt",
    "deployment.kubernetes.io/",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "volume.beta.kubernetes.io/",
];

/// Why nothing can be hidden, and so no bundle be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotRedact {
    /// No key for the marks.
    #[error("the system has no randomness: {0}")]
    Randomness(getrandom::Error),
    /// A pattern of ours is wrong.
    #[error("a pattern does not compile: {0}")]
    Pattern(#[from] regex::Error),
}

/// Hides what must not leave.
pub(crate) struct Redactor {
    key: [u8; 32],
    patterns: Patterns,
    #[cfg(test)]
    transparent: bool,
}

impl Redactor {
    /// With a key of its own.
    pub(crate) fn new() -> Result<Self, CannotRedact> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(CannotRedact::Randomness)?;
        Ok(Self {
            key,
            patterns: Patterns::new()?,
            #[cfg(test)]
            transparent: false,
        })
    }

    /// One that hides nothing, so that a test sees its own detector find what was planted.
    #[cfg(test)]
    pub(crate) fn transparent() -> Result<Self, CannotRedact> {
        Ok(Self { transparent: true, ..Self::new()? })
    }

    /// What stands for a value.
    fn mark(&self, what: &str, value: &str) -> String {
        let digest = Sha256::new().chain_update(self.key).chain_update(what).chain_update(value).finalize();
        let mut digits = hex::encode(digest);
        digits.truncate(MARK);
        format!("[{what} {digits}]")
    }

    /// Text without what must not leave: a log, a message, a value of an object.
    pub(crate) fn text(&self, text: &str) -> String {
        #[cfg(test)]
        if self.transparent {
            return text.to_owned();
        }
        let mut text = text.to_owned();
        for (class, pattern) in self.patterns.in_order() {
            text = self.hide(class, pattern, &text);
        }
        text
    }

    fn hide(&self, class: Class, pattern: &Regex, text: &str) -> String {
        let hidden = pattern.replace_all(text, |found: &Captures<'_>| {
            let part = |number: usize| found.get(number).map_or("", |part| part.as_str());
            let whole = part(0);
            match class {
                Class::Pem if part(1).contains("PRIVATE") => "[private key]".to_owned(),
                Class::Pem => format!("[{} {}]", part(1).to_lowercase(), short_digest(whole)),
                Class::Credential => self.mark("credential", whole),
                Class::Header => format!("{}{}{}", part(1), part(2), self.mark("credential", part(3))),
                Class::Assignment => self.assignment(part(1), part(2), part(3)),
                Class::Url => self.url(part(1), part(2)),
                Class::Mail => self.mark("mail", whole),
                Class::Ipv4 => self.ipv4(whole),
                Class::Ipv6 => self.ipv6(text, found.get(0).map_or(0..0, |found| found.range())),
                Class::Blob if may_be_a_key(whole) => self.mark("blob", whole),
                Class::Blob => whole.to_owned(),
            }
        });
        hidden.into_owned()
    }

    fn assignment(&self, name: &str, between: &str, value: &str) -> String {
        let is_a_switch = matches!(value.trim(), "true" | "false" | "null" | "\"\"" | "''" | "");
        if is_a_switch || value.starts_with('[') || !names_a_secret(name) {
            return format!("{name}{between}{value}");
        }
        let open = value.len() - value.trim_start_matches(['\\', '"', '\'']).len();
        let close = value.len() - value.trim_end_matches(['\\', '"', '\'']).len();
        let quotes = |range: Range<usize>| value.get(range).unwrap_or_default();
        if open + close >= value.len() {
            return format!("{name}{between}{}", self.mark("secret", value));
        }
        let (before, after) = (quotes(0..open), quotes(value.len() - close..value.len()));
        format!("{name}{between}{before}{}{after}", self.mark("secret", value))
    }

    /// Scheme and host stay; who signs in, the path and the query go, but for paths inside the cluster.
    fn url(&self, scheme: &str, rest: &str) -> String {
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (person, host) = match authority.rsplit_once('@') {
            Some((person, host)) => (format!("{}@", self.mark("credential", person)), host),
            None => (String::new(), authority),
        };
        let name = host.split(':').next().unwrap_or_default();
        let inside = name.ends_with(".svc") || name.ends_with(".svc.cluster.local");
        let path = match path {
            "" | "/" => path.to_owned(),
            path if inside && !path.contains(['?', '#']) => path.to_owned(),
            path => format!("/{}", self.mark("path", path)),
        };
        format!("{scheme}{person}{host}{path}")
    }

    fn ipv4(&self, text: &str) -> String {
        match text.parse::<Ipv4Addr>() {
            Ok(address) if address.is_unspecified() || address.is_loopback() => text.to_owned(),
            Ok(_) => self.mark("address", text),
            Err(_) => text.to_owned(),
        }
    }

    /// The run may have caught a colon of the sentence around it, or lie inside a word, as in the path of a Rust module.
    fn ipv6(&self, text: &str, run: Range<usize>) -> String {
        let whole = text.get(run.clone()).unwrap_or_default();
        let colon_before = usize::from(whole.starts_with(':'));
        let colon_after = usize::from(whole.ends_with(':'));
        let is_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
        for (skip, cut) in [(0, 0), (0, colon_after), (colon_before, 0), (colon_before, colon_after)] {
            let inner = run.start + skip..run.end.saturating_sub(cut);
            let Some(it) = text.get(inner.clone()) else { continue };
            let Ok(address) = it.parse::<Ipv6Addr>() else { continue };
            let before = text.get(..inner.start).and_then(|before| before.chars().next_back());
            let after = text.get(inner.end..).and_then(|after| after.chars().next());
            let stands_alone = !before.is_some_and(is_of_a_word) && !after.is_some_and(is_of_a_word);
            if stands_alone && !address.is_unspecified() && !address.is_loopback() {
                return whole.replacen(it, &self.mark("address", it), 1);
            }
        }
        whole.to_owned()
    }

    /// An object without what must not leave.
    pub(crate) fn object(&self, value: &Value) -> Value {
        #[cfg(test)]
        if self.transparent {
            return value.clone();
        }
        self.value("", value)
    }

    fn value(&self, name: &str, value: &Value) -> Value {
        match value {
            Value::Object(fields) => Value::Object(self.fields(name, fields)),
            Value::Array(items) => self.items(name, items),
            Value::Bool(_) | Value::Null => value.clone(),
            _ if names_a_secret(name) => Value::String(self.mark("secret", &value.to_string())),
            Value::String(text) if is_published(name, text) => value.clone(),
            Value::String(text) => Value::String(self.text(text)),
            Value::Number(_) => value.clone(),
        }
    }

    fn fields(&self, parent: &str, fields: &Map<String, Value>) -> Map<String, Value> {
        let is = |kind: &str| fields.get("kind").and_then(Value::as_str) == Some(kind);
        let mut kept = Map::new();
        for (name, value) in fields {
            let shown = match (name.as_str(), value) {
                ("managedFields", _) => continue,
                ("annotations", Value::Object(annotations)) => self.annotations(annotations),
                ("data", Value::Object(data)) if is("ConfigMap") => self.config(data),
                ("data" | "stringData" | "binaryData", Value::Object(_))
                    if !is("ConfigMap") || name != "data" =>
                {
                    self.every(value)
                }
                // An environment, a header: what it is called does not tell whether it is a secret.
                ("value", Value::String(_)) if fields.contains_key("name") => self.every(value),
                _ => self.value(if parent == "labels" { "" } else { name }, value),
            };
            kept.insert(self.text(name), shown);
        }
        kept
    }

    fn items(&self, name: &str, items: &[Value]) -> Value {
        let mut kept = Vec::with_capacity(items.len());
        let mut flag_before = false;
        for item in items {
            let flag = item.as_str().filter(|text| text.starts_with('-') && !text.contains('='));
            kept.push(if flag_before && flag.is_none() { self.every(item) } else { self.value(name, item) });
            flag_before = flag.is_some_and(names_a_secret);
        }
        Value::Array(kept)
    }

    fn annotations(&self, annotations: &Map<String, Value>) -> Value {
        let shown = annotations.iter().map(|(name, value)| {
            let own = OWN_ANNOTATIONS.iter().any(|own| name.starts_with(own));
            (self.text(name), if own { self.value(name, value) } else { self.every(value) })
        });
        Value::Object(shown.collect())
    }

    /// Values of a ConfigMap are often JSON, and then say what is what.
    fn config(&self, data: &Map<String, Value>) -> Value {
        let shown = data.iter().map(|(name, value)| {
            let text = value.as_str().unwrap_or_default();
            let shown = match serde_json::from_str::<Value>(text) {
                Ok(inner @ (Value::Object(_) | Value::Array(_) | Value::String(_))) => {
                    Value::String(self.value(name, &inner).to_string())
                }
                _ => self.value(name, value),
            };
            (self.text(name), shown)
        });
        Value::Object(shown.collect())
    }

    /// Nothing of it stays, however deep.
    fn every(&self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => Value::Object(
                fields.iter().map(|(name, value)| (self.text(name), self.every(value))).collect(),
            ),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.every(item)).collect()),
            Value::Null | Value::Bool(_) => value.clone(),
            Value::String(text) if text.is_empty() => value.clone(),
            Value::String(text) => Value::String(self.mark("value", text)),
            Value::Number(number) => Value::String(self.mark("value", &number.to_string())),
        }
    }
}

/// A log's own name ends in the relay's fingerprint.
fn is_published(name: &str, text: &str) -> bool {
    let digits = if name == "origin" { text.trim_start_matches("paramant-relay/") } else { text };
    (name == "origin" || PUBLISHED.contains(&name)) && is_hash(digits)
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// Of something public, so that two bundles can be compared.
fn short_digest(text: &str) -> String {
    let mut digits = hex::encode(Sha256::digest(text));
    digits.truncate(MARK);
    digits
}

#[cfg(test)]
mod tests;
