//! What every request handler and background task of one relay shares.
//!
//! [`Core`] is everything below the transfer path; [`App`] adds the store. Both are built once at start, in the order data
//! directory → keys → log → drain and directives → store, and torn down in the reverse order.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::accounts::Principal;
use crate::adoption::{self, AdoptError};
use crate::data_dir::DataDir;
use crate::directives::DirectiveBook;
use crate::drain::Drain;
use crate::identity::{ControlKey, Identity};
use crate::license::counts::Counts;
use crate::log_service::key_book::KeyBook;
use crate::log_service::{LogService, ReadError};
use crate::metrics::Metrics;
use crate::outbound::Couriers;
use crate::plans::{self, Plan};
use crate::probes::Readiness;
use crate::settings::{Payload, Settings, SettingsHandle};
use crate::store::{self, Release, Store};
use crate::streams::Streams;
use crate::witnesses::Witnesses;
use crate::world::World;

/// The state handed to every handler.
pub type Shared = Arc<App>;

/// Everything below the transfer path. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Core {
    /// The settings in force.
    pub settings: SettingsHandle,
    /// Pinned keys, and the clock on the wall.
    pub world: World,
    /// The locked data directory.
    pub data: DataDir,
    /// The ML-DSA-65 identity.
    pub identity: Arc<Identity>,
    /// The key of the control listener.
    pub control_key: Arc<ControlKey>,
    /// The log.
    pub log: LogService,
    /// Whether uploads are taken.
    pub drain: Drain,
    /// What the operator asked for.
    pub directives: Arc<DirectiveBook>,
    /// The couriers that are connected.
    pub couriers: Couriers,
    /// What witnesses say of the log.
    pub witnesses: Witnesses,
    /// The WebSockets of account holders.
    pub streams: Streams,
    /// Rung when an upload put something into the outbox of webhooks.
    pub outbox_news: Arc<Notify>,
    /// Why reads are not served, if they are not.
    pub readiness: Readiness,
    /// Counters.
    pub metrics: Metrics,
    /// What telemetry may say of the last 24 hours.
    pub counts: Arc<Counts>,
    /// Whose schema of the database is in force: this release's, unless a test says otherwise.
    pub(crate) release: Release,
    /// What is wrong with this release, if it is rehearsed.
    #[cfg(any(test, feature = "rehearsal"))]
    pub(crate) fault: Option<crate::rehearsal::Fault>,
    /// When this process started.
    pub started_at: Timestamp,
    /// Cancelled when the listeners are about to close: endless answers end themselves.
    pub closing: CancellationToken,
}

/// One relay.
#[derive(Debug)]
pub struct App {
    /// Everything below the transfer path.
    pub core: Core,
    /// Metadata, payloads and key slots.
    pub store: Store,
}

/// Why a relay does not start. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory.
    #[error(transparent)]
    Data(#[from] crate::data_dir::DataDirError),
    /// A log could not be put in the place of another, or `log adopt` did not come to its end.
    #[error(transparent)]
    Adoption(#[from] AdoptError),
    /// The log's end.
    #[error("the log's last entry cannot be read: {0}")]
    LastEntry(#[from] ReadError),
    /// A key.
    #[error(transparent)]
    Key(#[from] crate::identity::KeyError),
    /// The log. Exit code 70: what is on disk needs a person.
    #[error(transparent)]
    Log(#[from] crate::log_service::OpenError),
    /// The directives.
    #[error("cannot read directives.json in the data directory: {0}")]
    Directives(std::io::Error),
    /// What witnesses said.
    #[error("cannot read witnesses.json in the data directory: {0}")]
    Witnesses(std::io::Error),
    /// The metrics.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// What is to be rehearsed.
    #[cfg(any(test, feature = "rehearsal"))]
    #[error(transparent)]
    Rehearsal(#[from] crate::rehearsal::Unknown),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::OpenError),
}

impl Core {
    /// Locks the data directory and opens everything below the transfer path. Blocks.
    ///
    /// # Errors
    /// [`OpenError`]; nothing stays half open.
    pub fn open(root: &std::path::Path, settings: SettingsHandle) -> Result<Self, OpenError> {
        let started_at = Timestamp::now();
        let data = DataDir::open(root)?;
        adoption::go_on(&data)?;
        let identity = Arc::new(Identity::open(&data)?);
        let control_key = Arc::new(ControlKey::open(&data)?);
        let now = settings.current();
        let log = open_log(&data, &now, &identity)?;
        #[cfg(any(test, feature = "rehearsal"))]
        let fault = crate::rehearsal::fault(&log)?;
        let drain = Drain::new(now.payload == Payload::Memory);
        let directives = DirectiveBook::open(&data, drain.clone()).map_err(OpenError::Directives)?;
        log.arm(directives.held().as_ref());
        let (couriers, metrics) = (Couriers::default(), Metrics::new()?);
        let witnesses = Witnesses::open(
            &data,
            log.clone(),
            settings.clone(),
            couriers.clone(),
            metrics.witnesses.clone(),
        )
        .map_err(OpenError::Witnesses)?;
        let closing = CancellationToken::new();
        let streams = Streams::new(closing.clone(), metrics.streams.clone());
        Ok(Self {
            settings,
            world: World::default(),
            data,
            identity,
            control_key,
            log,
            drain,
            directives: Arc::new(directives),
            couriers,
            witnesses,
            streams,
            outbox_news: Arc::default(),
            readiness: Readiness::default(),
            metrics,
            counts: Arc::default(),
            release: Release::THIS,
            #[cfg(any(test, feature = "rehearsal"))]
            fault,
            started_at,
            closing,
        })
    }
}

/// Opens the log; in place of one that was closed, another that names it.
fn open_log(data: &DataDir, settings: &Settings, identity: &Arc<Identity>) -> Result<LogService, OpenError> {
    let log = LogService::open(data, settings, identity, KeyBook::open(data)?)?;
    if !log.is_closed()? {
        return Ok(log);
    }
    log.close();
    drop(log);
    let adopted = adoption::follow_closed(data)?;
    tracing::warn!(
        closed = adopted.retired,
        log = adopted.origin,
        "the log was closed when this relay was deleted, so another one begins, which names it"
    );
    Ok(LogService::open(data, settings, identity, KeyBook::open(data)?)?)
}

impl App {
    /// Opens the store over `core`.
    ///
    /// # Errors
    /// [`OpenError::Store`].
    pub async fn open(core: Core) -> Result<Shared, OpenError> {
        let store = Store::open(&core).await?;
        Ok(Arc::new(Self { core, store }))
    }

    /// The largest blob that is taken, in bytes: what the settings say, or less if the licence says so.
    pub fn max_blob(&self) -> u64 {
        let licensed = self.store.licenses.grant().max_blob;
        self.core.settings.current().limits.max_blob.min(licensed.unwrap_or(u64::MAX))
    }

    /// The longest time a blob may wait: likewise.
    pub fn max_ttl(&self) -> Duration {
        let licensed = self.store.licenses.grant().max_ttl;
        self.core.settings.current().limits.max_ttl.min(licensed.map_or(Duration::MAX, Duration::from_secs))
    }

    /// What the plan of this key allows.
    pub fn plan(&self, who: &Principal) -> &'static Plan {
        plans::in_force(&who.plan, self.core.settings.current().limits.plan_quotas)
    }
}
