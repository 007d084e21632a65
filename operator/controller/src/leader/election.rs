//! Holds the Lease: looks, takes, renews, releases.
//!
//! The rest of the process sees a [`Leadership`]: whether it leads, with which epoch, and whether there is time enough left
//! to start a write. Nothing here retries a write blindly; each one follows from a fresh look.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::record::{claim_of, lease};
use super::{Claim, Identity, LOOK_EVERY, Observed, RENEW_DEADLINE, RENEW_EVERY, Verdict, evaluate};
use crate::sentence;

/// One request about the Lease may take this long; two fit into [`RENEW_DEADLINE`].
const CALL_TIMEOUT: Duration = Duration::from_secs(4);
/// A write is started only with this much of the renewal deadline left, so that it ends while we still lead.
const WRITE_MARGIN: Duration = Duration::from_secs(1);

/// Where this process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Somebody else leads, or nobody yet.
    Follower,
    /// We lead.
    Leader {
        /// `leaseTransitions` at the time of taking over.
        epoch: u64,
        /// When the last successful renewal was *sent*.
        renewed: Instant,
    },
}

/// A view of the election for the rest of the process.
#[derive(Debug, Clone)]
pub struct Leadership(watch::Receiver<Standing>);

impl Leadership {
    /// A leadership that never changes, for tests.
    #[doc(hidden)]
    pub fn fixed(standing: Standing) -> Self {
        let (sender, receiver) = watch::channel(standing);
        drop(sender);
        Self(receiver)
    }

    /// The epoch, when a write that starts now would still end under our Lease.
    pub fn may_write(&self) -> Option<u64> {
        match *self.0.borrow() {
            Standing::Leader { epoch, renewed } if renewed.elapsed() + WRITE_MARGIN < RENEW_DEADLINE => {
                Some(epoch)
            }
            _ => None,
        }
    }

    /// Whether we lead.
    pub fn leads(&self) -> bool {
        matches!(*self.0.borrow(), Standing::Leader { .. })
    }

    /// Waits until we lead and returns the epoch; never returns when the election has ended.
    pub async fn taken(&mut self) -> u64 {
        loop {
            if let Standing::Leader { epoch, .. } = *self.0.borrow_and_update() {
                return epoch;
            }
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Why an election ended.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Someone else holds the Lease now.
    #[error("the Lease is held by {0} now; another operator leads")]
    Taken(String),
    /// The Lease could not be renewed in time.
    #[error(
        "the Lease could not be renewed for {:?}; stopping before another operator may start",
        RENEW_DEADLINE
    )]
    Expired,
}

/// Takes part in the election for one Lease.
pub struct Election {
    api: Api<Lease>,
    name: String,
    me: Identity,
    standing: watch::Sender<Standing>,
}

impl Election {
    /// Prepares to take part; nothing is read or written yet.
    pub fn new(client: Client, namespace: &str, name: &str, me: Identity) -> (Self, Leadership) {
        let (standing, receiver) = watch::channel(Standing::Follower);
        let election = Self { api: Api::namespaced(client, namespace), name: name.to_owned(), me, standing };
        (election, Leadership(receiver))
    }

