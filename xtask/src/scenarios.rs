//! What `demo`, `test` and `bench operator-…` share: everything a scenario needs is made ready, then `paramant-e2e` is run with the places
//! in its environment. Nothing else of this program talks to a scenario.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::build::{Build, program};
use crate::cache::Cache;
use crate::cluster::{self, Choice, Cluster};
use crate::failure::Result;
use crate::images::Beside;
use crate::run::Run;
use crate::step::step;
use crate::{images, packages, sdk, tools};

/// Our own programs that scenarios run on this machine.
const PROGRAMS: &[&str] =
    &["paramant-e2e", "paramant", "paramant-relay", "paramant-operator", "kubectl-paramant"];

/// What is made ready beyond what the demo needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// What a newcomer runs first.
    Demo,
    /// Tests, with judges and variants of the images.
    Tests,
    /// Figures of images of a release build, or of one for development. What measures them is always the latter.
    Bench {
        /// Which.
        release: bool,
        /// What is measured beside operator and relay.
        beside: Beside,
    },
}

/// Everything a scenario needs.
#[derive(Debug)]
pub(crate) struct Ready {
    cluster: Cluster,
    images: PathBuf,
    python: PathBuf,
    programs: PathBuf,
}

/// Makes everything ready.
pub(crate) fn prepare(cache: &Cache, choice: Choice, purpose: For) -> Result<Ready> {
    let (release, beside) = match purpose {
        For::Demo => (false, Beside::Nothing),
        For::Tests => (false, Beside::Variants),
        For::Bench { release, beside } => (release, beside),
    };
    let build = Build { release, ..Build::default() };
    packages::ensure(cache)?;
    let cluster = cluster::ensure(cache, choice)?;
    tools::helm(cache)?;
    // The demo should not wait for judges that only tests call.
    let judged: &[_] = match purpose {
        For::Demo => &[],
        For::Tests => &[tools::KUBECONFORM, tools::KUBE_SCORE, tools::LITEWITNESS],
        For::Bench { .. } => &[tools::KWOK],
    };
    for tool in judged {
        tools::published(cache, *tool)?;
    }
    tools::judges(cache)?;
    let python = sdk::python(cache)?;
    let images = images::push(cache, &cluster, &build, beside)?;
    // Last, because the variants above leave programs of another version behind.
    let programs = step("compile the programs that scenarios run", |_| {
        let names: Vec<_> = PROGRAMS.iter().map(|name| program(name)).collect();
        Build::default().programs(cache.checkout(), &cache.target(), &cache.log("compile-programs"), &names)
    })?;
    Ok(Ready { cluster, images, python, programs })
}

impl Ready {
    /// `paramant-e2e` with its environment, ready to run; ended when it takes longer than the limit.
    pub(crate) fn scenarios(&self, cache: &Cache, limit: Option<Duration>) -> Run {
        let program = self.programs.join("paramant-e2e");
        let run = match limit {
            None => Run::new(program),
            Some(limit) => Run::new("timeout")
                .args(["--foreground", "--kill-after=30"])
                .arg(limit.as_secs().to_string())
                .arg(program),
        };
        let run = run
            .env("PARAMANT_KUBECONFIG", &self.cluster.kubeconfig)
            .env("PARAMANT_KUBECTL", cache.bin().join("kubectl"))
            .env("PARAMANT_PROGRAMS", cache.bin())
            .env("PARAMANT_BINARIES", &self.programs)
            .env("PARAMANT_SDK_PYTHON", &self.python)
            .env("PARAMANT_IMAGES", &self.images)
            .env("PARAMANT_RELEASE_KEY", images::signing::public_key(cache))
            .env("PARAMANT_REGISTRY", &self.cluster.registry)
            .env(
                "PARAMANT_PLAIN_HTTP_REGISTRIES",
                if self.cluster.plain_http { &self.cluster.registry } else { "" },
            )
            .env("PARAMANT_CHECKOUT", cache.checkout());
        match &self.cluster.audit_log {
            Some(log) => run.env("PARAMANT_AUDIT_LOG", log),
            None => run,
        }
    }

    /// The folder of our own programs.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    /// The cluster everything runs on.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}
