//! One relay from start to end: opens everything, binds the listeners, keeps the background tasks, closes in order.
//!
//! `main` and every test start a relay here, with the same code. Nothing is global, so several can run in one process.

mod log_tasks;
mod memory;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use paramant_protocol::control::{Directives, DrainSource};
use paramant_protocol::entry::body::{Body, CloseCause, Digest, DrainChanged, LogClosed, RelayStarted};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::memory::MemoryUse;
use crate::app::{App, Core, OpenError, Shared};
use crate::control::{self, ControlTls};
use crate::listener::{Altogether, Listener, PerAddress, TlsSource};
use crate::log_service::LogError;
use crate::settings::SettingsHandle;
use crate::world::World;
use crate::{log_copy, probes, public};

/// The operator needs two; a few more for one that comes back after a cut.
const MAX_CONTROL: usize = 64;
/// Two of the operator, and as many that it lost and that are not closed yet.
const MAX_CONTROL_PER_ADDRESS: u32 = 16;
/// Kubelet and Prometheus.
const MAX_PROBES: usize = 128;
/// Connections that wait to be accepted. The kernel takes as many as `net.core.somaxconn` allows, usually 4096.
const BACKLOG: u32 = 4096;
/// Descriptors of the relay itself: 256 folders of payloads, the database and the log, and files being written and read.
const OWN_FILES: usize = 512;
/// How long the end waits for a tree head over the last entries: one takes a millisecond.
const LAST_HEAD: Duration = Duration::from_secs(2);
/// How long answers may run on once the listeners close. Uploads were waited for before.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// How long a relay that is ended without notice waits for its operator to say that it was deleted. The pod of a deleted
/// relay is told to end within 25 ms on an idle cluster, and then an operator may not even have seen the deletion.
const LAST_WORD: Duration = Duration::from_secs(2);

/// How long witnesses may take to see the last checkpoint of a log.
const LAST_WITNESSES: Duration = Duration::from_secs(8);

/// What a relay is started with.
#[derive(Debug)]
pub struct Options {
    /// The data directory.
    pub data: PathBuf,
    /// The settings, fixed or kept fresh.
    pub settings: SettingsHandle,
    /// TLS for the public listener, if it ends TLS itself.
    pub public_tls: Option<Arc<ServerConfig>>,
    /// Pinned keys, and the clock on the wall: the release's, but in tests.
    pub world: World,
}

/// A relay that runs.
#[derive(Debug)]
pub struct Running {
    /// What its handlers share.
    pub app: Shared,
    /// Where it listens.
    pub addresses: Addresses,
    listeners: JoinSet<()>,
    background: JoinSet<()>,
}

/// Where a relay listens: as bound, so a port 0 in the settings is a real port here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Clients.
    pub public: SocketAddr,
    /// The operator, if the settings name its CA.
    pub control: Option<SocketAddr>,
    /// Probes and metrics.
    pub probes: SocketAddr,
}

