//! What this relay can show anybody of how it is run. Whether, never which: no id, name or address is among it.

use paramant_protocol::control::DrainSource;
use paramant_protocol::moment;

use super::super::log_tiles::published_at;
use super::tally::Counts;
use crate::app::Shared;
use crate::log_service::Published;
use crate::settings::Reach;

#[derive(Debug)]
pub(super) struct Facts {
    pub(super) version: &'static str,
    pub(super) origin: String,
    /// Fingerprint of the relay's identity.
    pub(super) identity: String,
    /// Entries under the published checkpoint.
    pub(super) size: u64,
    /// Its root; empty before the first.
    pub(super) root: String,
    /// When it was published, to the second, in UTC.
    pub(super) published: String,
    /// As in `/health`.
    pub(super) licensed: bool,
    /// Ed25519 keys that may sign offline licences.
    pub(super) offline_keys: Vec<String>,
    /// SHA3-256 of the ML-DSA-65 keys that may sign a vendor's replies and requests.
    pub(super) online_keys: Vec<String>,
    pub(super) online: Online,
    pub(super) telemetry: bool,
    pub(super) leaves: Leaves,
    pub(super) support_key: bool,
    pub(super) vendor_drain: bool,
    pub(super) counts: Counts,
}

/// Whether a vendor is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Online {
    Off,
    /// Switched on, and there is no key to ask with.
    WithoutKey,
    Asks,
    /// Requests and replies are carried by hand.
    ByHand,
}

/// Who dials what is switched on: the licence check, witnesses, webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaves {
    Nothing,
    ThroughCouriers,
    FromHere,
}

impl Facts {
    pub(super) fn of(app: &Shared, published: Option<&Published>, counts: Counts) -> Self {
        let (core, settings) = (&app.core, app.core.settings.current());
        let key = app.store.licenses.online_key().is_some();
        let online = match (&settings.online, &settings.air_gap) {
            (Some(_), _) if key => Online::Asks,
            (Some(_), _) => Online::WithoutKey,
            (None, Some(_)) => Online::ByHand,
            (None, None) => Online::Off,
        };
        let reaches = [
            settings.online.as_ref().map(|it| it.reach),
            settings.witnesses.as_ref().map(|it| it.reach),
            settings.webhooks.as_ref().map(|it| it.reach),
        ];
        let leaves = match reaches.into_iter().flatten().max_by_key(|reach| *reach == Reach::Direct) {
            None => Leaves::Nothing,
            Some(Reach::Courier) => Leaves::ThroughCouriers,
            Some(Reach::Direct) => Leaves::FromHere,
        };
        let at = published.and_then(published_at).map(moment::millis).unwrap_or_default();
        Self {
            version: crate::VERSION,
            origin: core.log.origin().to_owned(),
            identity: core.identity.fingerprint().to_owned(),
            size: published.map_or(0, |published| published.head.size),
            root: published.map(|published| hex::encode(published.head.sha256_root)).unwrap_or_default(),
            published: at.get(..19).unwrap_or_default().replace('T', " "),
            licensed: app.store.licenses.current().state.edition() == "licensed",
            offline_keys: core.world.offline.to_hex(),
            online_keys: core.world.online.hashes(),
            online,
            telemetry: app.store.check_ins.sends_telemetry(),
            leaves,
            support_key: app.store.actions.support().count() > 0,
            vendor_drain: core.drain.report().requested_by.contains(&DrainSource::Vendor),
            counts,
        }
    }
}
