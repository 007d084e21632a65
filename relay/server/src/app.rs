//! What every request handler and background task of one relay shares.
//!
//! [`Core`] is everything below the transfer path; [`App`] adds the store. Both are built once at start, in the order data
//! directory → identity → log → drain and directives → store, and torn down in the reverse order.

use std::sync::Arc;

use jiff::Timestamp;

use crate::data_dir::DataDir;
use crate::drain::Drain;
use crate::identity::Identity;
use crate::log_service::LogService;
use crate::metrics::Metrics;
use crate::settings::SettingsHandle;
use crate::store::Store;

/// The state handed to every handler.
pub type Shared = Arc<App>;

/// Everything below the transfer path. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Core {
    /// The settings in force.
    pub settings: SettingsHandle,
    /// The locked data directory.
    pub data: DataDir,
    /// The ML-DSA-65 identity.
    pub identity: Arc<Identity>,
    /// The log.
    pub log: LogService,
    /// Whether uploads are taken.
    pub drain: Drain,
    /// Counters.
    pub metrics: Metrics,
    /// When this process started.
    pub started_at: Timestamp,
}

/// One relay.
#[derive(Debug)]
pub struct App {
    /// Everything below the transfer path.
    pub core: Core,
    /// Metadata, payloads and key slots.
    pub store: Store,
}
