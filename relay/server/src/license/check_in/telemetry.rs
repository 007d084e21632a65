//! The switch of telemetry: off until somebody who saw the exact bytes says otherwise (trust page S1 to S4).
//!
//! A preview is a whole request as it would be sent. Serving one is written down; consent names its digest and the schema. The first
//! request after that *is* the preview. Turning the switch is an entry of the log, written before any number leaves.

use std::time::Duration;

use jiff::Timestamp;
use paramant_licensing::online::request::{self, CheckIn};
use paramant_licensing::online::telemetry::{SCHEMA, Telemetry};
use paramant_protocol::entry::body::{self, TelemetryChanged};
use paramant_protocol::entry::{self, Body};
use paramant_protocol::leaf::{self, Purpose, sha256};

use super::freeze::logged;
use super::{CheckInError, CheckIns, moment};
use crate::store::Digest;
pub use crate::store::license_rows::Consent;
use crate::store::license_rows::{self, Preview, Switch};

/// How long an admin waits to see the switch turned: an answer may take so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why there is no preview, or why a consent is none.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Nobody would be asked.
    #[error("there is nothing to preview: the online check is not switched on, or there is no key for it")]
    NoRequest,
    /// Consent to another schema.
    #[error(
        "this release sends schema {SCHEMA}, and the consent is to schema {0}: look at the preview, and consent to that"
    )]
    Schema(u32),
    /// Consent to bytes that nobody was shown.
    #[error("no preview with this digest was served: look at the preview first, then consent to its digest")]
    Unseen,
    /// The settings have the switch.
    #[error(
        "the settings say whether telemetry is on (license.telemetry, or spec.telemetry of the ParamantLicense): change it there"
    )]
    Elsewhere,
    /// A step could not be taken.
    #[error(transparent)]
    Step(#[from] CheckInError),
}

impl CheckIns {
    /// The exact bytes that the next check-in would send with telemetry switched on. That they were served is written down.
    ///
    /// # Errors
    /// [`TelemetryError`].
    pub async fn preview(&self) -> Result<Vec<u8>, TelemetryError> {
        let key = self.0.licenses.online_key().ok_or(TelemetryError::NoRequest)?;
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(CheckInError::from)?;
        let asked = CheckIn::new(&key, &self.0.relay_id, crate::VERSION, nonce, self.numbers());
        let bytes = asked.to_bytes().map_err(|error| CheckInError::Made(error.to_string()))?;
        let preview = Preview {
            digest: Digest(sha256(&bytes)),
            bytes: bytes.clone(),
            schema: SCHEMA,
            served_ms: moment(),
        };
        self.0.meta.write(move |c| Ok::<_, CheckInError>(license_rows::served(c, &preview)?)).await?;
        Ok(bytes)
    }

    /// An admin turns the switch by hand.
    ///
    /// # Errors
    /// [`TelemetryError`]; the switch stays as it was.
    pub async fn switch_telemetry(&self, to: Option<Consent>) -> Result<(), TelemetryError> {
        match (self.0.settings.current().telemetry, to) {
            (Some(None), Some(_)) => return Err(TelemetryError::Elsewhere),
            (Some(Some(consent)), None) if self.consented(consent).await.is_ok() => {
                return Err(TelemetryError::Elsewhere);
            }
            _ => {}
        }
        if let Some(consent) = to {
            self.consented(consent).await?;
        }
        self.0.meta.write(move |c| Ok::<_, CheckInError>(license_rows::wish(c, to)?)).await?;
        // Only the task that asks touches the frozen request. It may be waiting for an answer.
        let mut observed = self.0.observed.subscribe();
        self.0.news.notify_one();
        let turned = observed.wait_for(|observed| observed.telemetry == to.is_some());
        let _ = tokio::time::timeout(PATIENCE, turned).await;
        Ok(())
    }

    /// Whether it is switched on, by the last entry about it.
    #[must_use]
    pub fn sends_telemetry(&self) -> bool {
        self.0.observed.borrow().telemetry
    }

    /// Brings the switch to where settings and admin want it, entry first. Says why, where a consent is none.
    pub(super) async fn turn_switch(&self) -> Result<Option<String>, CheckInError> {
        let switch = self.0.meta.read(|c| Ok::<_, CheckInError>(license_rows::switch(c)?)).await?;
        // What the settings say counts, "off" as well; only where they say nothing an admin's own switch does.
        // A consent in the settings of several relays fits the one that showed its preview; the others go by their own switch.
        let wishes = match self.0.settings.current().telemetry {
            Some(None) => Vec::new(),
            Some(Some(consent)) => [Some(consent), switch.wished].into_iter().flatten().collect(),
            None => switch.wished.into_iter().collect(),
        };
        let (mut consent, mut problem) = (None, None);
        for wished in wishes {
            match self.consented(wished).await {
                Ok(()) => {
                    (consent, problem) = (Some(wished), None);
                    break;
                }
                Err(TelemetryError::Step(error)) => return Err(error),
                Err(error) => problem = Some(format!("telemetry stays off: {error}")),
            }
        }
        if consent != switch.recorded {
            self.record_switch(switch, consent).await?;
        }
        self.observe(|observed| observed.telemetry = consent.is_some());
        Ok(problem)
    }

    async fn consented(&self, consent: Consent) -> Result<(), TelemetryError> {
        if consent.schema != SCHEMA {
            return Err(TelemetryError::Schema(consent.schema));
        }
        let preview =
            self.0.meta.read(move |c| Ok::<_, CheckInError>(license_rows::preview(c, consent.preview)?));
        match preview.await? {
            Some(preview) if preview.schema == consent.schema => Ok(()),
            _ => Err(TelemetryError::Unseen),
        }
    }

    async fn record_switch(&self, switch: Switch, consent: Option<Consent>) -> Result<(), CheckInError> {
        let salt = Digest::random()?;
        let commit =
            |preview: Digest| body::Digest(leaf::commit(Purpose::TelemetryPreview, &salt.0, &preview.0));
        let change = TelemetryChanged {
            enabled: consent.is_some(),
            schema: SCHEMA,
            preview: consent.map(|consent| commit(consent.preview)),
        };
        let entry = entry::Entry::with_body(Body::TelemetryChanged(change), Timestamp::now());
        let entry = entry.map_err(|error| CheckInError::Made(error.to_string()))?.into_bytes();
        let index = self.0.log.append(logged(&entry)?).await?.index;
        tracing::info!(enabled = consent.is_some(), index, salt = %salt, "telemetry was switched");
        // The request that is frozen says the other thing: the next one is made anew.
        let turn = move |c: &rusqlite::Connection| {
            license_rows::turned(c, &Switch { recorded: consent, ..switch }, moment())
        };
        self.0.meta.write(move |c| Ok::<_, CheckInError>(turn(c)?)).await
    }

    /// What telemetry says now.
    pub(super) fn numbers(&self) -> Telemetry {
        let uptime = Timestamp::now().duration_since(self.0.started_at).as_secs().unsigned_abs();
        Telemetry::on(&self.0.counts.measured(self.0.accounts.active(), uptime))
    }
}

/// The digest by which a preview is consented to.
pub fn digest(preview: &[u8]) -> String {
    request::digest(preview)
}
