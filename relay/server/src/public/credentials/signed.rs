//! Requests that a DID signed instead of carrying an API key (protocol §1.7).
//!
//! Whoever signs acts as the API key that registered the DID, with its account, plan and rate; when that key or the DID is revoked,
//! as nobody. A nonce is good once, within the time that its request could be believed. Nonces are in memory: a request that was
//! sent before a restart could be sent again after it, within those five minutes, by somebody who saw it inside its TLS.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use axum::http::request::Parts;
use paramant_protocol::did::{
    CLOCK_SKEW_MS, DID_HEADER, Did, NONCE_HEADER, SIGNATURE_HEADER, TIME_HEADER, is_nonce, is_timely,
    signed_text,
};
use paramant_protocol::download::API_KEY_HEADER;
use sha2::Digest as _;

use super::text;
use crate::accounts::Principal;
use crate::app::Shared;
use crate::public::errors::Refused;
use crate::rates::Caller;
use crate::store::now_ms;

/// Nonces remembered, 3 MB of them. When there are more, signed requests wait: to forget one would be to believe it again.
const REMEMBERED: usize = 50_000;
/// Nonces of one API key among them, so that one cannot keep the others out: 16 requests a second for ten minutes.
const OF_ONE_KEY: usize = 10_000;
/// The longest signature, in hex digits: DER of two 33-byte numbers.
const MAX_SIGNATURE: usize = 2 * 72;

/// Who a request acts for that a DID signed. `None`: none did, or not so that it can be believed.
pub(super) async fn principal(parts: &Parts, app: &Shared) -> Result<Option<Arc<Principal>>, Refused> {
    if text(&parts.headers, API_KEY_HEADER).is_some() {
        return Ok(None);
    }
    let Some(request) = Signed::read(parts, now_ms()) else { return Ok(None) };
    let Some(registered) = app.store.dids.find(request.did).await?.filter(|did| did.revocation.is_none())
    else {
        return Ok(None);
    };
    let Some(principal) = app.store.accounts.by_kid(&registered.kid) else { return Ok(None) };
    let Ok(key) = hex::decode(&registered.public_key) else { return Ok(None) };
    // A point as it is, or DER: the library reads both.
    if UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key)
        .verify(request.text.as_bytes(), &request.signature)
        .is_err()
    {
        return Ok(None);
    }
    // Within its rate first, so that a rate bounds how many nonces are remembered too.
    super::admit(app, Caller::Key(principal.kid.clone()))?;
    match app.store.nonces.take(&principal.kid, request.nonce, now_ms()) {
        Nonce::Fresh => Ok(Some(principal)),
        Nonce::Used => Ok(None),
        Nonce::NoRoom => Err(Refused::too_many(60)),
    }
}

/// A signed request, as far as can be told without its DID.
struct Signed {
    did: Did,
    text: String,
    signature: Vec<u8>,
    /// SHA-256 of DID and nonce.
    nonce: [u8; 32],
}

impl Signed {
    fn read(parts: &Parts, now_ms: i64) -> Option<Self> {
        let header = |name| text(&parts.headers, name);
        let did: Did = header(DID_HEADER)?.parse().ok()?;
        let (signature, time, nonce) =
            (header(SIGNATURE_HEADER)?, header(TIME_HEADER)?, header(NONCE_HEADER)?);
        if signature.len() > MAX_SIGNATURE || !is_timely(time, now_ms) || !is_nonce(nonce) {
            return None;
        }
        let target = parts.uri.path_and_query()?.as_str();
        let used = sha2::Sha256::new().chain_update(did.to_string()).chain_update(nonce.to_ascii_lowercase());
        Some(Self {
            did,
            text: signed_text(parts.method.as_str(), target, time, nonce),
            signature: hex::decode(signature).ok()?,
            nonce: used.finalize().into(),
        })
    }
}

/// Nonces that were used while their requests could still be believed.
#[derive(Debug, Default)]
pub struct Nonces(Mutex<Used>);

#[derive(Debug, Default)]
struct Used {
    /// By nonce: the key it was used for.
    nonces: HashMap<[u8; 32], Arc<str>>,
    /// In the order in which they may be forgotten.
    order: VecDeque<(i64, [u8; 32])>,
    of_key: HashMap<Arc<str>, usize>,
}

#[derive(Debug, PartialEq, Eq)]
enum Nonce {
    Fresh,
    Used,
    NoRoom,
}

impl Nonces {
    /// Uses a nonce. Whatever its time said, it can be believed for twice the skew at most from now on.
    fn take(&self, kid: &str, nonce: [u8; 32], now_ms: i64) -> Nonce {
        let used = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((until, old)) = used.order.front().copied().filter(|(until, _)| *until < now_ms) {
            debug_assert!(until < now_ms);
            used.order.pop_front();
            if let Some(kid) = used.nonces.remove(&old)
                && let Some(count) = used.of_key.get_mut(&kid)
            {
                *count -= 1;
                if *count == 0 {
                    used.of_key.remove(&kid);
                }
            }
        }
        if used.nonces.contains_key(&nonce) {
            return Nonce::Used;
        }
        let of_key = used.of_key.get(kid).copied().unwrap_or_default();
        if used.nonces.len() >= REMEMBERED || of_key >= OF_ONE_KEY {
            return Nonce::NoRoom;
        }
        let kid = used.of_key.get_key_value(kid).map_or_else(|| Arc::from(kid), |(kid, _)| Arc::clone(kid));
        used.nonces.insert(nonce, Arc::clone(&kid));
        *used.of_key.entry(kid).or_default() += 1;
        used.order.push_back((now_ms.saturating_add(2 * CLOCK_SKEW_MS), nonce));
        Nonce::Fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(n: u64) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        bytes
    }

    #[test]
    fn a_nonce_is_good_once_while_its_request_could_be_believed() {
        let nonces = Nonces::default();
        assert_eq!(nonces.take("a", nonce(1), 0), Nonce::Fresh);
        assert_eq!(nonces.take("a", nonce(1), 1), Nonce::Used);
        assert_eq!(nonces.take("b", nonce(1), 2 * CLOCK_SKEW_MS), Nonce::Used);
        assert_eq!(nonces.take("b", nonce(2), 2), Nonce::Fresh);
        assert_eq!(nonces.take("a", nonce(1), 2 * CLOCK_SKEW_MS + 1), Nonce::Fresh);
    }

    #[test]
    fn one_key_cannot_fill_what_is_remembered_and_nothing_is_forgotten_early() {
        let nonces = Nonces::default();
        let mut n = 0;
        for kid in 0..REMEMBERED / OF_ONE_KEY {
            for _ in 0..OF_ONE_KEY {
                n += 1;
                assert_eq!(nonces.take(&kid.to_string(), nonce(n), 0), Nonce::Fresh);
            }
            assert_eq!(nonces.take(&kid.to_string(), nonce(u64::MAX), 0), Nonce::NoRoom);
        }
        assert_eq!(nonces.take("another", nonce(u64::MAX), 0), Nonce::NoRoom);
        assert_eq!(nonces.take("another", nonce(1), 0), Nonce::Used);
        assert_eq!(nonces.take("another", nonce(1), 2 * CLOCK_SKEW_MS + 1), Nonce::Fresh);
        let used = nonces.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!((used.nonces.len(), used.order.len(), used.of_key.len()), (1, 1, 1));
    }
}
