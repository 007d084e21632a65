//! Puts the process together and takes it down again.
//!
//! Every replica watches, so that a new leader starts with filled stores; only the leader loads the certificate authority,
//! speaks to relays and reconciles. On SIGTERM the queue ends first, then the Lease is released; on a lost Lease the process
//! ends at once, because another operator may already write.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use paramant_operator_core::release::TrustedKey;
use paramant_operator_core::{Context, LicenseServers};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::authority::leaf::Leaves;
use crate::authority::rotation::Rotation;
use crate::authority::{self, Authority};
use crate::backoff::jittered;
use crate::census::Census;
use crate::control::ControlPlane;
use crate::control::keys::{ClusterKeys, TokenKeys};
use crate::first_pass::FirstPass;
use crate::health::{Health, Weight};
use crate::key::Subject;
use crate::leader::Identity;
use crate::leader::election::{Election, Lost};
use crate::metrics::Metrics;
use crate::preflight::{self, Fit};
use crate::probes::{self, Pages};
use crate::queue::worker::Queue;
use crate::queue::{Outcome, Wake};
use crate::reconcile::{Parts, Reconciler};
use crate::registry::access::Access;
use crate::registry::examine::RegistryExamine;
use crate::registry::inspector::Inspector;
use crate::registry::lookup::RegistryLookup;
use crate::registry::resolver::Resolver;
use crate::settings::Settings;
use crate::staleness::Freshness;
use crate::stores::{Scope, World};
use crate::watches::Watches;
use crate::{FIELD_MANAGER, LEASE, api_client, release_keys, rights};

/// Reconciles that run when the process is told to end may take this long; the pod has 30 s.
const FINISH_WITHIN: Duration = Duration::from_secs(10);
/// Between two attempts to load the certificate authority.
const AUTHORITY_RETRY: Duration = Duration::from_secs(5);

