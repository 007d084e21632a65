//! The chart in many shapes: what each set of values renders is kept as a snapshot, and wrong values are refused.
//!
//! A set is a file in `charts/paramant-operator/tests/values`; `cargo xtask generate` writes what it renders beside it, into
//! `tests/snapshots`, and the ladder compares. What must hold in every shape is asserted on the snapshots by the tests of `crds`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, make_directory};
use crate::failure::{Doing, Failure, Result, fail};
use crate::step::Evidence;
use crate::{manifests, tools};

const VALUES: &str = "charts/paramant-operator/tests/values";
/// Generated files only.
pub(crate) const SNAPSHOTS: &str = "charts/paramant-operator/tests/snapshots";

/// What nobody may ask for, and the word by which the answer must name it.
const REFUSED: &[(&str, &str)] = &[
    ("replica=2", "replica"),
    ("replicas=\"2\"", "replicas"),
    ("replicas=-1", "replicas"),
    ("replicas=9", "replicas"),
    ("image.name=\"x\"", "name"),
    ("image.registry=\"a/b\"", "registry"),
    ("image.digest=\"sha256:abc\"", "digest"),
    ("image.digest=\"latest\"", "digest"),
    ("image.pullPolicy=\"Sometimes\"", "pullPolicy"),
    ("imagePullSecrets=[\"pull\"]", "imagePullSecrets"),
    ("imagePullSecrets=[{\"name\":\"\"}]", "imagePullSecrets"),
    ("watch.namespaces=\"transfers\"", "namespaces"),
    ("watch.namespaces=[\"Transfers\"]", "namespaces"),
    ("watch.namespaces=[\"a\",\"a\"]", "namespaces"),
    ("watch.namespace=[\"a\"]", "namespace"),
    ("registry.plainHttp=[\"http://a\"]", "plainHttp"),
    ("crds.keep=\"yes\"", "keep"),
    ("crds.annotations={\"a\":1}", "annotations"),
    ("serviceAccount.name=\"Ops Team\"", "name"),
    ("rbac.create=1", "create"),
    ("log.format=\"xml\"", "format"),
    ("tracing.endpoint=\"collector:4318\"", "endpoint"),
    ("tracing.endpoint=\"http://me:secret@collector:4318\"", "endpoint"),
    ("resources.limit={\"cpu\":1}", "limit"),
    ("podLabels={\"a\":true}", "podLabels"),
    ("tolerations=[{\"keys\":\"a\"}]", "keys"),
    ("affinity.podAffinities={}", "podAffinities"),
    ("topologySpreadConstraints=[{\"maxSkew\":1}]", "topologySpreadConstraints"),
    ("terminationGracePeriodSeconds=1", "terminationGracePeriodSeconds"),
    ("extraEnv=[{\"value\":\"a\"}]", "extraEnv"),
    ("extraEnv=[{\"name\":\"A\",\"valeu\":\"a\"}]", "valeu"),
    ("networkPolicy.metricsFrom=[{}]", "metricsFrom"),
    ("networkPolicy.metricsFrom=[{\"podSelectors\":{}}]", "podSelectors"),
    ("podMonitor.interval=\"often\"", "interval"),
    ("podMonitor.relay=true", "relay"),
    ("serviceMonitor.interval=30", "interval"),
    ("prometheusRule.labels={\"a\":[]}", "labels"),
    ("dashboard.labels=\"grafana\"", "labels"),
    ("admissionPolicy.enable=true", "enable"),
];

/// What may be asked for, close to what may not.
const TAKEN: &[&str] = &[
    "replicas=0",
    "image.digest=\"\"",
    "watch.namespaces=[]",
    "tracing.endpoint=\"https://collector.example/otlp\"",
    "resources.limits={\"cpu\":1,\"memory\":\"64Mi\"}",
    "networkPolicy.metricsFrom=[{\"podSelector\":{}}]",
    "global.anything={\"a\":1}",
];

/// Writes what every set renders into `SNAPSHOTS` below `root`.
pub(crate) fn snapshots(cache: &Cache, root: &Path) -> Result<()> {
    let folder = root.join(SNAPSHOTS);
    make_directory(&folder)?;
    for (name, file) in sets(cache)? {
        let file = file.display().to_string();
        // The definitions have a place of their own, and are long.
        let rendered = manifests::render(cache, &["--set", "crds.install=false", "--values", &file])?;
        let path = folder.join(format!("{name}.yaml"));
        let text =
            format!("# Rendered from tests/values/{name}.yaml by `cargo xtask generate`.\n{rendered}\n");
        fs::write(&path, text).doing(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// The rung: the schema of the values refuses what is wrong and takes what is right; definitions are kept unless told otherwise.
pub(crate) fn check(cache: &Cache, evidence: &Evidence) -> Result<()> {
    tools::helm(cache)?;
    for value in TAKEN {
        manifests::render(cache, &["--set-json", value])
            .map_err(|Failure(why)| Failure(format!("the chart refuses {value}, which is right: {why}")))?;
    }
    for (value, word) in REFUSED {
        match manifests::render(cache, &["--set-json", value]) {
            Ok(_) => return fail(format!("the chart takes {value}; values.schema.json should refuse it")),
            Err(Failure(why)) if why.contains(word) && why.contains("schema") => {}
            Err(Failure(why)) => return fail(format!("{value} is refused without naming {word}: {why}")),
        }
    }
    let kept = |set: &str| -> Result<usize> {
        let rendered = manifests::render(cache, &["--set", set])?;
        let definitions =
            rendered.split("\n---\n").filter(|one| one.contains("kind: CustomResourceDefinition"));
        Ok(definitions.filter(|one| one.contains("helm.sh/resource-policy: keep")).count())
    };
    match (kept("crds.keep=true")?, kept("crds.keep=false")?) {
        (3, 0) => {}
        (kept, left) => {
            return fail(format!("of three definitions {kept} are kept, and {left} with crds.keep=false"));
        }
    }
    evidence.say(format!("{} wrong values refused, {} right ones taken", REFUSED.len(), TAKEN.len()));
    Ok(())
}

/// Name and file of every set of values.
fn sets(cache: &Cache) -> Result<Vec<(String, PathBuf)>> {
    let folder = cache.checkout().join(VALUES);
    let entries = fs::read_dir(&folder).doing(|| format!("read {}", folder.display()))?;
    let mut sets: Vec<(String, PathBuf)> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter_map(|path| Some((path.file_stem()?.to_string_lossy().into_owned(), path.clone())))
        .collect();
    sets.sort();
    Ok(sets)
}
