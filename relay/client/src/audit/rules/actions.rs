//! What the entries say of remote actions: one chain of requests, answers to requests of the log, effects that a request came before.
//!
//! - A `vendor_request` is of the closed form, for this relay, the next of its chain, with an id of its own; signed by one of the
//!   licensing keys, where any were given.
//! - `vendor_request_decided` answers a request that the log holds before it, once.
//! - `capability_changed` names a `capability_set` request that was not turned down; `after` is the set it names, `before` the `after`
//!   before, unless a `license_changed` of another cause lies between: another licence key begins anew, without a request.
//! - From the first request on, each support key has a `support_key` request of its role of its own before it.
//! - A `vendor_silence` is of the closed form and for this relay. What it claims is held against the requests ([`silences`]).
//!
//! In a log that took another's place, or a part of a log, what came before is unknown: the chain may begin anywhere, and an answer or
//! effect may belong to a request that is not there. Each entry is looked up by hash, number, id or key, never searched for.

pub(in crate::audit) mod asked;
pub(in crate::audit) mod effect;
mod open;
pub(in crate::audit) mod silences;

use std::collections::{BTreeMap, BTreeSet};

use paramant_licensing::actions::{Request, Silence};
use paramant_licensing::online::keys::{LicensingKey, LicensingKeys};
use paramant_licensing::verified::Verified;
use paramant_protocol::control::DrainSource;
use paramant_protocol::entry::Body;
use paramant_protocol::entry::body::{
    CapabilityChanged, Decision, Digest, Document, DrainChanged, RefusalReason, RemoteActionRefused, Role,
    SupportKeyIssued, UpdateOffered, VendorRequestDecided,
};
use paramant_protocol::leaf::{Hash, sha256};
use serde::{Deserialize, Serialize};

use self::asked::{Asked, Details};
use self::effect::{Effect, Ended, Of, Used, What};
use self::open::{Awaited, Open, word};
use self::silences::{Said, Silences};
use crate::audit::report::{Finding, counted, finding};

pub(in crate::audit) const NAME: &str = "actions";

/// A licensing key that was given, alone: so that it is known which of them signed.
#[derive(Debug, Clone)]
pub(in crate::audit) struct Licensing {
    hash: String,
    keys: LicensingKeys,
}

impl Licensing {
    pub(in crate::audit) fn new(key: &LicensingKey) -> Self {
        Self { hash: key.hash(), keys: LicensingKeys::of([key.clone()]) }
    }
}

/// An entry that is being read, and what its documents are held against.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) index: u64,
    pub(super) hour: &'a str,
    /// The relay's identity, where it is known.
    pub(super) relay: Option<&'a str>,
    pub(super) licensing: &'a [Licensing],
}

/// Where the chain begins: before the first request that is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Base {
    seq: u64,
    head: Digest,
}

/// What is kept between runs; the rest follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// None before the first request where requests before it may be elsewhere.
    base: Option<Base>,
    /// Whether requests, answers and effects may belong to what is not here.
    elsewhere: bool,
    asked: Vec<Asked>,
    effects: Vec<Effect>,
    silences: Silences,
    /// Hashes of requests that are not here and were answered.
    answered_elsewhere: BTreeSet<String>,
    /// The last set that was granted.
    granted: Option<Digest>,
    /// `license_changed` entries since. The change itself brings one.
    license_changes: u64,
    /// The entry that holds or approves a request, and its number: the newest such.
    just: Option<(u64, u64)>,
    /// Whether the vendor is among the reasons of the drain, and by which request.
    drain: Option<Of>,
}

/// The ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub(in crate::audit) struct Actions {
    kept: Kept,
    hashes: BTreeMap<Hash, u64>,
    ids: BTreeMap<String, u64>,
    decided: BTreeMap<u64, u64>,
    turned_down: BTreeSet<u64>,
    open: Open,
    /// Support keys by their commitment, as places in `effects`.
    keys: BTreeMap<Hash, usize>,
    /// The last change of capabilities, as a place in `effects`.
    changed: Option<usize>,
    /// For each role, how many support keys may have been issued, and how many were.
    grantable: BTreeMap<&'static str, u64>,
    issued: BTreeMap<&'static str, u64>,
}

impl Default for Actions {
    fn default() -> Self {
        Self::from(Kept::beginning(Some(Base { seq: 0, head: Digest([0; 32]) })))
    }
}

