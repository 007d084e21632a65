//! What outside programs say about the manifests, without a cluster: helm about the chart, kubeconform about what it renders.
//! kube-score and the children of a relay are judged on the cluster, by the scenarios.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::failure::{Doing, Result, fail};
use crate::generate;
use crate::run::Run;
use crate::step::Evidence;
use crate::tools;

/// Values by which the operator's pod mounts everything it can.
const MOUNTS: &[&str] = &[
    "--set",
    "registry.existingSecret=registry-read,registry.caConfigMap=registry-ca",
    "--set",
    "verification.keys[0].name=builds,verification.keys[0].pem=-----BEGIN PUBLIC KEY-----",
];

/// `helm lint`, warnings included.
pub(crate) fn lint(cache: &Cache) -> Result<()> {
    tools::helm(cache)?;
    Run::new(cache.bin().join("helm")).args(["lint", "--strict"]).arg(chart(cache)).done()
}

/// kubeconform, strict, on what the chart renders and on the samples; first seen to refuse a misspelt field.
pub(crate) fn conform(cache: &Cache, evidence: &Evidence) -> Result<()> {
    tools::published(cache, tools::KUBECONFORM)?;
    let schemas = generate::schemas(cache)?;
    let rendered = render(cache, &[])?;
    let folder = cache.root().join("rendered");
    crate::cache::make_directory(&folder)?;
    let misspelt = write(&folder.join("misspelt.yaml"), &rendered.replacen("replicas:", "replikas:", 1))?;
    if kubeconform(cache, &schemas).arg(&misspelt).succeeds() {
        return fail(format!(
            "kubeconform accepts a misspelt field ({}): it would accept anything",
            misspelt.display()
        ));
    }
    let chart = write(&folder.join("chart.yaml"), &rendered)?;
    let mounts = write(&folder.join("chart-mounts.yaml"), &render(cache, MOUNTS)?)?;
    let samples = cache.checkout().join("config/samples");
    evidence
        .say(kubeconform(cache, &schemas).arg("-summary").arg(&chart).arg(&mounts).arg(&samples).output()?);
    Ok(())
}

/// What the chart renders, with these arguments of helm besides.
pub(crate) fn render(cache: &Cache, arguments: &[&str]) -> Result<String> {
    // A helm built from source believes in Kubernetes 1.20 until it is told.
    let template =
        ["template", "paramant-operator", "--namespace", "paramant-system", "--kube-version", "1.33.0"];
    Run::new(cache.bin().join("helm")).args(template).args(arguments).arg(chart(cache)).output()
}

fn kubeconform(cache: &Cache, schemas: &Path) -> Run {
    let location = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", schemas.display());
    Run::new(cache.bin().join("kubeconform")).args([
        "-strict",
        "-skip",
        "Kustomization",
        "-schema-location",
        &location,
    ])
}

fn chart(cache: &Cache) -> PathBuf {
    cache.checkout().join("charts/paramant-operator")
}

fn write(path: &Path, content: &str) -> Result<PathBuf> {
    fs::write(path, content).doing(|| format!("write {}", path.display()))?;
    Ok(path.to_path_buf())
}
