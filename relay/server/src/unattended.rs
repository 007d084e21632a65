//! Work that goes on when the request that began it is gone.
//!
//! hyper drops a handler's future the moment its client hangs up, wherever it stands. Whatever takes more than one step to
//! change something durable runs here instead: from its first step on it ends whole, whoever still listens. One for each
//! store, which waits for what is left before it closes.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::store::meta::MetaError;

/// How long closing waits for work that is under way: milliseconds each on a healthy disk.
const CLOSING: Duration = Duration::from_secs(5);

/// A handle on the work; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Unattended(TaskTracker);

impl Unattended {
    /// Does `work` to its end and answers what came of it.
    ///
    /// # Errors
    /// Those of `work`; [`MetaError::Closed`] when the process is ending.
    pub async fn finish<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<MetaError> + Send + 'static,
    {
        self.spawn(work).await.unwrap_or_else(|_| Err(MetaError::Closed.into()))
    }

    /// Begins `work`.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.0.spawn(work)
    }

    /// Waits for what is under way; the last call before the store closes.
    pub async fn close(&self) {
        self.0.close();
        if tokio::time::timeout(CLOSING, self.0.wait()).await.is_err() {
            tracing::warn!("the store closes while changes are being made; the next start goes on with them");
        }
    }
}
