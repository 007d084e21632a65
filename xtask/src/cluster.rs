//! `cargo xtask cluster …`: a real single-node Kubernetes on this machine, or an existing one by its context.
//! One cluster at a time on a machine; every command that changes it holds the lock. Other parts of this program use
//! `ensure` and the `Cluster` it returns, and nothing else from here.

mod collect;
mod context;
mod daemons;
mod down;
mod kubectl;
mod layout;
mod lock;
mod machine;
mod pause;
mod preflight;
mod probe;
mod process;
mod status;
mod up;
mod volumes;

use std::path::PathBuf;

use self::context::Context;
use self::kubectl::Kubectl;
use self::layout::{Layout, REGISTRY};
use self::lock::Lock;
use crate::arguments::Arguments;
use crate::cache::Cache;
use crate::failure::{Result, fail};
use crate::step::step;

/// A cluster that is up.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// An administrator's kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    /// Where images are pushed, without a trailing slash.
    pub(crate) registry: String,
    /// Whether the registry speaks plain HTTP.
    pub(crate) plain_http: bool,
    /// Requests the API server answered; only of our own cluster.
    pub(crate) audit_log: Option<PathBuf>,
    /// How to change its volumes; only of our own cluster.
    own: Option<Layout>,
}

impl Cluster {
    /// Whether the registry holds this manifest. Asked of our own registry only; of another one the answer is no.
    pub(crate) fn has_image(&self, name: &str, digest: &str) -> bool {
        self.own.is_some() && probe::answers(&self.registry, &format!("/v2/{name}/manifests/{digest}"))
    }

    /// Collects what explains a failure; returns the folder that holds it.
    pub(crate) fn collect(&self, cache: &Cache) -> Result<PathBuf> {
        collect::collect(cache, &self.kubeconfig, self.own.as_ref())
    }

    /// Makes sure that this many volumes are free. An existing cluster looks after its own.
    pub(crate) fn ensure_volumes(&self, cache: &Cache, wanted: usize) -> Result<()> {
        match &self.own {
            None => Ok(()),
            Some(layout) => step("volumes", |evidence| {
                let _lock = Lock::take(layout)?;
                let count = volumes::ensure(layout, &Kubectl::new(cache, &self.kubeconfig), wanted)?;
                evidence.say(format!("{count} in all, {wanted} or more free"));
                Ok(())
            }),
        }
    }
}

/// Which cluster to use.
#[derive(Debug, Clone)]
pub(crate) struct Choice(Option<Context>);

impl Choice {
    /// Whether the cluster is our own rather than an existing one.
    pub(crate) fn is_own(&self) -> bool {
        self.0.is_none()
    }
}

/// Reads `--context` and `--registry`; without them the choice is our own cluster.
pub(crate) fn choose(arguments: &mut Arguments) -> Result<Choice> {
    let registry = arguments.option("--registry")?;
    match arguments.option("--context")? {
        Some(name) => Context::new(name, registry).map(|context| Choice(Some(context))),
        None if registry.is_some() => fail("--registry goes with --context; our own cluster has its own"),
        None => Ok(Choice(None)),
    }
}

/// The chosen cluster, brought up if it is ours.
pub(crate) fn ensure(cache: &Cache, choice: Choice) -> Result<Cluster> {
    if let Choice(Some(context)) = choice {
        let kubeconfig = context.connect(cache)?;
        return Ok(Cluster {
            kubeconfig,
            plain_http: context.plain_http(),
            registry: context.registry,
            audit_log: None,
            own: None,
        });
    }
    let layout = Layout::new(cache);
    let _lock = Lock::take(&layout)?;
    up::up(cache, &layout)?;
    Ok(own(layout))
}

/// Takes our own cluster down.
pub(crate) fn take_down(cache: &Cache) -> Result<()> {
    let layout = Layout::new(cache);
    let _lock = Lock::take(&layout)?;
    preflight::right_machine()?;
    if !down::leftovers(&layout) {
        println!("  no cluster is up");
        return Ok(());
    }
    step("take the cluster down", |_| down::down(&layout))
}

/// `cargo xtask cluster COMMAND`.
pub(crate) fn command(cache: &Cache, mut arguments: Arguments) -> Result<()> {
    let command = arguments.word().unwrap_or_default();
    let layout = Layout::new(cache);
    match command.as_str() {
        "up" => {
            let choice = choose(&mut arguments)?;
            arguments.end()?;
            let cluster = ensure(cache, choice)?;
            println!("\n  export KUBECONFIG={}", cluster.kubeconfig.display());
            println!("  export PATH={}:$PATH   # kubectl", cache.bin().display());
            Ok(())
        }
        "down" => {
            arguments.end()?;
            take_down(cache)
        }
        "status" => {
            arguments.end()?;
            status::status(cache, &layout)
        }
        "logs" => {
            let name = arguments.word();
            arguments.end()?;
            status::logs(&layout, name.as_deref())
        }
        "kubeconfig" => {
            let Choice(context) = choose(&mut arguments)?;
            arguments.end()?;
            let path = match context {
                Some(context) => context.connect(cache)?,
                None if layout.kubeconfig().exists() => layout.kubeconfig(),
                None => return fail("no cluster is up; start one with `cargo xtask cluster up`"),
            };
            println!("{}", path.display());
            Ok(())
        }
        "volumes" => {
            let wanted = arguments.number()?;
            arguments.end()?;
            if !layout.kubeconfig().exists() {
                return fail("no cluster is up; start one with `cargo xtask cluster up`");
            }
            own(layout).ensure_volumes(cache, wanted)
        }
        other => fail(format!(
            "`cargo xtask cluster` has no command `{other}`; there are: up, down, status, logs [DAEMON], kubeconfig, volumes N"
        )),
    }
}

fn own(layout: Layout) -> Cluster {
    Cluster {
        kubeconfig: layout.kubeconfig(),
        registry: REGISTRY.to_owned(),
        plain_http: true,
        audit_log: Some(layout.audit_log()),
        own: Some(layout),
    }
}
