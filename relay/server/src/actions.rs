//! What a vendor asked of this relay: taken from verified replies, logged, answered by the admin's policy, and only then carried out.
//!
//! | step | durable after it | a crash leaves |
//! |---|---|---|
//! | a request is judged | its row | the same row at the next start |
//! | `vendor_request`, or `remote_action_refused` for one that takes no place in the chain | the entry | found again by its leaf, not written twice |
//! | a checkpoint covers it | that checkpoint | as above |
//! | it is answered: by policy, by an admin, by time | the decision, which stands from here on | the decision, carried out at the next start |
//! | `vendor_request_decided` or `remote_action_refused` | the entry | as above |
//! | the entry of the effect (`support_key_issued`, `update_offered`) | the entry | as above |
//! | the effect | its rows, with the request's state, in one transaction | all of it or nothing |
//!
//! A full disk ends the way before the effect: what cannot be logged is not done. What cannot be verified is counted, never logged.
//! `Actions::apply` is the only way to an effect, and takes a request with proof that the log holds it.

mod apply;
mod intake;
mod report;
mod settle;
pub mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use paramant_licensing::actions::{Ask, LONGEST_SUPPORT, Said};
use paramant_protocol::control::{RemoteDirective, RemoteReport, RemoteState};
use paramant_protocol::entry::Body;
use rusqlite::Connection;
use tokio::sync::{Notify, watch};

use self::support::SupportKeys;
use crate::app::Core;
use crate::directives::DirectiveBook;
use crate::drain::Drain;
use crate::license::Licenses;
use crate::log_service::{Entry, LogError, LogService};
use crate::outbound::sums;
use crate::settings::SettingsHandle;
use crate::store::Digest;
use crate::store::action_rows::{self, Ended, Owed, RequestRow, State, Step, SupportRow};
use crate::store::call_rows::Caller;
use crate::store::meta::{Meta, MetaError};

/// How often what only time changes is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Before a step that the disk or the log refused is tried again.
const REST: Duration = Duration::from_secs(10);

/// A handle on what the vendor asked; cheap to clone.
#[derive(Debug, Clone)]
pub struct Actions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    meta: Meta,
    log: LogService,
    settings: SettingsHandle,
    directives: Arc<DirectiveBook>,
    licenses: Licenses,
    drain: Drain,
    /// Fingerprint of the identity: what a request calls the relay.
    relay_id: String,
    support: SupportKeys,
    told: watch::Sender<RemoteReport>,
    unverifiable: AtomicU64,
    /// What is in force could not be proven when it was tried, and may be later.
    unproven: AtomicBool,
    news: Notify,
    capability: Notify,
    /// One at a time takes rows further.
    working: tokio::sync::Mutex<()>,
}

/// A step could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The database.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No randomness.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// An entry that cannot be made, which is a mistake of the program.
    #[error("{0}")]
    Made(String),
    /// No signed checkpoint covers the request's entry yet.
    #[error("a vendor's request waits for a checkpoint of the log that covers it")]
    NoCheckpoint,
    /// An admin named a request that does not wait, or a support key that is not in force.
    #[error("{0}")]
    Nothing(&'static str),
}

impl From<rusqlite::Error> for ActionError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Meta(error.into())
    }
}

impl Actions {
    pub(crate) fn new(core: &Core, meta: Meta, licenses: Licenses) -> Self {
        Self(Arc::new(Inner {
            meta,
            log: core.log.clone(),
            settings: core.settings.clone(),
            directives: core.directives.clone(),
            licenses,
            drain: core.drain.clone(),
            relay_id: core.identity.fingerprint().to_owned(),
            support: SupportKeys::default(),
            told: watch::Sender::default(),
            unverifiable: AtomicU64::new(0),
            unproven: AtomicBool::new(true),
            news: Notify::new(),
            capability: Notify::new(),
            working: tokio::sync::Mutex::default(),
        }))
    }