impl Kept {
    fn beginning(base: Option<Base>) -> Self {
        Self {
            base,
            elsewhere: base.is_none(),
            asked: Vec::new(),
            effects: Vec::new(),
            silences: Silences::default(),
            answered_elsewhere: BTreeSet::new(),
            granted: None,
            license_changes: 0,
            just: None,
            drain: None,
        }
    }
}

impl From<Actions> for Kept {
    fn from(actions: Actions) -> Self {
        actions.kept
    }
}

/// Takes all requests and effects again.
impl From<Kept> for Actions {
    fn from(mut kept: Kept) -> Self {
        let (asked, effects) = (std::mem::take(&mut kept.asked), std::mem::take(&mut kept.effects));
        let mut actions = Self {
            kept,
            hashes: BTreeMap::new(),
            ids: BTreeMap::new(),
            decided: BTreeMap::new(),
            turned_down: BTreeSet::new(),
            open: Open::default(),
            keys: BTreeMap::new(),
            changed: None,
            grantable: BTreeMap::new(),
            issued: BTreeMap::new(),
        };
        asked.into_iter().for_each(|asked| actions.add(asked));
        effects.into_iter().for_each(|effect| actions.effect(effect));
        actions
    }
}

impl Actions {
    /// For a log whose earlier requests may be elsewhere.
    pub(super) fn elsewhere() -> Self {
        Self::from(Kept::beginning(None))
    }

    /// The requests, in the order of the chain.
    pub(in crate::audit) fn asked(&self) -> &[Asked] {
        &self.kept.asked
    }

    /// What followed from them, in the order of the log.
    pub(in crate::audit) fn effects(&self) -> &[Effect] {
        &self.kept.effects
    }

    pub(in crate::audit) fn silences(&self) -> &Silences {
        &self.kept.silences
    }

    /// Whether earlier requests may be elsewhere.
    pub(in crate::audit) fn is_part(&self) -> bool {
        self.kept.elsewhere
    }

    /// The number of the last request, 0 where there is none.
    pub(in crate::audit) fn last(&self) -> u64 {
        self.kept.base.map_or(0, |base| base.seq) + self.kept.asked.len() as u64
    }

    /// The statement that claims the most requests, where the log holds fewer.
    pub(in crate::audit) fn claims_more(&self) -> Option<&Said> {
        self.kept.silences.ahead.last_key_value().map(|(_, said)| said)
    }

    /// For the evidence of an audit that does not ask for more.
    pub(super) fn summary(&self) -> String {
        let requests = match self.kept.asked.len() as u64 {
            0 => String::new(),
            count => format!("; {} of the vendor in one chain", counted(count, "request")),
        };
        let silences = match (&self.kept.silences.against, self.claims_more()) {
            (None, None) => "",
            _ => "; NOT in line with the vendor's silence statements: --actions tells more",
        };
        format!("{requests}{silences}")
    }

    /// Any entry with a body.
    pub(super) fn body(&mut self, at: At<'_>, body: &Body) -> Result<(), Finding> {
        match body {
            Body::VendorRequest(body) => self.request(at, &body.request)?,
            Body::VendorSilence(body) => self.silence(at, &body.statement)?,
            Body::VendorRequestDecided(body) => self.decided(at, body)?,
            Body::RemoteActionRefused(body) => self.refused(at, body),
            Body::CapabilityChanged(body) => self.capability(at, body)?,
            Body::SupportKeyIssued(body) => self.issued(at, body)?,
            Body::SupportKeyUsed(body) => self.used(at, body.key, body.count),
            Body::SupportKeyRevoked(body) => self.ended(at, body.key, true),
            Body::SupportKeyExpired(body) => self.ended(at, body.key, false),
            Body::UpdateOffered(body) => self.offered(at, body),
            Body::DrainChanged(body) => self.drained(at, body),
            Body::LicenseChanged(_) => self.kept.license_changes += 1,
            _ => {}
        }
        Ok(())
    }

