//! The leader's care for its authority: what the Secret holds is what is used, and it is replaced in time.
//!
//! Each look reads the Secret first and takes one step at most ([`paramant_operator_core::rotation`]). What relays took up
//! comes from their reports, so nothing is asked of them. Should the Secret be damaged or gone, what is in memory goes on.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use paramant_operator_core::children::CA_KEY;
use paramant_operator_core::observation::Report;
use paramant_operator_core::rotation::{self, Accepts, Next, Relay, Stage, Unheard};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::secret::{self, SECRET, Stored};
use super::{Authority, Error, sha256};
use crate::backoff::jittered;
use crate::control::ControlPlane;
use crate::health::{Health, Weight};
use crate::key::RelayKey;
use crate::leader::election::Leadership;
use crate::metrics::Metrics;
use crate::queue::Wake;
use crate::queue::worker::Queue;
use crate::stores::{Scope, World};
use crate::triggers;

/// Between two looks while nothing goes on: how long a person's wish waits.
const AT_REST: Duration = Duration::from_secs(20);
/// Between two looks during a replacement.
const UNDER_WAY: Duration = Duration::from_secs(3);
/// One look makes two requests at most.
const LOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// Kubelets bring a ConfigMap within two minutes. Who is still waited for after this is named in `/readyz`.
const SLOW: SignedDuration = SignedDuration::from_mins(10);
/// So many of those who are waited for are named.
const NAMED: usize = 5;
/// Under which topics of [`Health`] this reports.
const TOPIC: &str = "authority";
const WAITING: &str = "authority replacement";

/// Everything a look needs.
pub struct Rotation {
    /// The operator's own namespace.
    pub secrets: Api<Secret>,
    /// Who writes.
    pub field_manager: &'static str,
    /// What is in use. Relays' configuration and leaves follow it.
    pub in_use: watch::Sender<Authority>,
    /// Whether we may write.
    pub leadership: Leadership,
    /// What relays are there.
    pub world: World,
    /// Where relays may be.
    pub scopes: Vec<Scope>,
    /// What relays report.
    pub control: ControlPlane,
    /// Whom to wake when something else is published.
    pub queue: Queue,
    /// Where trouble is told.
    pub health: Health,
    /// Where writes are counted.
    pub metrics: Metrics,
}

impl Rotation {
    /// Looks again and again, for as long as the process lives.
    pub async fn keep(self) {
        let mut unheard = Unheard::default();
        loop {
            let wait =
                match timeout(LOOK_TIMEOUT, self.look(&mut unheard)).await.unwrap_or(Err(Error::Timeout)) {
                    Ok(wait) => {
                        self.health.resolve(TOPIC);
                        wait
                    }
                    Err(error) => {
                        let sentence = format!("{error}; the certificates that are in use go on");
                        self.health.report(TOPIC, Weight::Degraded, sentence);
                        AT_REST
                    }
                };
            sleep(jittered(wait)).await;
        }
    }

    async fn look(&self, unheard: &mut Unheard) -> Result<Duration, Error> {
        let found = secret::get(&self.secrets).await?;
        let Some(stored) = Stored::read(&found)? else {
            let in_use = self.in_use.borrow().clone();
            self.write(secret::fill(&found, Some(&in_use))?, "put the authority back that was in use")
                .await?;
            return Ok(UNDER_WAY);
        };
        self.adopt(&stored.authority);
        let now = Timestamp::now();
        let relays =
            if matches!(stored.record.stage, Stage::Beside { .. }) { self.relays() } else { Vec::new() };
        let next = rotation::next(&stored.record, &relays, &self.unseen(), unheard, now);
        self.tell(&stored.record.stage, &next, now);
        match next {
            Next::Rest => return Ok(AT_REST),
            Next::Await(_) => {}
            Next::Introduce => {
                self.write(
                    stored.introduce(now)?,
                    "another authority is published beside the one that signs",
                )
                .await?;
            }
            Next::Switch => {
                if let Some(patch) = stored.switch() {
                    self.write(patch, "every relay accepts the new authority, which signs from now on")
                        .await?;
                }
            }
            Next::Retire => {
                self.write(stored.retire(now), "the former authority is not published any more").await?;
            }
        }
        Ok(UNDER_WAY)
    }

    /// Writes one step and goes on from what was stored. A step that somebody came before is looked at again.
    async fn write(&self, patch: serde_json::Value, what: &str) -> Result<(), Error> {
        if self.leadership.may_write().is_none() {
            return Ok(());
        }
        self.metrics.writes.with_label_values(&["Secret", "patch"]).inc();
        if let Some(written) = secret::write(&self.secrets, self.field_manager, patch).await?
            && let Some(stored) = Stored::read(&written)?
        {
            tracing::info!(secret = SECRET, "{what}");
            self.adopt(&stored.authority);
        }
        Ok(())
    }

    fn adopt(&self, stored: &Authority) {
        let mut published = false;
        self.in_use.send_if_modified(|in_use| {
            published = in_use.bundle_pem() != stored.bundle_pem();
            let news = published || !in_use.signs_as(stored);
            if news {
                *in_use = stored.clone();
            }
            news
        });
        if published {
            self.world.subjects().into_iter().for_each(|subject| self.queue.wake(subject, Wake::Now));
        }
    }

    fn relays(&self) -> Vec<Relay> {
        self.world.relays().iter().filter_map(|relay| self.relay(&triggers::key(&**relay)?)).collect()
    }

    fn relay(&self, key: &RelayKey) -> Option<Relay> {
        let children = self.world.of(&key.namespace)?.children(key);
        let configured = children.config.as_ref().and_then(|config| config.data.as_ref()?.get(CA_KEY));
        let runs = |uid: &String| children.pods.iter().any(|pod| pod.metadata.uid.as_ref() == Some(uid));
        let accepts = match self.control.report(key) {
            _ if children.pods.is_empty() => Accepts::NotRunning,
            Report::Reachable { state, pod_uid, .. } if runs(&pod_uid) => {
                Accepts::Reported(state.ca_bundle_sha256.clone())
            }
            _ => Accepts::Unheard,
        };
        let configured_sha256 = configured.map(|bundle| sha256(bundle));
        Some(Relay { name: key.to_string(), configured_sha256, accepts })
    }

    /// Where relays may be that accept only what was published before.
    fn unseen(&self) -> Vec<String> {
        let scopes = self.world.unseen(&self.scopes).into_iter().map(|scope| scope.to_string());
        let parting = self.control.parting();
        scopes.chain(parting.iter().map(|key| format!("{key}, which is going"))).collect()
    }

    fn tell(&self, stage: &Stage, next: &Next, now: Timestamp) {
        match (stage, next) {
            (Stage::Beside { since }, Next::Await(behind)) if !behind.is_empty() => {
                tracing::debug!(?behind, "the new authority waits");
                if now.duration_since(*since) >= SLOW {
                    let some: Vec<_> = behind.iter().take(NAMED).map(String::as_str).collect();
                    let sentence = format!(
                        "since {since} a new certificate authority waits for {} to take it up ({} in all); both old and new stay accepted until then",
                        some.join("; "),
                        behind.len()
                    );
                    self.health.report(WAITING, Weight::Degraded, sentence);
                }
            }
            _ => self.health.resolve(WAITING),
        }
    }
}

#[cfg(test)]
mod tests;
