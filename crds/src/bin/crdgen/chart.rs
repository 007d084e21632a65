//! What follows from the chart's own files: its README from the comments in `values.yaml`, the alerts as plain
//! rules, and the dashboard as a file to import.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use crate::{Error, outputs::Outputs};

const CHART: &str = "charts/paramant-operator";
const RULES_HEAD: &str =
    "# Copied from charts/paramant-operator/files/alerts.yaml by `cargo xtask generate`. Do not edit.\n";
const README_HEAD: &str = "<!-- Generated from values.yaml by `cargo xtask generate`. Do not edit. -->\n
# paramant-operator

Runs Paramant relays described by `ParamantRelay` resources. Needs Kubernetes 1.33 or newer.

```console
kubectl create namespace paramant-system
kubectl label namespace paramant-system pod-security.kubernetes.io/enforce=restricted
helm upgrade --install paramant charts/paramant-operator --namespace paramant-system --wait
```

- **Pod security.** Operator and relays run under the restricted standard; enforce it on their namespaces by the label above.
- **Definitions** are installed and upgraded with the chart, and kept when it is removed (`crds.keep`): removing a definition
  removes every object of its kind.
- **Rights.** [files/rights-in-scope.yaml](files/rights-in-scope.yaml) where relays are watched,
  [files/rights-at-home.yaml](files/rights-at-home.yaml) in the operator's own namespace. None on Secrets but the one by name that
  holds the operator's certificate authority. With `watch.namespaces` the operator gets a Role in each and no cluster-wide right.
- **One release in a cluster or in a set of namespaces.** Names are fixed: Deployment, Lease and ServiceAccount are
  `paramant-operator`, the authority is the Secret `paramant-operator-ca`. An upgrade leaves its content alone, a removal keeps it.
- **The fence** (`admissionPolicy.enabled`): who may write a pod template may mount any Secret of its namespace. The policy narrows
  what the operator's account may mount to what the `ParamantRelay` of that name refers to. Its limit: a StatefulSet of a name that no relay
  has is held to the kinds of mounts, not to the Secret's name.

## Values

| value | default | |
|---|---|---|
";

pub(crate) fn write(outputs: &mut Outputs, checkout: &Path) -> Result<(), Error> {
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(|source| Error::File { path, source });
    let values = read(checkout.join(CHART).join("values.yaml"))?;
    let mut readme = README_HEAD.to_owned();
    for value in values_of(&values) {
        // Writing to a String cannot fail.
        let _ = writeln!(readme, "| `{}` | {} | {} |", value.path, value.default, value.about);
    }
    outputs.put(&format!("{CHART}/README.md"), &readme)?;
    let alerts = read(checkout.join(CHART).join("files/alerts.yaml"))?;
    outputs.put("config/alerts/paramant.yaml", &format!("{RULES_HEAD}{alerts}"))?;
    let health = read(checkout.join("config/gitops/argocd-health.lua"))?;
    outputs.put("config/gitops/argocd-cm.yaml", &argocd(&health))?;
    // JSON has no comments: this one says nothing of where it comes from.
    outputs.put("config/dashboards/paramant.json", &read(checkout.join(CHART).join("files/dashboard.json"))?)
}

/// The health script under the key of each kind, as a patch for Argo CD's own ConfigMap.
fn argocd(health: &str) -> String {
    let mut patch = "# Made from argocd-health.lua by `cargo xtask generate`. Do not edit.\n\
                     # kubectl -n argocd patch configmap argocd-cm --patch-file config/gitops/argocd-cm.yaml\n\
                     data:\n"
        .to_owned();
    for kind in ["ParamantRelay", "ParamantPolicy", "ParamantLicense"] {
        // Writing to a String cannot fail.
        let _ = writeln!(patch, "  resource.customizations.health.paramant.app_{kind}: |");
        for line in health.lines() {
            let _ = writeln!(patch, "{}", format!("    {line}").trim_end());
        }
    }
    patch
}

#[derive(Debug, PartialEq, Eq)]
struct Value {
    path: String,
    default: String,
    about: String,
}

/// Every key below a comment that begins with `# --`, with its path by indentation.
fn values_of(text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut about: Option<String> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            match (comment.trim().strip_prefix("-- "), &mut about) {
                (Some(first), _) => about = Some(first.to_owned()),
                (None, Some(about)) => *about = format!("{about} {}", comment.trim()),
                (None, None) => {}
            }
            continue;
        }
        let Some((key, default)) = line.split_once(':') else { continue };
        parents.retain(|(depth, _)| *depth < indent);
        let path: Vec<&str> = parents.iter().map(|(_, name)| name.as_str()).chain([key]).collect();
        if let Some(about) = about.take() {
            let default = default.trim();
            let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
            found.push(Value { path: path.join("."), default, about: about.replace('|', "\\|") });
        }
        parents.push((indent, key.to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_gets_the_script_and_an_empty_line_stays_empty() {
        let patch = argocd("local a = 1\n\nreturn a\n");
        assert!(
            patch.contains("paramant.app_ParamantPolicy: |\n    local a = 1\n\n    return a\n"),
            "{patch}"
        );
        assert_eq!(patch.matches("return a").count(), 3);
    }

    #[test]
    fn a_value_is_found_with_its_path_its_default_and_its_comment() {
        let text =
            "# -- Where.\n# And which.\nimage:\n  # -- The tag.\n  tag: \"\"\n  plain: 1\nreplicas: 1\n";
        let value = |path: &str, default: &str, about: &str| Value {
            path: path.to_owned(),
            default: default.to_owned(),
            about: about.to_owned(),
        };
        let expected = [value("image", "", "Where. And which."), value("image.tag", "`\"\"`", "The tag.")];
        assert_eq!(values_of(text), expected);
    }
}
