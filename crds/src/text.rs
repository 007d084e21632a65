//! Short strings with a shape: each is a newtype that carries its pattern and length into the schema.
//!
//! The API server enforces the shape. Reading stays lenient (see the crate's head), so [`Digest::is_valid`] and its
//! like exist for objects that were stored before a pattern changed.

/// Declares a string newtype whose JSON schema has a pattern and a length.
macro_rules! shaped_text {
    ($(#[$doc:meta])* $name:ident, length $min:literal..=$max:literal, pattern $pattern:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The pattern the API server holds values against (RE2).
            pub const PATTERN: &'static str = $pattern;
            /// The longest value, in characters.
            pub const MAX_LENGTH: usize = $max;

            /// The text as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "minLength": $min,
                    "maxLength": $max,
                    "pattern": $pattern,
                })
            }
        }
    };
}
pub(crate) use shaped_text;

shaped_text! {
    /// A content digest, `sha256:` and 64 lower-case hex digits.
    Digest, length 71..=71, pattern "^sha256:[a-f0-9]{64}$"
}

impl Digest {
    /// Whether the text has the shape of a digest.
    pub fn is_valid(&self) -> bool {
        self.0.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    }
}

shaped_text! {
    /// 64 lower-case hex digits: a SHA-256 or SHA3-256 value.
    HexHash, length 64..=64, pattern "^[a-f0-9]{64}$"
}

shaped_text! {
    /// The name of another Kubernetes object (a DNS subdomain).
    ObjectName, length 1..=253, pattern "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
}

shaped_text! {
    /// An origin as browsers write it, or a family of them: `https://*.example.org`, `http://localhost:*`.
    WebOrigin, length 9..=255, pattern "^[a-z][a-z-]*://[A-Za-z0-9.*:_-]+$"
}

shaped_text! {
    /// A short lower-case name (a DNS label).
    Label, length 1..=63, pattern "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
}

shaped_text! {
    /// A key inside a Secret.
    SecretKey, length 1..=253, pattern "^[-._a-zA-Z0-9]+$"
}

shaped_text! {
    /// The name of a log in its checkpoints: a host, optionally with a path, no scheme.
    LogOrigin, length 1..=200, pattern "^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:[0-9]{1,5})?(/[-._~a-zA-Z0-9]+)*$"
}

shaped_text! {
    /// The id of a vendor's request, 32 lower-case hex digits.
    RequestId, length 32..=32, pattern "^[a-f0-9]{32}$"
}

impl RequestId {
    /// Whether the text has the shape of an id.
    pub fn is_valid(&self) -> bool {
        self.0.len() == 32 && self.0.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }
}

shaped_text! {
    /// The id of a support key.
    KeyId, length 1..=128, pattern "^[-._:a-zA-Z0-9]+$"
}
