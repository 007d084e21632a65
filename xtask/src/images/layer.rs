//! One image: a few files on an empty base, made and pushed with buildah.
//! Nothing in it depends on when or where it was made: fixed times, root's ownership, no history of the machine.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Result};
use crate::run::Run;

/// Who the process in the image is, unless the pod says otherwise: nobody with rights anywhere.
const USER: &str = "65532:65532";

/// A file of the image.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) from: PathBuf,
    pub(crate) to: String,
}

/// What an image holds.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Short name, also of the log file.
    pub(crate) name: &'static str,
    /// One line for whoever inspects the image.
    pub(crate) title: &'static str,
    pub(crate) files: Vec<File>,
    pub(crate) entrypoint: String,
    pub(crate) version: String,
    /// Labels besides those that every image has.
    pub(crate) labels: Vec<(&'static str, String)>,
    /// Variables that its process finds set.
    pub(crate) environment: Vec<(String, String)>,
}

impl Image {
    /// Builds the image and pushes it to `destination`, as buildah names transports (`docker://…`, `oci:…`); returns its digest.
    pub(crate) fn push(&self, cache: &Cache, destination: &str, plain_http: bool) -> Result<String> {
        let buildah = Buildah::new(cache, self.name)?;
        let container = buildah.run(["from"]).arg("scratch").output()?;
        let pushed = self.fill_and_push(&buildah, &container, destination, plain_http);
        buildah.run(["rm"]).arg(&container).succeeds();
        pushed
    }

    fn fill_and_push(
        &self,
        buildah: &Buildah,
        container: &str,
        destination: &str,
        plain_http: bool,
    ) -> Result<String> {
        for file in &self.files {
            buildah
                .run(["copy", "--quiet", "--chown", "0:0", "--chmod", "0755"])
                .arg(container)
                .arg(&file.from)
                .arg(&file.to)
                .done()?;
        }
        buildah
            .run(["config", "--user", USER, "--entrypoint"])
            .arg(format!("[\"{}\"]", self.entrypoint))
            .args(["--cmd", "", "--created-by", "paramant", "--label"])
            .arg(format!("org.opencontainers.image.title={}", self.title))
            .arg("--label")
            .arg(format!("org.opencontainers.image.version={}", self.version))
            .args(["--label", "org.opencontainers.image.licenses=Apache-2.0"])
            .args(self.labels.iter().map(|(name, value)| format!("--label={name}={value}")))
            .args(self.environment.iter().map(|(name, value)| format!("--env={name}={value}")))
            .arg(container)
            .done()?;
        let local = format!("localhost/paramant/{}", self.name);
        buildah
            .run([
                "commit",
                "--quiet",
                "--format",
                "oci",
                "--timestamp",
                "0",
                "--omit-history",
                "--identity-label=false",
            ])
            .arg(&buildah.policy)
            .arg(container)
            .arg(&local)
            .done()?;
        let digest = buildah.digest_file();
        buildah
            .run(["push", "--quiet"])
            .arg(&buildah.policy)
            .arg(format!("--tls-verify={}", !plain_http))
            .arg("--digestfile")
            .arg(&digest)
            .arg(&local)
            .arg(destination)
            .done()?;
        let pushed = fs::read_to_string(&digest).doing(|| format!("read {}", digest.display()))?;
        buildah.run(["rmi"]).arg(&local).succeeds();
        Ok(pushed.trim().to_owned())
    }
}

/// buildah with storage of its own, so that the caller's images and settings play no part.
struct Buildah {
    root: PathBuf,
    policy: String,
    log: PathBuf,
}

impl Buildah {
    fn new(cache: &Cache, name: &str) -> Result<Self> {
        let root = cache.root().join("buildah");
        make_directory(&root)?;
        let policy = root.join("policy.json");
        write(&policy, "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}\n")?;
        let registries = root.join("registries.conf");
        write(&registries, "unqualified-search-registries = []\n")?;
        let log = cache.log(&format!("image-{name}"));
        let _ = fs::remove_file(&log);
        Ok(Self { policy: format!("--signature-policy={}", policy.display()), root, log })
    }

    fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Run {
        Run::new("buildah")
            .arg("--root")
            .arg(self.root.join("storage"))
            .arg("--runroot")
            .arg(self.root.join("run"))
            .args(["--storage-driver", "vfs", "--registries-conf"])
            .arg(self.root.join("registries.conf"))
            .env("BUILDAH_ISOLATION", "chroot")
            .args(arguments)
            .log(&self.log)
    }

    fn digest_file(&self) -> PathBuf {
        self.root.join("digest")
    }
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).doing(|| format!("write {}", path.display()))
}