/// Why the process ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No client.
    #[error(transparent)]
    Client(#[from] api_client::Error),
    /// No port.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No signals.
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
    /// Metrics clash.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Nobody to trust.
    #[error(transparent)]
    ReleaseKeys(#[from] release_keys::Error),
    /// Not the leader any more.
    #[error(transparent)]
    Lost(#[from] Lost),
}

/// Runs until told to end.
pub async fn run(settings: Settings) -> Result<(), Error> {
    let began = Instant::now();
    let metrics = Metrics::new()?;
    let release_keys = release_keys::load(settings.release_keys_file.as_deref())?;
    let freshness = Freshness::default();
    let health = Health::new(freshness.clone());
    let queue = Queue::default();
    let client = api_client::connect(&freshness).await?;
    let identity = Identity::new(&settings.pod_name, &uuid::Uuid::new_v4().to_string());
    let (election, leadership) = Election::new(client.clone(), &settings.pod_namespace, LEASE, identity);

    let world = World::default();
    metrics.register(Census::new(world.clone(), leadership.clone())?)?;
    let reconciler = Arc::new(Mutex::new(None));
    let pages = Pages {
        health: health.clone(),
        metrics: metrics.clone(),
        queue: queue.clone(),
        leadership: leadership.clone(),
        reconciler: reconciler.clone(),
    };
    let listener = probes::listen(settings.http_addr)
        .await
        .map_err(|source| Error::Listen { address: settings.http_addr, source })?;
    health.report("start", Weight::Blocking, "the operator is starting");
    tokio::spawn(probes::serve(listener, pages));
    tracing::info!(version = crate::VERSION, namespaces = ?settings.namespaces, "starting");

    let stop = stop_on_signals()?;
    let stopped = CancellationToken::new();
    let home = Scope::Namespace(settings.pod_namespace.clone());
    let take_part = {
        let (client, health, stop, stopped) = (client.clone(), health.clone(), stop.clone(), stopped.clone());
        async move {
            tokio::select! {
                _ = preflight::granted(&client, &home, rights::AT_HOME, &health, Weight::Blocking) => {}
                () = stop.cancelled() => return Ok(()),
            }
            election.run(stop, stopped).await
        }
    };
    let mut take_part = tokio::spawn(take_part);

    let work =
        Work { began, settings, release_keys, client, health, metrics, queue, leadership, world, reconciler };
    let outcome = tokio::select! {
        () = work.until(&stop) => None,
        ended = &mut take_part => Some(ended),
    };
    stopped.cancel();
    let ended = match outcome {
        Some(ended) => ended,
        None => take_part.await,
    };
    match ended {
        Ok(outcome) => Ok(outcome?),
        Err(error) => {
            tracing::error!(%error, "the election ended abnormally");
            Err(Lost::Expired.into())
        }
    }
}

/// What the working part of the process is made of.
struct Work {
    began: Instant,
    settings: Settings,
    release_keys: Vec<TrustedKey>,
    client: Client,
    health: Health,
    metrics: Metrics,
    queue: Queue,
    leadership: crate::leader::election::Leadership,
    world: World,
    /// For `/debug/state`, once there is one.
    reconciler: Arc<Mutex<Option<Reconciler>>>,
}

impl Work {
    /// Watches, and once leading reconciles, until told to stop; running reconciles then end first.
    async fn until(self, stop: &CancellationToken) {
        let (world, fit) = (self.world.clone(), Fit::default());
        let scopes = Scope::all(&self.settings.namespaces);
        let first_pass = FirstPass::new(self.began, scopes.len(), world.clone(), self.metrics.clone());
        let prepared = tokio::select! {
            prepared = self.prepare(&scopes, &fit) => prepared,
            () = stop.cancelled() => return,
        };
        let mut background = tokio::task::JoinSet::new();
        for scope in scopes {
            background.spawn(preflight::watch_scope(prepared.clone(), scope, world.clone()));
        }
        let recheck = {
            let (world, queue) = (world.clone(), self.queue.clone());
            let again =
                move || world.subjects().into_iter().for_each(|subject| queue.wake(subject, Wake::Now));
            preflight::keep_checking_schema(self.client.clone(), self.health.clone(), fit.clone(), again)
        };
        background.spawn(recheck);
        self.health.resolve("start");
        let reconciler = tokio::select! {
            reconciler = self.lead(world) => reconciler,
            () = stop.cancelled() => return,
        };
        let reconcile = |subject: Subject| {
            let (reconciler, fit, first_pass) = (reconciler.clone(), fit.clone(), first_pass.clone());
            async move {
                if !fit.holds() {
                    return Outcome::Gone;
                }
                let outcome = reconciler.run(subject.clone()).await;
                first_pass.passed(subject);
                outcome
            }
        };
        let running = self.queue.run(&self.metrics, stop.clone(), reconcile);
        let overrun = async {
            stop.cancelled().await;
            sleep(FINISH_WITHIN).await;
        };
        tokio::select! {
            () = running => {}
            () = overrun => tracing::warn!("running reconciles did not end in time"),
        }
    }

    async fn prepare(&self, scopes: &[Scope], fit: &Fit) -> Watches {
        preflight::schema_fits(&self.client, &self.health, fit).await;
        Watches {
            client: self.client.clone(),
            queue: self.queue.clone(),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            weight: if scopes.len() > 1 { Weight::Degraded } else { Weight::Blocking },
        }
    }

    fn license_servers(&self) -> LicenseServers {
        let bundle = self.settings.license_ca_bundle.trim();
        LicenseServers {
            endpoints: self.settings.license_endpoints.clone(),
            ca_bundle: (!bundle.is_empty()).then(|| bundle.to_owned()),
        }
    }

    /// Waits to lead, then makes what only a leader has.
    async fn lead(&self, world: World) -> Reconciler {
        let epoch = self.leadership.clone().taken().await;
        let authority = self.authority().await;
        let context = Context {
            ca_bundle_pem: authority.bundle_pem().to_owned(),
            epoch,
            operator_namespace: self.settings.pod_namespace.clone(),
            metrics_from: self.settings.metrics_from.0.clone(),
            // Each scope has an answer of its own, which a pass puts in.
            gateway_api: false,
            token_keys: None,
            release_keys: self.release_keys.clone(),
            allow_unsigned_default: self.settings.allow_unsigned,
            license_servers: self.license_servers(),
        };
        let token_keys = {
            let (world, queue) = (world.clone(), self.queue.clone());
            TokenKeys::keep_fresh(self.client.clone(), move || {
                world.subjects().into_iter().for_each(|subject| queue.wake(subject, Wake::Now));
            })
        };
        let keys = Arc::new(ClusterKeys::new(self.client.clone()));
        let (in_use, authority) = watch::channel(authority);
        let leaves = Leaves::following(authority);
        let control = ControlPlane::new(leaves, keys, self.queue.clone(), self.metrics.clone());
        let rotation = Rotation {
            secrets: Api::namespaced(self.client.clone(), &self.settings.pod_namespace),
            field_manager: FIELD_MANAGER,
            in_use,
            leadership: self.leadership.clone(),
            world: world.clone(),
            scopes: Scope::all(&self.settings.namespaces),
            control: control.clone(),
            queue: self.queue.clone(),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
        };
        tokio::spawn(rotation.keep());
        let access = Arc::new(Access::new(
            self.settings.plain_http_registries.clone(),
            self.settings.registry_auth_file.clone(),
            self.settings.registry_ca_file.clone(),
        ));
        let lookup = Arc::new(RegistryLookup::new(Arc::clone(&access)));
        let examine = Arc::new(RegistryExamine::new(access));
        let reconciler = Reconciler::new(Parts {
            client: self.client.clone(),
            world,
            control,
            resolver: Resolver::new(lookup, self.queue.clone(), self.metrics.clone()),
            inspector: Inspector::new(examine, self.queue.clone(), self.metrics.clone()),
            queue: self.queue.clone(),
            leadership: self.leadership.clone(),
            metrics: self.metrics.clone(),
            context,
            token_keys,
            instance: self.settings.pod_name.clone(),
        });
        *self.reconciler.lock().unwrap_or_else(PoisonError::into_inner) = Some(reconciler.clone());
        reconciler
    }

    async fn authority(&self) -> Authority {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.settings.pod_namespace);
        loop {
            let loaded =
                timeout(AUTHORITY_RETRY * 2, Authority::load_or_create(&secrets, FIELD_MANAGER)).await;
            let sentence = match loaded {
                Ok(Ok(authority)) => {
                    self.health.resolve("authority");
                    return authority;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => {
                    format!("the API server did not answer when asked for Secret {}", authority::SECRET)
                }
            };
            self.health.report("authority", Weight::Blocking, sentence);
            sleep(jittered(AUTHORITY_RETRY)).await;
        }
    }
}

fn stop_on_signals() -> Result<CancellationToken, Error> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("told to end (SIGTERM)"),
            _ = interrupt.recv() => tracing::info!("told to end (SIGINT)"),
        }
        told.cancel();
    });
    Ok(stop)
}