    fn request(&mut self, at: At<'_>, document: &Document) -> Result<(), Finding> {
        let wrong = |text: String| Err(wrong(at.index, text));
        let bytes = canonical(at, document)?;
        let request = match Request::claimed(&bytes) {
            Ok(request) => request,
            Err(error) => return wrong(format!("holds a request that is none: {error}")),
        };
        let hash = sha256(&bytes);
        for_this_relay(at, &request.relay_id)?;
        // Zeros stand before the first request, and nowhere else.
        let begins = (request.seq == 1) == (request.prev == [0; 32]);
        let base = match self.kept.base {
            Some(base) => base,
            None if !begins => {
                return wrong(format!("holds request {}, whose prev is of another place", request.seq));
            }
            None => Base { seq: request.seq - 1, head: Digest(request.prev) },
        };
        let last = base.seq + self.kept.asked.len() as u64;
        let head = self.kept.asked.last().map_or(base.head, |last| last.sha256);
        if request.seq <= last {
            let Some(known) = self.at(request.seq) else {
                return wrong(format!("holds request {}, after request {last}", request.seq));
            };
            return if known.sha256.0 == hash {
                wrong(format!("holds request {} once more, after entry {}", request.seq, known.entry))
            } else {
                wrong(format!(
                    "holds another request {} than entry {}: the chain forks",
                    request.seq, known.entry
                ))
            };
        }
        if request.seq != last + 1 {
            let missing = request.seq - last - 1;
            return wrong(format!(
                "holds request {}, the one before it in the log is {last}: {missing} missing, a gap in the chain",
                request.seq
            ));
        }
        if request.prev != head.0 {
            return wrong(format!(
                "holds request {}, which follows {} and not {}, the request before it in the log: the chain forks",
                request.seq,
                hex::encode(request.prev),
                hex::encode(head.0)
            ));
        }
        if let Some(entry) = self.ids.get(&request.id).and_then(|seq| self.at(*seq)).map(|other| other.entry)
        {
            return wrong(format!("holds a request with the id {}, as entry {entry} does", request.id));
        }
        let seq = request.seq;
        let open = |keys: &LicensingKeys| Verified::open_request(&bytes, keys).is_ok();
        let Some(signed_by) = signer(at.licensing, open) else {
            return wrong(format!("holds request {seq}, which none of the licensing keys given has signed"));
        };
        self.kept.base = Some(base);
        let asked = Asked::new(request, at.index, at.hour, Digest(hash), signed_by);
        self.kept.silences.request(&asked);
        self.kept.just = Some((at.index, seq));
        self.add(asked);
        Ok(())
    }

    fn silence(&mut self, at: At<'_>, document: &Document) -> Result<(), Finding> {
        let bytes = canonical(at, document)?;
        let silence = Silence::claimed(&bytes)
            .map_err(|error| wrong(at.index, format!("holds a silence statement that is none: {error}")))?;
        for_this_relay(at, &silence.relay_id)?;
        let open = |keys: &LicensingKeys| Verified::open_silence(&bytes, keys).is_ok();
        let Some(signed_by) = signer(at.licensing, open) else {
            let text = "holds a silence statement that none of the licensing keys given has signed";
            return Err(wrong(at.index, text));
        };
        let (last, head) = (self.last(), self.head_at(silence.seq));
        let next = silence.seq.checked_add(1).and_then(|next| self.at(next)).cloned();
        let said = Said::new(&silence, at.index, at.hour, signed_by);
        self.kept.silences.take(said, last, head, next.as_ref());
        Ok(())
    }

    fn decided(&mut self, at: At<'_>, body: &VendorRequestDecided) -> Result<(), Finding> {
        let decision = body.decision;
        let what = What::VendorRequestDecided { decision };
        let Some(seq) = self.hashes.get(&body.request.0).copied() else {
            let digest = hex::encode(body.request.0);
            if !self.kept.elsewhere {
                return Err(wrong(
                    at.index,
                    format!("answers the request {digest}, which no entry before it holds"),
                ));
            }
            if !self.kept.answered_elsewhere.insert(digest.clone()) {
                return Err(wrong(at.index, format!("answers the request {digest} once more")));
            }
            self.effect(at.effect(Of::None, what));
            return Ok(());
        };
        if let Some(entry) = self.decided.get(&seq) {
            return Err(wrong(at.index, format!("answers request {seq} once more, after entry {entry}")));
        }
        if decision == Decision::Approved {
            self.kept.just = Some((at.index, seq));
        }
        self.effect(at.effect(Of::Named { seq }, what));
        Ok(())
    }

    fn refused(&mut self, at: At<'_>, body: &RemoteActionRefused) {
        let role = word(body.role);
        // The others did not take their place in the chain: no entry holds them.
        let of = match body.reason {
            RefusalReason::UnknownAction => self.of(at, &Awaited::RefusalOfUnknown(role)),
            RefusalReason::NotAllowed | RefusalReason::Expired | RefusalReason::Stale => {
                self.of(at, &Awaited::Refusal(role))
            }
            _ => Of::None,
        };
        self.effect(at.effect(of, What::RemoteActionRefused { reason: body.reason, role: body.role }));
    }

