//! The online check: a frozen request, an entry, a question, a verified answer, an entry, an effect. In that order.
//!
//! | step | durable after it | a crash leaves |
//! |---|---|---|
//! | freeze | the request's bytes, and the entry that will say it may leave | the same request at the next start |
//! | append `license_checkin` (`sent`) | the entry | the entry is found again by its leaf and not written twice |
//! | count the call | the sum that `outbound_call` covers | a call that may not have been made is counted |
//! | ask | nothing | the same bytes are asked again |
//! | keep the verified reply | its bytes, and its entry to be | it is appended at the next start |
//! | append `license_checkin` (`accepted`, `refused`) | the entry | as above |
//! | a checkpoint covers it | the proof | as above |
//! | what the vendor asks in it is taken and answered ([`crate::actions`]) | its rows and entries | as above |
//! | apply | the reply's place in the log; the next request can be frozen | the reply counts from the start |
//!
//! Nothing counts before the last step. A reply that fails a check is an outage: it is told, and changes nothing. The courier, or a
//! proxy, carries bytes of a TLS connection that begins here.

mod ask;
mod freeze;
mod settle;
pub mod telemetry;
mod terms;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use paramant_licensing::online::request;
use paramant_licensing::schedule;
use paramant_protocol::control::{CheckInReport, CourierPurpose};
use paramant_protocol::entry::Body;
use paramant_protocol::entry::body::{ClockAuthority, ClockCorrected};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Licenses;
use super::counts::Counts;
use crate::accounts::Accounts;
use crate::actions::{ActionError, Actions};
use crate::app::Core;
use crate::log_service::{LogError, LogService};
use crate::outbound::{Couriers, sums};
use crate::settings::{OnlineSettings, SettingsHandle};
use crate::store::call_rows::Caller;
use crate::store::license_rows::{self, CheckInRow, Frozen};
use crate::store::meta::{Meta, MetaError};
use crate::store::{Digest, now_ms};

/// How often what has no news of its own (files, the hour) is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Whoever waited for a courier asks within this once there is one.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Before a step that the disk or the log refused is tried again.
const REST: Duration = Duration::from_secs(15);

/// A handle on the online check; cheap to clone.
#[derive(Debug, Clone)]
pub struct CheckIns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    meta: Meta,
    log: LogService,
    settings: SettingsHandle,
    couriers: Couriers,
    licenses: Licenses,
    /// Fingerprint of the identity: what a request calls the relay.
    relay_id: String,
    /// What telemetry counts.
    counts: Arc<Counts>,
    accounts: Accounts,
    actions: Actions,
    started_at: Timestamp,
    observed: watch::Sender<Observed>,
    asked_for: Notify,
    news: Notify,
    /// A kept reply could not be proven when it was tried, and may be later.
    recall: AtomicBool,
    /// Held from the look at the licence clock until what follows is kept: an admin's word and a reply's must not cross.
    timing: tokio::sync::Mutex<()>,
}

/// What is known of the endpoint. No input of what the licence grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Observed {
    /// Digest of the frozen request.
    request: Option<String>,
    /// When the last verified reply came.
    at: Option<Timestamp>,
    /// Whether the last attempt brought one; absent before the first.
    reachable: Option<bool>,
    /// Why not: one sentence that does not change from attempt to attempt.
    problem: Option<String>,
    /// The key was revoked by a signed reply, and nobody is asked.
    revoked: bool,
    /// Telemetry is switched on.
    telemetry: bool,
}

/// A step could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum CheckInError {
    /// The database.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What the vendor asked beside it.
    #[error(transparent)]
    Actions(#[from] ActionError),
    /// No randomness.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// An entry or a request that cannot be made, which is a mistake of the program.
    #[error("{0}")]
    Made(String),
    /// No signed checkpoint covers the reply's entry yet.
    #[error("the reply waits for a checkpoint of the log that covers it")]
    NoCheckpoint,
}

impl From<rusqlite::Error> for CheckInError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Meta(error.into())
    }
}

impl CheckIns {
    pub(crate) fn new(
        core: &Core,
        meta: Meta,
        licenses: Licenses,
        accounts: Accounts,
        actions: Actions,
    ) -> Self {
        Self(Arc::new(Inner {
            meta,
            log: core.log.clone(),
            settings: core.settings.clone(),
            couriers: core.couriers.clone(),
            licenses,
            relay_id: core.identity.fingerprint().to_owned(),
            counts: core.counts.clone(),
            accounts,
            actions,
            started_at: core.started_at,
            observed: watch::Sender::default(),
            asked_for: Notify::new(),
            news: Notify::new(),
            recall: AtomicBool::new(false),
            timing: tokio::sync::Mutex::default(),
        }))
    }

