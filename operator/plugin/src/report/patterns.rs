//! What looks like a secret, an address or a person in text.
//!
//! One pattern for each class; they are tried in this order, each on what the earlier ones left. They would rather hide too
//! much: a word too many that is hidden costs a question, one too few costs a key.

use regex::Regex;

/// A class of what is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// PEM: private keys go, of the rest a digest stays.
    Pem,
    /// A credential that is known by its looks. The whole match goes.
    Credential,
    /// A header that carries a credential: name, then the rest of the line.
    Header,
    /// A name that says that a secret follows: name, separator, value.
    Assignment,
    /// A URL: scheme, then the rest.
    Url,
    /// A mail address.
    Mail,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A long run of letters and digits that may be a key.
    Blob,
}

/// The pattern of each class, in the order in which they are tried.
pub(crate) struct Patterns(Vec<(Class, Regex)>);

/// Words in a name that say that a secret follows.
const SECRET_NAMES: &str = "token|secret|passw|passphrase|pwd|credential|api[_-]?key|private[_-]?key|access[_-]?key|setup[_-]?code|licen[cs]e[_-]?key|totp|otp|seed|cookie|session|signature|bearer|auth";

impl Patterns {
    /// Compiles them; fails only when a pattern of this file is wrong, which every test of this module finds.
    pub(crate) fn new() -> Result<Self, regex::Error> {
        let assignment = format!(
            r#"(?i)([a-z0-9_.-]*(?:{SECRET_NAMES})[a-z0-9_.-]*)(\\*["']?[ \t]*(?:=|:|=>)[ \t]*)(\\+"[^"\\]*\\+"|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"',;&{{\[\\][^\r\n,;&}}\]"'\\]*)"#
        );
        let sources: [(Class, &str); 13] = [
            (Class::Pem, r"-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?(?:-----END [A-Z0-9 ]+-----|\z)"),
            (Class::Credential, r"eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){0,2}"),
            // This product's: API keys, licences, invitations, tickets, sessions, admin tokens.
            (Class::Credential, r"(?i)\b(?:pgp|plk|inv|wst|pss|adm|sup|dsh)_[a-z0-9_-]{4,}"),
            // Others' that people have at hand.
            (
                Class::Credential,
                r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|whsec_|[sprw]k_(?:live|test)_|AKIA|ASIA|AGE-SECRET-KEY-)[A-Za-z0-9_-]{8,}",
            ),
            // Set-up codes: base32 in groups of four.
            (Class::Credential, r"\b[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3,}\b"),
            (
                Class::Header,
                r#"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-[a-z-]*(?:token|key|secret|auth)[a-z-]*)(\\?["']?[ \t]*[:=][ \t]*)([^\r\n]+)"#,
            ),
            (Class::Credential, r"(?i)\b(?:bearer|basic)[ \t]+[a-z0-9._~+/=-]{6,}"),
            // Before assignments: a URL may hold one.
            (Class::Url, r#"(?i)\b([a-z][a-z0-9+.-]*://)([^\s"'<>\\|`]+)"#),
            (Class::Assignment, &assignment),
            (Class::Mail, r"(?i)[a-z0-9._%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}"),
            (Class::Ipv6, r"(?i)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,8}(?:\.\d{1,3}){0,3}"),
            (Class::Ipv4, r"\d{1,3}(?:\.\d{1,3}){3}"),
            // An image's digest is told from a key by what stands before it.
            (Class::Blob, r"(?:sha256[:-])?[A-Za-z0-9+/_-]{32,}={0,2}"),
        ];
        let compiled = sources.into_iter().map(|(class, source)| Ok((class, Regex::new(source)?)));
        Ok(Self(compiled.collect::<Result<_, regex::Error>>()?))
    }

    /// In the order in which they are to be tried.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (Class, &Regex)> {
        self.0.iter().map(|(class, pattern)| (*class, pattern))
    }
}

/// Whether what has this name is a secret, and not the name of one, a place or a switch.
pub(crate) fn names_a_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace(['-', '_', '.'], "");
    let words = [
        "token",
        "secret",
        "passw",
        "passphrase",
        "pwd",
        "credential",
        "apikey",
        "privatekey",
        "accesskey",
        "setupcode",
        "licensekey",
        "licencekey",
        "totp",
        "otp",
        "seed",
        "cookie",
        "session",
        "signature",
        "bearer",
        "auth",
    ];
    let harmless = [
        "name",
        "ref",
        "refs",
        "file",
        "path",
        "dir",
        "namespace",
        "secrets",
        "count",
        "total",
        "state",
        "type",
        "seconds",
        "expiresat",
        "affinity",
        "authority",
        "policy",
    ];
    words.iter().any(|word| name.contains(word)) && !harmless.iter().any(|end| name.ends_with(end))
}

/// Whether a long run of letters and digits may be a key rather than a name. Names are lower case with dashes.
pub(crate) fn may_be_a_key(run: &str) -> bool {
    let is_uuid = run.len() == 36 && run.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    if is_uuid || run.starts_with("sha256:") {
        return false;
    }
    let (mut lower, mut upper, mut digit) = (false, false, false);
    for c in run.chars() {
        lower |= c.is_ascii_lowercase();
        upper |= c.is_ascii_uppercase();
        digit |= c.is_ascii_digit();
    }
    let hex = run
        .split(['-', '/', '_', '+', '='])
        .any(|part| part.len() >= 32 && part.chars().all(|c| c.is_ascii_hexdigit()));
    let base32 = upper && !lower && (digit || run.len() >= 32);
    let base64 = upper && lower && (digit || run.len() >= 40);
    // 24 hex digits and more stand for bytes; names do not mix that many letters and digits without a dash.
    let mixed = lower && digit && run.split(['-', '/', '_']).any(|part| part.len() >= 32);
    hex || base32 || base64 || mixed
}
