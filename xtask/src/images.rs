//! `cargo xtask images`: operator and relay as images on an empty base, pushed where the cluster pulls from.
//! What a test needs beside them (a second version of each, one that crashes, one that nobody signed) is made here too. All but
//! the last are signed with the key of this cache, in the one form or the other. The digests are written to one JSON object
//! in the cache, which the scenarios read. An image whose content is unchanged is neither pushed nor signed again.

pub(crate) mod labels;
pub(crate) mod layer;
pub(crate) mod signing;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use self::layer::{File, Image};
use self::signing::{Form, Signer};
use crate::arguments::Arguments;
use crate::build::{AUTHORITY, Build, COURIER, OPERATOR, Program, RELAY, TESTWORLD};
use crate::cache::{Cache, make_directory};
use crate::cluster::{self, Cluster};
use crate::failure::{Doing, Failure, Result, fail};
use crate::run::Run;
use crate::step::step;
use crate::{packages, tools};

/// The version of the second build: one that a user would update to. Its relay is rehearsed: it has one schema more, and faults on
/// demand (`relay/server/src/rehearsal.rs`).
const NEXT: &str = "0.2.0";
/// Relays that a user would not keep: name, version and fault.
const BROKEN: [(&str, &str, &str); 3] = [
    ("paramant-relay-dies", "0.3.0-dies", "dies-after=50s"),
    ("paramant-relay-forgets", "0.3.0-forgets", "forgets-log=1000"),
    ("paramant-relay-hangs", "0.3.0-hangs", "never-ready"),
];
/// The second build with test keys, as it is offered.
const OFFERED: [(&str, &str); 2] = [
    ("paramant-relay-testworld-next", "0.2.0-testworld"),
    ("paramant-relay-testworld-last", "0.2.1-testworld"),
];
/// What only a rehearsed relay has in it.
const REHEARSED: &str = "PARAMANT_REHEARSAL";
/// What the relay of the test world has in it, among its symbols and its strings, and no other relay.
const OF_TESTWORLD: &str = "testworld";
/// What a rehearsed relay is made of beside what every relay is.
const REHEARSAL: [&str; 2] =
    ["relay/server/src/rehearsal.rs", "relay/server/src/store/migrations/rehearsal.rs"];

/// `cargo xtask images [--release] [--version V] [--variants] [--context NAME]`.
pub(crate) fn command(cache: &Cache, mut arguments: Arguments) -> Result<()> {
    let build = Build {
        release: arguments.flag("--release"),
        version: arguments.option("--version")?,
        ..Build::default()
    };
    let beside = if arguments.flag("--variants") { Beside::Variants } else { Beside::Nothing };
    let choice = cluster::choose(&mut arguments)?;
    arguments.end()?;
    let cluster = cluster::ensure(cache, choice)?;
    push(cache, &cluster, &build, beside).map(drop)
}

/// Where the names and digests of the pushed images are.
pub(crate) fn list(cache: &Cache) -> PathBuf {
    cache.root().join("images.json")
}

/// What is pushed beside operator and relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Nothing.
    Nothing,
    /// Both ends of licensing: a relay that believes test keys, and an authority.
    Licensing,
    /// That, and all that tests need.
    Variants,
}

