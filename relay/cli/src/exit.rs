//! Exit codes: what a script can tell apart.

use paramant_client::{Category, ClientError};

/// A check does not hold.
pub(crate) const VERIFICATION: u8 = 1;
/// The command was called wrongly (also what the argument parser answers).
pub(crate) const USAGE: u8 = 2;
/// No usable answer came.
pub(crate) const NETWORK: u8 = 3;
/// The blob is gone.
pub(crate) const GONE: u8 = 4;
/// The relay said no.
pub(crate) const REFUSED: u8 = 5;
/// A local file or the machine.
pub(crate) const LOCAL: u8 = 6;
/// The content is there, its receipt is in doubt.
pub(crate) const RECEIPT: u8 = 7;

/// Shown below the help.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done, and everything that was checked holds
  1  something was checked and does not hold
  2  the command was called wrongly
  3  no usable answer from the relay
  4  the blob is gone: read, expired, never there, or another account's
  5  the relay refused: key, limit, draining, …
  6  a local file or the machine
  7  the content was received, but its receipt could not be checked or saved";

/// A failed check that is no [`ClientError`].
#[derive(Debug)]
pub(crate) struct DoesNotHold(pub(crate) String);

impl std::fmt::Display for DoesNotHold {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for DoesNotHold {}

/// A wrong call that the argument parser cannot see.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The content was received; its receipt could not be checked or saved.
#[derive(Debug)]
pub(crate) struct ReceiptInDoubt(pub(crate) String);

impl std::fmt::Display for ReceiptInDoubt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ReceiptInDoubt {}

/// The code of an error.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    if error.is::<DoesNotHold>() {
        return VERIFICATION;
    }
    if error.is::<Usage>() {
        return USAGE;
    }
    if error.is::<ReceiptInDoubt>() {
        return RECEIPT;
    }
    match error.downcast_ref::<ClientError>().map(ClientError::category) {
        Some(Category::Verification) => VERIFICATION,
        Some(Category::Usage) => USAGE,
        Some(Category::Network) => NETWORK,
        Some(Category::Gone) => GONE,
        Some(Category::Refused) => REFUSED,
        Some(Category::Local) | None => LOCAL,
    }
}
