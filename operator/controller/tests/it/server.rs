//! A real registry (Debian's docker-registry) on loopback, and cosign to sign what lies in it.
//!
//! Runs when `PARAMANT_JUDGES` names the directory with cosign, as `cargo xtask test` sets it, and the registry is installed; a
//! test that lacks them says so and is skipped, but not in CI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use paramant_operator::registry::LookupError;
use paramant_operator::registry::access::Access;
use paramant_operator::registry::examine::{Examine as _, RegistryExamine};
use paramant_operator_core::Digest;
use paramant_operator_core::release::{Inspect, Release, Trust, TrustedKey, Verdict};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tempfile::TempDir;

use crate::image::Repository;

/// The user of a registry that asks for one, and its password as it is and as the registry stores it.
pub(crate) const USER: &str = "operator";
pub(crate) const PASSWORD: &str = "correct horse";
const HTPASSWD: &str = "operator:$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n";

/// What a test needs, if it is there.
pub(crate) struct Programs {
    cosign: PathBuf,
}

/// How the registry is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By HTTP, by anybody.
    Open,
    /// By HTTPS with a certificate of a private authority, by [`USER`].
    Private,
}

/// A running registry.
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) directory: TempDir,
    pub(crate) kind: Kind,
    programs: Programs,
    child: Child,
}

impl Programs {
    pub(crate) fn find() -> Option<Self> {
        match Self::look() {
            Ok(programs) => Some(programs),
            Err(reason) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
                eprintln!("{reason}");
                None
            }
        }
    }

    fn look() -> Result<Self, &'static str> {
        let judges = std::env::var_os("PARAMANT_JUDGES").map(PathBuf::from);
        let cosign = judges.ok_or("PARAMANT_JUDGES is not set: nothing was signed")?.join("cosign");
        if !cosign.is_file() {
            return Err("cosign is not in PARAMANT_JUDGES: nothing was signed");
        }
        match Command::new("docker-registry").arg("--version").output() {
            Ok(_) => Ok(Self { cosign }),
            Err(_) => Err("docker-registry is not installed: nothing was signed"),
        }
    }
}