    /// Checks in for as long as the process runs.
    pub async fn run(self) {
        let mut settings = self.0.settings.subscribe();
        let mut couriers = self.0.couriers.subscribe();
        let mut said = String::new();
        let mut desk = Desk::default();
        loop {
            let wait = match self.turn(&mut desk).await {
                Ok(wait) => {
                    said.clear();
                    wait
                }
                Err(error) => {
                    let error = error.to_string();
                    if error != said {
                        tracing::warn!(error, "the licence check waits");
                        said = error;
                    }
                    REST
                }
            };
            tokio::select! {
                () = self.0.asked_for.notified() => desk.due = Some(Instant::now()),
                () = self.0.news.notified() => {}
                () = self.0.actions.capability_news() => {}
                // A courier that comes while nobody could be asked is news; others come and go.
                Ok(()) = couriers.changed() => {
                    desk.met(self.0.couriers.session(CourierPurpose::License));
                }
                Ok(()) = settings.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Asks at the next moment, also about a key that was revoked.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn ask_now(&self) -> Result<(), CheckInError> {
        if let Some(key) = self.0.licenses.online_key() {
            let key = Digest(key.digest());
            self.0.meta.write(move |c| Ok::<_, CheckInError>(license_rows::forgive(c, key)?)).await?;
        }
        self.0.asked_for.notify_one();
        Ok(())
    }

    /// An admin says that the licence clock's floor is wrong. An entry says so before it moves.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub async fn reset_clock(&self) -> Result<Timestamp, CheckInError> {
        let _timing = self.0.timing.lock().await;
        self.0.log.record(Body::ClockCorrected(ClockCorrected { by: ClockAuthority::Admin })).await?;
        let floor = self.0.licenses.reset_time();
        self.keep_floor(floor).await?;
        tracing::warn!(%floor, "an admin has reset the licence clock");
        Ok(floor)
    }

    /// The exact bytes that the next check-in sends, if there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_request(&self) -> Result<Option<Frozen>, CheckInError> {
        self.0.meta.read(|c| Ok::<_, CheckInError>(license_rows::frozen(c)?)).await
    }

    /// Check-ins that are over, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn history(&self, most: u32) -> Result<Vec<CheckInRow>, CheckInError> {
        self.0.meta.read(move |c| Ok::<_, CheckInError>(license_rows::history(c, most)?)).await
    }

    /// For the operator; `None` unless the online check is switched on.
    #[must_use]
    pub fn report(&self) -> Option<CheckInReport> {
        let settings = self.0.settings.current();
        if settings.online.is_none() && settings.air_gap.is_none() {
            return None;
        }
        let observed = self.0.observed.borrow().clone();
        Some(CheckInReport {
            at: observed.at,
            reachable: observed.reachable,
            problem: observed.problem,
            next_request_sha256: observed.request,
            revoked: observed.revoked,
            refused: self.0.licenses.refused().map(|cause| cause.word().to_owned()),
            telemetry: observed.telemetry,
        })
    }

    /// Writes the entries for all calls that have none yet: before a log is closed.
    pub async fn settle_calls(&self) {
        sums::record(&self.0.log, &self.0.meta, Caller::License, |_| true).await;
    }