    fn capability(&mut self, at: At<'_>, body: &CapabilityChanged) -> Result<(), Finding> {
        let wrong = |text: String| Err(wrong(at.index, text));
        let of = match self.hashes.get(&body.request.0).and_then(|seq| self.at(*seq)) {
            None if self.kept.elsewhere => Of::None,
            None => {
                let digest = hex::encode(body.request.0);
                return wrong(format!("carries out the request {digest}, which no entry before it holds"));
            }
            Some(asked) => {
                let seq = asked.seq;
                let Details::CapabilitySet { set_sha256 } = &asked.details else {
                    return wrong(format!("carries out request {seq}, which is a {} request", asked.kind));
                };
                if self.turned_down.contains(&seq) {
                    return wrong(format!("carries out request {seq}, which was turned down"));
                }
                if body.after != *set_sha256 {
                    let (found, named) = (hex::encode(body.after.0), hex::encode(set_sha256.0));
                    return wrong(format!("grants the set {found}, request {seq} names {named}"));
                }
                Of::Named { seq }
            }
        };
        // Written again after a crash: it says what is said already.
        if self.repeats(&of, body) {
            return Ok(());
        }
        let anew = self.kept.license_changes > 1;
        if let Some(granted) = self.kept.granted.filter(|granted| *granted != body.before && !anew) {
            let (found, granted) = (hex::encode(body.before.0), hex::encode(granted.0));
            return wrong(format!("says that the set {found} was granted before it, the log says {granted}"));
        }
        self.kept.granted = Some(body.after);
        self.kept.license_changes = 0;
        self.effect(at.effect(of, What::CapabilityChanged { before: body.before, after: body.after }));
        Ok(())
    }

    /// Whether the last change said the same.
    fn repeats(&self, of: &Of, body: &CapabilityChanged) -> bool {
        let last = self.kept.effects.get(self.changed.unwrap_or(usize::MAX));
        last.is_some_and(|last| {
            last.of == *of && last.what == What::CapabilityChanged { before: body.before, after: body.after }
        })
    }

    fn issued(&mut self, at: At<'_>, body: &SupportKeyIssued) -> Result<(), Finding> {
        let role = word(body.role);
        let count = |counts: &BTreeMap<&str, u64>| counts.get(role).copied().unwrap_or_default();
        let asked_for = !self.kept.asked.is_empty() && !self.kept.elsewhere;
        if asked_for && count(&self.issued) >= count(&self.grantable) {
            let text = match count(&self.grantable) {
                0 => format!(
                    "issues a support key for {role}, and no entry before it holds a request for one that was not turned down"
                ),
                asked => format!(
                    "issues support key {} for {role}, and the entries before it hold {asked} requests for one that were not turned down",
                    asked + 1
                ),
            };
            return Err(wrong(at.index, text));
        }
        let of = self.of(at, &Awaited::SupportKey(role));
        let (key, until) = (body.key, body.until.clone());
        let what = What::SupportKeyIssued { key, role: body.role, until, used: None, ended: None };
        self.effect(at.effect(of, what));
        Ok(())
    }

    fn used(&mut self, at: At<'_>, key: Digest, uses: u64) {
        let Some(What::SupportKeyIssued { used, .. }) = self.key(key) else { return };
        let used = used.get_or_insert(Used { first: at.index, last: at.index, entries: 0, count: 0 });
        used.last = at.index;
        used.entries += 1;
        used.count = used.count.saturating_add(uses);
    }

    fn ended(&mut self, at: At<'_>, key: Digest, revoked: bool) {
        let Some(What::SupportKeyIssued { ended, .. }) = self.key(key) else { return };
        ended.get_or_insert(Ended { entry: at.index, hour: at.hour.to_owned(), revoked });
    }

    fn offered(&mut self, at: At<'_>, body: &UpdateOffered) {
        let of = self.of(at, &Awaited::Offer(word(body.role), body.version.clone()));
        let what = What::UpdateOffered { version: body.version.clone(), role: body.role };
        self.effect(at.effect(of, what));
    }

    /// Only where the vendor comes to be, or ceases to be, among the reasons. It may also cease because the time of its drain is over,
    /// or because the admin said so: only the next entry after a request to end it is put down to that request.
    fn drained(&mut self, at: At<'_>, body: &DrainChanged) {
        let by_vendor = body.by.contains(&DrainSource::Vendor);
        let of = match (&self.kept.drain, by_vendor) {
            (None, true) => self.of(at, &Awaited::DrainOn),
            (Some(begun), false) => match self.of(at, &Awaited::DrainOff) {
                Of::Next { seq } => Of::Next { seq },
                _ => begun.clone(),
            },
            _ => return,
        };
        self.kept.drain = by_vendor.then(|| of.clone());
        self.effect(at.effect(of, What::DrainChanged { draining: body.draining, by_vendor }));
    }