/// Why a relay does not start. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something on disk.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A listener.
    #[error("cannot listen on {address} ({listener}): {source}; choose another address with {flag}")]
    Bind {
        /// Which listener.
        listener: &'static str,
        /// Where.
        address: SocketAddr,
        /// What to change.
        flag: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The first entry of this run.
    #[error("the start could not be recorded in the log: {0}")]
    Log(#[from] LogError),
    /// The runtime is ending.
    #[error("the process is ending")]
    Ending,
}

impl Running {
    /// Opens everything and serves.
    ///
    /// # Errors
    /// [`StartError`]; then nothing keeps running.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let Options { data, settings, public_tls, world } = options;
        let opening = tokio::task::spawn_blocking(move || Core::open(&data, settings));
        let core = Core { world, ..opening.await.map_err(|_| StartError::Ending)?? };
        let now = core.settings.current();
        // Ports first: a taken one should not leave an entry in the log.
        let public = bind("public", now.listen.public, "--listen or listen.public")?;
        let probes = bind("probes", now.listen.probes, "--probes-listen or listen.probes")?;
        let control = match &now.control {
            Some(settings) => {
                let socket = bind("control", now.listen.control, "listen.control")?;
                Some((socket, ControlTls::new(settings.operator_ca.clone(), core.control_key.clone())))
            }
            None => None,
        };
        let app = App::open(core).await?;
        let identity = Digest(paramant_protocol::leaf::sha3(app.core.identity.public_key()));
        let started = RelayStarted { identity, version: crate::VERSION.to_owned() };
        app.core.log.record(Body::RelayStarted(started)).await?;
        log_tasks::publish(&app.core).await;
        // A log that was just begun had no checkpoint before: what was granted counts before anybody is served.
        if let Err(error) = app.store.check_ins.recall_again().await {
            tracing::warn!(%error, "kept licence replies cannot be read now");
        }

        let addresses = Addresses {
            public: local(&public, now.listen.public),
            control: control.as_ref().map(|(socket, _)| local(socket, now.listen.control)),
            probes: local(&probes, now.listen.probes),
        };
        let mut running = Self { app, addresses, listeners: JoinSet::new(), background: JoinSet::new() };
        running.serve_public(public, public_tls);
        running.serve_probes(probes);
        if let Some((socket, tls)) = control {
            running.serve_control(socket, tls);
        }
        #[cfg(any(test, feature = "rehearsal"))]
        crate::rehearsal::begin(&running.app.core);
        running.background.spawn(running.app.core.drain.clone().keep_time());
        running.background.spawn(record_drains(running.app.core.clone()));
        running.background.spawn(log_tasks::keep_the_fence(running.app.core.clone()));
        running.background.spawn(log_tasks::anchor_heads(running.app.core.clone()));
        running.background.spawn(running.app.core.witnesses.clone().run());
        running.background.spawn(running.app.store.webhooks.clone().run());
        running.background.spawn(running.app.store.check_ins.clone().run());
        running.background.spawn(running.app.store.actions.clone().run());
        let accounts = running.app.store.accounts.clone();
        running.background.spawn(running.app.core.streams.clone().follow(accounts));
        Ok(running)
    }

    /// Waits for uploads and claims in progress, and for readers of what only memory holds, at most `patience`. New uploads must be
    /// refused already.
    pub async fn finish_work(&self, patience: Duration) {
        if tokio::time::timeout(patience, self.app.core.drain.idle()).await.is_err() {
            let left = self.app.core.drain.report();
            tracing::warn!(
                uploads = left.uploads,
                claims = left.claims,
                unclaimed = left.unclaimed,
                "work was still in flight when time was up"
            );
        }
    }

    /// Waits for the operator to say why this ends, if one spoke in this run and announced nothing: a deletion is the end of
    /// the log, a restart is not, and both are the same signal.
    pub async fn hear_why(&self) {
        let mut heard = self.app.core.directives.heard();
        let announced = |heard: &Option<Directives>| {
            heard.as_ref().is_none_or(|heard| heard.deleting || heard.drain.update_until.is_some())
        };
        if tokio::time::timeout(LAST_WORD, heard.wait_for(announced)).await.is_err() {
            tracing::info!("the operator said nothing of an end, so the log will go on");
        }
    }

    /// Closes listeners, store and log, in that order. `log_closed` is the last entry if the relay is being deleted.
    pub async fn close(mut self) {
        let core = self.app.core.clone();
        core.readiness.hold("process", "the process is ending");
        core.closing.cancel();
        while self.listeners.join_next().await.is_some() {}
        core.streams.close().await;
        self.background.shutdown().await;
        // Heard by this process: what an earlier one heard was about another life of these data.
        let deleting = core.directives.heard().borrow().as_ref().is_some_and(|heard| heard.deleting);
        if deleting {
            self.app.store.webhooks.settle_calls().await;
            self.app.store.check_ins.settle_calls().await;
            self.app.store.actions.settle_uses().await;
        }
        self.app.store.close().await;
        // First a head over everything, then the anchor over that head: nothing signed stays outside the chain for long.
        core.log.settle_heads(LAST_HEAD).await;
        log_tasks::anchor(&core).await;
        if deleting {
            core.witnesses.settle_calls().await;
            let closed = Body::LogClosed(LogClosed { cause: CloseCause::Deleted });
            if let Err(error) = core.log.record(closed).await {
                tracing::error!(%error, "the log's last entry was not written");
            }
            log_tasks::publish(&core).await;
            core.witnesses.finish(LAST_WITNESSES).await;
        }
        core.couriers.close();
        let (log, directory, policy) = (core.log.clone(), core.data.log(), core.witnesses.policy());
        let closed = tokio::task::spawn_blocking(move || {
            log.close();
            if deleting { log_copy::complete(&log, &directory, &policy) } else { Ok(()) }
        });
        match closed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the log is safe, but its directory is no whole copy"),
            Err(_) => tracing::error!("closing the log ended badly"),
        }
        core.data.release();
    }

    fn serve_public(&mut self, socket: TcpListener, tls: Option<Arc<ServerConfig>>) {
        let settings = self.app.core.settings.clone();
        let (of_total, descriptors) = (settings.clone(), descriptors());
        let altogether: Altogether = Arc::new(move || {
            let wanted = usize::try_from(of_total.current().limits.connections).unwrap_or(usize::MAX);
            wanted.min(connections_within(descriptors))
        });
        let per_address: PerAddress = Arc::new(move |address| {
            let limits = &settings.current().limits;
            let trusted = limits.trusted_proxies.iter().any(|network| network.contains(address));
            (!trusted).then_some(limits.connections_per_address)
        });
        self.listeners.spawn(
            Listener {
                socket,
                router: public::router(self.app.clone()),
                tls: tls.map(|config| -> TlsSource { Arc::new(move || Some(config.clone())) }),
                altogether,
                per_address,
                // WebSockets have seats of their own.
                upgrades: true,
                connections: self.app.core.metrics.connections("public"),
            }
            .serve(self.end(), LAST_ANSWERS),
        );
    }

    fn serve_probes(&mut self, socket: TcpListener) {
        self.listeners.spawn(
            Listener {
                socket,
                router: probes::router(self.app.clone()),
                tls: None,
                altogether: Arc::new(|| MAX_PROBES),
                per_address: Arc::new(|_| None),
                upgrades: false,
                connections: self.app.core.metrics.connections("probes"),
            }
            .serve(self.end(), LAST_ANSWERS),
        );
    }

    fn serve_control(&mut self, socket: TcpListener, tls: ControlTls) {
        self.listeners.spawn(
            Listener {
                socket,
                router: control::router(self.app.clone(), tls.ca()),
                tls: Some(tls.source(couriers_admitted(&self.app.core))),
                altogether: Arc::new(|| MAX_CONTROL),
                // The operator has one address, and so has a courier: neither needs many, and neither can crowd the other out.
                per_address: Arc::new(|_| Some(MAX_CONTROL_PER_ADDRESS)),
                upgrades: true,
                connections: self.app.core.metrics.connections("control"),
            }
            .serve(self.end(), LAST_ANSWERS),
        );
        self.background.spawn(tls.keep_fresh());
    }

    fn end(&self) -> CancellationToken {
        self.app.core.closing.clone()
    }
}

