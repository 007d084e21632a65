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
        let shown = self.consented_preview().await?.filter(|shown| self.fits(shown, key));
        let bytes = match shown {
            Some(shown) => shown,
            None => {
                let mut nonce = [0; 16];
                getrandom::fill(&mut nonce)?;
                let telemetry = if self.sends_telemetry() { self.numbers() } else { Telemetry::off() };
                let asked = CheckIn::new(key, &self.0.relay_id, crate::VERSION, nonce, telemetry);
                asked.to_bytes().map_err(|error| CheckInError::Made(error.to_string()))?
            }
        };
        let salt = Digest::random()?;
        let frozen = Frozen {
            entry: checkin(&bytes, salt, None, CheckinResult::Sent)?,
            bytes,
            salt,
            frozen_ms: moment(),
            log_from: self.0.log.head().size,
            log_index: None,
            failed: 0,
            told: Told::default(),
        };
        self.keep(&frozen).await?;
        Ok(frozen)
    }

    fn fits(&self, bytes: &[u8], key: &OnlineKey) -> bool {
        CheckIn::parse(bytes).is_ok_and(|asked| {
            asked.license_key == key.expose()
                && asked.relay_id == self.0.relay_id
                && asked.version == crate::VERSION
                && asked.telemetry.opted_in == self.sends_telemetry()
        })
    }

    /// Makes the entry that says it may leave durable.
    pub(super) async fn announce(&self, frozen: &mut Frozen) -> Result<(), CheckInError> {
        if frozen.log_index.is_none() {
            frozen.log_index = Some(self.0.log.append_once(&logged(&frozen.entry)?, frozen.log_from).await?);
            self.keep(frozen).await?;
        }
        Ok(())
    }

    pub(super) async fn keep(&self, frozen: &Frozen) -> Result<(), CheckInError> {
        let frozen = frozen.clone();
        self.0.meta.write(move |c| Ok::<_, CheckInError>(license_rows::freeze(c, &frozen)?)).await
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