impl Server {
    pub(crate) async fn start(programs: Programs, kind: Kind) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        let host = format!("127.0.0.1:{}", free_port());
        let mut settings = format!(
            "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\nstorage:\n  filesystem: {{ rootdirectory: \"{}\" }}\nhttp:\n  addr: {host}\n",
            at("images").display(),
        );
        if kind == Kind::Private {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
            let leaf = params.signed_by(&key, &authority).unwrap();
            fs::write(at("ca.pem"), authority.pem()).unwrap();
            fs::write(at("leaf.pem"), leaf.pem()).unwrap();
            fs::write(at("leaf.key"), key.serialize_pem()).unwrap();
            fs::write(at("htpasswd"), HTPASSWD).unwrap();
            settings += &format!(
                "  tls: {{ certificate: \"{0}/leaf.pem\", key: \"{0}/leaf.key\" }}\nauth:\n  htpasswd: {{ realm: test, path: \"{0}/htpasswd\" }}\n",
                directory.path().display(),
            );
        }
        fs::write(at("registry.yml"), settings).unwrap();
        let log = fs::File::create(at("registry.log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(at("registry.yml"))
            .env_remove("OTEL_TRACES_EXPORTER")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { host, directory, kind, programs, child };
        let began = Instant::now();
        while tokio::net::TcpStream::connect(&server.host).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "the registry does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server.make_key("release");
        server.make_key("other");
        server
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A repository to push to.
    pub(crate) fn repository(&self) -> Repository {
        let scheme = if self.kind == Kind::Open { "http" } else { "https" };
        let ca = (self.kind == Kind::Private).then(|| fs::read(self.path("ca.pem")).unwrap());
        Repository::new(&format!("{scheme}://{}", self.host), "paramant/relay", ca.as_deref())
    }

    /// The operator's right to read here, by the files of these names.
    pub(crate) fn access(&self, auth: Option<&str>, ca: Option<&str>) -> Arc<Access> {
        let plain_http = if self.kind == Kind::Open { vec![self.host.clone()] } else { Vec::new() };
        Arc::new(Access::new(plain_http, auth.map(|name| self.path(name)), ca.map(|name| self.path(name))))
    }

    /// What the operator makes of a digest, trusting these keys.
    pub(crate) async fn inspect(
        &self,
        digest: &Digest,
        keys: &[&str],
    ) -> Result<(Release, Verdict), LookupError> {
        self.inspect_by(self.access(None, None), digest, keys).await
    }

    pub(crate) async fn inspect_by(
        &self,
        access: Arc<Access>,
        digest: &Digest,
        keys: &[&str],
    ) -> Result<(Release, Verdict), LookupError> {
        RegistryExamine::new(access).examine(&self.question(digest, keys)).await
    }

    pub(crate) fn question(&self, digest: &Digest, keys: &[&str]) -> Inspect {
        let key = |name: &&str| TrustedKey {
            name: (*name).to_owned(),
            pem: fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap(),
        };
        Inspect {
            repository: format!("{}/paramant/relay", self.host),
            digest: digest.clone(),
            trust: Trust { keys: keys.iter().map(key).collect(), ..Trust::default() },
        }
    }

    /// Signs with `NAME.key`.
    pub(crate) fn sign(&self, digest: &Digest, key: &str, more: &[&str]) {
        let key = self.path(&format!("{key}.key"));
        let mut command = self.cosign(&["sign", "--tlog-upload=false", "--key"]);
        command.arg(key).args(more).args(self.place()).arg(self.image(digest));
        succeed(&mut command);
    }

    /// Says something else about it with `NAME.key`.
    pub(crate) fn attest(&self, digest: &Digest, key: &str) {
        fs::write(self.path("predicate.json"), "{\"builder\":\"here\"}").unwrap();
        let mut command =
            self.cosign(&["attest", "--tlog-upload=false", "--new-bundle-format", "--type", "custom"]);
        command.arg("--predicate").arg(self.path("predicate.json"));
        command.arg("--key").arg(self.path(&format!("{key}.key"))).args(self.place()).arg(self.image(digest));
        succeed(&mut command);
    }

    /// Whether `cosign verify --key NAME.pub` accepts it, in the form it was signed in.
    pub(crate) fn cosign_accepts(&self, digest: &Digest, key: &str, form: &[&str]) -> bool {
        let mut command = self.cosign(&["verify", "--insecure-ignore-tlog", "--key"]);
        command.arg(self.path(&format!("{key}.pub"))).args(form);
        if !form.is_empty() {
            // It asks the internet for the public authorities otherwise.
            let root = self.path("root.json");
            fs::write(&root, "{\"mediaType\":\"application/vnd.dev.sigstore.trustedroot+json;version=0.1\"}")
                .unwrap();
            command.arg("--trusted-root").arg(root);
        }
        let output = command.args(self.place()).arg(self.image(digest)).output().unwrap();
        output.status.success()
    }

    /// Makes `NAME.key` and `NAME.pub`.
    fn make_key(&self, name: &str) {
        let prefix = self.path(name);
        succeed(self.cosign(&["generate-key-pair", "--output-key-prefix"]).arg(prefix));
    }

    /// Makes a key pair of a key whose certificate was good on one day of 2024 only; returns the certificate's file.
    pub(crate) fn make_expired(&self, name: &str) -> PathBuf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_before = rcgen::date_time_ymd(2024, 1, 1);
        params.not_after = rcgen::date_time_ymd(2024, 1, 2);
        let certificate = self.path(&format!("{name}.crt"));
        fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        let raw = self.path(&format!("{name}.pem"));
        fs::write(&raw, key.serialize_pem()).unwrap();
        let mut command = self.cosign(&["import-key-pair", "--key"]);
        succeed(command.arg(raw).arg("--output-key-prefix").arg(self.path(name)));
        certificate
    }

    fn cosign(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.cosign);
        command.args(arguments).env("COSIGN_PASSWORD", "").env("COSIGN_YES", "true");
        // Neither the caller's credentials nor caches play a part.
        command.env("HOME", self.directory.path()).env("DOCKER_CONFIG", self.directory.path().join("none"));
        // Nor does the internet: what is not loopback goes to a proxy that is not there.
        command.env("HTTPS_PROXY", "http://127.0.0.1:9").stdin(Stdio::null());
        command
    }

    /// How cosign reaches the registry.
    fn place(&self) -> Vec<String> {
        match self.kind {
            Kind::Open => vec!["--allow-http-registry".to_owned()],
            Kind::Private => vec![
                format!("--registry-cacert={}", self.path("ca.pem").display()),
                format!("--registry-username={USER}"),
                format!("--registry-password={PASSWORD}"),
            ],
        }
    }

    fn image(&self, digest: &Digest) -> String {
        format!("{}/paramant/relay@{digest}", self.host)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A `config.json` with these credentials for a registry.
pub(crate) fn write_config(file: &Path, host: &str, user: &str, password: &str) {
    let entry = serde_json::json!({ "username": user, "password": password });
    fs::write(file, serde_json::json!({ "auths": { host: entry } }).to_string()).unwrap();
}
