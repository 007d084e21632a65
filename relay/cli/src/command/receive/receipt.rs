//! The receipt of a download: what it is worth, and where it was written. Never a reason to lose the content.

use std::path::PathBuf;

use anyhow::Error;
use paramant_client::state::Seen;
use paramant_client::transfer::check_receipt;
use paramant_client::{Category, ClientError, Relay, RelayIdentity, StateDir};
use paramant_protocol::id::BlobHash;
use paramant_protocol::receipt::{Document, ReceiptError};

use super::super::place::Place;
use crate::exit::{DoesNotHold, ReceiptInDoubt};

/// The relay's identity as first seen, or why it cannot be used; asked for before a view is used.
pub(super) type Identity = Result<RelayIdentity, ClientError>;

/// Asks for the relay's identity. What may pass (no answer, a limit) and what is wrong on this machine ends the command
/// while the blob is still there; an identity that has changed, or is not shown at all, is told with the receipt.
pub(super) async fn identity(relay: &Relay, state: &StateDir) -> Result<Identity, ClientError> {
    let met = async {
        let identity = relay.identity().await?;
        let meet = |seen: &mut Seen| seen.relay(relay.address().as_str()).meet_identity(&identity);
        state.update_seen(meet)?;
        Ok(identity)
    };
    let met: Identity = met.await;
    match met {
        Err(error) if error.may_pass() || error.category() == Category::Local => Err(error),
        settled => Ok(settled),
    }
}

/// What is known of a download's receipt.
pub(super) struct Settled {
    worth: Worth,
    saved: Option<Result<PathBuf, ClientError>>,
}

enum Worth {
    None,
    Valid,
    /// It was checked.
    Wrong(String),
    /// It could not be.
    Unchecked(String),
}

/// Checks and saves a receipt.
pub(super) fn settle(
    receipt: Option<Result<Document, ReceiptError>>,
    hash: &BlobHash,
    identity: &Identity,
    place: Place,
) -> Settled {
    let document = match receipt {
        None => return Settled { worth: Worth::None, saved: None },
        Some(Err(error)) => return Settled { worth: Worth::Wrong(error.to_string()), saved: None },
        Some(Ok(document)) => document,
    };
    let text = format!("{}\n", document.value());
    let saved = Some(place.write(text.as_bytes(), &format!("{hash}.receipt.json")));
    Settled { worth: worth(&document, hash, identity), saved }
}

fn worth(document: &Document, hash: &BlobHash, identity: &Identity) -> Worth {
    match identity {
        Ok(identity) => match check_receipt(document, hash, identity) {
            Ok(_) => Worth::Valid,
            Err(fault) => Worth::Wrong(fault.to_string()),
        },
        Err(error) if error.category() == Category::Verification => Worth::Wrong(error.to_string()),
        Err(error) => Worth::Unchecked(error.to_string()),
    }
}

impl Settled {
    /// `valid`, `none`, or what is wrong.
    pub(super) fn verdict(&self) -> &str {
        match &self.worth {
            Worth::None => "none",
            Worth::Valid => "valid",
            Worth::Wrong(why) | Worth::Unchecked(why) => why,
        }
    }

    /// Where it is.
    pub(super) fn file(&self) -> Option<String> {
        self.saved.as_ref()?.as_ref().ok().map(|path| path.display().to_string())
    }

    /// For people.
    pub(super) fn told(&self) -> String {
        let worth = match &self.worth {
            Worth::None => "none",
            Worth::Valid => "valid",
            Worth::Wrong(_) => "INVALID",
            Worth::Unchecked(_) => "not checked",
        };
        self.file().map_or(worth.to_owned(), |file| format!("{worth}, {file}"))
    }

    /// The error the command ends with, if this is one.
    pub(super) fn fault(&self) -> Option<Error> {
        match (&self.worth, &self.saved) {
            (Worth::Wrong(why), _) => Some(
                DoesNotHold(format!("the content was received, but its receipt does not hold: {why}")).into(),
            ),
            (Worth::Unchecked(why), _) => Some(
                ReceiptInDoubt(format!(
                    "the content was received, but its receipt could not be checked: {why}"
                ))
                .into(),
            ),
            (_, Some(Err(error))) => Some(
                ReceiptInDoubt(format!(
                    "the content was received, but its receipt could not be saved: {error}"
                ))
                .into(),
            ),
            _ => None,
        }
    }
}
