//! The chain of a relay's requests: each names the one before by its hash, so that none can be left out, doubled or put elsewhere.

use std::collections::BTreeSet;

use jiff::Timestamp;
use paramant_protocol::entry::body::RefusalReason;
use paramant_protocol::leaf::Hash;

use super::request::{Ask, Request, Unverifiable};
use crate::online::keys::LicensingKeys;
use crate::verified::Verified;

/// Where a relay's chain stands: the last request that took its place in it, acted upon or refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    hashes: Vec<Hash>,
    ids: BTreeSet<String>,
}

/// What a request is worth.
#[derive(Debug)]
pub enum Judged {
    /// Nothing that could be logged.
    Unverifiable(Unverifiable),
    /// Seen before, byte for byte: a vendor may repeat itself.
    Known,
    /// It takes its place, is logged, and may be asked about.
    Admitted(Verified<Request>),
    /// Verified, and not to be acted upon. `takes_place`: it is the next of the chain all the same.
    Refused {
        /// The request.
        request: Verified<Request>,
        /// Why.
        reason: RefusalReason,
        /// Whether the chain goes on from it.
        takes_place: bool,
    },
}

impl Chain {
    /// A chain of requests that took their places, by hash and id, the first first.
    pub fn of(requests: impl IntoIterator<Item = (Hash, String)>) -> Self {
        let (hashes, ids) = requests.into_iter().unzip();
        Self { hashes, ids }
    }

    /// The number of the last request, 0 before the first.
    pub fn seq(&self) -> u64 {
        u64::try_from(self.hashes.len()).unwrap_or(u64::MAX)
    }

    /// What the next request's `prev` must be.
    pub fn head(&self) -> Hash {
        self.hashes.last().copied().unwrap_or_default()
    }

    /// Goes on from a request.
    pub fn take(&mut self, request: &Verified<Request>) {
        self.hashes.push(request.hash());
        self.ids.insert(request.get().id.clone());
    }

    fn at(&self, seq: u64) -> Option<&Hash> {
        let place = usize::try_from(seq).ok()?.checked_sub(1)?;
        self.hashes.get(place)
    }
}

/// Judges a request that came to this relay. In this order: signature and form, relay, place in the chain and id, kind, time.
pub fn judge(bytes: &[u8], relay_id: &str, chain: &Chain, keys: &LicensingKeys, now: Timestamp) -> Judged {
    let request = match Verified::open_request(bytes, keys) {
        Ok(request) => request,
        Err(error) => return Judged::Unverifiable(error),
    };
    let refused = |request, reason, takes_place| Judged::Refused { request, reason, takes_place };
    let asked = request.get();
    if asked.relay_id != relay_id {
        return refused(request, RefusalReason::WrongRelay, false);
    }
    if let Some(known) = chain.at(asked.seq) {
        // The same bytes, or another history.
        let same = *known == request.hash();
        return if same { Judged::Known } else { refused(request, RefusalReason::Fork, false) };
    }
    if asked.seq != chain.seq().saturating_add(1) {
        return refused(request, RefusalReason::Gap, false);
    }
    // An admin answers by id: what was said of one request is no word about another.
    if asked.prev != chain.head() || chain.ids.contains(&asked.id) {
        return refused(request, RefusalReason::Fork, false);
    }
    if matches!(asked.ask, Ask::Unknown(_)) {
        return refused(request, RefusalReason::UnknownAction, true);
    }
    if asked.expires_at <= now {
        return refused(request, RefusalReason::Expired, true);
    }
    Judged::Admitted(request)
}
