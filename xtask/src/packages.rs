//! Debian packages that the cluster, the images and the tests need: only what is missing is installed.
//! Whether a package is there is judged by the file it brings, so a machine that got the program another way is left alone.

use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::failure::{Result, fail};
use crate::run::{Run, find_program, is_installed};
use crate::step::step;

/// A package and how to see that what it brings is there.
struct Package {
    name: &'static str,
    proof: Proof,
}

enum Proof {
    Program(&'static str),
    File(&'static str),
}

/// For the cluster and the images.
const PACKAGES: &[Package] = &[
    Package { name: "containerd", proof: Proof::Program("containerd") },
    Package { name: "runc", proof: Proof::Program("runc") },
    Package { name: "containernetworking-plugins", proof: Proof::File("/usr/lib/cni/bridge") },
    Package { name: "nftables", proof: Proof::Program("nft") },
    Package { name: "iproute2", proof: Proof::Program("ip") },
    Package { name: "buildah", proof: Proof::Program("buildah") },
    Package { name: "docker-registry", proof: Proof::Program("docker-registry") },
    Package { name: "binutils", proof: Proof::Program("strip") },
];

/// What the pages are looked at with.
const BROWSER: &[Package] = &[
    Package { name: "chromium", proof: Proof::Program("chromium") },
    Package { name: "chromium-driver", proof: Proof::Program("chromedriver") },
];
/// For the tests of the workspace: the log's make single system calls fail, the operator's ask a real registry.
const FOR_TESTS: &[Package] = &[
    Package { name: "strace", proof: Proof::Program("strace") },
    Package { name: "docker-registry", proof: Proof::Program("docker-registry") },
];

/// What judges the alerts, and runs the health scripts for Argo CD.
const FOR_MANIFESTS: &[Package] = &[
    Package { name: "prometheus", proof: Proof::Program("promtool") },
    // The version whose language Argo CD's interpreter speaks.
    Package { name: "lua5.1", proof: Proof::Program("lua5.1") },
];

impl Package {
    fn is_there(&self) -> bool {
        match self.proof {
            Proof::Program(program) => is_installed(program),
            Proof::File(file) => Path::new(file).exists(),
        }
    }
}

/// Installs what the cluster and the images miss. Needs root only if something is missing.
pub(crate) fn ensure(cache: &Cache) -> Result<()> {
    install(cache, PACKAGES)
}

/// Installs the browser; answers its driver.
pub(crate) fn browser(cache: &Cache) -> Result<PathBuf> {
    install(cache, BROWSER)?;
    match find_program("chromedriver") {
        Some(driver) => Ok(driver),
        None => {
            fail("the package chromium-driver brought no chromedriver; install one by hand, then run again")
        }
    }
}

/// Installs what the tests of the workspace miss.
pub(crate) fn ensure_for_tests(cache: &Cache) -> Result<()> {
    install(cache, FOR_TESTS)
}

/// Installs what the checks of the manifests miss.
pub(crate) fn ensure_for_manifests(cache: &Cache) -> Result<()> {
    install(cache, FOR_MANIFESTS)
}

fn install(cache: &Cache, wanted: &[Package]) -> Result<()> {
    let missing: Vec<&str> =
        wanted.iter().filter(|package| !package.is_there()).map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if find_program("apt-get").is_none() {
        return fail(format!(
            "this machine has no apt-get; install by hand what provides these Debian packages, then run again: {}",
            missing.join(" ")
        ));
    }
    step("install Debian packages", |evidence| {
        let log = cache.log("packages");
        apt().args(["update", "-q"]).log(&log).done()?;
        // Services that a package brings stay off: the cluster runs its own containerd and registry.
        let installed = apt()
            .args(["install", "-q", "-y", "--no-install-recommends"])
            .args(&missing)
            .env("RUNLEVEL", "1")
            .log(&log)
            .done();
        if let Err(failure) = installed {
            return fail(format!(
                "{failure}\nIf root is missing: sudo apt-get install {}",
                missing.join(" ")
            ));
        }
        evidence.say(missing.join(" "));
        Ok(())
    })
}

fn apt() -> Run {
    Run::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive")
}
