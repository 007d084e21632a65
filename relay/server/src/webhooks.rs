//! Webhooks: users are told of uploads by signed requests to addresses they named, on hosts that the admin listed
//! (protocol §4.3).
//!
//! The outbox is rows of `meta.db`, written with the upload ([`crate::store::told_rows`]); `desk` makes the calls, host by host,
//! so that one that is dead delays no other; `address` says what may be called. Each call is counted, durably, before it is made:
//! the log gets one `outbound_call` entry per destination and hour. In a cluster calls go through a courier, and this process
//! dials nobody.

mod address;
mod desk;
mod signature;

use std::sync::Arc;

use paramant_protocol::control::CourierPurpose;

pub use self::address::{HookUrl, NotCallable};
use crate::app::Core;
use crate::log_service::LogService;
use crate::metrics::WebhookMetrics;
use crate::outbound::{Couriers, Trust, Way, sums};
use crate::settings::{Reach, SettingsHandle, WebhookSettings};
use crate::store::call_rows::Caller;
use crate::store::meta::{Meta, MetaError};
use crate::store::webhook_rows::{self, HookRow, Kept, NewHook, Secret};
use crate::store::{AccountId, HookId, now_ms};

/// A handle on everything about webhooks; cheap to clone.
#[derive(Debug, Clone)]
pub struct Webhooks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    meta: Meta,
    log: LogService,
    settings: SettingsHandle,
    couriers: Couriers,
    metrics: WebhookMetrics,
    news: Arc<tokio::sync::Notify>,
}

/// Why a webhook is not kept.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The address.
    #[error(transparent)]
    Address(#[from] NotCallable),
    /// The device or the account has its share.
    #[error("there are {0} webhooks already for this device or account; remove one")]
    TooMany(u32),
    /// The database.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// No randomness.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

impl From<rusqlite::Error> for WebhookError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Meta(error.into())
    }
}

impl Webhooks {
    pub(crate) fn new(core: &Core, meta: Meta) -> Self {
        Self(Arc::new(Inner {
            meta,
            log: core.log.clone(),
            settings: core.settings.clone(),
            couriers: core.couriers.clone(),
            metrics: core.metrics.webhooks.clone(),
            news: core.outbox_news.clone(),
        }))
    }

    /// Keeps a webhook for the uploads of a device; answers its id.
    ///
    /// # Errors
    /// [`WebhookError`]; nothing is kept then.
    pub async fn register(
        &self,
        account: AccountId,
        device: String,
        url: &str,
        secret: Secret,
    ) -> Result<HookId, WebhookError> {
        let url = HookUrl::parse(url, self.config().as_deref())?;
        let id = HookId::random()?;
        let (destination, url) = (url.destination().authority(), url.as_str().to_owned());
        let new = NewHook { id, account, device, destination, url, secret };
        let kept =
            self.0.meta.write(move |c| Ok::<_, WebhookError>(webhook_rows::insert(c, &new, now_ms())?));
        match kept.await? {
            Kept::As(id) => Ok(id),
            Kept::TooMany(limit) => Err(WebhookError::TooMany(limit)),
        }
    }

    /// The account's webhooks.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list(&self, account: AccountId) -> Result<Vec<HookRow>, MetaError> {
        self.0.meta.read(move |c| Ok(webhook_rows::list(c, account)?)).await
    }

    /// Removes a webhook of the account, and what waits for it. `false`: it has none of this id.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn remove(&self, account: AccountId, id: HookId) -> Result<bool, MetaError> {
        self.0.meta.write(move |c| Ok(webhook_rows::remove(c, account, id)?)).await
    }

    /// Calls for as long as the process runs.
    pub async fn run(self) {
        desk::Desk::new(self).run().await;
    }

    /// Writes the entries for all calls that have none yet, also of the hour that runs: before a log is closed.
    pub async fn settle_calls(&self) {
        sums::record(&self.0.log, &self.0.meta, Caller::Webhooks, |_| true).await;
    }

    /// The settings about webhooks that are in force.
    fn config(&self) -> Option<Arc<WebhookSettings>> {
        self.0.settings.current().webhooks.clone()
    }

    fn way(&self, config: &WebhookSettings) -> Way {
        match config.reach {
            Reach::Direct => Way::PublicOnly(config.addresses.clone()),
            Reach::Courier => Way::Courier(self.0.couriers.clone(), CourierPurpose::Webhook),
        }
    }

    /// Hours that are over become entries.
    async fn sum_up(&self) {
        sums::record(&self.0.log, &self.0.meta, Caller::Webhooks, sums::over).await;
    }
}

/// For the settings: a bundle was checked when they were read.
fn trust(config: &WebhookSettings) -> Trust {
    config.ca_bundle.as_deref().and_then(|pem| Trust::bundle(pem).ok()).unwrap_or_else(Trust::public)
}