/// Builds and pushes the images; returns where their digests are written.
pub(crate) fn push(cache: &Cache, cluster: &Cluster, build: &Build, beside: Beside) -> Result<PathBuf> {
    packages::ensure(cache)?;
    let mut images = Images { cache, cluster, signer: Signer::new(cache)?, pushed: BTreeMap::new() };
    let programs = compile(cache, build, "compile operator and relay")?;
    let version = build.version.clone().unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
    images.program("paramant-operator", &programs.operator, &version)?;
    images.program("paramant-relay", &programs.relay, &version)?;
    match beside {
        Beside::Nothing => {}
        Beside::Licensing => images.licensing(build)?,
        Beside::Variants => images.variants(build, &programs)?,
    }
    let path = list(cache);
    fs::write(&path, images.json()).doing(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// The programs as they go into the images.
#[derive(Debug)]
struct Programs {
    operator: PathBuf,
    relay: PathBuf,
}

fn compile(cache: &Cache, build: &Build, name: &str) -> Result<Programs> {
    step(name, |evidence| {
        let log = cache.log("compile-images");
        let _ = fs::remove_file(&log);
        let folder = build.programs(cache.checkout(), &cache.target(), &log, &[OPERATOR, RELAY, COURIER])?;
        let version = build.version.as_deref().unwrap_or("current");
        let stripped = cache.root().join("stripped").join(version);
        make_directory(&stripped)?;
        let mut sizes = Vec::new();
        for program in [OPERATOR, RELAY, COURIER] {
            let to = stripped.join(program.binary);
            strip(&folder.join(program.binary), &to)?;
            if program.binary == RELAY.binary {
                is_rehearsed(&to, build.rehearsal)?;
            }
            let bytes = fs::metadata(&to).map(|metadata| metadata.len()).unwrap_or_default();
            sizes.push(format!("{} {:.1} MiB", program.binary, bytes as f64 / f64::from(1 << 20)));
        }
        evidence.say(sizes.join(", "));
        Ok(Programs { operator: stripped.join(OPERATOR.binary), relay: stripped.join(RELAY.binary) })
    })
}

/// Leaves names for backtraces, takes line tables: they are most of a dev build.
pub(crate) fn strip(from: &Path, to: &Path) -> Result<()> {
    Run::new("strip").args(["--strip-debug", "-o"]).arg(to).arg(from).done()
}

/// Sees to it that no release can be told to fail or believes test keys, and that one which is to fail can be.
pub(crate) fn is_rehearsed(relay: &Path, expected: bool) -> Result<()> {
    if holds(relay, OF_TESTWORLD) {
        return fail(format!("{} holds something of the test world", relay.display()));
    }
    match (holds(relay, REHEARSED), expected) {
        (true, false) => fail(format!("{} was built with the feature rehearsal", relay.display())),
        (false, true) => fail(format!("{} was built without the feature rehearsal", relay.display())),
        _ => Ok(()),
    }
}

/// Whether a program has a symbol or string with a word in it.
fn holds(program: &Path, word: &str) -> bool {
    Run::new("grep").args(["-q", "-a", "-F", word]).arg(program).succeeds()
}

/// A program under the name it has in the image; the relay with its courier.
pub(crate) fn program_image(name: &'static str, from: &Path, version: &str) -> Image {
    let mut files = vec![File { from: from.to_path_buf(), to: format!("/{name}") }];
    if name == RELAY.binary {
        let courier = from.with_file_name(COURIER.binary);
        files.push(File { from: courier, to: format!("/{}", COURIER.binary) });
    }
    Image {
        name,
        title: name,
        files,
        entrypoint: format!("/{name}"),
        version: version.to_owned(),
        labels: labels::of(from),
        environment: Vec::new(),
    }
}

struct Images<'a> {
    cache: &'a Cache,
    cluster: &'a Cluster,
    signer: Signer,
    pushed: BTreeMap<String, String>,
}

impl Images<'_> {
    fn variants(&mut self, build: &Build, current: &Programs) -> Result<()> {
        let crash = Image {
            name: "crash",
            title: "a process that ends at once",
            files: vec![File { from: tools::pause(self.cache)?, to: "/crash".into() }],
            entrypoint: "/crash".into(),
            version: "1".into(),
            labels: Vec::new(),
            environment: Vec::new(),
        };
        self.push("crash", "crash", crash, Some(Form::Classic))?;
        self.unsigned(current, build)?;
        self.licensing(build)?;
        // Really built as another version: what an operator compiles in must not reach a relay's template.
        let mut key = format!("{} {}", self.content(&current.operator)?, self.content(&current.relay)?);
        key.push_str(&format!(" {}", self.content(&current.relay.with_file_name(COURIER.binary))?));
        let believing = self.cache.root().join("stripped").join(TESTWORLD.binary);
        key.push_str(&format!(" {}", self.content(&believing)?));
        for source in REHEARSAL {
            key.push_str(&format!(" {}", self.content(&self.cache.checkout().join(source))?));
        }
        let folder = self.cache.root().join("stripped").join(NEXT);
        let next = Programs { operator: folder.join(OPERATOR.binary), relay: folder.join(RELAY.binary) };
        let testworld = folder.join(TESTWORLD.binary);
        let there = next.operator.exists() && next.relay.exists() && testworld.exists();
        if !(there && self.cache.is_current("next-version", &key)) {
            let build = Build { version: Some(NEXT.to_owned()), rehearsal: true, ..build.clone() };
            compile(self.cache, &build, "compile operator and relay as another version")?;
            strip(&self.built(&build, TESTWORLD)?, &testworld)?;
            self.cache.made("next-version", &key)?;
        }
        self.program_as("paramant-relay-next", "paramant-relay", &next.relay, NEXT, Form::Bundle)?;
        // What a vendor offers to relays that believe test keys: two digests, so that one can follow the other.
        for (listed, version) in OFFERED {
            let image = program_image("paramant-relay", &testworld, version);
            self.push(listed, "paramant-relay", image, Some(Form::Classic))?;
        }
        for (listed, version, fault) in BROKEN {
            let mut image = program_image("paramant-relay", &next.relay, version);
            image.environment.push((REHEARSED.to_owned(), fault.to_owned()));
            self.push(listed, "paramant-relay", image, Some(Form::Classic))?;
        }
        self.program_as("paramant-operator-next", "paramant-operator", &next.operator, NEXT, Form::Bundle)
    }

    /// The relay that believes test keys, under the name that a pod starts, and the authority that has them.
    fn licensing(&mut self, build: &Build) -> Result<()> {
        let (relay, authority) = (self.stripped(build, TESTWORLD)?, self.stripped(build, AUTHORITY)?);
        self.stripped(build, COURIER)?;
        if !holds(&relay, OF_TESTWORLD) {
            return fail(format!("what tells the test world from a release is not in {}", relay.display()));
        }
        let version = build.version.as_deref().unwrap_or(env!("CARGO_PKG_VERSION"));
        // A tag of its own: nobody shall pull it for the relay.
        let image = program_image("paramant-relay", &relay, &format!("{version}-testworld"));
        self.push("paramant-relay-testworld", "paramant-relay", image, Some(Form::Classic))?;
        self.program("paramant-authority", &authority, version)
    }

    fn stripped(&self, build: &Build, program: Program) -> Result<PathBuf> {
        let to = self.cache.root().join("stripped").join(program.binary);
        strip(&self.built(build, program)?, &to)?;
        Ok(to)
    }

    fn built(&self, build: &Build, program: Program) -> Result<PathBuf> {
        let log = self.cache.log("compile-images");
        let folder = build.programs(self.cache.checkout(), &self.cache.target(), &log, &[program])?;
        Ok(program.path(&folder))
    }

    /// The relay once more, with another digest and nobody's signature.
    fn unsigned(&mut self, current: &Programs, build: &Build) -> Result<()> {
        let version = build.version.as_deref().unwrap_or(env!("CARGO_PKG_VERSION"));
        let mut image = program_image("paramant-relay", &current.relay, version);
        image.labels.push(("org.opencontainers.image.description", "not signed".to_owned()));
        self.push("paramant-relay-unsigned", "paramant-relay", image, None)
    }

    fn program(&mut self, name: &'static str, from: &Path, version: &str) -> Result<()> {
        self.program_as(name, name, from, version, Form::Classic)
    }

    /// Pushes a program under the name it has in the image, listed as `listed`.
    fn program_as(
        &mut self,
        listed: &'static str,
        name: &'static str,
        from: &Path,
        version: &str,
        form: Form,
    ) -> Result<()> {
        self.push(listed, name, program_image(name, from, version), Some(form))
    }

    fn push(&mut self, listed: &'static str, name: &str, image: Image, form: Option<Form>) -> Result<()> {
        let repository = format!("{}/{name}", self.cluster.registry);
        let mut key = format!("{repository} {} {}", image.version, image.entrypoint);
        for (name, value) in &image.labels {
            key.push_str(&format!(" {name}={value}"));
        }
        for (name, value) in &image.environment {
            key.push_str(&format!(" {name}={value}"));
        }
        for file in &image.files {
            key.push_str(&format!(" {}", self.content(&file.from)?));
        }
        let digest = step(&format!("image {listed}"), |evidence| {
            let known = self.cache.root().join("keys").join(format!("image-{listed}.digest"));
            if self.cache.is_current(&format!("image-{listed}"), &key)
                && let Ok(digest) = fs::read_to_string(&known)
                && self.cluster.has_image(name, &digest)
            {
                evidence.say(format!("{digest} (unchanged)"));
                return Ok(digest);
            }
            let mut tag = image.version.replace('+', "-");
            if form.is_none() {
                tag.push_str("-unsigned");
            }
            let digest =
                image.push(self.cache, &format!("docker://{repository}:{tag}"), self.cluster.plain_http)?;
            fs::write(&known, &digest).doing(|| format!("write {}", known.display()))?;
            self.cache.made(&format!("image-{listed}"), &key)?;
            evidence.say(digest.clone());
            Ok(digest)
        })?;
        if let Some(form) = form {
            self.signer.sign(self.cache, self.cluster, name, &digest, form)?;
        }
        self.pushed.insert(listed.to_owned(), format!("{repository}@{digest}"));
        Ok(())
    }

    /// The SHA-256 of a file.
    fn content(&self, file: &Path) -> Result<String> {
        let answer = Run::new("sha256sum").arg(file).output()?;
        let digest = answer.split(' ').next().filter(|digest| digest.len() == 64);
        digest
            .map(str::to_owned)
            .ok_or_else(|| Failure(format!("cannot read the digest of {} from {answer}", file.display())))
    }

    /// Names and references hold no character that JSON would escape.
    fn json(&self) -> String {
        let lines: Vec<String> =
            self.pushed.iter().map(|(name, reference)| format!("  \"{name}\": \"{reference}\"")).collect();
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }
}
