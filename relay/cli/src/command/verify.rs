//! `paramant verify`
//!
//! Offline: signature, opened leaf, path with sides from (index, size). With a relay or an entry's proof also what published
//! clients do not check: that the leaf is an entry of the SHA-256 tree under a signed checkpoint, and not an inner node shown as one.
//! A `.tlog-proof` alone is checked offline by keys or a policy.

mod proof;

use anyhow::{Context as _, Result};
use paramant_client::state::Seen;
use paramant_client::{Relay, RelayIdentity, StateDir, logged};
use paramant_protocol::entry::{Body, Entry, Kind};
use paramant_protocol::leaf::{self, Purpose};
use paramant_protocol::moment;
use paramant_protocol::path::parse_hash;
use paramant_protocol::receipt::{self, Document, Opened};
use paramant_tlog::vkey::VerifierKey;
use serde_json::json;

use crate::arguments::Verify;
use crate::exit::{DoesNotHold, Usage};
use crate::output::Output;

pub(super) async fn run(arguments: Verify, output: &Output) -> Result<()> {
    let text = String::from_utf8(super::input(&arguments.receipt)?).context("the receipt is not text")?;
    if proof::is_one(&text) {
        return proof::run(&arguments, &text, output).await;
    }
    let document = Document::parse(&text).map_err(|error| DoesNotHold(error.to_string()))?;
    let relay = match &arguments.relay {
        Some(url) => Some(super::connect(url, &arguments.connection, None)?),
        None => None,
    };
    let identity = match (&arguments.identity, &relay) {
        (Some(path), _) => {
            let text = String::from_utf8(super::input(path)?).context("the identity is not text")?;
            let wrong = || {
                Usage(format!(
                    "{} holds no relay identity: expected the answer of /v2/pubkey",
                    path.display()
                ))
            };
            RelayIdentity::parse(&text).ok_or_else(wrong)?
        }
        (None, Some(relay)) => {
            let identity = relay.identity().await?;
            let state = super::state_dir(&arguments.state)?;
            state.update_seen(|seen: &mut Seen| {
                seen.relay(relay.address().as_str()).meet_identity(&identity)
            })?;
            identity
        }
        (None, None) => {
            let how = "name the relay's identity with --identity (the answer of /v2/pubkey), or the relay with --relay";
            return Err(Usage(how.into()).into());
        }
    };

    let opened = receipt::verify(&document, &|message, signature| identity.signed(message, signature));
    let opened = opened.map_err(|error| DoesNotHold(format!("{}: {error}", error.reason())))?;
    let mut checks = vec![
        format!("signed by the relay identity {}", identity.fingerprint()),
        format!("blob hash, sector and time give the leaf {}", hex::encode(opened.leaf)),
        format!(
            "it is leaf {} of the {} under the SHA3-256 root {}",
            opened.index,
            opened.tree_size,
            hex::encode(opened.root)
        ),
    ];
    if let Some(relay) = &relay {
        let state = super::state_dir(&arguments.state)?;
        checks.extend(in_log(relay, &state, &arguments.trust.vkey, &document, &opened).await?);
    }
    if let Some(path) = &arguments.proof {
        checks.push(proof::of_receipt(&arguments, path, &document, &opened).await?);
    }
    let in_log = relay.is_some() || arguments.proof.is_some();
    let receipt = document.receipt();
    output.result(
        &json!({
            "ok": true, "blob_hash": receipt.blob_hash, "relay_id": receipt.relay_id, "sector": receipt.sector,
            "ts": receipt.ts, "burn_confirmed": receipt.burn_confirmed, "leaf": hex::encode(opened.leaf),
            "leaf_index": opened.index, "tree_size": opened.tree_size, "root": hex::encode(opened.root),
            "in_log": in_log, "checks": checks,
        }),
        &checks.iter().map(|check| format!("ok  {check}")).collect::<Vec<_>>().join("\n"),
    )?;
    if !in_log {
        output.notice(
            "not checked: that the leaf is an entry of the log; --relay checks it, or --proof offline",
        );
    }
    Ok(())
}

/// Whether an entry is the transfer that the receipt speaks of: it holds the receipt's leaf, and is of the same hour.
fn is_the_transfer(entry: &Entry, document: &Document, opened: &Opened) -> Result<()> {
    let wrong = |what: String| DoesNotHold(format!("entry {} of the log {what}", opened.index));
    if entry.kind() != Kind::Transfer || entry.leaf() != opened.leaf {
        return Err(wrong("is not the receipt's transfer".into()).into());
    }
    let hour = moment::hour_of(&document.receipt().ts);
    if hour.as_deref() != Some(entry.hour()) {
        let text = format!("is from {}, the receipt says {}", entry.hour(), document.receipt().ts);
        return Err(wrong(text).into());
    }
    Ok(())
}

/// The entries of the log that the receipt speaks of.
async fn in_log(
    relay: &Relay,
    state: &StateDir,
    pinned: &[VerifierKey],
    document: &Document,
    opened: &Opened,
) -> Result<Vec<String>> {
    let keys = logged::keys(relay, pinned, state).await?;
    let mut checks = Vec::new();

    let transfer = logged::entry(relay, opened.index, &keys).await?;
    is_the_transfer(&transfer.entry, document, opened)?;
    let checkpoint = &transfer.checkpoint;
    checks.push(format!(
        "entry {} of {} is this transfer, under the signed checkpoint of {} entries",
        opened.index, checkpoint.origin, checkpoint.size
    ));

    if let Some(claim) = &document.receipt().claim {
        let entry = logged::entry(relay, claim.index, &keys).await?.entry;
        let salt =
            parse_hash(&claim.salt).ok_or_else(|| DoesNotHold("the claim's salt is not a hash".into()))?;
        let expected = leaf::commit(Purpose::Claimed, &salt, &opened.leaf);
        match entry.body() {
            Some(Body::TransferClaimed(body)) if body.id.0 == expected => {
                checks.push(format!(
                    "entry {} is the claim of this transfer, lease {}",
                    claim.index, body.generation
                ));
            }
            _ => {
                let text = format!("entry {} of the log is not the claim of this transfer", claim.index);
                return Err(DoesNotHold(text).into());
            }
        }
    }
    Ok(checks)
}
