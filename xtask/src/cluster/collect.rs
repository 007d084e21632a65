//! What someone needs who was not there when a scenario failed: what the objects said, what the pods and daemons printed, and
//! what was asked of the API server. Collecting goes on past what fails.

use std::fs;
use std::path::{Path, PathBuf};

use super::kubectl::Kubectl;
use super::layout::Layout;
use crate::cache::{Cache, make_directory};
use crate::failure::Result;
use crate::run::Run;

/// Questions to the API server, and the files their answers go to. Secrets are not among them.
const QUESTIONS: &[(&str, &str)] = &[
    ("events.txt", "get events -A --sort-by=.lastTimestamp"),
    ("pods.txt", "get pods -A -o wide"),
    ("pods-described.txt", "describe pods -A"),
    ("resources.yaml", "get paramantrelays,paramantpolicies,paramantlicenses -A -o yaml --ignore-not-found"),
    (
        "children.yaml",
        "get statefulsets,services,configmaps,persistentvolumeclaims,networkpolicies,leases -A -o yaml",
    ),
    ("volumes.txt", "get persistentvolumes"),
];

/// Writes everything into a folder of the cache, in place of what was collected before; returns the folder.
pub(crate) fn collect(cache: &Cache, kubeconfig: &Path, own: Option<&Layout>) -> Result<PathBuf> {
    let folder = cache.root().join("collected");
    let _ = fs::remove_dir_all(&folder);
    make_directory(&folder)?;
    let kubectl = Kubectl::new(cache, kubeconfig);
    for (file, question) in QUESTIONS {
        let answer = kubectl.run(question.split(' ')).arg("--request-timeout=20s").output();
        let _ = fs::write(folder.join(file), answer.unwrap_or_else(|failure| failure.to_string()));
    }
    if let Some(layout) = own {
        for source in [layout.data.join("pod-logs"), layout.logs.clone(), layout.audit_log()] {
            Run::new("cp").args(["-r", "--dereference"]).arg(source).arg(&folder).succeeds();
        }
    }
    Ok(folder)
}
