//! The next request: made once, kept, shown, and sent as it is.

use jiff::Timestamp;
use paramant_licensing::OnlineKey;
use paramant_licensing::online::request::CheckIn;
use paramant_licensing::online::telemetry::Telemetry;
use paramant_protocol::entry;
use paramant_protocol::entry::Body;
use paramant_protocol::entry::body::{self, CheckinResult, LicenseCheckin};
use paramant_protocol::leaf::{self, Purpose};

use super::{CheckInError, CheckIns, moment};
use crate::log_service::Entry;
use crate::store::Digest;
use crate::store::license_rows::{self, Frozen, Told};

impl CheckIns {
    /// The frozen request for this key; a new one if there is none, or if it is for another key or of another release.
    pub(super) async fn freeze(&self, key: &OnlineKey) -> Result<Frozen, CheckInError> {
        let kept = self.next_request().await?;
        if let Some(kept) = kept.filter(|kept| self.fits(&kept.bytes, key)) {
            return Ok(kept);
        }
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce)?;
        let telemetry = if self.sends_telemetry() { self.numbers() } else { Telemetry::off() };
        let asked = CheckIn::new(key, &self.0.relay_id, crate::VERSION, nonce, telemetry);
        let made = Frozen {
            bytes: asked.to_bytes().map_err(|error| CheckInError::Made(error.to_string()))?,
            salt: Digest::random()?,
            frozen_ms: moment(),
            entry: Vec::new(),
            log_from: 0,
            log_index: None,
            failed: 0,
            told: Told::default(),
        };
        let (this, key) = (self.clone(), key.clone());
        let freeze = move |c: &rusqlite::Connection| {
            license_rows::freeze(c, made, |shown| this.fits(shown, &key), moment())
        };
        self.0.meta.write(move |c| Ok::<_, CheckInError>(freeze(c)?)).await
    }

    fn fits(&self, bytes: &[u8], key: &OnlineKey) -> bool {
        // What people carry may be days under way: an update does not make it void.
        let carried = self.0.settings.current().air_gap.is_some();
        CheckIn::parse(bytes).is_ok_and(|asked| {
            asked.license_key == key.expose()
                && asked.relay_id == self.0.relay_id
                && (carried || asked.version == crate::VERSION)
                && asked.telemetry.opted_in == self.sends_telemetry()
        })
    }

    /// Makes the entry that says it may leave durable. It is dated when it is appended: a request may wait for hours.
    pub(super) async fn announce(&self, frozen: &mut Frozen) -> Result<(), CheckInError> {
        if frozen.log_index.is_some() {
            return Ok(());
        }
        let index = match self.found(&frozen.entry, frozen.log_from).await? {
            Some(index) => index,
            None => {
                frozen.entry = checkin(&frozen.bytes, frozen.salt, None, CheckinResult::Sent)?;
                frozen.log_from = self.0.log.head().size;
                self.keep(frozen).await?;
                self.0.log.append(logged(&frozen.entry)?).await?.index
            }
        };
        frozen.log_index = Some(index);
        self.keep(frozen).await
    }

    /// Where an entry is that may have been appended before a crash.
    pub(super) async fn found(&self, entry: &[u8], from: u64) -> Result<Option<u64>, CheckInError> {
        if entry.is_empty() {
            return Ok(None);
        }
        Ok(self.0.log.find(&logged(entry)?, from).await?)
    }

    pub(super) async fn keep(&self, frozen: &Frozen) -> Result<(), CheckInError> {
        let frozen = frozen.clone();
        self.0.meta.write(move |c| Ok::<_, CheckInError>(license_rows::keep_frozen(c, &frozen)?)).await
    }
}

/// The bytes of a `license_checkin` entry, dated now.
pub(super) fn checkin(
    request: &[u8],
    request_salt: Digest,
    reply: Option<(&[u8], Digest)>,
    result: CheckinResult,
) -> Result<Vec<u8>, CheckInError> {
    let committed = |purpose, salt: Digest, bytes: &[u8]| body::Digest(leaf::commit(purpose, &salt.0, bytes));
    let body = LicenseCheckin {
        request: committed(Purpose::LicenseRequest, request_salt, request),
        reply: reply.map(|(bytes, salt)| committed(Purpose::LicenseReply, salt, bytes)),
        result,
    };
    let entry = entry::Entry::with_body(Body::LicenseCheckin(body), Timestamp::now());
    Ok(entry.map_err(|error| CheckInError::Made(error.to_string()))?.into_bytes())
}

/// An entry that was kept, for the log.
pub(super) fn logged(bytes: &[u8]) -> Result<Entry, CheckInError> {
    let entry = entry::Entry::parse(bytes).map_err(|error| CheckInError::Made(error.to_string()))?;
    Ok(Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() })
}
