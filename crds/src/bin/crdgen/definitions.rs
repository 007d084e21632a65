//! The three definitions as YAML: for kustomize as they are, for the chart with its switches around them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use paramant_crds::definition;
use serde_json::Value;

use crate::{Error, outputs::Outputs};

const HEAD: &str = "# Generated from the Rust types by `cargo xtask generate`. Do not edit.\n";

pub(crate) fn write(outputs: &mut Outputs) -> Result<(), Error> {
    let mut resources = Vec::new();
    for definition in definition::all()? {
        let file = format!("{}_{}.yaml", definition.spec.group, definition.spec.names.plural);
        let yaml = yaml(&serde_json::to_value(&definition)?)?;
        outputs.put(&format!("config/crd/{file}"), &format!("{HEAD}{yaml}"))?;
        let template = template(&definition, &yaml);
        outputs.put(&format!("charts/paramant-operator/templates/crds/{file}"), &template)?;
        resources.push(format!("  - {file}\n"));
    }
    let kustomization = format!(
        "{HEAD}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{}",
        resources.concat()
    );
    outputs.put("config/crd/kustomization.yaml", &kustomization)
}

pub(crate) fn yaml(value: &Value) -> Result<String, Error> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).map_err(|error| Error::Yaml(error.to_string()))
}

/// The chart's form: optional, labelled, and kept when the release is removed, because removing a definition removes
/// every relay with it.
fn template(definition: &CustomResourceDefinition, yaml: &str) -> String {
    let name = definition.metadata.name.as_deref().unwrap_or_default();
    let metadata = format!("metadata:\n  name: {name}\n");
    let with_switches = format!(
        "{metadata}  labels:\n    {{{{- include \"paramant-operator.labels\" . | nindent 4 }}}}\n  \
         {{{{- if or .Values.crds.keep .Values.crds.annotations }}}}\n  annotations:\n    \
         {{{{- if .Values.crds.keep }}}}\n    helm.sh/resource-policy: keep\n    {{{{- end }}}}\n    \
         {{{{- with .Values.crds.annotations }}}}\n    {{{{- toYaml . | nindent 4 }}}}\n    {{{{- end }}}}\n  {{{{- end }}}}\n"
    );
    let body = yaml.replacen(&metadata, &with_switches, 1);
    format!("{HEAD}{{{{- if .Values.crds.install }}}}\n{body}{{{{- end }}}}\n")
}