    /// Takes part until `stop`, or until leadership is lost. After `stop` a held Lease is released once `stopped` says that
    /// everything that writes has ended.
    pub async fn run(self, stop: CancellationToken, stopped: CancellationToken) -> Result<(), Lost> {
        let Some(mut held) = self.wait_for_turn(&stop).await else { return Ok(()) };
        let mut renewed = Instant::now();
        let mut ending = false;
        loop {
            tokio::select! {
                () = sleep(RENEW_EVERY) => {}
                () = stop.cancelled(), if !ending => { ending = true; continue }
                () = stopped.cancelled() => { self.release(held).await; return Ok(()) }
            }
            loop {
                let sent = Instant::now();
                match self.write(Some(&held), Some(self.me.holder())).await {
                    Written::Ours(lease, epoch) => {
                        held = *lease;
                        renewed = sent;
                        self.standing.send_replace(Standing::Leader { epoch, renewed });
                        break;
                    }
                    Written::Raced => match self.look().await {
                        Look::Found(lease) if claim_of(&lease).holder == Some(self.me.holder()) => {
                            held = *lease
                        }
                        Look::Found(lease) => return Err(self.lost(claim_of(&lease))),
                        Look::Absent => return Err(Lost::Taken("nobody (it was deleted)".to_owned())),
                        Look::Failed => {}
                    },
                    Written::Failed => {}
                }
                if renewed.elapsed() >= RENEW_DEADLINE {
                    self.standing.send_replace(Standing::Follower);
                    return Err(Lost::Expired);
                }
                sleep(LOOK_EVERY).await;
            }
        }
    }

    fn lost(&self, claim: Claim) -> Lost {
        self.standing.send_replace(Standing::Follower);
        Lost::Taken(claim.holder.unwrap_or_else(|| "nobody".to_owned()))
    }

    /// Looks once a second until the Lease is ours; `None` when stopped first.
    async fn wait_for_turn(&self, stop: &CancellationToken) -> Option<Lease> {
        let mut observed: Option<Observed> = None;
        loop {
            let (lease, known) = match self.look().await {
                Look::Found(lease) => (Some(*lease), true),
                Look::Absent => (None, true),
                Look::Failed => (None, false),
            };
            if known {
                let claim = lease.as_ref().map(claim_of);
                let now = Instant::now();
                let seen = match observed.take() {
                    Some(before) => before.then(claim, now),
                    None => Observed::first(claim, now),
                };
                let verdict = evaluate(&seen, &self.me, now);
                observed = Some(seen);
                if !matches!(verdict, Verdict::Yield(_)) {
                    let sent = Instant::now();
                    if let Written::Ours(lease, epoch) =
                        self.write(lease.as_ref(), Some(self.me.holder())).await
                    {
                        tracing::info!(epoch, holder = %self.me.holder(), "leading");
                        self.standing.send_replace(Standing::Leader { epoch, renewed: sent });
                        return Some(*lease);
                    }
                }
            }
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    async fn release(&self, held: Lease) {
        self.standing.send_replace(Standing::Follower);
        match self.write(Some(&held), None).await {
            Written::Ours(..) => tracing::info!("released the Lease"),
            Written::Raced | Written::Failed => {
                tracing::warn!("the Lease was not released; it runs out by itself")
            }
        }
    }

    async fn look(&self) -> Look {
        match timeout(CALL_TIMEOUT, self.api.get_opt(&self.name)).await {
            Ok(Ok(Some(lease))) => Look::Found(Box::new(lease)),
            Ok(Ok(None)) => Look::Absent,
            Ok(Err(error)) => {
                tracing::warn!(error = sentence::of_kube(&error), "cannot read the Lease");
                Look::Failed
            }
            Err(_) => Look::Failed,
        }
    }

    async fn write(&self, before: Option<&Lease>, holder: Option<String>) -> Written {
        let (next, transitions) = lease(&self.name, before, holder, Timestamp::now());
        let params = PostParams::default();
        let call = async {
            match before {
                Some(_) => self.api.replace(&self.name, &params, &next).await,
                None => self.api.create(&params, &next).await,
            }
        };
        match timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(lease)) => {
                tracing::trace!(version = ?lease.resource_version(), "wrote the Lease");
                Written::Ours(Box::new(lease), transitions)
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 409 || status.code == 404 => Written::Raced,
            Ok(Err(error)) => {
                tracing::warn!(error = sentence::of_kube(&error), "cannot write the Lease");
                Written::Failed
            }
            Err(_) => Written::Failed,
        }
    }
}

enum Look {
    Found(Box<Lease>),
    Absent,
    Failed,
}

enum Written {
    Ours(Box<Lease>, u64),
    Raced,
    Failed,
}