    /// Works for as long as the process runs.
    pub async fn run(self) {
        let mut settings = self.0.settings.subscribe();
        let mut directives = self.0.directives.subscribe();
        let mut said = String::new();
        loop {
            let wait = match self.turn().await {
                Ok(()) => {
                    said.clear();
                    LOOK
                }
                Err(error) => {
                    let error = error.to_string();
                    if error != said {
                        tracing::warn!(error, "what the vendor asked waits");
                        said = error;
                    }
                    REST
                }
            };
            tokio::select! {
                () = self.0.news.notified() => {}
                Ok(()) = directives.changed() => {}
                Ok(()) = settings.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn turn(&self) -> Result<(), ActionError> {
        // What an admin ended is ended first, whatever the disk says of everything else.
        self.end_what_was_denied().await?;
        sums::record(&self.0.log, &self.0.meta, Caller::Support, sums::over).await;
        self.settle().await
    }

    /// What is told of it, and news of a change.
    pub fn subscribe(&self) -> watch::Receiver<RemoteReport> {
        self.0.told.subscribe()
    }

    /// For the operator, and for the admin's pages.
    #[must_use]
    pub fn report(&self) -> RemoteReport {
        self.0.told.borrow().clone()
    }

    /// Everything that was asked, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn all(&self) -> Result<Vec<RequestRow>, ActionError> {
        let mut rows = self.rows().await?;
        rows.sort_by_key(|row| std::cmp::Reverse((row.received_ms, row.seq)));
        Ok(rows)
    }

    /// Where the entries about each request are, in the order in which they were written.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn entries(&self) -> Result<HashMap<Digest, Vec<(Step, u64)>>, ActionError> {
        let mut entries: HashMap<Digest, Vec<(Step, u64)>> = HashMap::new();
        for (hash, step, index) in self.read(action_rows::placed).await? {
            entries.entry(hash).or_default().push((step, index));
        }
        Ok(entries)
    }

    /// The support keys.
    #[must_use]
    pub fn support(&self) -> &SupportKeys {
        &self.0.support
    }

    /// The newest request for a change of capabilities, if it is for this set: which, and how it stands.
    pub(crate) async fn capability(
        &self,
        terms: Digest,
    ) -> Result<Option<(Digest, RemoteState)>, ActionError> {
        let rows = self.rows().await?;
        let placed = rows.iter().rev().filter(|row| row.seq.is_some() && row.kind == "capability_set");
        let newest = placed.filter_map(|row| Some((row, self.reopen(row)?))).next();
        Ok(newest.and_then(|(row, request)| match request.get().ask {
            Ask::CapabilitySet { set_sha256 } if set_sha256 == terms.0 => Some((row.hash, row.state.told())),
            _ => None,
        }))
    }

    /// How a request stands.
    pub(crate) async fn state_of(&self, request: Digest) -> Result<Option<RemoteState>, ActionError> {
        Ok(self.rows().await?.iter().find(|row| row.hash == request).map(|row| row.state.told()))
    }

    /// Rung when a capability set that waited may count.
    pub(crate) async fn capability_news(&self) {
        self.0.capability.notified().await;
    }

    /// An admin answers a request that waits.
    ///
    /// # Errors
    /// [`ActionError::Nothing`] when none of this id waits, or the database.
    pub async fn answer(&self, id: &str, said: Said) -> Result<(), ActionError> {
        let of = id.to_owned();
        if !self.write(move |c| action_rows::say(c, &of, said)).await? {
            return Err(ActionError::Nothing("no request of this id waits for an answer"));
        }
        self.settle().await
    }

    /// An admin ends what a request brought about: a support key, for good, or a drain.
    ///
    /// # Errors
    /// [`ActionError::Nothing`] when nothing of this id is in force, or the database.
    pub async fn end(&self, id: &str) -> Result<(), ActionError> {
        let ended = self.revoke(id).await? | self.end_drain(id).await?;
        if !ended {
            return Err(ActionError::Nothing("nothing of this id is in force"));
        }
        self.0.news.notify_one();
        self.refresh().await
    }

    /// What the policy says: the operator's in a cluster, else the settings'.
    pub(crate) fn policy(&self) -> RemoteDirective {
        let directed = self.0.directives.held().and_then(|held| held.remote);
        directed.unwrap_or_else(|| self.0.settings.current().remote.clone())
    }

    fn support_seconds(policy: &RemoteDirective) -> u64 {
        policy.support_seconds.unwrap_or(LONGEST_SUPPORT)
    }

    /// The instant that requests are judged by.
    fn now(&self) -> Timestamp {
        self.0.licenses.now().at()
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, ActionError> {
        self.0.meta.read(move |c| Ok(query(c)?)).await
    }

    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, ActionError> {
        self.0.meta.write(move |c| Ok(change(c)?)).await
    }

    async fn keys(&self) -> Result<Vec<SupportRow>, ActionError> {
        self.read(action_rows::support_keys).await
    }

    async fn rows(&self) -> Result<Vec<RequestRow>, ActionError> {
        self.read(action_rows::requests).await
    }

    /// What the policy's lists deny of what is in force. Mostly nothing, which writes nothing.
    async fn end_what_was_denied(&self) -> Result<(), ActionError> {
        let denied = self.policy().denied;
        if denied.is_empty() {
            return Ok(());
        }
        let keys = self.keys().await?;
        let keys = keys.into_iter().filter(|key| key.ended.is_none()).map(|key| key.id);
        let drain = self.standing_drain().await?.map(|row| row.id);
        for id in keys.chain(drain).filter(|id| denied.contains(id)) {
            self.end(&id).await?;
        }
        Ok(())
    }

    /// Ends a support key at once: in memory, then on disk; its entry follows, since an admin waits for no log.
    async fn revoke(&self, id: &str) -> Result<bool, ActionError> {
        let live = self.0.support.end(id);
        let of = id.to_owned();
        let kept = self.write(move |c| action_rows::support_ends(c, &of, Ended::Revoked)).await?;
        if live || kept {
            tracing::warn!(id, "a support key was revoked");
        }
        Ok(kept)
    }

    /// What the relay does about a drain: the request that was agreed to last, unless it was ended. None that it replaced comes back.
    pub(crate) async fn standing_drain(&self) -> Result<Option<RequestRow>, ActionError> {
        let agreed = |row: &RequestRow| {
            let accepted = row.decision.is_some_and(|it| it.leads_to() == State::Accepted);
            row.kind == "drain" && accepted && !row.state.is_open()
        };
        let drains = self.rows().await?.into_iter().filter(agreed);
        let last = drains.max_by_key(|row| (row.decided_ms, row.seq));
        Ok(last.filter(|row| row.state == State::Accepted))
    }

    async fn end_drain(&self, id: &str) -> Result<bool, ActionError> {
        let Some(row) = self.standing_drain().await?.filter(|row| row.id == id) else { return Ok(false) };
        self.0.drain.lift();
        self.stand(row.hash, State::Denied).await?;
        tracing::info!(id, "an admin ended the vendor's drain");
        Ok(true)
    }

    /// Appends an entry about a request or a reply once, however often this is begun; answers where it is.
    pub(crate) async fn place(
        &self,
        hash: Digest,
        step: Step,
        body: impl FnOnce() -> Result<Body, ActionError>,
    ) -> Result<u64, ActionError> {
        let kept = self.read(move |c| action_rows::owed(c, hash, step)).await?;
        let mut owed = match kept {
            Some(owed) => owed,
            None => {
                let entry = paramant_protocol::entry::Entry::with_body(body()?, Timestamp::now());
                let entry = entry.map_err(|error| ActionError::Made(error.to_string()))?.into_bytes();
                let owed = Owed { hash, step, entry, log_from: self.0.log.head().size, log_index: None };
                self.keep(&owed).await?;
                owed
            }
        };
        if let Some(index) = owed.log_index {
            return Ok(index);
        }
        let entry = paramant_protocol::entry::Entry::parse(&owed.entry);
        let entry = entry.map_err(|error| ActionError::Made(error.to_string()))?;
        let entry = Entry { legacy_leaf: entry.leaf(), bytes: entry.into_bytes() };
        let index = self.0.log.append_once(&entry, owed.log_from).await?;
        owed.log_index = Some(index);
        self.keep(&owed).await?;
        Ok(index)
    }

    async fn keep(&self, owed: &Owed) -> Result<(), ActionError> {
        let owed = owed.clone();
        self.write(move |c| action_rows::keep_owed(c, &owed)).await
    }

    fn count_unverifiable(&self, reason: &dyn std::fmt::Display) {
        self.0.unverifiable.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%reason, "a vendor's document in a reply is not to be believed; it is counted and not logged");
    }
}
