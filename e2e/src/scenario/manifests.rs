//! kubeconform and kube-score read what the chart renders and what the operator made.

use std::{fs, process::Command, time::Duration};

use anyhow::{Result, bail};

use super::fixture::Fixture;
use crate::{bed::Bed, process, steps::Seen, steps::seen};

/// Findings that docs/operate.md explains.
const EXPLAINED: &[&str] = &[
    "ImagePullPolicy is not set to Always",
    "CPU limit is not set",
    "Memory limit is not set",
    "Ephemeral Storage",
];

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let operate = fs::read_to_string(bed.checkout.join("docs/operate.md"))?;
    if let Some(missing) = EXPLAINED.iter().find(|finding| !operate.contains(**finding)) {
        bail!("docs/operate.md does not explain “{missing}”");
    }
    let fixture = Fixture::new(bed, "manifests")?;
    fixture.relay("health")?;
    let directory = tempfile::tempdir()?;
    let rendered = directory.path().join("chart.yaml");
    let chart = bed.checkout.join("charts/paramant-operator").display().to_string();
    let template =
        ["template", "paramant", &chart, "--namespace", crate::demo::SYSTEM, "--kube-version", "1.33.0"];
    fs::write(&rendered, bed.helm(&template)?)?;
    let children = directory.path().join("children.json");
    let kinds = "statefulsets,services,serviceaccounts,configmaps,networkpolicies,paramantrelays";
    let selector = "paramant.app/relay=health";
    let mut list: serde_json::Value = serde_json::from_str(&bed.kubectl(&[
        "-n",
        &fixture.namespace,
        "get",
        kinds,
        "-l",
        selector,
        "-o",
        "json",
    ])?)?;
    for item in list["items"].as_array_mut().into_iter().flatten() {
        if let Some(object) = item.as_object_mut() {
            object.remove("status");
        }
    }
    fs::write(&children, serde_json::to_string(&list)?)?;
    let schemas = schemas(bed, directory.path())?;
    let mut report = Vec::new();
    for file in [&rendered, &children] {
        let mut command = Command::new(bed.programs.join("kubeconform"));
        command.args(["-strict", "-summary", "-schema-location", &schemas]).arg(file);
        report.push(
            process::run(&mut command, None, Duration::from_secs(60))?
                .success("kubeconform")?
                .trim()
                .to_owned(),
        );
        let critical = critical(bed, file)?;
        if !critical.is_empty() {
            bail!("kube-score: {}", critical.join("\n"));
        }
    }
    // Both judges are shown red.
    let broken = directory.path().join("broken.yaml");
    fs::write(&broken, fs::read_to_string(&rendered)?.replacen("replicas:", "replikas:", 1))?;
    let mut command = Command::new(bed.programs.join("kubeconform"));
    command.args(["-strict", "-schema-location", &schemas]).arg(&broken);
    if process::run(&mut command, None, Duration::from_secs(60))?.code == Some(0) {
        bail!("kubeconform accepted “replikas:”; it proves nothing");
    }
    let writable = "readOnlyRootFilesystem: true";
    let text = fs::read_to_string(&rendered)?;
    if !text.contains(writable) {
        bail!("the chart renders no {writable:?}, which was to be planted otherwise");
    }
    fs::write(&broken, text.replace(writable, "readOnlyRootFilesystem: false"))?;
    if critical(bed, &broken)?.is_empty() {
        bail!("kube-score accepted a writable root file system; it proves nothing");
    }
    seen((), report.join("; "))
}

/// What kube-score thinks must not be so, but for what is explained.
fn critical(bed: &Bed, file: &std::path::Path) -> Result<Vec<String>> {
    let mut command = Command::new(bed.programs.join("kube-score"));
    command.args(["score", "--output-format", "ci"]).arg(file);
    let score = process::run(&mut command, None, Duration::from_secs(60))?;
    if !score.stdout.contains("[OK]") {
        bail!("kube-score judged nothing: {}{}", score.stdout, score.stderr);
    }
    let critical = score
        .stdout
        .lines()
        .filter(|line| line.starts_with("[CRITICAL]") && !EXPLAINED.iter().any(|known| line.contains(known)));
    Ok(critical.map(str::to_owned).collect())
}

/// JSON schemas of everything the API server knows, ours included, written where kubeconform looks for them.
fn schemas(bed: &Bed, directory: &std::path::Path) -> Result<String> {
    let all: serde_json::Value = serde_json::from_str(&bed.kubectl(&["get", "--raw", "/openapi/v2"])?)?;
    let folder = directory.join("schemas");
    fs::create_dir_all(&folder)?;
    let mut written = 0;
    for (name, definition) in all["definitions"].as_object().into_iter().flatten() {
        for kind in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let text = |key: &str| kind[key].as_str().unwrap_or_default().to_lowercase();
            let group = text("group").split('.').next().unwrap_or_default().to_owned();
            let version =
                if group.is_empty() { text("version") } else { format!("{group}-{}", text("version")) };
            let mut schema = strict(definition.clone());
            schema["definitions"] = serde_json::Value::Null;
            let mut resolver = Resolver { all: &all, depth: 0 };
            let whole = resolver.inline(schema, name);
            fs::write(
                folder.join(format!("{}-{version}.json", text("kind"))),
                serde_json::to_string(&whole)?,
            )?;
            written += 1;
        }
        if written > 5000 {
            bail!("the API server describes more kinds than a cluster has");
        }
    }
    Ok(format!("{}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json", folder.display()))
}

/// A schema that refuses unknown properties.
fn strict(mut schema: serde_json::Value) -> serde_json::Value {
    if schema["properties"].is_object() && schema.get("additionalProperties").is_none() {
        schema["additionalProperties"] = serde_json::Value::Bool(false);
    }
    schema
}

/// Replaces references by what they refer to; schemas that refer to themselves are cut at a depth nobody writes by hand.
struct Resolver<'a> {
    all: &'a serde_json::Value,
    depth: usize,
}

impl Resolver<'_> {
    fn inline(&mut self, value: serde_json::Value, parent: &str) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Object(map) => {
                if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                    let name = reference.trim_start_matches("#/definitions/").to_owned();
                    if name.ends_with("intstr.IntOrString") || name.ends_with("resource.Quantity") {
                        return serde_json::json!({ "type": ["string", "integer", "number"] });
                    }
                    if self.depth > 12 || name == parent && self.depth > 4 {
                        return serde_json::json!({});
                    }
                    self.depth += 1;
                    let definition = self.all["definitions"][&name].clone();
                    let whole = self.inline(strict(definition), &name);
                    self.depth -= 1;
                    return whole;
                }
                if map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
                    return serde_json::json!({ "type": ["string", "integer"] });
                }
                let mut whole: serde_json::Map<String, Value> = map
                    .into_iter()
                    .filter(|(key, value)| !(key == "definitions" && value.is_null()))
                    .map(|(key, value)| {
                        let value = self.inline(value, parent);
                        (key, value)
                    })
                    .collect();
                // kubeconform reads an absent field and a null one alike; the API server's own JSON never holds null here.
                whole.remove("x-kubernetes-group-version-kind");
                strict(Value::Object(whole))
            }
            Value::Array(list) => {
                Value::Array(list.into_iter().map(|item| self.inline(item, parent)).collect())
            }
            other => other,
        }
    }
}
