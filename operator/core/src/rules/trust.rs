//! Whose signatures count: the policy's keys, or those the operator was given.

use super::Rules;
use crate::observation::Context;
use crate::release::{Trust, TrustedKey};

impl Rules {
    /// Whose signatures count under these rules.
    pub fn trust(&self, context: &Context) -> Trust {
        let wanted = &self.verification;
        let keys: Vec<TrustedKey> = wanted
            .keys
            .iter()
            .map(|key| TrustedKey { name: key.name.as_str().to_owned(), pem: key.pem.as_str().to_owned() })
            .collect();
        Trust {
            keys: if keys.is_empty() { context.release_keys.clone() } else { keys },
            allow_unsigned: wanted.allow_unsigned.unwrap_or(context.allow_unsigned_default),
            min_attestations: wanted.min_attestations.unwrap_or_default(),
        }
    }
}