    /// The request that an entry which names none belongs to.
    fn of(&self, at: At<'_>, awaited: &Awaited) -> Of {
        let just = self.kept.just.filter(|(entry, _)| *entry + 1 == at.index).map(|(_, seq)| seq);
        self.open.of(awaited, just)
    }

    fn at(&self, seq: u64) -> Option<&Asked> {
        let place = seq.checked_sub(self.kept.base?.seq)?.checked_sub(1)?;
        self.kept.asked.get(usize::try_from(place).ok()?)
    }

    /// The hash of the request with this number, where it is known.
    fn head_at(&self, seq: u64) -> Option<Digest> {
        let base = self.kept.base?;
        if seq == base.seq { Some(base.head) } else { self.at(seq).map(|asked| asked.sha256) }
    }

    fn key(&mut self, key: Digest) -> Option<&mut What> {
        let place = self.keys.get(&key.0)?;
        self.kept.effects.get_mut(*place).map(|effect| &mut effect.what)
    }

    /// Takes a request that fits, and what can be looked up by it.
    fn add(&mut self, asked: Asked) {
        self.hashes.insert(asked.sha256.0, asked.seq);
        self.ids.insert(asked.id.clone(), asked.seq);
        self.open.add(&asked);
        if matches!(asked.details, Details::SupportKey { .. }) {
            *self.grantable.entry(word(asked.role)).or_default() += 1;
        }
        self.kept.asked.push(asked);
    }

    /// Takes an entry that fits, and what can be looked up by it.
    fn effect(&mut self, effect: Effect) {
        let asked = effect.of.seq().and_then(|seq| self.at(seq)).cloned();
        match (&effect.what, asked) {
            (What::VendorRequestDecided { decision }, Some(asked)) => {
                self.decided.insert(asked.seq, effect.entry);
                let accepted = *decision == Decision::Approved;
                self.open.answered(&asked, accepted);
                if !accepted {
                    self.turned_down.insert(asked.seq);
                    self.turn_down(&asked);
                }
            }
            (_, Some(asked)) => self.open.close(&asked),
            _ => {}
        }
        if let What::SupportKeyIssued { key, role, .. } = &effect.what {
            self.keys.insert(key.0, self.kept.effects.len());
            self.count(*role, &effect.of);
        }
        if let What::CapabilityChanged { .. } = &effect.what {
            self.changed = Some(self.kept.effects.len());
        }
        self.kept.effects.push(effect);
    }

    fn turn_down(&mut self, asked: &Asked) {
        if let Some(grantable) = self.grantable.get_mut(word(asked.role))
            && matches!(asked.details, Details::SupportKey { .. })
        {
            *grantable = grantable.saturating_sub(1);
        }
    }

    /// A key that was issued before the first request uses none up.
    fn count(&mut self, role: Role, of: &Of) {
        if *of != Of::None {
            *self.issued.entry(word(role)).or_default() += 1;
        }
    }
}

impl At<'_> {
    fn effect(self, of: Of, what: What) -> Effect {
        Effect { entry: self.index, hour: self.hour.to_owned(), of, what }
    }
}

fn wrong(index: u64, what: impl std::fmt::Display) -> Finding {
    finding(NAME, format!("entry {index} {what}"))
}

fn canonical(at: At<'_>, document: &Document) -> Result<Vec<u8>, Finding> {
    document
        .to_bytes()
        .map_err(|error| wrong(at.index, format!("holds a document without a canonical form: {error}")))
}

fn for_this_relay(at: At<'_>, relay_id: &str) -> Result<(), Finding> {
    match at.relay.filter(|relay| *relay != relay_id) {
        Some(relay) => {
            Err(wrong(at.index, format!("holds a document for the relay {relay_id}, the log is of {relay}")))
        }
        None => Ok(()),
    }
}

/// Which of the keys given signed, as its hash; the inner none where none was given, the outer where none of them did.
fn signer(licensing: &[Licensing], open: impl Fn(&LicensingKeys) -> bool) -> Option<Option<String>> {
    if licensing.is_empty() {
        return Some(None);
    }
    licensing.iter().find(|key| open(&key.keys)).map(|key| Some(key.hash.clone()))
}

#[cfg(test)]
mod tests;
