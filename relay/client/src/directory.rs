//! Whose keys to encrypt to: the relay's directory is asked, and not believed.
//!
//! Keys seen before must be the same. The relay must also show the `key_registered` entry in its log that commits to exactly
//! these keys: a relay that swaps keys for one sender would have to do it in public.

use paramant_protocol::device::{DeviceKeys, KeysAnswer};
use paramant_protocol::entry::Body;
use paramant_protocol::id::DeviceId;
use paramant_protocol::leaf::{self, Purpose};
use paramant_protocol::path::parse_hash;
use paramant_tlog::vkey::VerifierKey;

use crate::error::ClientError;
use crate::logged;
use crate::relay::Relay;
use crate::state::{Seen, Sight, StateDir};

/// What is known about a device's keys.
#[derive(Debug)]
pub struct Found {
    /// The keys.
    pub keys: DeviceKeys,
    /// Whether they were seen before.
    pub sight: Sight,
    /// The entry that commits to them; `None` when the relay does not disclose one.
    pub entry: Option<u64>,
}

/// How much to ask of a directory's answer.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// A fingerprint that must match, in either published form.
    pub fingerprint: Option<String>,
    /// The log's keys; empty means those first seen.
    pub log_keys: Vec<VerifierKey>,
    /// Accept a relay that keeps no checkable log (published relays of other make).
    pub without_log: bool,
}

/// Looks a device up and checks what can be checked.
pub async fn find(
    relay: &Relay,
    device: &DeviceId,
    demands: &Demands,
    state: &StateDir,
) -> Result<Found, ClientError> {
    let (answer, keys) = relay.keys_of(device).await?;
    if let Some(expected) = &demands.fingerprint
        && !keys.matches(expected)
    {
        let (whose, pinned, found) = (format!("the device {device}"), expected.clone(), keys.fingerprint());
        return Err(ClientError::KeyChanged { whose, pinned, found });
    }
    // Compared first without remembering, so that keys which turn out not to be logged are not remembered either.
    let address = relay.address().as_str();
    state.seen()?.relay(address).meet_device(&keys)?;
    let entry = if demands.without_log {
        None
    } else {
        Some(logged_at(relay, &answer, &keys, demands, state).await?)
    };
    let sight = state.update_seen(|seen: &mut Seen| seen.relay(address).meet_device(&keys))?;
    Ok(Found { keys, sight, entry })
}

async fn logged_at(
    relay: &Relay,
    answer: &KeysAnswer,
    keys: &DeviceKeys,
    demands: &Demands,
    state: &StateDir,
) -> Result<u64, ClientError> {
    let (Some(index), Some(salt)) = (answer.ct_index, answer.ct_salt.as_deref().and_then(parse_hash)) else {
        let advice =
            "this relay does not show where the device's keys are logged; --without-log sends all the same";
        return Err(ClientError::NotLogged(advice.into()));
    };
    let log_keys = logged::keys(relay, &demands.log_keys, state).await?;
    let logged = logged::entry(relay, index, &log_keys).await?;
    let expected =
        leaf::commit(Purpose::DeviceKey, &salt, &leaf::device_key_digest(&keys.kem_pub, &keys.sig_pub));
    match logged.entry.body() {
        Some(Body::KeyRegistered(body)) if body.key.0 == expected => Ok(index),
        _ => {
            let reason = format!(
                "entry {index} is not the registration of the keys the relay shows for {}",
                keys.device
            );
            Err(ClientError::NotLogged(reason))
        }
    }
}