    /// Does what is due; answers how long nothing is.
    async fn turn(&self, desk: &mut Desk) -> Result<Duration, CheckInError> {
        sums::record(&self.0.log, &self.0.meta, Caller::License, sums::over).await;
        self.follow_time().await?;
        self.recall_again().await?;
        self.settle().await?;
        self.release().await?;
        let settings = self.0.settings.current();
        let wanted = settings.online.is_some() || settings.air_gap.is_some();
        let key = self.0.licenses.online_key().filter(|_| wanted);
        let Some(key) = key.filter(|_| !self.0.licenses.keys().is_empty()) else {
            self.say_idle(wanted);
            desk.about = None;
            return Ok(LOOK);
        };
        let unconsented = self.turn_switch().await?;
        self.0.licenses.say_of_telemetry(unconsented);
        let digest = Digest(key.digest());
        if self.0.meta.read(move |c| Ok::<_, CheckInError>(license_rows::is_revoked(c, digest)?)).await? {
            self.observe(|it| {
                *it = Observed { revoked: true, at: it.at, telemetry: it.telemetry, ..Observed::default() };
            });
            self.0.licenses.say(vec![REVOKED.to_owned()]);
            desk.about = None;
            return Ok(LOOK);
        }
        let about = (digest, settings.online.clone());
        if desk.about.as_ref() != Some(&about) {
            // Another key or endpoint has no failures yet, and is asked as after a start.
            *desk = Desk { about: Some(about), courier: desk.courier, ..Desk::default() };
            self.0.licenses.say(Vec::new());
        }
        let frozen = self.freeze(&key).await?;
        self.observe(|observed| {
            observed.request = Some(request::digest(&frozen.bytes));
            observed.revoked = false;
        });
        if let Some(file) = &settings.air_gap {
            self.take_carried(desk, file, &frozen).await?;
        }
        let Some(online) = &settings.online else { return Ok(LOOK) };
        let now = Instant::now();
        let due = *desk.due.get_or_insert_with(|| {
            now + schedule::at_start(self.0.licenses.current().state.set().is_some(), chance())
        });
        if now < due {
            return Ok((due - now).min(LOOK));
        }
        // Should a step fail in between, it is tried again as after a failure.
        desk.failures += 1;
        desk.due = Some(Instant::now() + self.wait(desk, online));
        if self.ask(online, frozen).await? {
            desk.failures = 0;
        }
        desk.due = Some(Instant::now() + self.wait(desk, online));
        Ok(Duration::ZERO)
    }

    fn wait(&self, desk: &Desk, online: &OnlineSettings) -> Duration {
        let wished = self.0.licenses.wished().unwrap_or(online.interval.as_secs());
        match desk.failures {
            0 => schedule::next(wished, online.interval, chance()),
            failures => schedule::retry(failures, online.interval, chance()),
        }
    }

    async fn follow_time(&self) -> Result<(), CheckInError> {
        let _timing = self.0.timing.lock().await;
        let signed = self.0.log.published().and_then(|it| Timestamp::try_from(it.at).ok());
        match self.0.licenses.follow_time(signed) {
            Some(floor) => self.keep_floor(floor).await,
            None => Ok(()),
        }
    }

    async fn keep_floor(&self, floor: Timestamp) -> Result<(), CheckInError> {
        let floor = floor.as_millisecond();
        self.0.meta.write(move |c| Ok::<_, CheckInError>(license_rows::keep_floor(c, floor)?)).await
    }

    fn say_idle(&self, wanted: bool) {
        self.observe(|it| *it = Observed { at: it.at, telemetry: it.telemetry, ..Observed::default() });
        let pinned = !self.0.licenses.keys().is_empty();
        let say = |sentence: &str| vec![sentence.to_owned()];
        self.0.licenses.say(match (wanted, pinned) {
            (false, _) => Vec::new(),
            (true, false) => say("the online check is off: this release has no licensing key pinned"),
            (true, true) => say(
                "the online check is switched on, but no key for it was found: it is plk_ and 64 hex digits",
            ),
        });
    }

    fn observe(&self, change: impl FnOnce(&mut Observed)) {
        self.0.observed.send_if_modified(|observed| {
            let before = observed.clone();
            change(observed);
            *observed != before
        });
    }
}

/// What an admin is told of a revoked key.
const REVOKED: &str = "the vendor has revoked this licence key; nobody is asked about it until the key changes or an admin asks";

/// What one run of the process knows.
#[derive(Debug, Default)]
struct Desk {
    /// When the endpoint is asked next.
    due: Option<Instant>,
    /// Attempts in a row that brought no verified reply.
    failures: u32,
    /// What was carried in and looked at: a wrong file is told once.
    carried: Option<[u8; 32]>,
    /// The courier for the licence that was there last.
    courier: Option<u64>,
    /// Which key is asked about, and where.
    about: Option<(Digest, Option<Arc<OnlineSettings>>)>,
}

impl Desk {
    /// A courier is there, or none. Whoever waits for one after a failure need not wait longer; many relays whose couriers come at one
    /// time do not ask at one.
    fn met(&mut self, courier: Option<u64>) {
        if courier.is_some() && courier != self.courier && self.failures > 0 {
            let wait = AT_ONCE.mul_f64(chance());
            let due = Instant::now() + wait;
            self.due = Some(self.due.map_or(due, |before| before.min(due)));
        }
        self.courier = courier;
    }
}

/// 0..1. Without randomness from the system: always the longest wait of a failure, the shortest of a success.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_or(1.0, |()| f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}

/// Now, for a row.
fn moment() -> i64 {
    now_ms()
}
