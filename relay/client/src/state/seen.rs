//! What was seen of others: trust on first use. A change later is refused until a person says otherwise.

use std::collections::BTreeMap;

use paramant_protocol::device::DeviceKeys;
use paramant_protocol::leaf;
use serde::{Deserialize, Serialize};

use crate::error::ClientError;
use crate::identity::RelayIdentity;

/// Everything seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// By relay address.
    #[serde(default)]
    pub relays: BTreeMap<String, SeenRelay>,
}

/// What was seen of one relay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenRelay {
    /// The identity key, hex.
    #[serde(default)]
    pub identity: Option<String>,
    /// The log's verifier keys.
    #[serde(default)]
    pub log_keys: Vec<String>,
    /// By device name.
    #[serde(default)]
    pub devices: BTreeMap<String, SeenDevice>,
}

/// What was seen of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenDevice {
    /// SHA3-256(KEM key ‖ signing key), hex: the whole keys, not the short fingerprint.
    pub keys: String,
    /// The fingerprint, for people.
    pub fingerprint: String,
}

/// Whether something was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It is remembered from now on.
    First,
    /// It is the same as before.
    Again,
}

impl Seen {
    /// What was seen of a relay.
    pub fn relay(&mut self, address: &str) -> &mut SeenRelay {
        self.relays.entry(address.to_owned()).or_default()
    }
}

impl SeenRelay {
    /// Compares a relay's identity with the one seen first.
    pub fn meet_identity(&mut self, identity: &RelayIdentity) -> Result<Sight, ClientError> {
        let found = hex::encode(identity.key());
        match &self.identity {
            None => {
                self.identity = Some(found);
                Ok(Sight::First)
            }
            Some(pinned) if *pinned == found => Ok(Sight::Again),
            Some(pinned) => {
                let pinned = hex::decode(pinned).unwrap_or_default();
                Err(ClientError::KeyChanged {
                    whose: "the relay itself".into(),
                    pinned: hex::encode(leaf::sha3(&pinned)),
                    found: identity.fingerprint(),
                })
            }
        }
    }

    /// Compares a device's keys with those seen first.
    pub fn meet_device(&mut self, keys: &DeviceKeys) -> Result<Sight, ClientError> {
        let found = SeenDevice::of(keys);
        match self.devices.get(keys.device.as_str()) {
            None => {
                self.devices.insert(keys.device.to_string(), found);
                Ok(Sight::First)
            }
            Some(pinned) if pinned.keys == found.keys => Ok(Sight::Again),
            Some(pinned) => Err(ClientError::KeyChanged {
                whose: format!("the device {}", keys.device),
                pinned: pinned.fingerprint.clone(),
                found: found.fingerprint,
            }),
        }
    }

    /// Takes a device's keys as they are now: what `paramant trust` does after a person compared fingerprints.
    pub fn trust_device(&mut self, keys: &DeviceKeys) {
        self.devices.insert(keys.device.to_string(), SeenDevice::of(keys));
    }
}

impl SeenDevice {
    fn of(keys: &DeviceKeys) -> Self {
        let digest = leaf::device_key_digest(&keys.kem_pub, &keys.sig_pub);
        Self { keys: hex::encode(digest), fingerprint: keys.fingerprint() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_that_changed_are_refused_until_trusted() {
        let mut relay = SeenRelay::default();
        let keys = |byte| DeviceKeys {
            device: "phone".parse().unwrap(),
            kem_pub: vec![byte; 4],
            sig_pub: vec![byte; 4],
            ecdh_pub: vec![],
        };
        assert_eq!(relay.meet_device(&keys(1)).unwrap(), Sight::First);
        assert_eq!(relay.meet_device(&keys(1)).unwrap(), Sight::Again);
        let error = relay.meet_device(&keys(2)).unwrap_err().to_string();
        assert!(error.contains(&keys(1).fingerprint()) && error.contains(&keys(2).fingerprint()), "{error}");
        relay.trust_device(&keys(2));
        assert_eq!(relay.meet_device(&keys(2)).unwrap(), Sight::Again);
        let identity =
            |byte| RelayIdentity::from_key(vec![byte; paramant_protocol::device::SIG_PUB]).unwrap();
        assert_eq!(relay.meet_identity(&identity(1)).unwrap(), Sight::First);
        assert!(relay.meet_identity(&identity(2)).is_err());
    }
}
