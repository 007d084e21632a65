//! The last word to a relay whose resource is gone: its log ends here, so SIGTERM is no restart.
//!
//! A deletion in the background takes the resource away at once and its pod some moments later; nothing else tells the relay
//! in between. So the tasks of a forgotten relay live on until it has taken its farewell, a minute at most. A relay made
//! again under the same name is another one and ends them.

use std::sync::Arc;
use std::time::Duration;

use paramant_protocol::control::Directives;
use tokio::time::timeout;

use super::{ControlPlane, Relay};
use crate::key::RelayKey;

/// A relay that has not answered by then is not waited for: it may be gone as well.
const PATIENCE: Duration = Duration::from_secs(60);

impl ControlPlane {
    /// Ends a relay's tasks, once it has heard that it is deleted. Nothing it reports counts from here on.
    pub fn forget(&self, key: &RelayKey) {
        let mut relays = self.lock();
        let Some(tasks) = relays.present.remove(key) else { return };
        let relay = tasks.relay.clone();
        if !relay.part() {
            return;
        }
        relays.parting.insert(key.clone(), tasks);
        drop(relays);
        tokio::spawn(self.clone().let_go(relay));
    }

    async fn let_go(self, relay: Arc<Relay>) {
        if timeout(PATIENCE, relay.told()).await.is_err() {
            tracing::debug!(relay = %relay.key, "the relay did not hear that it is deleted");
        }
        let mut relays = self.lock();
        // By now these may be the tasks of another relay of that name.
        if relays.parting.get(&relay.key).is_some_and(|tasks| Arc::ptr_eq(&tasks.relay, &relay)) {
            relays.parting.remove(&relay.key);
        }
    }
}

impl Relay {
    /// Wants the farewell delivered. Says whether there is anybody to deliver it to.
    fn part(&self) -> bool {
        let mut reachable = false;
        self.wanted.send_if_modified(|wanted| {
            let Some(last) = wanted.directives.as_mut().filter(|_| wanted.target.is_some()) else {
                return false;
            };
            reachable = true;
            // After a deletion in the foreground this was said already.
            let news = !last.deleting;
            if news {
                let told =
                    Directives { seq: last.seq.saturating_add(1), deleting: true, ..Directives::clone(last) };
                *last = Arc::new(told);
            }
            news
        });
        reachable
    }

    /// Returns when the relay has taken what is wanted.
    async fn told(&self) {
        while !self.has_taken_what_is_wanted() {
            self.answered.notified().await;
        }
    }

    fn has_taken_what_is_wanted(&self) -> bool {
        let wanted = self.wanted.borrow().directives.clone();
        self.known().acknowledged.as_ref().map(|(_, taken)| taken) == wanted.as_ref()
    }
}