/// Raises the soft limit on open files to the hard one: each connection and each file being read is one.
pub fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit on open files stays low");
        }
    }
}

/// Files and connections that this process may have open; as many as it likes if nothing limits them.
fn descriptors() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Connections that leave descriptors for what they ask for: a quarter, and [`OWN_FILES`] at least. A relay whose last descriptor is
/// a connection can serve none of them.
fn connections_within(descriptors: usize) -> usize {
    (descriptors - descriptors / 4).min(descriptors.saturating_sub(OWN_FILES)).max(1)
}

fn bind(listener: &'static str, address: SocketAddr, flag: &'static str) -> Result<TcpListener, StartError> {
    let listening = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As `TcpListener::bind`: a restart must not wait for the last connections of the run before.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listening().map_err(|source| StartError::Bind { listener, address, flag, source })
}

/// Whether anybody without a certificate may open the control listener: only while a courier is admitted.
fn couriers_admitted(core: &Core) -> impl Fn() -> bool + Send + Sync + 'static {
    let directives = core.directives.clone();
    move || {
        directives.held().and_then(|held| held.couriers).is_some_and(|couriers| !couriers.admitted.is_empty())
    }
}

fn local(socket: &TcpListener, asked: SocketAddr) -> SocketAddr {
    socket.local_addr().unwrap_or(asked)
}

/// Writes a `drain_changed` entry whenever who asks for a drain changes.
async fn record_drains(core: Core) {
    let mut news = core.drain.subscribe();
    let mut recorded: Vec<DrainSource> = Vec::new();
    loop {
        let by = news.borrow_and_update().requested_by.clone();
        if by != recorded {
            let change = DrainChanged { draining: !by.is_empty(), by: by.clone() };
            match core.log.record(Body::DrainChanged(change)).await {
                Ok(_) => tracing::info!(at = %Timestamp::now(), by = ?by, "drain changed"),
                Err(error) => tracing::error!(%error, "a drain change was not recorded"),
            }
            recorded = by;
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}
