//! The client's side of a relay: encryption, the HTTP interface, the keys a person keeps, and the auditor.
//!
//! Used by the `paramant` command, benches and end-to-end tests. Nothing here trusts a relay: a payload is compared with its
//! hash, a receipt and a log entry with the relay's pinned keys, a recipient's key with what was seen before.
//! Secrets live in [`device::Device`] and files of mode 0600; they are never in an error, a log line or an argument.

pub mod archive;
pub mod audit;
pub mod device;
pub mod directory;
pub mod durable;
pub mod envelope;
pub mod error;
pub mod identity;
pub mod large;
pub mod logged;
pub mod password;
pub mod relay;
pub mod retry;
mod rotation;
pub mod state;
pub mod tail;
pub mod transfer;

pub use device::Device;
pub use error::{Category, ClientError};
pub use identity::RelayIdentity;
pub use password::Password;
pub use relay::{Relay, RelayAddress};
pub use state::StateDir;
