//! Why a change that is a row and an entry of the log did not come about: what accounts, devices, DIDs and the admin's access share.

use crate::entries::EntryError;
use crate::log_service::LogError;
use crate::store::meta::MetaError;

/// The change was not made, or is made good at the next start.
#[derive(Debug, thiserror::Error)]
pub enum Unrecorded {
    /// The database.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No randomness for the entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl From<rusqlite::Error> for Unrecorded {
    fn from(error: rusqlite::Error) -> Self {
        Self::Meta(error.into())
    }
}

impl From<getrandom::Error> for Unrecorded {
    fn from(error: getrandom::Error) -> Self {
        Self::Entry(error.into())
    }
}

/// Lets `?` turn each of these into an error that has them in its variant `Unrecorded`, as [`crate::store::meta::Meta`] asks for.
macro_rules! may_be_unrecorded {
    ($($error:ty),*) => {
        $(may_be_unrecorded!(
            $error: crate::entries::EntryError, crate::log_service::LogError, crate::store::meta::MetaError,
            getrandom::Error, rusqlite::Error
        );)*
    };
    ($error:ty: $($source:ty),*) => {
        $(impl From<$source> for $error {
            fn from(source: $source) -> Self {
                Self::Unrecorded(source.into())
            }
        })*
    };
}

may_be_unrecorded!(
    crate::accounts::AccountError,
    crate::devices::DeviceError,
    crate::dids::DidError,
    crate::setup_code::SetupError
);
