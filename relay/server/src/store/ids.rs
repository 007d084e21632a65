//! The raw identifiers of rows: random ids and SHA-256 digests, as fixed arrays and never as text.

use std::fmt;

use paramant_protocol::id::{DownloadToken, ReceiptId};
use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Reads exactly the lower-case hex form.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).ok()?;
                (hex::encode(bytes) == text).then_some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> Result<ToSqlOutput<'_>, rusqlite::Error> {
                Ok(ToSqlOutput::from(self.0.as_slice()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                <[u8; $len]>::column_result(value).map(Self)
            }
        }
    };
}

identifier! {
    /// One upload: random, never reused, so that timers and files of an earlier upload cannot touch a later one.
    BlobId, 16
}
identifier! {
    /// One lease of one view.
    ClaimId, 16
}
identifier! {
    /// One webhook.
    HookId, 16
}
identifier! {
    /// One account.
    AccountId, 16
}
identifier! {
    /// A SHA-256 or SHA3-256 digest.
    Digest, 32
}

impl BlobId {
    /// A fresh id.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        random().map(Self)
    }
}

impl ClaimId {
    /// A fresh id.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        random().map(Self)
    }
}

impl HookId {
    /// A fresh id.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        random().map(Self)
    }
}

impl AccountId {
    /// A fresh id.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        random().map(Self)
    }
}

impl AccountId {
    /// Who uploads without a key. No key ever acts for this account: real ones are random.
    pub const NOBODY: Self = Self([0; 16]);
}

/// A fresh token of a download link.
///
/// # Errors
/// When the system has no randomness to give.
pub fn random_download_token() -> Result<DownloadToken, getrandom::Error> {
    random().map(DownloadToken::from_random)
}

/// A fresh id of a log receipt.
///
/// # Errors
/// When the system has no randomness to give.
pub fn random_receipt_id() -> Result<ReceiptId, getrandom::Error> {
    random().map(ReceiptId::from_random)
}

impl Digest {
    /// 32 random bytes: a blind or a salt.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        random().map(Self)
    }
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
